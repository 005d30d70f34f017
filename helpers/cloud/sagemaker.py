"""A model as an endpoint of SageMaker, in the service's own container; a new model beside it, and back to nothing.

In: an `Account` (`account.connect`) and a `Plan` around an archive (`pack`). Out: an endpoint, answers, tables. What
SageMaker would refuse is refused before any call. Each step looks first whether what it makes is there already, so it
can be run again after an interruption; `teardown` finds everything by its name. A simulated account keeps endpoints and
runs none: there `invoke` asks `hosting.Hosts`, the same container on this machine.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

from __future__ import annotations

import csv
import hashlib
import io
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import pandas as pd

from helpers.cloud import prices, resources
from helpers.cloud.account import Account, AWSError, agree, in_words
from helpers.cloud.model_archive import OWN, Archive, signature_of
from helpers.data.delimited import header
from helpers.export.kept import DIGITS
from helpers.serving.media_types import CSV, LINES
from helpers.serving.platforms import fits_in_csv

NAME = "keras-flask-tutorial"  # of the endpoint, and the beginning of the names of what belongs to it
IMAGE = re.compile(r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/[a-z0-9._/-]+(:[\w.-]+|@sha256:[0-9a-f]{64})?")
KINDS = (CSV, "application/json", LINES)  # that the container takes and answers
PICTURES = ("image/", "application/x-image", "application/octet-stream")  # types of a body that is one
MEMORIES = (1024, 2048, 3072, 4096, 5120, 6144)  # MB that a serverless endpoint may have
MOST_CONCURRENT, MOST_INSTANCES = 200, 100
SHARE = 0.1  # of the requests, for a new model that is tried
MOST_LETTERS = 63  # of a name
MOST_BYTES = 25 * 2**20  # of a request; a batch transform sends parts of a file
# https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints-invoke.html, read in November 2026
MOST_BYTES_SERVERLESS = 4 * 2**20
_GONE = ("Could not find", "does not exist", "Not Found", "NotFound")


@dataclass(frozen=True)
class Plan:
    """An endpoint that is to be made; ValueError for what SageMaker would refuse.

    image: the container's address in a registry of ECR, to which `podman push` brings it. instance, count: machines
    that are always there; or memory, concurrency: a serverless endpoint with so many MB, which runs so often at once.
    """

    archive: Archive
    image: str
    name: str = NAME
    instance: str = "ml.t2.medium"
    count: int = 1
    memory: int | None = None
    concurrency: int = 5
    api_key: str | None = field(default=None, repr=False)

    def __post_init__(self):
        if not re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,39}", self.name):
            raise ValueError(f"{self.name!r} is no name of an endpoint: letters, digits and -, 40 at most")
        if not IMAGE.fullmatch(self.image):
            raise ValueError(
                f"{self.image!r} is no image of ECR: write it like "
                f"123456789012.dkr.ecr.us-east-1.amazonaws.com/{NAME}:1, and push it there"
            )
        if self.memory is None:
            _check_price(self.instance)
        if not 1 <= self.count <= MOST_INSTANCES:
            raise ValueError(f"an endpoint has 1 to {MOST_INSTANCES} machines, not {self.count}")
        if self.memory is not None and self.memory not in MEMORIES:
            raise ValueError(f"a serverless endpoint has one of {MEMORIES} MB, not {self.memory}")
        if self.memory is not None and not 1 <= self.concurrency <= MOST_CONCURRENT:
            raise ValueError(f"a serverless endpoint runs 1 to {MOST_CONCURRENT} times at once, not {self.concurrency}")
        if self.archive.container != OWN:
            raise ValueError(
                f"{self.archive.path.name} is laid out for {self.archive.container}'s container: pack it for our own"
            )

    @property
    def model(self) -> str:
        """The model's name there: another model has another one, so that both can be there at once."""
        return f"{self.name}-{self.archive.version}"

    def __str__(self) -> str:
        size = f"serverless, {self.memory} MB" if self.memory else f"{self.count} x {self.instance}"
        return f"the endpoint {self.name} ({size}) with the model {self.archive.version}"

    def cost(self) -> str:
        """What it costs, in words."""
        if self.memory:
            million, _ = prices.sagemaker_serverless(1_000_000, 0.002, self.memory / 1024)
            return f"nothing while nobody calls; about ${million:.2f} a million predictions ({prices.AS_OF})"
        hour = self.count * prices.SAGEMAKER_HOUR[self.instance]
        return f"${hour:.3f} an hour, ${hour * 24:.2f} a day, until it is torn down ({prices.AS_OF})"


def _check_price(instance: str) -> None:
    if instance not in prices.SAGEMAKER_HOUR:
        known = ", ".join(prices.SAGEMAKER_HOUR)
        raise ValueError(f"{instance!r} is no machine whose price is known: choose one of {known}")


class Answer(NamedTuple):
    """What an endpoint answered, and which of its variants."""

    body: bytes
    content_type: str
    variant: str


def statement(account: Account, plan: Plan) -> str:
    """What `deploy` is going to do, for the reader to agree to."""
    return "\n".join(
        [
            f"Where    {account}",
            f"Creates  {plan}",
            f"         a bucket with {plan.archive.path.name}, a model package, a role that may read both",
            f"Costs    {'nothing: the account is simulated' if account.simulated else plan.cost()}",
        ]
    )


# ---- the steps ----


def deploy(account: Account, plan: Plan, ask: Callable[[str], str] = input) -> str:
    """Make all of it and wait until it answers; returns the endpoint's name. One that is there gets the plan's model.

    On the real account it first says what will be made and what it costs, and asks; without a "yes" it makes nothing.
    """
    client = account.client("sagemaker")
    with in_words(account, "sagemaker"):
        there = _unless_gone(client.describe_endpoint, EndpointName=plan.name)
    if not account.simulated and not there:
        agree(statement(account, plan), ask)
    _register(account, plan)
    with in_words(account, "sagemaker"):
        config = _config(account, plan, {plan.model: 1.0})
        if there is None:
            client.create_endpoint(EndpointName=plan.name, EndpointConfigName=config, Tags=_tags(plan.name))
        elif there["EndpointConfigName"] != config:
            _change(account, plan.name, config)
        client.get_waiter("endpoint_in_service").wait(EndpointName=plan.name)
    return plan.name


def shift(account: Account, plan: Plan, share: float = SHARE) -> str:
    """Put `plan`'s model beside the one that answers: it gets `share` of the requests. Returns its variant.

    Blue and green: the machines of the one before stay, so that taking it back is one call.
    """
    if not 0 < share < 1:
        raise ValueError(f"a share lies between 0 and 1, not at {share}")
    if plan.memory:
        raise ValueError("a serverless endpoint has one model: make a second endpoint, or deploy the new model")
    [now] = [variant for variant, weight in shares(account, plan.name).items() if weight == 1] or [None]
    if now is None:
        raise ValueError(f"{plan.name} tries a new model already: promote one of its variants first")
    if now == plan.model:
        return now
    _register(account, plan)
    with in_words(account, "sagemaker"):
        config = _config(account, plan, {now: 1 - share, plan.model: share})
        _change(account, plan.name, config)
        account.client("sagemaker").get_waiter("endpoint_in_service").wait(EndpointName=plan.name)
    return plan.model


def promote(account: Account, variant: str, name: str = NAME) -> None:
    """Let one variant answer every request: the new one, or the one before to take the new one back."""
    there = shares(account, name)
    if variant not in there:
        raise AWSError(f"{name} has no variant {variant}: there is {', '.join(there) or 'none'}.", "NoVariant")
    wanted = [{"VariantName": each, "DesiredWeight": float(each == variant)} for each in there]
    with in_words(account, "sagemaker"):
        client = account.client("sagemaker")
        client.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=wanted)
        client.get_waiter("endpoint_in_service").wait(EndpointName=name)


def shares(account: Account, name: str = NAME) -> dict[str, float]:
    """Which variants there are, and which share of the requests each gets."""
    with in_words(account, "sagemaker"):
        found = account.client("sagemaker").describe_endpoint(EndpointName=name)["ProductionVariants"]
    weights = {each["VariantName"]: each.get("CurrentWeight", 1.0) for each in found}
    return {variant: round(weight / sum(weights.values()), 6) for variant, weight in weights.items()}


def invoke(
    account: Account,
    body: str | bytes,
    content_type: str = "text/csv",
    accept: str = "application/json",
    name: str = NAME,
    hosts: Callable[[str, bytes, str, str], tuple[bytes, str]] | None = None,
) -> Answer:
    """Ask the endpoint. hosts: what answers for a variant where the account is simulated (`hosting.Hosts`)."""
    body = body.encode() if isinstance(body, str) else body
    if content_type not in KINDS and not content_type.startswith(PICTURES):
        raise ValueError(f"the container takes {', '.join(KINDS)} and pictures, image/..., not {content_type!r}")
    _check_size(body, MOST_BYTES, "a request")
    if len(body) > MOST_BYTES_SERVERLESS and _is_serverless(account, name):
        _check_size(body, MOST_BYTES_SERVERLESS, "a request to a serverless endpoint")
    if not account.simulated:
        with in_words(account, "sagemaker"):
            found = account.client("sagemaker-runtime").invoke_endpoint(
                EndpointName=name, Body=body, ContentType=content_type, Accept=accept
            )
        return Answer(found["Body"].read(), found["ContentType"], found.get("InvokedProductionVariant", ""))
    if hosts is None:
        raise ValueError("a simulated account runs no endpoint: give hosts=, what runs the container on this machine")
    there = shares(account, name)
    [variant] = random.choices(list(there), list(there.values()))
    return Answer(*hosts(variant, body, content_type, accept), variant)


def _check_size(body: bytes, most: int, what: str) -> None:
    if len(body) > most:
        raise ValueError(f"{what} has {most // 2**20} MB at most, not {len(body) / 2**20:.1f}: use `transform`")


def _is_serverless(account: Account, name: str) -> bool:
    with in_words(account, "sagemaker"):
        client = account.client("sagemaker")
        config = client.describe_endpoint(EndpointName=name)["EndpointConfigName"]
        variants = client.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
    return any("ServerlessConfig" in variant for variant in variants)


def transform(account: Account, plan: Plan, rows: str, instance: str = "ml.m5.large") -> str:
    """Let a batch transform answer each line of a CSV text; returns where its answers will lie, line by line.

    They are CSV, or JSON where a line of CSV holds none. SageMaker starts machines for it, sends them parts of it,
    and stops them. ValueError for a model that takes no lines of CSV, and for a first line of names: only the first
    part would hold it, and the others be read in the order of the model's table.
    """
    signature = signature_of(plan.archive)
    reader, cells = signature.reader(), next(csv.reader(io.StringIO(rows)), [])
    if not reader.takes_cells:
        raise ValueError("a batch transform sends lines of CSV, which hold no pictures and arrays: ask the endpoint")
    if cells and header(reader, cells):
        raise ValueError(
            f"the first line names the columns ({', '.join(cells[:3])}, ...), and SageMaker cuts the file into parts: "
            "leave that line out, and give the columns in the order of the model's table"
        )
    _check_price(instance)
    _register(account, plan)
    accept = CSV if fits_in_csv(signature.outputs) else LINES
    bucket, s3 = _bucket(account, plan.name), account.client("s3")
    with in_words(account, "s3"):
        s3.put_object(Bucket=bucket, Key="transform/in/rows.csv", Body=rows.encode())
    target = f"s3://{bucket}/transform/out/"
    with in_words(account, "sagemaker"):
        client = account.client("sagemaker")
        job = f"{plan.model}-{len(_jobs(account, plan.name)) + 1}"
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/transform/in/"}}
        client.create_transform_job(
            TransformJobName=job,
            ModelName=plan.model,
            MaxPayloadInMB=6,
            BatchStrategy="MultiRecord",
            TransformInput={"DataSource": source, "ContentType": "text/csv", "SplitType": "Line"},
            TransformOutput={"S3OutputPath": target, "Accept": accept, "AssembleWith": "Line"},
            TransformResources={"InstanceType": instance, "InstanceCount": 1},
            Tags=_tags(plan.name),
        )
    return f"{target}rows.csv.out"


def _register(account: Account, plan: Plan) -> None:
    """The archive in its bucket, the role, the model package and the model: of each version one."""
    role = _role(account, plan.name)
    bucket, key = _bucket(account, plan.name), f"models/{plan.archive.version}/{plan.archive.path.name}"
    with in_words(account, "s3"):
        s3 = account.client("s3")
        if _unless_gone(s3.head_bucket, Bucket=bucket) is None:
            resources.make_bucket(account, bucket)
        s3.upload_file(str(plan.archive.path), bucket, key)
    container = {"Image": plan.image, "ModelDataUrl": f"s3://{bucket}/{key}"}
    environment = {"API_KEY": plan.api_key} if plan.api_key else {}
    with in_words(account, "sagemaker"):
        client = account.client("sagemaker")
        if there := _unless_gone(client.describe_model, ModelName=plan.model):
            found = there["PrimaryContainer"]
            if (found["Image"], found.get("Environment", {})) != (plan.image, environment):
                raise AWSError(
                    f"{plan.model} is there with another image or API key: tear {plan.name} down, and deploy it anew.",
                    "OtherContainer",
                )
            return
        group = {"ModelPackageGroupName": plan.name}
        if _unless_gone(client.describe_model_package_group, **group) is None:
            client.create_model_package_group(**group, Tags=_tags(plan.name))
        client.create_model_package(
            **group,
            ModelPackageDescription=f"version {plan.archive.version}",
            ModelApprovalStatus="Approved",
            InferenceSpecification={
                "Containers": [container],
                "SupportedContentTypes": list(KINDS),
                "SupportedResponseMIMETypes": list(KINDS),
            },
        )
        client.create_model(
            ModelName=plan.model,
            PrimaryContainer={**container, "Environment": environment},
            ExecutionRoleArn=role,
            Tags=_tags(plan.name),
        )


def _config(account: Account, plan: Plan, weights: dict[str, float]) -> str:
    """A configuration with a variant for each model; its name tells what is in it."""
    client = account.client("sagemaker")
    shares = [f"{100 * weight:.4g}".replace(".", "-") for weight in weights.values()]
    words = [f"{variant.removeprefix(plan.name + '-')}-{share}" for variant, share in zip(weights, shares, strict=True)]
    size = f"{plan.memory}mb-{plan.concurrency}" if plan.memory else f"{plan.instance.replace('.', '-')}-{plan.count}"
    name = "-".join([plan.name, *words, size])
    if len(name) > MOST_LETTERS:  # two that begin alike are two
        name = f"{name[: MOST_LETTERS - 9].rstrip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    machine = (
        {"ServerlessConfig": {"MemorySizeInMB": plan.memory, "MaxConcurrency": plan.concurrency}}
        if plan.memory
        else {"InstanceType": plan.instance, "InitialInstanceCount": plan.count}
    )
    variants = [
        {"VariantName": variant, "ModelName": variant, "InitialVariantWeight": weight, **machine}
        for variant, weight in weights.items()
    ]
    if _unless_gone(client.describe_endpoint_config, EndpointConfigName=name) is None:
        client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants, Tags=_tags(plan.name))
    return name


def _change(account: Account, name: str, config: str) -> None:
    """Give the endpoint another configuration; SageMaker starts the new machines before it stops the old ones."""
    client = account.client("sagemaker")
    if account.simulated:  # which has no such call: the same end by another way
        client.delete_endpoint(EndpointName=name)
        client.create_endpoint(EndpointName=name, EndpointConfigName=config, Tags=_tags(name))
        return
    client.update_endpoint(EndpointName=name, EndpointConfigName=config)


def _role(account: Account, name: str) -> str:
    """The role that the containers run as: it may read its bucket and its image, write its log, and do nothing else."""
    bucket = _bucket(account, name)

    def may(_: str) -> list[dict]:
        images = ["ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        logs = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "cloudwatch:PutMetricData"]
        objects = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        return [
            {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:ListBucket"], "Resource": objects},
            {"Effect": "Allow", "Action": [*images, *logs], "Resource": "*"},
        ]

    with in_words(account, "iam"):
        return resources.role(account, _role_name(name), "sagemaker.amazonaws.com", may)


# ---- back to nothing ----


def leftovers(account: Account, name: str = NAME) -> pd.DataFrame:
    """Everything of this endpoint that still exists, one row for each: kind, id. Empty after a teardown."""
    return pd.DataFrame([row[:2] for row in _all(account, name)], columns=["Kind", "Id"])


def teardown(account: Account, name: str = NAME) -> pd.DataFrame:
    """Delete the endpoint and all that was made for it; returns what is left: an empty table."""
    for _, _, delete in _all(account, name):
        with in_words(account, "sagemaker"):
            _unless_gone(delete)
    return leftovers(account, name)


def _all(account: Account, name: str) -> list[tuple[str, str, Callable]]:
    """(kind, id, what deletes it) of each thing that is there, in the order in which they can be deleted."""
    client, iam, s3, found = account.client("sagemaker"), account.client("iam"), account.client("s3"), []
    bucket, group = _bucket(account, name), {"ModelPackageGroupName": name}
    with in_words(account, "sagemaker"):
        if _unless_gone(client.describe_endpoint, EndpointName=name):
            found.append(("endpoint", name, partial(client.delete_endpoint, EndpointName=name)))
        for each in _named(client, "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName", name):
            found.append(("configuration", each, partial(client.delete_endpoint_config, EndpointConfigName=each)))
        for each in _named(client, "list_models", "Models", "ModelName", name):
            found.append(("model", each, partial(client.delete_model, ModelName=each)))
        # a simulated account has no call that deletes a package
        if not account.simulated and _unless_gone(client.describe_model_package_group, **group):
            pages = client.get_paginator("list_model_packages").paginate(**group)
            for each in [each for page in pages for each in page["ModelPackageSummaryList"]]:
                arn = each["ModelPackageArn"]
                found.append(("package", arn, partial(client.delete_model_package, ModelPackageName=arn)))
            found.append(("package group", name, partial(client.delete_model_package_group, **group)))
    with in_words(account, "s3"):
        if _unless_gone(s3.head_bucket, Bucket=bucket):
            found.append(("bucket", bucket, partial(resources.remove_bucket, account, bucket)))
    with in_words(account, "logs"):
        # SageMaker makes it, and keeps it for ever
        log, logs = f"/aws/sagemaker/Endpoints/{name}", account.client("logs")
        if log in [each["logGroupName"] for each in logs.describe_log_groups(logGroupNamePrefix=log)["logGroups"]]:
            found.append(("log", log, partial(logs.delete_log_group, logGroupName=log)))
    with in_words(account, "iam"):
        if _unless_gone(iam.get_role, RoleName=_role_name(name)):
            found.append(("role", _role_name(name), partial(resources.remove_role, account, _role_name(name))))
    return found


def _named(client, call: str, of: str, key: str, name: str) -> list[str]:
    """The names of those that begin with `name` and a model's version: another endpoint may be called `name`-new."""
    ours = re.compile(rf"{name}-[0-9a-f]{{{DIGITS}}}(-|$)")
    every = client.get_paginator(call).paginate(NameContains=name)
    return [each[key] for page in every for each in page[of] if ours.match(each[key])]


def _jobs(account: Account, name: str) -> list[str]:
    pages = account.client("sagemaker").get_paginator("list_transform_jobs").paginate(NameContains=name)
    return [each["TransformJobName"] for page in pages for each in page["TransformJobSummaries"]]


# ---- small parts ----


def _bucket(account: Account, name: str) -> str:
    """The name of the bucket: of all buckets of the world, so it holds the account's number."""
    number = account.client("sts").get_caller_identity()["Account"]
    return f"{name.lower()}-sagemaker-{number}"[:63]


def _role_name(name: str) -> str:
    return f"{name}-sagemaker"  # as a function of Lambda has a role of its own name


def _tags(name: str) -> list[dict]:
    return [{"Key": resources.TAG, "Value": name}]


def _unless_gone(call: Callable[..., dict], **arguments) -> dict | None:
    return resources.unless_gone(call, _GONE, **arguments)  # SageMaker says in words what others have a code for
