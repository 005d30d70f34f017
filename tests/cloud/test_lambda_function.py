"""The function in a simulated account: made, changed by shares, and taken down, and what Lambda would refuse is refused
here. The simulation keeps functions without running them; test_lambda_zip.py runs the zip."""

import dataclasses
import json
import zipfile
from pathlib import Path

import pytest

from helpers.cloud import lambda_function as functions
from helpers.cloud import lambda_zip, prices
from helpers.cloud.account import AWSError
from helpers.cloud.lambda_function import NAME, Plan
from helpers.cloud.lambda_packages import CannotPackage, Target
from helpers.cloud.lambda_zip import Package


def zip_of(folder: Path, name: str, content: bytes = b"one", handler: bool = True) -> Package:
    """A small zip with the place of the handler in it: the simulated account looks no further."""
    path = folder / f"{name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/model.onnx", content)
        archive.writestr("helpers/serving/on_lambda.py" if handler else "other.py", "")
    return Package(path, Target("3.13", "arm64"), "onnx", {"the model": len(content)}, True)


@pytest.fixture
def account(connected):
    """The simulated account; each test leaves nothing in it, as the teardown says."""
    yield connected
    assert functions.teardown(connected).empty


@pytest.fixture
def plan(tmp_path):
    return Plan(zip_of(tmp_path, "games"))


def test_every_step_can_be_run_again(account, plan):
    url = functions.deploy(account, plan)
    assert url.startswith("https://") and functions.deploy(account, plan) == url
    assert sorted(functions.leftovers(account)["Kind"]) == ["function", "log", "role"]
    assert functions.teardown(account).empty and functions.teardown(account).empty


def test_the_function_is_what_was_planned(account, plan):
    functions.deploy(account, dataclasses.replace(plan, memory=2048, seconds=7, api_key="secret", concurrency=3))
    client = account.client("lambda")
    found = client.get_function(FunctionName=NAME, Qualifier=functions.ALIAS)["Configuration"]
    assert (found["Runtime"], found["Handler"], found["Architectures"]) == ("python3.13", lambda_zip.HANDLER, ["arm64"])
    assert (found["MemorySize"], found["Timeout"]) == (2048, 7)
    assert found["Environment"]["Variables"] == {"API_KEY": "secret"}
    assert client.get_function_concurrency(FunctionName=NAME)["ReservedConcurrentExecutions"] == 3
    assert client.list_tags(Resource=client.get_function(FunctionName=NAME)["Configuration"]["FunctionArn"])["Tags"]


def test_the_url_has_the_two_permissions_that_it_needs_once_each(account, plan):
    functions.deploy(account, plan)
    functions.deploy(account, plan)
    policy = account.client("lambda").get_policy(FunctionName=NAME, Qualifier=functions.ALIAS)["Policy"]
    actions = [entry["Action"] for entry in json.loads(policy)["Statement"]]
    assert sorted(actions) == ["lambda:InvokeFunction", "lambda:InvokeFunctionUrl"]
    assert any(entry.get("InvokedViaFunctionUrl") for entry in json.loads(policy)["Statement"])


def test_the_role_may_write_this_log_and_nothing_else(account, plan):
    functions.deploy(account, plan)
    policy = account.client("iam").get_role_policy(RoleName=NAME, PolicyName=NAME)["PolicyDocument"]
    [statement] = policy["Statement"]
    assert statement["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert (
        statement["Resource"].endswith(f":log-group:/aws/lambda/{NAME}:*") and "eu-central-1" in statement["Resource"]
    )
    assert not account.client("iam").list_attached_role_policies(RoleName=NAME)["AttachedPolicies"]
    [log] = account.client("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]
    assert log["retentionInDays"] == 7


def test_a_new_model_gets_a_tenth_then_all_and_can_be_taken_back(account, plan, tmp_path):
    functions.deploy(account, plan)
    assert functions.shares(account) == {"1": 1.0}
    new = functions.shift(account, zip_of(tmp_path, "new", b"two"))
    assert functions.shares(account) == {"1": 0.9, new: 0.1}
    functions.promote(account, new)
    assert functions.shares(account) == {new: 1.0}
    functions.promote(account, "1")
    assert functions.shares(account) == {"1": 1.0}
    with pytest.raises(ValueError, match="a share lies between 0 and 1"):
        functions.shift(account, plan.package, share=1)


def test_a_zip_that_is_too_large_for_a_call_goes_by_way_of_a_bucket_that_is_gone_afterwards(account, plan, monkeypatch):
    monkeypatch.setattr(lambda_zip, "MOST_ZIPPED", 100)
    assert "by way of a bucket" in functions.statement(account, plan)
    functions.deploy(account, plan)
    assert account.client("lambda").get_function(FunctionName=NAME)["Configuration"]["CodeSize"] == plan.package.zipped
    assert "bucket" not in set(functions.leftovers(account)["Kind"])


def test_a_bucket_that_an_interruption_left_is_taken_down(account, plan):
    where = {"LocationConstraint": account.region}
    account.client("s3").create_bucket(Bucket=functions._bucket(account), CreateBucketConfiguration=where)
    account.client("s3").put_object(Bucket=functions._bucket(account), Key="games.zip", Body=b"")
    assert list(functions.leftovers(account)["Kind"]) == ["bucket"]
    assert functions.teardown(account).empty


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"name": "my function"}, "'my function' is no name of a function"),
        ({"name": "a" * 65}, "64 at most"),
        ({"memory": 64}, "128 to 10240 MB of memory, not 64"),
        ({"memory": 20_000}, "not 20000"),
        ({"seconds": 0}, "1 to 900 seconds, not 0"),
        ({"seconds": 901}, "not 901"),
        ({"log_days": 8}, "a log is kept for one of"),
        ({"concurrency": 0}, "concurrency is at least 1"),
        ({"api_key": "schlüssel"}, "of ASCII"),
        ({"api_key": "k" * 4090}, "variables of a function take 4,096 bytes"),
    ],
)
def test_what_lambda_would_refuse_is_refused_before_any_call(plan, settings, says):
    with pytest.raises(ValueError, match=says):
        dataclasses.replace(plan, **settings)


def test_a_zip_that_lambda_would_not_run_is_refused(plan, tmp_path):
    old = dataclasses.replace(plan.package, target=Target("3.11", "x86_64"))  # its Linux is older than the libraries
    with pytest.raises(CannotPackage, match="Python 3.11 on Linux x86_64, .* under Python 3.12, 3.13, 3.14"):
        Plan(old)
    with pytest.raises(CannotPackage, match="has no helpers/serving/on_lambda.py"):
        Plan(zip_of(tmp_path, "no-handler", handler=False))
    with pytest.raises(CannotPackage, match="is more than the 262.1 MB"):
        Plan(zip_of(tmp_path, "large", bytes(lambda_zip.MOST_UNZIPPED + 1)))


def test_the_price_is_said_first_and_without_a_yes_nothing_is_made(connected, plan, capsys):
    real = dataclasses.replace(connected, simulated=False)
    with pytest.raises(AWSError, match="nothing was created"):
        functions.deploy(real, plan, ask=lambda question: "y")
    printed = capsys.readouterr().out
    assert "a million predictions, at most $0." in printed and "without an API key" in printed
    assert functions.leftovers(connected).empty


def test_a_right_that_is_missing_is_named_with_its_service(account, plan):
    from botocore.exceptions import ClientError

    from helpers.cloud.account import in_words

    denied = {"Error": {"Code": "AccessDeniedException", "Message": "no"}}
    with pytest.raises(AWSError, match="may not do lambda:CreateFunction"), in_words(account, "lambda"):
        raise ClientError(denied, "CreateFunction")


def test_prices_fall_with_the_load_only_where_a_machine_waits_for_it():
    few, many = 10_000, 500_000_000
    assert prices.ec2(few, 1000) == prices.ec2(1_000_000, 1000)
    assert prices.ec2(many, 100)[0] == pytest.approx(2 * prices.ec2(few, 100)[0])
    assert prices.on_lambda(many, 0.001)[0] / many == pytest.approx(prices.on_lambda(few, 0.001)[0] / few)
    assert prices.on_lambda(1_000_000, 0.0011) == prices.on_lambda(1_000_000, 0.002)
