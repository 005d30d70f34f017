"""An AWS account, simulated or real: clients with time limits, and errors in one sentence.

`connect("simulated")` is an account inside this process (moto): nothing leaves the machine, no credentials are read.
`connect("aws")` is the real one, with the credentials that boto3 finds by itself. Both give the same `Account`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore import exceptions as boto_errors
from botocore.config import Config

from helpers import wording

# The caller's and the instance's in the simulated account: addresses that are reserved for examples, RFC 5737.
SIMULATED_ADDRESS, SIMULATED_INSTANCE = "203.0.113.7", "203.0.113.80"
CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 5, 20, 3  # for each call; botocore's own would be 60, 60 and 5

# moto's patch of botocore in this process, while a simulated account is connected
_simulations: list[contextlib.ExitStack] = []


class AWSError(RuntimeError):
    """An AWS call failed; the message says in one sentence what to do. `.code` is AWS's own name of the error."""

    def __init__(self, message: str, code: str = ""):
        super().__init__(message)
        self.code = code


@dataclass
class Account:
    """Clients of one account in one region, `client("lambda")` for instance; `keys` is the folder of SSH keys.

    Each call is noted in `calls` by the name of its IAM action, such as "ec2:RunInstances": the right that it takes.
    """

    simulated: bool
    region: str
    client: Callable[[str], Any] = field(repr=False)  # the same one for the same service
    keys: Path
    calls: list[str] = field(default_factory=list, repr=False)  # those made so far, by the right that each needs
    _folder: Any = field(default=None, repr=False)  # keeps the simulated account's temporary folder alive

    @property
    def ec2(self) -> Any:
        return self.client("ec2")

    @property
    def ssm(self) -> Any:
        return self.client("ssm")

    def __str__(self) -> str:
        return f"{'simulated' if self.simulated else 'real'} AWS account, region {self.region}"


def connect(
    account: str = "simulated",
    region: str = "us-east-1",
    *,
    connect_seconds: float = CONNECT_SECONDS,
    read_seconds: float = READ_SECONDS,
    attempts: int = ATTEMPTS,
) -> Account:
    """The account "simulated" or "aws" (the real one). Calls nothing yet.

    A call may take `connect_seconds` to connect and `read_seconds` to answer, and is tried `attempts` times in all.
    What a simulated account holds lasts until `disconnect()`, or until the real one is connected.
    """
    if account not in ("simulated", "aws"):
        raise ValueError(f'account is "simulated" or "aws", not {account!r}')
    config = Config(
        connect_timeout=connect_seconds,
        read_timeout=read_seconds,
        retries={"mode": "standard", "total_max_attempts": attempts},
    )
    if account == "simulated":
        return _simulated(region, config.merge(Config(ignore_configured_endpoint_urls=True)))
    disconnect()
    with in_words():
        calls: list[str] = []
        clients = _clients(boto3.Session(region_name=region), config, calls)
        account = Account(False, region, clients, Path.home() / ".ssh", calls)
        account.client("ec2")  # a profile or a file that is wrong is said now
    return account


def disconnect() -> None:
    """Forget the simulated account, if there is one; what the real account holds is not touched."""
    while _simulations:
        _simulations.pop().close()


def _simulated(region: str, config: Config) -> Account:
    if not _simulations:
        from moto import mock_aws

        simulation = contextlib.ExitStack()
        simulation.enter_context(_own_configuration_unread())
        # a simulated function is kept, not run: that would take Docker
        simulation.enter_context(mock_aws(config={"lambda": {"use_docker": False}}))
        _simulations.append(simulation)
    session = boto3.Session("simulated", "simulated", region_name=region)
    known = [
        each
        for partition in session.get_available_partitions()
        for each in session.get_available_regions("ec2", partition)
    ]
    if region not in known:  # of a real one AWS may know more than boto3 does
        raise ValueError(f"boto3 knows no region {region!r}{wording.meant(region, known)}: name one as us-east-1")
    folder = tempfile.TemporaryDirectory(prefix="simulated-keys-")
    calls: list[str] = []
    return Account(True, region, _clients(session, config, calls), Path(folder.name), calls, folder)


def _clients(session: boto3.Session, config: Config, calls: list[str]) -> Callable[[str], Any]:
    """The client of a service by its name, which notes each of its calls in `calls`."""

    def client(service: str) -> Any:
        made = session.client(service, config=config)
        made.meta.events.register("before-parameter-build", lambda model, **_: calls.append(f"{service}:{model.name}"))
        return made

    return functools.cache(client)


@contextlib.contextmanager
def _own_configuration_unread() -> Iterator[None]:
    """Inside, neither boto3 nor moto reads the files and the profile that the reader has for the real account."""
    files = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    before = {name: os.environ.pop(name, None) for name in (*files, "AWS_PROFILE", "AWS_DEFAULT_PROFILE")}
    os.environ.update(files)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def agree(statement: str, ask: Callable[[str], str] = input) -> None:
    """Show what is going to be made and what it costs, and ask; AWSError without a "yes"."""
    print(statement)
    try:
        answer = ask("Create it? Type yes: ")
    except Exception as error:  # a kernel without somebody at the keyboard cannot ask
        raise AWSError(f"nothing was created: nobody could be asked ({error}).", "NotAgreed") from error
    if answer.strip().lower() != "yes":
        raise AWSError("nothing was created: you did not answer yes.", "NotAgreed")


# ---- errors in words ----

_LOG_IN = "run `aws configure`, or `aws sso login`, or attach a role to the instance, then try again"
_SENTENCES = {
    "AuthFailure": "AWS does not know these credentials: " + _LOG_IN,
    "InvalidClientTokenId": "AWS does not know these credentials: " + _LOG_IN,
    "UnrecognizedClientException": "AWS does not know these credentials: " + _LOG_IN,
    "SignatureDoesNotMatch": "the secret key does not fit the access key: " + _LOG_IN,
    "ExpiredToken": "the credentials have expired: " + _LOG_IN,
    "ExpiredTokenException": "the credentials have expired: " + _LOG_IN,
    "RequestExpired": "the credentials have expired, or this machine's clock is wrong: set it, or " + _LOG_IN,
    "OptInRequired": "this account may not use EC2 in {region} yet: enable the region, or choose another one",
    "PendingVerification": "AWS is still verifying this account for {region}: wait for its e-mail (up to 4 hours)",
    "VcpuLimitExceeded": "the account's quota of vCPUs in {region} is used up: terminate an instance, choose a smaller "
    "type, or ask for more (Service Quotas, EC2, Running On-Demand Standard instances)",
    "InstanceLimitExceeded": "the account's quota of instances in {region} is used up: terminate one, or ask for more",
    "SecurityGroupLimitExceeded": "the account's quota of security groups is used up: delete one, or ask for more",
    "RulesPerSecurityGroupLimitExceeded": "the security group is full: remove a rule, or ask for a higher quota",
    "VolumeLimitExceeded": "the account's quota of disk space is used up: delete a volume, or ask for more",
    "InsufficientInstanceCapacity": "AWS has no such instance free in {region} at the moment: choose another type or "
    "region, or try again later",
    "Unsupported": "this instance type is not offered there: choose another type or region",
    "InvalidParameterCombination": "this instance type cannot be had with these settings ({message})",
    "VPCIdNotSpecified": "{region} has no default VPC: create one with `aws ec2 create-default-vpc`",
    "DefaultVpcDoesNotExist": "{region} has no default VPC: create one with `aws ec2 create-default-vpc`",
    "ParameterNotFound": "{region} has no such image parameter: choose another system or region",
    "CodeStorageExceededException": "the account's quota of space for functions in {region} is used up: delete old "
    "versions of functions, or ask for more (Service Quotas, Lambda, Function and layer storage)",
    "TooManyRequestsException": "AWS asks to slow down: wait a minute, then try again",
    "RequestLimitExceeded": "AWS asks to slow down: wait a minute, then try again",
    "Throttling": "AWS asks to slow down: wait a minute, then try again",
}
_DENIED = {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "Client.UnauthorizedOperation"}
_BOTO = [  # the first that fits; subclasses first
    (boto_errors.NoCredentialsError, "there are no AWS credentials here: " + _LOG_IN),
    (boto_errors.PartialCredentialsError, "half of the AWS credentials is missing here: " + _LOG_IN),
    (boto_errors.CredentialRetrievalError, "the AWS credentials could not be fetched: " + _LOG_IN),
    (
        boto_errors.ProfileNotFound,
        "there is no such AWS profile: set AWS_PROFILE to one of `aws configure list-profiles`",
    ),
    (boto_errors.ConfigParseError, "the AWS configuration file cannot be read: mend ~/.aws/config"),
    (boto_errors.SSOError, "the AWS single sign-on has ended: run `aws sso login`, then try again"),
    (boto_errors.InvalidRegionError, "that is no AWS region: write it like us-east-1"),
    (
        (boto_errors.HTTPClientError, boto_errors.ConnectionError),
        "AWS does not answer: check the network, the proxy and the name of the region",
    ),
]


@contextlib.contextmanager
def in_words(account: Account | None = None, service: str = "ec2") -> Iterator[None]:
    """Whatever boto3 raises inside becomes an `AWSError`. No credentials are repeated in it.

    service: whose actions are named in the sentences.
    """
    try:
        yield
    except boto_errors.ClientError as error:
        raise AWSError(_sentence(error, account, service), error.response["Error"]["Code"]) from error
    except boto_errors.BotoCoreError as error:
        for kind, sentence in _BOTO:
            if isinstance(error, kind):
                raise AWSError(sentence + ".", type(error).__name__) from error
        raise AWSError(f"the AWS call failed ({error}).", type(error).__name__) from error


def _sentence(error: boto_errors.ClientError, account: Account | None, service: str) -> str:
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    action = f"{'ssm' if error.operation_name == 'GetParameter' else service}:{error.operation_name}"
    if code in _DENIED:
        return f"these credentials may not do {action}: ask the account's administrator to allow this action."
    region = account.region if account else "this region"
    if code in _SENTENCES:
        return _SENTENCES[code].format(region=region, message=message) + "."
    return f"{action} failed with {code}: {message}"
