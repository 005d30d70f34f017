"""What several services of an account need: a role with few rights, a bucket, and a look whether a thing is there.

Each is made where it is missing, and deleted where it is there, so that a step can be run again after an interruption.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from helpers.cloud.account import Account

TAG = "Project"
_GONE = {"ResourceNotFoundException", "NoSuchEntity", "NoSuchBucket", "404", "NoSuchKey"}


def unless_gone(call: Callable[..., dict], words: Iterable[str] = (), **arguments) -> dict | None:
    """What a call with these arguments answers, or None where the thing that they name is not there.

    words: by any of which a service says so, in its code or message, that has no code of its own for it.
    """
    from botocore.exceptions import ClientError

    try:
        return call(**arguments)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        said = f"{code} {error.response['Error'].get('Message', '')}"
        if code not in _GONE and not any(word in said for word in words):
            raise
        return None


def role(account: Account, name: str, service: str, may: Callable[[str], list[dict]]) -> str:
    """The ARN of the role `name`, which `service` takes on. may(arn): the statements of what it may do, and no more."""
    iam = account.client("iam")
    taken_on = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    found = unless_gone(iam.get_role, RoleName=name) or iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [taken_on]}),
        Tags=[{"Key": TAG, "Value": name}],
    )
    arn = found["Role"]["Arn"]
    policy = json.dumps({"Version": "2012-10-17", "Statement": may(arn)})
    iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=policy)
    return arn


def remove_role(account: Account, name: str) -> None:
    iam = account.client("iam")
    unless_gone(iam.delete_role_policy, RoleName=name, PolicyName=name)
    unless_gone(iam.delete_role, RoleName=name)


def make_bucket(account: Account, bucket: str) -> None:
    elsewhere = {} if account.region == "us-east-1" else {"LocationConstraint": account.region}
    where = {"CreateBucketConfiguration": elsewhere} if elsewhere else {}
    account.client("s3").create_bucket(Bucket=bucket, **where)


def remove_bucket(account: Account, bucket: str) -> None:
    """Delete a bucket with all that is in it."""
    s3 = account.client("s3")
    while held := (unless_gone(s3.list_objects_v2, Bucket=bucket) or {}).get("Contents"):
        for each in held:
            s3.delete_object(Bucket=bucket, Key=each["Key"])
    unless_gone(s3.delete_bucket, Bucket=bucket)
