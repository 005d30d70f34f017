"""A zip as a function of AWS Lambda with a public URL, a new model beside the old one, and back to nothing.

In: an `Account` (`account.connect`) and a `Plan` around a finished zip (`lambda_zip.build`). Out: the URL, versions and
tables. What Lambda would refuse is refused before any call. Each step looks first whether what it makes is there
already, so it can be run again after an interruption; `teardown` finds everything by its name.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pandas as pd

from helpers.cloud import lambda_zip, prices, resources
from helpers.cloud.account import Account, AWSError, agree, in_words
from helpers.cloud.lambda_packages import PYTHONS, CannotPackage
from helpers.cloud.lambda_zip import Package, megabytes
from helpers.cloud.resources import TAG, unless_gone

NAME = "keras-flask-tutorial"  # of the function, of its role, and the value of their tag
ALIAS = "live"  # what the URL leads to: one version of the function, or two by shares
SHARE = 0.1  # of the requests, for a new model that is tried
LOG_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365)  # those that CloudWatch offers, up to a year
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
LEAST_MEMORY, MOST_MEMORY, MOST_SECONDS = 128, 10_240, 900
MOST_VARIABLES = 4096  # bytes of all names and values together
_PUBLIC = {  # both are needed since October 2025: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
    "public-url": {"Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
    "public-call-by-url": {"Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
}


# ---- what will be made, and what it costs ----


@dataclass(frozen=True)
class Plan:
    """A function that is to be made; ValueError or `CannotPackage` for what Lambda would refuse.

    memory: MB, by which Lambda also measures out processor time: 1,769 are one whole core. seconds: an answer may take.
    concurrency: how many may run at once, the limit of the bill; None: as many as the account may, usually 1,000.
    log_days: for which its log is kept, where Lambda's own is for ever. api_key: what callers then have to send.
    """

    package: Package
    name: str = NAME
    memory: int = 1024
    seconds: int = 10
    concurrency: int | None = 5
    log_days: int = 7
    api_key: str | None = field(default=None, repr=False)

    def __post_init__(self):
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", self.name):
            raise ValueError(f"{self.name!r} is no name of a function: letters, digits, - and _, 64 at most")
        if not LEAST_MEMORY <= self.memory <= MOST_MEMORY:
            raise ValueError(f"a function has {LEAST_MEMORY} to {MOST_MEMORY} MB of memory, not {self.memory}")
        if not 1 <= self.seconds <= MOST_SECONDS:
            raise ValueError(f"an answer may take 1 to {MOST_SECONDS} seconds, not {self.seconds}")
        if self.log_days not in LOG_DAYS:
            raise ValueError(f"a log is kept for one of {LOG_DAYS} days, not {self.log_days}")
        if self.concurrency is not None and self.concurrency < 1:
            raise ValueError("concurrency is at least 1")
        key = self.api_key or ""
        if key and not (key.isascii() and key.isprintable()):
            raise ValueError("an API key is of letters, digits and signs of ASCII")
        if len("API_KEY" + key) > MOST_VARIABLES:
            raise ValueError(f"the variables of a function take {MOST_VARIABLES:,} bytes, the API key among them")
        check(self.package)

    def __str__(self) -> str:
        target = self.package.target
        return (
            f"the function {self.name} ({target.runtime}, {target.machine}, {self.memory} MB, "
            f"{megabytes(self.package.unzipped)} unpacked)"
        )

    def cost(self) -> str:
        """What it costs, in words."""
        gigabytes, machine = self.memory / 1024, self.package.target.machine
        million, _ = prices.on_lambda(1_000_000, 0.002, gigabytes, machine)
        most = (
            f"at most ${prices.lambda_at_most(self.concurrency, gigabytes, machine):.2f} an hour"
            if self.concurrency
            else "without a limit but the account's"
        )
        return f"nothing while nobody calls; about ${million:.2f} a million predictions, {most} ({prices.AS_OF})"


def check(package: Package) -> None:
    """Refuse a zip that Lambda would take and never run, or not take: its Python, its processor, its size, its code."""
    target = package.target
    if target.system != "linux" or target.python not in PYTHONS:
        raise CannotPackage(
            f"the zip is for {target}, and the libraries in it run on Lambda under Python {', '.join(PYTHONS)}: "
            "build it for Target.on_lambda()"
        )
    with zipfile.ZipFile(package.path) as archive:
        lambda_zip.check_size({entry.filename: entry.file_size for entry in archive.infolist()})
        module = lambda_zip.HANDLER.rpartition(".")[0].replace(".", "/") + ".py"
        if module not in archive.namelist():
            raise CannotPackage(f"{package.path.name} has no {module}, which Lambda would call: build it again")


def statement(account: Account, plan: Plan) -> str:
    """What `deploy` is going to do, for the reader to agree to."""
    cost = "nothing: the account is simulated" if account.simulated else plan.cost()
    by_bucket = "; the zip goes by way of a bucket of S3, emptied at once" if _is_large(plan.package) else ""
    return "\n".join(
        [
            f"Where    {account}",
            f"Creates  {plan}",
            f"         a role that may write its log, a log kept for {plan.log_days} days{by_bucket}",
            f"         a public URL, {'with' if plan.api_key else 'without'} an API key",
            f"Costs    {cost}",
        ]
    )


# ---- the steps ----


def deploy(account: Account, plan: Plan, ask: Callable[[str], str] = input) -> str:
    """Make all of it, or bring what is there up to date; returns the URL.

    On the real account it first says what will be made and what it costs, and asks; without a "yes" it makes nothing.
    """
    if not account.simulated:
        with in_words(account, "lambda"):
            there = _function(account, plan.name)
        if not there:
            agree(statement(account, plan), ask)
    with in_words(account, "iam"):
        role = _role(account, plan.name)
    with in_words(account, "logs"):
        _log(account, plan)
    version = _publish(account, plan, role)
    with in_words(account, "lambda"):
        _point(account, plan.name, version)
        _limit(account, plan)
        return _url(account, plan.name)


def shift(account: Account, package: Package, share: float = SHARE, name: str = NAME) -> str:
    """Put another model beside the one that answers: it gets `share` of the requests. Returns its version."""
    if not 0 < share < 1:
        raise ValueError(f"a share lies between 0 and 1, not at {share}")
    check(package)
    with in_words(account, "lambda"):
        client = account.client("lambda")
        now = client.get_alias(FunctionName=name, Name=ALIAS)["FunctionVersion"]
        version = _new_version(account, package, name)
        if version != now:
            routing = {"AdditionalVersionWeights": {version: share}}
            client.update_alias(FunctionName=name, Name=ALIAS, FunctionVersion=now, RoutingConfig=routing)
    return version


def promote(account: Account, version: str, name: str = NAME) -> None:
    """Let this version answer every request: the new one, or the one before it to take the new one back."""
    with in_words(account, "lambda"):
        _point(account, name, version)


def shares(account: Account, name: str = NAME) -> dict[str, float]:
    """Which versions answer, and which share of the requests each."""
    with in_words(account, "lambda"):
        alias = account.client("lambda").get_alias(FunctionName=name, Name=ALIAS)
    others = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    return {alias["FunctionVersion"]: round(1.0 - sum(others.values()), 6), **others}


def _role(account: Account, name: str) -> str:
    """The role that the function runs as: it may write its own log and do nothing else."""

    def may(arn: str) -> list[dict]:
        log = f"arn:{arn.split(':')[1]}:logs:{account.region}:{arn.split(':')[4]}:log-group:{_log_group(name)}:*"
        return [{"Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": log}]

    return resources.role(account, name, "lambda.amazonaws.com", may)


def _log(account: Account, plan: Plan) -> None:
    logs, group = account.client("logs"), _log_group(plan.name)
    with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName=group, tags={TAG: plan.name})
    logs.put_retention_policy(logGroupName=group, retentionInDays=plan.log_days)


def _publish(account: Account, plan: Plan, role: str) -> str:
    """The function with this code and these settings, as a version that never changes."""
    client, target = account.client("lambda"), plan.package.target
    settings = {
        "Role": role,
        "Runtime": target.runtime,
        "Handler": lambda_zip.HANDLER,
        "MemorySize": plan.memory,
        "Timeout": plan.seconds,
        "Environment": {"Variables": {"API_KEY": plan.api_key} if plan.api_key else {}},
    }
    with in_words(account, "lambda"):
        if _function(account, plan.name) is None:
            with _code(account, plan.package) as code:
                more = {"Code": code, "Architectures": [target.machine], "Tags": {TAG: plan.name}}
                _once_the_role_is_known(lambda: client.create_function(FunctionName=plan.name, **settings, **more))
            client.get_waiter("function_active_v2").wait(FunctionName=plan.name)
        else:
            client.update_function_configuration(FunctionName=plan.name, **settings)
            client.get_waiter("function_updated_v2").wait(FunctionName=plan.name)
        return _new_version(account, plan.package, plan.name)


def _new_version(account: Account, package: Package, name: str) -> str:
    """The number of the version with this code; that of an earlier one where nothing has changed."""
    client = account.client("lambda")
    with _code(account, package) as code:
        client.update_function_code(FunctionName=name, Architectures=[package.target.machine], **code)
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    return client.publish_version(FunctionName=name)["Version"]


@contextlib.contextmanager
def _code(account: Account, package: Package) -> Iterator[dict]:
    """The zip as a call takes it: as it is, or where it is too large for that, in a bucket that is there meanwhile."""
    if not _is_large(package):
        yield {"ZipFile": package.path.read_bytes()}
        return
    s3, bucket = account.client("s3"), _bucket(account)
    resources.make_bucket(account, bucket)
    try:
        s3.upload_file(str(package.path), bucket, package.path.name)
        yield {"S3Bucket": bucket, "S3Key": package.path.name}
    finally:
        resources.remove_bucket(account, bucket)


def _point(account: Account, name: str, version: str) -> None:
    """Lead the alias to one version alone."""
    client, alias = account.client("lambda"), {"FunctionName": name, "Name": ALIAS}
    if unless_gone(client.get_alias, **alias) is None:
        client.create_alias(**alias, FunctionVersion=version)
    client.update_alias(**alias, FunctionVersion=version, RoutingConfig={"AdditionalVersionWeights": {}})


def _limit(account: Account, plan: Plan) -> None:
    client = account.client("lambda")
    if plan.concurrency is None:
        client.delete_function_concurrency(FunctionName=plan.name)
        return
    try:
        client.put_function_concurrency(FunctionName=plan.name, ReservedConcurrentExecutions=plan.concurrency)
    except client.exceptions.InvalidParameterValueException as error:
        raise AWSError(
            f"this account may run too few functions at once to keep {plan.concurrency} for this one: ask for more "
            "(Service Quotas, Lambda, Concurrent executions), or plan with concurrency=None.",
            "Concurrency",
        ) from error


def _url(account: Account, name: str) -> str:
    """The public URL of the alias, with both permissions that it takes."""
    client, alias = account.client("lambda"), {"FunctionName": name, "Qualifier": ALIAS}
    policy = unless_gone(client.get_policy, **alias)
    there = {entry["Sid"] for entry in json.loads(policy["Policy"])["Statement"]} if policy else set()
    for statement_id, permission in _PUBLIC.items():
        if statement_id not in there:
            client.add_permission(**alias, StatementId=statement_id, Principal="*", **permission)
    found = unless_gone(client.get_function_url_config, **alias)
    return (found or client.create_function_url_config(**alias, AuthType="NONE"))["FunctionUrl"]


# ---- back to nothing ----


def leftovers(account: Account, name: str = NAME) -> pd.DataFrame:
    """Everything of this function that still exists, one row for each: kind, id, state. Empty after a teardown."""
    rows = []
    with in_words(account, "lambda"):
        if function := _function(account, name):
            rows.append(("function", name, function["Configuration"]["State"]))
    with in_words(account, "iam"):
        if unless_gone(account.client("iam").get_role, RoleName=name):
            rows.append(("role", name, ""))
    with in_words(account, "logs"):
        groups = account.client("logs").describe_log_groups(logGroupNamePrefix=_log_group(name))["logGroups"]
        rows += [("log", each["logGroupName"], "") for each in groups if each["logGroupName"] == _log_group(name)]
    with in_words(account, "s3"):
        if unless_gone(account.client("s3").head_bucket, Bucket=_bucket(account)):
            rows.append(("bucket", _bucket(account), ""))
    return pd.DataFrame(rows, columns=["Kind", "Id", "State"])


def teardown(account: Account, name: str = NAME) -> pd.DataFrame:
    """Delete the function with its URL and versions, its role, log and bucket; returns what is left: an empty table."""
    logs = account.client("logs")
    with in_words(account, "lambda"):
        unless_gone(account.client("lambda").delete_function, FunctionName=name)
    with in_words(account, "iam"):
        resources.remove_role(account, name)
    with in_words(account, "logs"):
        unless_gone(logs.delete_log_group, logGroupName=_log_group(name))
    with in_words(account, "s3"):
        resources.remove_bucket(account, _bucket(account))
    return leftovers(account, name)


# ---- small parts ----


def _is_large(package: Package) -> bool:
    return package.zipped > lambda_zip.MOST_ZIPPED


def _log_group(name: str) -> str:
    return f"/aws/lambda/{name}"


def _bucket(account: Account) -> str:
    """The name of the bucket: of all buckets of the world, so it holds the account's number."""
    return f"{NAME}-{account.client('sts').get_caller_identity()['Account']}-{account.region}"


def _function(account: Account, name: str) -> dict | None:
    return unless_gone(account.client("lambda").get_function, FunctionName=name)


def _once_the_role_is_known(create: Callable[[], object], seconds: float = 60) -> None:
    """A role that was just made takes Lambda some seconds to see."""
    from botocore.exceptions import ClientError

    end = time.monotonic() + seconds
    while True:
        try:
            create()
            return
        except ClientError as error:
            if "assume" not in error.response["Error"].get("Message", "") or time.monotonic() > end:
                raise
        time.sleep(3)
