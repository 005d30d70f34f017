"""The steps on EC2: each can be repeated, interrupted and undone, and every failure says what to do.

The account is simulated by moto inside this process; test_account.py holds the failures of the real one.
"""

import ipaddress
import json
import os
import re
import stat
import subprocess
import sys
import warnings

import pytest

from helpers import PROJECT
from helpers.cloud import ec2, imds
from helpers.cloud.account import Account, AWSError, connect, disconnect
from helpers.cloud.user_data import user_data

PLAN = ec2.Plan(user_data("https://example.org/tutorial.git", "v1.0"))
NOT_WINDOWS = pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")


@pytest.fixture(scope="module")
def connected():
    yield connect("simulated")
    disconnect()


@pytest.fixture
def account(connected):
    """The simulated account, with nothing of ours in it; each test leaves it like that, as the teardown says."""
    yield connected
    connected.simulated = True
    assert ec2.teardown(connected).empty


def every_step(account: Account) -> str:
    ec2.key_pair(account)
    ec2.security_group(account)
    instance = ec2.launch(account, PLAN)
    ec2.public_address(account, instance)
    return instance


def kinds(account: Account) -> list[str]:
    return sorted(ec2.leftovers(account)["Kind"])


def instance_of(account: Account, instance: str) -> dict:
    return account.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]


# ---- what the steps make ----


@pytest.mark.slow
def test_every_step_twice_makes_everything_once(account):
    assert every_step(account) == every_step(account)
    assert kinds(account) == ["instance", "key pair", "security group", "volume"]


@pytest.mark.slow
def test_the_instance_demands_tokens_for_its_metadata_and_has_an_encrypted_disk(account):
    instance = every_step(account)
    found = instance_of(account, instance)
    assert found["MetadataOptions"]["HttpTokens"] == "required"
    mine = [{"Name": "attachment.instance-id", "Values": [instance]}]
    (volume,) = account.ec2.describe_volumes(Filters=mine)["Volumes"]
    assert volume["Encrypted"] and volume["Size"] == ec2.ROOT_GIB and volume["VolumeType"] == "gp3"
    assert found["BlockDeviceMappings"][0]["Ebs"]["DeleteOnTermination"]
    assert found["ImageId"] == ec2.newest_image(account)


def test_the_instance_gets_the_script_with_its_settings(account):
    import base64

    instance = every_step(account)
    sent = account.ec2.describe_instance_attribute(InstanceId=instance, Attribute="userData")["UserData"]["Value"]
    assert base64.b64decode(sent).decode() == PLAN.user_data
    assert "\nREPOSITORY=https://example.org/tutorial.git\nREVISION=v1.0\n" in PLAN.user_data


def test_the_image_fits_the_processor(account):
    intel, arm = (ec2.newest_image(account, instance_type=each) for each in ("t3.small", "t4g.small"))
    architecture = {
        each["ImageId"]: each["Architecture"] for each in account.ec2.describe_images(ImageIds=[intel, arm])["Images"]
    }
    assert architecture == {intel: "x86_64", arm: "arm64"}


@NOT_WINDOWS
def test_the_private_key_stays_here_and_only_its_owner_can_read_it(account, capsys):
    path = ec2.key_pair(account)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (pair,) = account.ec2.describe_key_pairs(IncludePublicKey=True)["KeyPairs"]
    derived = subprocess.run(["ssh-keygen", "-y", "-f", path], capture_output=True, text=True, check=True).stdout
    assert derived.split()[:2] == pair["PublicKey"].split()[:2]
    assert capsys.readouterr() == ("", "")


def test_a_lost_private_key_is_replaced_together_with_its_public_half(account):
    path = ec2.key_pair(account)
    before = path.read_bytes()
    path.unlink()
    assert ec2.key_pair(account).read_bytes() != before
    assert len(account.ec2.describe_key_pairs()["KeyPairs"]) == 1


# ---- who may call ----


def test_the_rules_let_in_the_callers_own_address_only(account):
    table = ec2.rules_table(account, ec2.security_group(account))
    assert list(table["Port range"]) == ["22", "5000"]
    assert set(table["Source"]) == {"203.0.113.7/32"}


def test_jupyters_port_is_opened_only_where_it_is_named(account):
    table = ec2.rules_table(account, ec2.security_group(account, ports=[*ec2.PORTS, ec2.JUPYTER]))
    assert list(table["Port range"]) == ["22", "5000", "8888"] and list(table["Description"])[-1] == "JupyterLab"
    assert len(ec2.rules_table(account, ec2.security_group(account))) == 2


def test_each_call_is_noted_by_the_right_that_it_needs(account):
    account.calls.clear()
    ec2.newest_image(account)
    ec2.open_port(account, ec2.security_group(account, ports=[]), 5000, "198.51.100.1")
    assert account.calls[0] == "ssm:GetParameter" and account.calls[-1] == "ec2:AuthorizeSecurityGroupIngress"


def test_the_simulated_instance_has_an_address_that_is_nobodys(account):
    instance = every_step(account)
    assert ipaddress.ip_address(ec2.public_address(account, instance)) in ipaddress.ip_network("203.0.113.0/24")


def test_rules_of_an_old_address_go_when_the_address_changes(account):
    ec2.security_group(account, "198.51.100.1")
    group = ec2.security_group(account, "198.51.100.2")
    assert set(ec2.rules_table(account, group)["Source"]) == {"198.51.100.2/32"}


@pytest.mark.parametrize("block", ["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1"])
def test_the_whole_internet_is_refused_unless_it_is_meant(account, block):
    with pytest.raises(ValueError, match="whole_internet=True"):
        ec2.security_group(account, block)
    assert kinds(account) == []


def test_the_whole_internet_comes_with_a_warning_and_goes_with_the_next_run(account):
    with pytest.warns(UserWarning, match="whole internet can reach port 5000"):
        group = ec2.security_group(account, ports=[5000], whole_internet=True)
    assert list(ec2.rules_table(account, group)["Source"]) == ["0.0.0.0/0"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ec2.security_group(account, ports=[5000])
    assert list(ec2.rules_table(account, group)["Source"]) == ["203.0.113.7/32"]


@pytest.mark.parametrize("address", ["2001:db8::1", "203.0.113", "203.0.113.7/33", "localhost", "203.0.113.7/8"])
def test_what_is_no_ipv4_address_is_named(account, address):
    with pytest.raises(ValueError, match=re.escape(repr(address))):
        ec2.open_port(account, "sg-0", 5000, address)


def test_a_port_is_opened_and_closed_as_often_as_one_likes(account):
    group = ec2.security_group(account, ports=[])
    for _ in range(2):
        ec2.open_port(account, group, 5000, "198.51.100.1")
    ec2.open_port(account, group, 5000, "198.51.100.2")
    assert len(ec2.rules_table(account, group)) == 2
    for _ in range(2):
        ec2.close_port(account, group, 5000, "198.51.100.1")
    assert list(ec2.rules_table(account, group)["Source"]) == ["198.51.100.2/32"]
    ec2.close_port(account, group, 5000)
    assert ec2.rules_table(account, group).empty


def test_an_account_without_default_vpc_is_told_how_to_make_one(account):
    elsewhere = connect("simulated", "eu-west-3")  # the first region is not to be spoiled for the other tests
    vpc = elsewhere.ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    for subnet in elsewhere.ec2.describe_subnets()["Subnets"]:
        elsewhere.ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    elsewhere.ec2.delete_vpc(VpcId=vpc)
    with pytest.raises(AWSError, match="create-default-vpc"):
        ec2.security_group(elsewhere)


def test_a_system_without_image_in_the_region_is_said(account):
    with pytest.raises(AWSError, match="no such image parameter"):
        ec2.newest_image(account, "ubuntu")  # moto knows Amazon's images only


# ---- interruption and teardown ----


class Interruption:
    """Ctrl+C at the n-th call to AWS, when its effect is there and its answer is lost.

    What is left behind is the same as before the (n+1)-th call, so this covers every moment but the very first.
    """

    def __init__(self, account: Account):
        self.calls, self.at = 0, None
        for client in (account.ec2, account.ssm):
            client.meta.events.register("after-call", self.count)

    def count(self, **_):
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt

    def during(self, at: int, action) -> bool:
        """Runs `action` with an interruption at its call `at`; False when it was over before."""
        self.calls, self.at = 0, at
        try:
            action()
            return False
        except KeyboardInterrupt:
            return True
        finally:
            self.at = None


@pytest.mark.slow
def test_stopped_at_any_call_the_next_run_completes_it_and_the_teardown_leaves_nothing(account):
    interruption, at = Interruption(account), 1
    while interruption.during(at, lambda: every_step(account)):
        every_step(account)
        assert kinds(account) == ["instance", "key pair", "security group", "volume"], f"stopped at call {at}"
        assert ec2.teardown(account).empty, f"stopped at call {at}"
        at += 1
    assert at > 10  # it has really been stopped everywhere
    ec2.teardown(account)


@pytest.mark.slow
def test_stopped_at_any_call_the_teardown_alone_leaves_nothing(account):
    interruption, at = Interruption(account), 1
    while interruption.during(at, lambda: every_step(account)):
        assert ec2.teardown(account).empty, f"stopped at call {at}"
        at += 1
    ec2.teardown(account)


@pytest.mark.slow
def test_a_teardown_stopped_at_any_call_is_completed_by_the_next(account):
    interruption, at = Interruption(account), 1
    while True:
        path = account.keys / f"{ec2.NAME}-{account.region}"
        every_step(account)
        stopped = interruption.during(at, lambda: ec2.teardown(account))
        assert ec2.teardown(account).empty, f"stopped at call {at}"
        assert not path.exists()
        if not stopped:
            break
        at += 1
    assert at > 6


def test_the_teardown_touches_nothing_without_the_tag(account):
    vpc = account.ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    other = account.ec2.create_security_group(GroupName="theirs", Description="-", VpcId=vpc)["GroupId"]
    account.ec2.create_key_pair(KeyName="theirs")
    every_step(account)
    assert ec2.teardown(account).empty
    assert [each["KeyName"] for each in account.ec2.describe_key_pairs()["KeyPairs"]] == ["theirs"]
    account.ec2.delete_security_group(GroupId=other)  # would fail if it were gone
    account.ec2.delete_key_pair(KeyName="theirs")


def test_after_a_teardown_everything_can_be_made_again(account):
    first = every_step(account)
    ec2.teardown(account)
    assert every_step(account) != first


def test_a_stopped_instance_is_started_again(account):
    instance = every_step(account)
    account.ec2.stop_instances(InstanceIds=[instance])
    assert ec2.launch(account, PLAN) == instance
    assert instance_of(account, instance)["State"]["Name"] == "running"


# ---- safety ----


@pytest.mark.slow
def test_the_simulated_account_reads_no_credentials_and_needs_no_network(tmp_path):
    """Every file that is opened and every connection that is tried is watched, in a process of its own."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("this is [not a configuration")
    (tmp_path / ".aws" / "credentials").write_text("[default]\naws_access_key_id = theirs\n")
    program = """
import os, sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise RuntimeError(f"{event}: {arguments}")
    if event == "open" and f"{os.sep}.aws{os.sep}" in str(arguments[0]):
        raise RuntimeError(f"read {arguments[0]}")
sys.addaudithook(watch)
from helpers.cloud import ec2
from helpers.cloud.account import connect
from helpers.cloud.user_data import user_data
account = connect("simulated")
ec2.key_pair(account), ec2.security_group(account)
ec2.launch(account, ec2.Plan(user_data("https://example.org/x.git", "main")))
print(len(ec2.leftovers(account)), len(ec2.teardown(account)))
"""
    environment = {**os.environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "AWS_PROFILE": "theirs"}
    environment |= {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stdout == "4 0\n", done.stderr


@pytest.mark.parametrize(
    "settings",
    [
        {"repository": "https://user:secret@example.org/x.git"},
        {"repository": "https://ghp_0123456789@example.org/x.git"},
        {"model_url": "https://example.org/m.tgz?X-Amz-Signature=0", "model_sha256": "0"},
        {"model_url": "https://example.org/m.tgz?token=0", "model_sha256": "0"},
        {"revision": "AKIA0123456789ABCDEF"},
    ],
)
def test_user_data_takes_no_secret(settings):
    with pytest.raises(ValueError, match="secret"):
        user_data(**{"repository": "https://example.org/x.git", "revision": "main", **settings})


@pytest.mark.parametrize("repository", ["", "git@example.org:me/x.git", "../here"])
def test_user_data_wants_a_url_that_an_instance_can_clone(repository):
    with pytest.raises(ValueError, match="needs one that it can clone"):
        user_data(repository, "main")


def test_user_data_quotes_what_a_shell_would_run():
    script = user_data("https://example.org/$(touch x).git", "main; reboot")
    printed = subprocess.run(
        ["bash", "-c", script.partition("step() {")[0] + 'printf "%s\\n" "$REPOSITORY" "$REVISION"'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed == "https://example.org/$(touch x).git\nmain; reboot\n"


@pytest.mark.parametrize(
    "settings", [{"ports": "5000"}, {"model_url": "https://example.org/m.tgz"}, {"jupyter": "a\nreboot"}]
)
def test_user_data_names_a_setting_that_does_not_fit(settings):
    with pytest.raises(ValueError, match="|".join(settings)):
        user_data("https://example.org/x.git", "main", **settings)


SECRETS = {
    "an AWS access key": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "an AWS secret key": r"(?i)aws_?secret_?access_?key\W{1,5}[A-Za-z0-9/+]{40}",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a token in a URL": r"(?i)[?&](?:token|signature|x-amz-signature|x-amz-security-token|api_?key)=[\w%.-]{8,}",
    "a password in a URL": r"\bhttps?://[^/\s:@\"']+:[^/\s@\"']+@(?!example\.org\b)",  # the notebook shows one
    "a GitHub token": r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}",
    "a bearer token": r"(?i)authorization\W{1,5}bearer [\w.-]{12,}|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.",
    "a Jupyter token": r"(?i)\bjupyter[-_ ]?token\W{1,5}[\w-]{20,}",
}


def secrets_in(text: str) -> list[str]:
    return [name for name, pattern in SECRETS.items() if re.search(pattern, text)]


@pytest.mark.parametrize("path", sorted((PROJECT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_no_committed_notebook_holds_a_secret(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert cells
    for cell in cells:
        texts = ["".join(cell["source"])]
        for output in cell.get("outputs", []):
            texts += ["".join(output.get("text", [])), *output.get("traceback", [])]
            texts += ["".join(data) for data in output.get("data", {}).values() if isinstance(data, str | list)]
        assert not [name for text in texts for name in secrets_in(text)], cell["id"]


def test_the_search_for_secrets_finds_each_kind():
    samples = [
        "id AKIA0123456789ABCDEF",
        "aws_secret_access_key = " + "a/b+" * 10,
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "http://127.0.0.1:8888/lab?token=0123456789abcdef",
        "git clone https://me:hunter2@git.example.net/x",
        "ghp_" + "a1" * 18,
        "Authorization: Bearer abcdefghijklmnop",
        "jupyter-token: " + "x" * 43,
    ]
    assert [secrets_in(sample) for sample in samples] == [[name] for name in SECRETS]


# ---- the real account: what is asked before anything is bought ----


@pytest.mark.parametrize("answer", ["no", "", "y", EOFError])
def test_the_real_account_costs_nothing_without_a_yes(account, answer, capsys):
    """The simulated account, asked as if it were the real one: so nothing can be spent by this test."""

    def ask(question):
        if answer is EOFError:
            raise EOFError
        return answer

    ec2.key_pair(account), ec2.security_group(account)
    account.simulated = False
    with pytest.raises(AWSError, match="nothing was created"):
        ec2.launch(account, PLAN, ask=ask)
    assert kinds(account) == ["key pair", "security group"]
    said = capsys.readouterr().out
    assert all(each in said for each in ("us-east-1", "t3.small", "$0.026 an hour", "16 GB", "security group"))


def test_with_a_yes_it_is_made_and_a_second_run_does_not_ask(account):
    ec2.key_pair(account), ec2.security_group(account)
    account.simulated = False
    instance = ec2.launch(account, PLAN, ask=lambda _: "yes")
    assert ec2.launch(account, PLAN, ask=lambda _: pytest.fail("asked again")) == instance


# ---- the metadata service ----


def test_the_instance_finds_its_address_and_group(account, monkeypatch):
    instance = every_step(account)
    with imds.stand_in(ec2.metadata_of(account, instance)) as endpoint:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint)
        here = ec2.this_instance()
        assert imds.public_address_or_none() == here.address
    found = instance_of(account, instance)
    assert (here.instance, here.region) == (instance, "us-east-1")
    assert here.address == ec2.public_address(account, instance)
    assert here.group == found["SecurityGroups"][0]["GroupId"]


def test_metadata_is_given_for_a_token_only():
    with imds.stand_in({"instance-id": "i-0"}) as endpoint:

        def curl(*options):
            command = ["curl", "-s", "-o", os.devnull, "-w", "%{http_code}", *options]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout

        assert curl(f"{endpoint}/latest/meta-data/instance-id") == "401"
        assert curl("-X", "PUT", f"{endpoint}/latest/api/token") == "400"
        lifetime = ["-X", "PUT", "-H", f"{imds.TTL_HEADER}: 60"]
        assert curl(*lifetime, "-H", "X-Forwarded-For: 10.0.0.1", f"{endpoint}/latest/api/token") == "403"
        assert curl(*lifetime, f"{endpoint}/latest/api/token") == "200"
        assert imds.metadata("instance-id", "public-ipv4", endpoint=endpoint) == ["i-0", ""]


def test_elsewhere_it_says_that_this_is_no_instance(free_port):
    with pytest.raises(imds.NotOnEC2, match="run this on an EC2 instance"):
        ec2.this_instance(f"http://127.0.0.1:{free_port}")


def test_an_instance_without_public_address_says_how_to_get_one():
    values = {"instance-id": "i-0", "placement/region": "us-east-1", "mac": "0"}
    values["network/interfaces/macs/0/security-group-ids"] = "sg-0"
    with imds.stand_in(values) as endpoint, pytest.raises(AWSError, match="Elastic IP"):
        ec2.this_instance(endpoint)
