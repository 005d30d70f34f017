"""From nothing to a public endpoint on EC2, and back to nothing.

In: an `Account` (`account.connect`). Out: ids, addresses and tables. Each step looks first whether what it
makes is there already, so it can be run again after an interruption at any point; everything carries one tag, by
which `teardown` finds it. `diagnose(url)` says why a URL does not answer.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd

from helpers.cloud import doctor, imds, prices
from helpers.cloud.account import SIMULATED_ADDRESS, SIMULATED_INSTANCE, Account, AWSError, agree, in_words
from helpers.cloud.resources import TAG
from helpers.whole_file import becoming

NAME = "keras-flask-tutorial"  # of everything that is made, and the value of its tag
PORTS = {22: "SSH", 5000: "predictions"}
JUPYTER = 8888  # opened only where Jupyter listens on it, with `user_data(..., jupyter="open")`
INTERNET = "0.0.0.0/0"
ALIVE = ("pending", "running", "stopping", "stopped", "shutting-down")  # AWS shows terminated ones for another hour
ROOT_GIB = 16  # 4 GB environment, 2 GB system, the downloads while installing, and room

IMAGES = {  # AWS and Canonical keep the newest image's id under these names
    "amazon-linux": "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{architecture}",
    "ubuntu": "/aws/service/canonical/ubuntu/server/24.04/stable/current/{architecture}/hvm/ebs-gp3/ami-id",
}


# ---- what will be made, and what it costs ----


@dataclass(frozen=True)
class Plan:
    """An instance that is to be made. `user_data` is the script that it runs when it starts (see `user_data`)."""

    user_data: str
    instance_type: str = "t3.small"  # 2 GiB of memory: less is too little to install TensorFlow
    system: str = "amazon-linux"
    root_gib: int = ROOT_GIB

    def __str__(self) -> str:
        return f"one {self.instance_type} instance ({self.system}) with {self.root_gib} GB of encrypted disk"

    def cost(self) -> str:
        """What it costs, in words."""
        hour = prices.EC2_HOUR.get(self.instance_type)
        if hour is None:
            return "on-demand price, see https://aws.amazon.com/ec2/pricing/on-demand/"
        month = self.root_gib * prices.DISK_MONTH
        return (
            f"about ${hour + prices.ADDRESS_HOUR:.3f} an hour (on demand, us-east-1 in {prices.AS_OF}) "
            f"and ${month:.2f} a month for the disk, until you tear it down"
        )


def statement(account: Account, plan: Plan) -> str:
    """What `launch` is going to do, for the reader to agree to."""
    cost = "nothing: the account is simulated" if account.simulated else plan.cost()
    return "\n".join(
        [
            f"Where    {account}",
            f"Creates  {plan}",
            f"         a key pair, a security group for ports {', '.join(map(str, PORTS))}",
            f"Costs    {cost}",
        ]
    )


# ---- the steps ----


def caller_address(account: Account) -> str:
    """The public IPv4 address that this machine calls from (asked of AWS; the simulated account has an example one)."""
    if account.simulated:
        return SIMULATED_ADDRESS
    try:
        with urllib.request.urlopen("https://checkip.amazonaws.com", timeout=5) as answer:
            return str(ipaddress.IPv4Address(answer.read(64).decode().strip()))
    except (OSError, ValueError) as error:
        raise AWSError(
            f"this machine's public IPv4 address cannot be found ({error}): pass your own instead."
        ) from error


def newest_image(account: Account, system: str = "amazon-linux", instance_type: str = "t3.small") -> str:
    """The id of the newest image of `system` ("amazon-linux" or "ubuntu") for the processor of `instance_type`."""
    arm = re.match(r"(a1|[a-z]+\d+g[a-z]*)\.", instance_type) and not instance_type.startswith("g")
    names = ("x86_64", "arm64") if system == "amazon-linux" else ("amd64", "arm64")
    if system not in IMAGES:
        raise ValueError(f"system is one of {', '.join(IMAGES)}, not {system!r}")
    with in_words(account):
        name = IMAGES[system].format(architecture=names[bool(arm)])
        return account.ssm.get_parameter(Name=name)["Parameter"]["Value"]


def key_pair(account: Account) -> Path:
    """The private SSH key, made if there is none; AWS gets the public half only.

    The file is written before AWS hears of it: an interruption in between leaves a key that the next run takes up.
    """
    path = account.keys / f"{NAME}-{account.region}"
    public = _public_key(path)
    with in_words(account):
        here = _find(account.ec2.describe_key_pairs(Filters=_by_tag(), IncludePublicKey=True)["KeyPairs"])
        if here and here["PublicKey"].split()[1] == public.split()[1]:
            return path
        if here:  # of a private key that is gone; a running instance keeps what it was started with
            account.ec2.delete_key_pair(KeyName=NAME)
        account.ec2.import_key_pair(
            KeyName=NAME, PublicKeyMaterial=public.encode(), TagSpecifications=_tagged("key-pair")
        )
    return path


def _public_key(path: Path) -> str:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not path.exists():
        private = Ed25519PrivateKey.generate().private_bytes(
            form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption()
        )
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with becoming(path, 0o600) as part:
            part.write_bytes(private)
    public = form.load_ssh_private_key(path.read_bytes(), None).public_key()
    return public.public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH).decode()


def security_group(
    account: Account, address: str | None = None, ports: Iterable[int] = tuple(PORTS), *, whole_internet: bool = False
) -> str:
    """The id of the security group, made if there is none, with inbound rules for exactly these ports.

    address: the IPv4 address that may call, by itself (/32) or as a block; None for the caller's own. The whole
    internet only by `whole_internet=True`. Rules of an earlier run, from an address that has changed, are removed.
    """
    source = address or (INTERNET if whole_internet else caller_address(account))
    wanted = {(port, _block(source, whole_internet)) for port in ports}
    with in_words(account):
        group = _find(account.ec2.describe_security_groups(Filters=_by_tag())["SecurityGroups"])
        if group is None:
            vpc = _find(account.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"])
            if vpc is None:
                raise AWSError(
                    f"{account.region} has no default VPC: create one with `aws ec2 create-default-vpc`.",
                    "NoDefaultVpc",
                )
            group = account.ec2.create_security_group(
                GroupName=NAME,
                Description="Predictions, JupyterLab and SSH of the Keras and Flask tutorial",
                VpcId=vpc["VpcId"],
                TagSpecifications=_tagged("security-group"),
            )
    for port, block in sorted(wanted):
        open_port(account, group["GroupId"], port, block, whole_internet=whole_internet)
    for rule in _rules(account, group["GroupId"]):
        if (rule["FromPort"], rule.get("CidrIpv4")) not in wanted:
            _revoke(account, rule)
    return group["GroupId"]


def open_port(account: Account, group: str, port: int, address: str, *, whole_internet: bool = False) -> None:
    """Add one inbound rule: `address` may call TCP `port`. A rule that is there already is success."""
    block = _block(address, whole_internet)
    if block == INTERNET:
        warnings.warn(f"the whole internet can reach port {port}, and will: keep it for minutes", stacklevel=2)
    rule = {
        "IpProtocol": "tcp",
        "FromPort": port,
        "ToPort": port,
        "IpRanges": [{"CidrIp": block, "Description": {**PORTS, JUPYTER: "JupyterLab"}.get(port, NAME)}],
    }
    try:
        with in_words(account):
            account.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    except AWSError as error:
        if error.code != "InvalidPermission.Duplicate":
            raise


def close_port(account: Account, group: str, port: int, address: str | None = None) -> None:
    """Remove the inbound rules for TCP `port` (only those of `address`, if given). None there is success."""
    block = _block(address, whole_internet=True) if address else None
    for rule in _rules(account, group):
        if rule["FromPort"] == rule["ToPort"] == port and block in (None, rule.get("CidrIpv4")):
            _revoke(account, rule)


def rules_table(account: Account, group: str) -> pd.DataFrame:
    """The inbound rules as the EC2 console shows them (the article's picture), one row for each."""
    columns = ["Type", "Protocol", "Port range", "Source", "Description"]
    kinds = {22: "SSH", -1: "All traffic"}
    rows = [
        (
            kinds.get(rule["FromPort"], "Custom TCP"),
            rule["IpProtocol"].upper().replace("-1", "All"),
            str(rule["FromPort"]) if rule["FromPort"] == rule["ToPort"] else f"{rule['FromPort']} - {rule['ToPort']}",
            rule.get("CidrIpv4") or rule.get("CidrIpv6") or rule.get("ReferencedGroupInfo", {}).get("GroupId", ""),
            rule.get("Description", ""),
        )
        for rule in sorted(_rules(account, group), key=lambda rule: (rule["FromPort"], rule.get("CidrIpv4", "")))
    ]
    return pd.DataFrame(rows, columns=columns)


def launch(account: Account, plan: Plan, ask: Callable[[str], str] = input) -> str:
    """The id of the running instance, made if there is none.

    On the real account it first says what will be made and what it costs, and asks; without a "yes" it makes nothing.
    """
    with in_words(account):
        mine = _instances(account)
        for instance in mine:
            if instance["State"]["Name"] in ("pending", "running"):
                return instance["InstanceId"]
            if instance["State"]["Name"] == "stopping":
                raise AWSError(f"the instance {instance['InstanceId']} is stopping: run this again in a minute.")
            if instance["State"]["Name"] == "stopped":
                account.ec2.start_instances(InstanceIds=[instance["InstanceId"]])
                return instance["InstanceId"]
        group = _find(account.ec2.describe_security_groups(Filters=_by_tag())["SecurityGroups"])
        keys = _find(account.ec2.describe_key_pairs(Filters=_by_tag())["KeyPairs"])
        if group is None or keys is None:
            raise AWSError("there is no key pair or no security group yet: run key_pair() and security_group() first.")
        if not account.simulated:
            agree(statement(account, plan), ask)
        image = newest_image(account, plan.system, plan.instance_type)
        root = account.ec2.describe_images(ImageIds=[image])["Images"][0]["RootDeviceName"]
        # The same token makes no second instance where the answer to the first call was lost; after a teardown it is
        # another one, as the instances that were there are then among what it is made of.
        gone = [instance["InstanceId"] for instance in mine]
        token = hashlib.sha256(repr((group["GroupId"], plan, image, gone)).encode()).hexdigest()[:32]
        started = account.ec2.run_instances(
            ImageId=image,
            InstanceType=plan.instance_type,
            MinCount=1,
            MaxCount=1,
            ClientToken=token,
            KeyName=NAME,
            SecurityGroupIds=[group["GroupId"]],
            UserData=plan.user_data,
            MetadataOptions={"HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 1},
            BlockDeviceMappings=[
                {
                    "DeviceName": root,
                    "Ebs": {
                        "VolumeSize": plan.root_gib,
                        "VolumeType": "gp3",
                        "Encrypted": True,
                        "DeleteOnTermination": True,
                    },
                }
            ],
            TagSpecifications=_tagged("instance", "volume"),
            # "unlimited", the default, would bill what a busy processor uses beyond its share
            **({"CreditSpecification": {"CpuCredits": "standard"}} if plan.instance_type.startswith("t") else {}),
        )
    return started["Instances"][0]["InstanceId"]


def public_address(account: Account, instance: str, seconds: float = 120) -> str:
    """The public IPv4 address of the instance, as soon as it runs; raises AWSError after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        found = _describe(account, instance)
        state = found.get("State", {}).get("Name", "not known yet")
        if state == "running" and found.get("PublicIpAddress"):
            return found["PublicIpAddress"]
        if state in ("shutting-down", "terminated", "stopping", "stopped"):
            reason = found.get("StateReason", {}).get("Message", "no reason given")
            raise AWSError(f"the instance {instance} is {state} ({reason}): run teardown() and start again.")
        if time.monotonic() > end:
            remedy = "its subnet gives no public addresses" if state == "running" else "look at it in the EC2 console"
            raise AWSError(f"the instance {instance} has no public address after {seconds:g} s ({state}): {remedy}.")
        time.sleep(3)


def wait_until_ready(account: Account, url: str, instance: str | None = None, seconds: float = 900) -> doctor.Diagnosis:
    """Wait until the endpoint at `url` answers well; installing takes an instance 3 to 6 minutes.

    Raises AWSError after `seconds`, with the doctor's line and the last lines of the instance's console.
    """
    end = time.monotonic() + seconds
    said = ""
    while True:
        found = doctor.diagnose(url)
        if found.ok:
            return found
        helps = found.case not in ("bad_url", "other_service", "airplay")  # to wait
        if helps and found.case != said:
            print(f"waiting: {found}")
            said = found.case
        if not helps or time.monotonic() > end:
            raise AWSError(f"{url} is not ready: {diagnose(url, account)}{_console(account, instance)}", found.case)
        time.sleep(min(5, max(0.1, end - time.monotonic())))


def _console(account: Account, instance: str | None) -> str:
    if instance is None:
        return ""
    with suppress(AWSError), in_words(account):
        output = account.ec2.get_console_output(InstanceId=instance).get("Output", "")
        lines = [line.strip() for line in output.splitlines() if "user-data:" in line]
        return "".join(f"\n  {line}" for line in lines[-5:])
    return ""


# ---- why a URL does not answer ----


def diagnose(url: str, account: Account | None = None, timeout: float = doctor.TIMEOUT) -> doctor.Diagnosis:
    """Why `url` does not answer (`doctor`); with an account, also what the account knows of that address."""
    found = doctor.diagnose(url, timeout)
    if account is None or found.case not in ("timeout", "private_address", "unreachable"):
        return found
    parts = urlsplit(url if "://" in url else f"http://{url}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    for instance in _instances(account, *ALIVE):
        if parts.hostname in (instance.get("PrivateIpAddress"), instance.get("PrivateDnsName")):
            public = instance.get("PublicIpAddress", "none")
            why = f"{parts.hostname} is the private address of {instance['InstanceId']}: use its public one, {public}."
            return replace(found, case="private_address", sentence=why)
        if parts.hostname in (instance.get("PublicIpAddress"), instance.get("PublicDnsName")):
            return replace(found, sentence=_closed_port(account, instance, port) or found.sentence)
    return found


def _closed_port(account: Account, instance: dict, port: int) -> str | None:
    """Which inbound rule is missing, or None where the rules would let the caller in."""
    caller = ipaddress.ip_address(caller_address(account))
    for group in instance["SecurityGroups"]:
        for rule in _rules(account, group["GroupId"]):
            inside = caller in ipaddress.ip_network(rule.get("CidrIpv4", "255.255.255.255/32"))
            if inside and (rule["IpProtocol"] == "-1" or rule["FromPort"] <= port <= rule["ToPort"]):
                return None
    return (
        f"no inbound rule lets {caller} call port {port} of {instance['InstanceId']}: "
        f"open_port(account, {instance['SecurityGroups'][0]['GroupId']!r}, {port}, {str(caller)!r}) adds one."
    )


# ---- from a Jupyter session on an instance ----


@dataclass(frozen=True)
class ThisInstance:
    """The EC2 instance that this program runs on; `group` is its first security group."""

    instance: str
    region: str
    address: str
    group: str


def this_instance(endpoint: str | None = None) -> ThisInstance:
    """What the instance knows about itself (IMDSv2); raises `imds.NotOnEC2` elsewhere.

    endpoint: another metadata service than the instance's own, such as `imds.stand_in`.
    """
    paths = ("instance-id", "placement/region", "public-ipv4", "mac")
    instance, region, address, mac = imds.metadata(*paths, endpoint=endpoint)
    groups = imds.metadata(f"network/interfaces/macs/{mac}/security-group-ids", endpoint=endpoint)[0]
    if not address:
        raise AWSError(
            f"the instance {instance} has no public address: give it one (an Elastic IP) in the EC2 console."
        )
    return ThisInstance(instance, region, address, groups.split()[0])


def metadata_of(account: Account, instance: str) -> dict[str, str]:
    """What the metadata service would say on `instance`: for `imds.stand_in`, where nothing is really started."""
    found = _describe(account, instance)
    card = found["NetworkInterfaces"][0]
    groups = "\n".join(group["GroupId"] for group in found["SecurityGroups"])
    return {
        "instance-id": found["InstanceId"],
        "placement/region": account.region,
        "public-ipv4": found["PublicIpAddress"],
        "mac": card["MacAddress"],
        f"network/interfaces/macs/{card['MacAddress']}/security-group-ids": groups,
    }


# ---- back to nothing ----


def leftovers(account: Account) -> pd.DataFrame:
    """Everything with the tag that still exists, one row for each: kind, id, state. Empty after a teardown."""
    with in_words(account):
        rows = [
            ("instance", instance["InstanceId"], instance["State"]["Name"]) for instance in _instances(account, *ALIVE)
        ]
        volumes = _pages(account, "describe_volumes", "Volumes")
        rows += [("volume", volume["VolumeId"], volume["State"]) for volume in volumes]
        groups = _pages(account, "describe_security_groups", "SecurityGroups")
        rows += [("security group", group["GroupId"], "") for group in groups]
        pairs = account.ec2.describe_key_pairs(Filters=_by_tag())["KeyPairs"]
        rows += [("key pair", pair["KeyPairId"], "") for pair in pairs]
    return pd.DataFrame(rows, columns=["Kind", "Id", "State"])


def teardown(account: Account, seconds: float = 300) -> pd.DataFrame:
    """Terminate and delete everything with the tag, and the private key; returns what is left: an empty table.

    Can be run again after an interruption. Raises AWSError where something is still there after `seconds`.
    """
    end = time.monotonic() + seconds
    with in_words(account):
        alive = [instance["InstanceId"] for instance in _instances(account, *ALIVE)]
        if alive:
            account.ec2.terminate_instances(InstanceIds=alive)
        while _instances(account, *ALIVE):
            _not_later_than(end, "the instance is still shutting down")
        for volume in _pages(account, "describe_volumes", "Volumes"):
            _delete(end, account.ec2.delete_volume, VolumeId=volume["VolumeId"])
        for group in _pages(account, "describe_security_groups", "SecurityGroups"):
            _delete(end, account.ec2.delete_security_group, GroupId=group["GroupId"])
        for pair in account.ec2.describe_key_pairs(Filters=_by_tag())["KeyPairs"]:
            account.ec2.delete_key_pair(KeyName=pair["KeyName"])
    (account.keys / f"{NAME}-{account.region}").unlink(missing_ok=True)
    return leftovers(account)


def _delete(end: float, call: Callable[..., object], **arguments) -> None:
    """Delete, and again while AWS still counts what was just terminated as a user of it; gone already is success."""
    from botocore.exceptions import ClientError

    while True:
        try:
            call(**arguments)
            return
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code.endswith(".NotFound"):
                return
            if code not in ("DependencyViolation", "VolumeInUse"):
                raise
            _not_later_than(end, "AWS still uses it")


def _not_later_than(end: float, why: str) -> None:
    if time.monotonic() > end:
        raise AWSError(f"the teardown is not complete ({why}): run it again in a minute.", "Incomplete")
    time.sleep(3)


# ---- small parts ----


def _tagged(*kinds: str) -> list[dict]:
    tags = [{"Key": "Name", "Value": NAME}, {"Key": TAG, "Value": NAME}]
    return [{"ResourceType": kind, "Tags": tags} for kind in kinds]


def _by_tag() -> list[dict]:
    return [{"Name": f"tag:{TAG}", "Values": [NAME]}]


def _find(found: list[dict]) -> dict | None:
    return found[0] if found else None


def _pages(account: Account, call: str, key: str, filters: list[dict] | None = None) -> list[dict]:
    pages = account.ec2.get_paginator(call).paginate(Filters=filters or _by_tag())
    return [each for page in pages for each in page[key]]


def _instances(account: Account, *states: str) -> list[dict]:
    """The instances with the tag in one of these states (see `ALIVE`); in any, where none is given."""
    filters = _by_tag() + ([{"Name": "instance-state-name", "Values": [*states]}] if states else [])
    with in_words(account):
        reservations = _pages(account, "describe_instances", "Reservations", filters)
    return [_shown(account, each) for reservation in reservations for each in reservation["Instances"]]


def _describe(account: Account, instance: str) -> dict:
    """The instance, or {} while AWS does not know it yet (some seconds after it was made)."""
    try:
        with in_words(account):
            found = account.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
            return _shown(account, found)
    except AWSError as error:
        if error.code != "InvalidInstanceID.NotFound":
            raise
        return {}


def _shown(account: Account, instance: dict) -> dict:
    """A description of an instance, in which the simulated account's address is nobody's: moto makes up real ones."""
    simulated = {"PublicIpAddress": SIMULATED_INSTANCE} if account.simulated and "PublicIpAddress" in instance else {}
    return instance | simulated


def _rules(account: Account, group: str) -> list[dict]:
    """The inbound rules of a security group."""
    with in_words(account):
        filters = [{"Name": "group-id", "Values": [group]}]
        found = _pages(account, "describe_security_group_rules", "SecurityGroupRules", filters)
    return [rule for rule in found if not rule["IsEgress"]]


def _revoke(account: Account, rule: dict) -> None:
    try:
        with in_words(account):
            account.ec2.revoke_security_group_ingress(
                GroupId=rule["GroupId"], SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]]
            )
    except AWSError as error:
        if not error.code.endswith(".NotFound"):
            raise


def _block(address: str, whole_internet: bool) -> str:
    """An address as a block: 203.0.113.7 is 203.0.113.7/32."""
    try:
        block = ipaddress.IPv4Network(address)
    except ValueError as error:
        raise ValueError(f"{address!r} is no IPv4 address ({error}): write it like 203.0.113.7") from None
    if block.prefixlen < 8 and not whole_internet:
        raise ValueError(f"{block} is (nearly) the whole internet: if you mean it, say whole_internet=True")
    return str(block)
