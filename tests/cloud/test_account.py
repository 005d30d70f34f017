"""The real account's failures, each in one sentence; they come from a web server on loopback that answers as AWS does.

Everything goes through boto3's own client, by AWS_ENDPOINT_URL.
"""

import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from helpers.cloud import ec2
from helpers.cloud.account import AWSError, connect, disconnect


class FakeAWS(ThreadingHTTPServer):
    """Answers every call alike, with the error `code` and `status`; with code None it keeps the caller waiting."""

    daemon_threads = True

    def __init__(self):
        self.code, self.status, self.calls, self.over = None, 400, [], threading.Event()
        super().__init__(("127.0.0.1", 0), FakeAWSHandler)


class FakeAWSHandler(BaseHTTPRequestHandler):
    def do_POST(self):
        sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.calls.append(re.search(r"Action=(\w+)", sent)[1])
        if self.server.code is None:
            self.server.over.wait(10)
            return
        error = f"<Error><Code>{self.server.code}</Code><Message>a message of AWS</Message></Error>"
        body = f"<Response><Errors>{error}</Errors><RequestID>0</RequestID></Response>".encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with FakeAWS() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def environment(server, monkeypatch):
    """AWS is the server on loopback, to whom these credentials mean nothing."""
    server.calls.clear()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "example")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example-secret")
    return monkeypatch


@pytest.fixture(scope="module")
def aws(server):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
        patch.setenv("AWS_ACCESS_KEY_ID", "example")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "example-secret")
        yield connect("aws")


@pytest.mark.parametrize(
    ("code", "status", "says"),
    [
        ("AuthFailure", 401, "does not know these credentials"),
        ("RequestExpired", 400, "expired"),
        ("ExpiredToken", 400, "expired.*aws sso login"),
        ("UnauthorizedOperation", 403, "may not do ec2:DescribeSecurityGroups"),
        ("SecurityGroupLimitExceeded", 400, "quota of security groups"),
        ("VcpuLimitExceeded", 400, "quota of vCPUs in us-east-1"),
        ("InsufficientInstanceCapacity", 400, "no such instance free in us-east-1"),
        ("OptInRequired", 401, "may not use EC2 in us-east-1"),
        ("VPCIdNotSpecified", 400, "us-east-1 has no default VPC"),
        ("SomethingNew", 400, "ec2:DescribeSecurityGroups failed with SomethingNew: a message of AWS"),
    ],
)
def test_an_error_of_aws_is_one_sentence(code, status, says, aws, server):
    server.code, server.status = code, status
    with pytest.raises(AWSError, match=says) as caught:
        ec2.security_group(aws, "203.0.113.7")
    assert caught.value.code == code
    assert "\n" not in str(caught.value) and "example-secret" not in str(caught.value)


def test_a_failing_aws_is_tried_three_times_and_no_more(aws, server):
    server.code, server.status = "ServiceUnavailable", 503
    server.calls.clear()
    with pytest.raises(AWSError, match="ServiceUnavailable"):
        ec2.security_group(aws, "203.0.113.7")
    assert server.calls == ["DescribeSecurityGroups"] * 3


def test_an_aws_that_never_answers_is_given_up(server, environment):
    server.code = None
    with pytest.raises(AWSError, match="AWS does not answer"):
        ec2.security_group(connect("aws", read_seconds=0.2, attempts=2), "203.0.113.7")
    assert server.calls == ["DescribeSecurityGroups"] * 2


def test_an_aws_that_cannot_be_reached_is_said(environment, free_port):
    environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port}")
    with pytest.raises(AWSError, match="check the network"):
        ec2.security_group(connect("aws", attempts=1), "203.0.113.7")


def test_without_credentials_it_says_how_to_get_some(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(AWSError, match="no AWS credentials here: run `aws configure`"):
        ec2.security_group(connect("aws"), "203.0.113.7")


def test_half_of_the_credentials_is_not_enough(environment):
    environment.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AWSError, match="half of the AWS credentials is missing"):
        ec2.security_group(connect("aws"), "203.0.113.7")


def test_a_profile_that_does_not_exist_is_said(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody-of-this-name")
    with pytest.raises(AWSError, match="no such AWS profile"):
        connect("aws")


def test_both_accounts_have_the_same_time_limits_and_bounded_retries(aws):
    simulated = connect("simulated")
    try:
        for client in (aws.ec2, aws.ssm, simulated.ec2, simulated.ssm):
            config = client.meta.config
            assert (config.connect_timeout, config.read_timeout) == (5, 20)
            assert config.retries["total_max_attempts"] == 3
    finally:
        disconnect()


def test_connecting_the_real_account_ends_the_simulation(environment, server):
    server.code, server.status = "AuthFailure", 401
    connect("simulated")
    assert os.environ["AWS_CONFIG_FILE"] == os.devnull
    account = connect("aws")
    assert "AWS_CONFIG_FILE" not in os.environ
    with pytest.raises(AWSError, match="credentials"):
        ec2.security_group(account, "203.0.113.7")
    assert server.calls


def test_an_account_is_simulated_or_real():
    with pytest.raises(ValueError, match='"simulated" or "aws"'):
        connect("production")


def test_a_region_that_there_is_not_is_named_with_the_one_that_is_meant():
    with pytest.raises(ValueError, match=r"knows no region 'eu-centrall-1' \(did you mean eu-central-1\?\): name one"):
        connect(region="eu-centrall-1")
