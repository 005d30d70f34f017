"""An endpoint in a simulated account: made, changed by shares, taken down; what SageMaker would refuse is refused here.

The simulation keeps endpoints without running them, so what answers is the application on this machine, over a socket,
and in `test_container.py` the container itself.
"""

import dataclasses
import hashlib
import json
import shutil
import tarfile

import pytest
import requests

from helpers.cloud import model_archive, resources, sagemaker
from helpers.cloud.account import AWSError, connect
from helpers.cloud.hosting import Hosts
from helpers.cloud.sagemaker import NAME, Plan
from helpers.data.input_kinds import Array, Text
from helpers.data.inputs import InputSignature
from helpers.data.outputs import NUMBER, Output
from helpers.export.errors import ArtifactError
from helpers.export.predictors import load_predictor

IMAGE = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/keras-flask-tutorial:1"
LINE = "1,0,0,0,0,0,0,0,0,0\n"


@pytest.fixture
def account(connected):
    """The simulated account; each test leaves nothing in it, as the teardown says."""
    yield connected
    assert sagemaker.teardown(connected).empty


@pytest.fixture(scope="module")
def archive(exported, tmp_path_factory):
    return model_archive.pack(exported, tmp_path_factory.mktemp("archive") / "model.tar.gz")


@pytest.fixture(scope="module")
def other_archive(other, tmp_path_factory):
    return model_archive.pack(other, tmp_path_factory.mktemp("other-archive") / "model.tar.gz")


@pytest.fixture
def plan(archive):
    return Plan(archive, IMAGE)


# ---- the archive ----


def test_the_same_model_gives_the_same_bytes_without_what_nothing_there_reads(exported, archive, tmp_path):
    assert set(archive.names) == {"card.json", "model.onnx", "model.npz", "model.tflite"}
    again = model_archive.pack(shutil.copytree(exported, tmp_path / "copied"), tmp_path / "again.tar.gz")
    digests = [hashlib.sha256(each.path.read_bytes()).hexdigest() for each in (archive, again)]
    assert digests[0] == digests[1] and archive.version == again.version


def test_tensorflow_s_own_container_finds_a_numbered_saved_model_at_the_root(exported, tmp_path):
    packed = model_archive.pack(exported, tmp_path / "model.tar.gz", container="tensorflow")
    with tarfile.open(packed.path) as files:
        files.extractall(tmp_path, filter="data")
        assert {"1/saved_model.pb", "1/variables/variables.index"} <= set(files.getnames())
    import tensorflow as tf

    signature = load_predictor(exported).signature
    rows = signature.sample(20)
    served = tf.saved_model.load(tmp_path / "1").signatures["serving_default"](tf.constant(rows))
    [answers] = served.values()
    assert abs(answers.numpy()[:, 0] - load_predictor(exported)(rows)).max() <= 1e-6


def test_what_a_container_cannot_run_is_said(exported, archive, tmp_path):
    bare = shutil.copytree(exported, tmp_path / "bare", ignore=shutil.ignore_patterns("saved_model", "model.[no]*"))
    card = json.loads((bare / "card.json").read_text())
    unfit = {"onnx": {"file": "model.onnx", "reason": "texts are taken apart"}}
    for change, own, tensorflow in (
        ({}, "alone, and only onnx, npz run there: export it to onnx or npz first, or pack it", ": write one with exp"),
        (
            {"not_exported": unfit, "formats": ["keras"]},
            'alone, as texts are taken apart, and .*: pack it with backend="keras", for an .*=keras, or for Tensor',
            ": write",
        ),
        (
            {"formats": ["tflite"]},
            'holds tflite alone, .* there: pack it with backend="litert", for an image .* BACKEND=litert$',
            "Keras does not read: pack it",
        ),
        ({"not_exported": {"saved_model": unfit["onnx"]}}, "", ", as texts are taken apart: serve it on a machine"),
    ):
        (bare / "card.json").write_text(json.dumps({**card, **change}))
        with pytest.raises(ArtifactError, match=own):
            model_archive.pack(bare, tmp_path / "no.tar.gz")
        with pytest.raises(ArtifactError, match=f"holds no SavedModel.*{tensorflow}"):
            model_archive.pack(bare, tmp_path / "no.tar.gz", container="tensorflow")
    (bare / "card.json").write_text(json.dumps(card))
    for backend, name in (("litert", "model.tflite"), ("keras", "model.keras")):
        packed = model_archive.pack(bare, tmp_path / f"{backend}.tar.gz", backend=backend)
        assert {name, "card.json"} <= set(packed.names)
    with pytest.raises(ValueError, match="one of onnx, litert, keras, not 'numpy'"):
        model_archive.pack(bare, tmp_path / "no.tar.gz", backend="numpy")
    damaged = shutil.copytree(exported, tmp_path / "damaged")
    (damaged / "model.onnx").write_bytes(b"cut short")
    with pytest.raises(ArtifactError, match=r"damaged/model.onnx has 9 bytes instead of .* export the model again"):
        model_archive.pack(damaged, tmp_path / "no.tar.gz")
    assert not list(tmp_path.glob("*no.tar.gz*"))


# ---- the plan ----


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "my endpoint"}, "no name of an endpoint"),
        ({"image": "keras-flask-tutorial"}, "no image of ECR: write it like"),
        ({"instance": "ml.t9.huge"}, "no machine whose price is known: choose one of ml.t2.medium"),
        ({"count": 0}, "1 to 100 machines"),
        ({"memory": 1000}, "one of"),
        ({"memory": 2048, "concurrency": 201}, "1 to 200 times"),
    ],
)
def test_what_sagemaker_would_refuse_is_refused_before_any_call(plan, change, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(plan, **change)


def test_the_archive_for_another_container_is_not_given_to_ours(exported, tmp_path):
    packed = model_archive.pack(exported, tmp_path / "model.tar.gz", container="tensorflow")
    with pytest.raises(ValueError, match="pack it for our own"):
        Plan(packed, IMAGE)


def test_a_real_account_is_asked_first_with_the_price(plan):
    class Real:
        """An account that would be real: nothing but the look whether the endpoint is there may be called."""

        simulated, region = False, "eu-central-1"

        def __init__(self, simulated):
            self.client = simulated.client

        def __str__(self):
            return "real AWS account"

    shown = []
    account = connect("simulated", "eu-central-1")
    with pytest.raises(AWSError, match="nothing was created"):
        sagemaker.deploy(Real(account), plan, ask=lambda text: shown.append(text) or "no")
    assert shown and sagemaker.leftovers(account).empty
    assert "$0.056 an hour, $1.34 a day" in sagemaker.statement(Real(account), plan)


# ---- the endpoint ----


def test_every_step_can_be_run_again(account, plan):
    assert sagemaker.deploy(account, plan) == sagemaker.deploy(account, plan) == NAME
    account.client("logs").create_log_group(logGroupName=f"/aws/sagemaker/Endpoints/{NAME}")  # as SageMaker would
    kinds = sorted(sagemaker.leftovers(account)["Kind"])
    assert kinds == ["bucket", "configuration", "endpoint", "log", "model", "role"]
    assert sagemaker.teardown(account).empty and sagemaker.teardown(account).empty


def test_it_is_what_was_planned(account, plan):
    sagemaker.deploy(account, dataclasses.replace(plan, count=2, api_key="secret"))
    client = account.client("sagemaker")
    found = client.describe_endpoint(EndpointName=NAME)
    [variant] = client.describe_endpoint_config(EndpointConfigName=found["EndpointConfigName"])["ProductionVariants"]
    assert (variant["InstanceType"], variant["InitialInstanceCount"]) == ("ml.t2.medium", 2)
    container = client.describe_model(ModelName=variant["ModelName"])["PrimaryContainer"]
    assert container["Image"] == IMAGE and container["Environment"] == {"API_KEY": "secret"}
    bucket, _, key = container["ModelDataUrl"].removeprefix("s3://").partition("/")
    content = account.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    assert content == plan.archive.path.read_bytes()
    packages = client.list_model_packages(ModelPackageGroupName=NAME)["ModelPackageSummaryList"]
    assert {each["ModelApprovalStatus"] for each in packages} == {"Approved"}


def test_an_endpoint_whose_name_begins_alike_is_left_where_one_is_taken_down(account, plan):
    longer = dataclasses.replace(plan, name=f"{NAME}-new")
    sagemaker.deploy(account, plan)
    sagemaker.deploy(account, longer)
    assert sagemaker.teardown(account).empty
    kinds = sorted(sagemaker.leftovers(account, longer.name)["Kind"])
    assert kinds == ["bucket", "configuration", "endpoint", "model", "role"]
    assert sagemaker.teardown(account, longer.name).empty


def test_the_role_of_a_function_of_the_same_name_is_left_alone(account, plan):
    may = [{"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "*"}]
    resources.role(account, NAME, "lambda.amazonaws.com", lambda _: may)
    before = account.client("iam").get_role(RoleName=NAME)["Role"]
    sagemaker.deploy(account, plan)
    model = account.client("sagemaker").describe_model(ModelName=plan.model)
    [mine] = [each["Id"] for _, each in sagemaker.leftovers(account).iterrows() if each["Kind"] == "role"]
    trust = account.client("iam").get_role(RoleName=mine)["Role"]["AssumeRolePolicyDocument"]
    assert model["ExecutionRoleArn"].endswith(f"/{mine}") and "sagemaker.amazonaws.com" in json.dumps(trust)
    assert sagemaker.teardown(account).empty
    assert account.client("iam").get_role(RoleName=NAME)["Role"] == before
    resources.remove_role(account, NAME)


def test_another_image_or_key_of_a_model_that_is_there_is_not_passed_over(account, plan):
    sagemaker.deploy(account, plan)
    for change in ({"image": IMAGE.replace(":1", ":2")}, {"api_key": "secret"}):
        with pytest.raises(AWSError, match=f"{plan.model} is there with another image or API key: tear {NAME} down"):
            sagemaker.deploy(account, dataclasses.replace(plan, **change))
    sagemaker.deploy(account, plan)


def test_a_serverless_endpoint_has_memory_instead_of_machines(account, plan):
    serverless = dataclasses.replace(plan, memory=2048, concurrency=3)
    sagemaker.deploy(account, serverless)
    client = account.client("sagemaker")
    config = client.describe_endpoint(EndpointName=NAME)["EndpointConfigName"]
    [variant] = client.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
    assert variant["ServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 3}
    assert "a million predictions" in serverless.cost()
    with pytest.raises(ValueError, match=r"serverless endpoint has 4 MB at most, not 5\.0: use `transform`"):
        sagemaker.invoke(account, b" " * (5 * 2**20))
    with pytest.raises(ValueError, match="a serverless endpoint has one model"):
        sagemaker.shift(account, serverless)


def test_a_new_model_gets_its_share_all_requests_and_is_taken_back(account, plan, other_archive):
    new = dataclasses.replace(plan, archive=other_archive)
    sagemaker.deploy(account, plan)
    assert sagemaker.shares(account) == {plan.model: 1}
    assert sagemaker.shift(account, new, 0.25) == new.model
    assert sagemaker.shares(account) == {plan.model: 0.75, new.model: 0.25}
    with pytest.raises(ValueError, match="tries a new model already"):
        sagemaker.shift(account, new)
    sagemaker.promote(account, new.model)
    assert sagemaker.shares(account) == {plan.model: 0, new.model: 1}
    sagemaker.promote(account, plan.model)
    assert sagemaker.shares(account) == {plan.model: 1, new.model: 0}
    with pytest.raises(AWSError, match="has no variant nobody"):
        sagemaker.promote(account, "nobody")


def test_a_share_is_tried_on_the_machines_that_are_planned_though_names_are_cut(account, plan, other_archive):
    new = dataclasses.replace(plan, archive=other_archive)
    sagemaker.deploy(account, plan)
    sagemaker.shift(account, new)
    sagemaker.deploy(account, plan)
    sagemaker.shift(account, dataclasses.replace(new, count=2))
    client = account.client("sagemaker")
    config = client.describe_endpoint(EndpointName=NAME)["EndpointConfigName"]
    variants = client.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
    assert [variant["InitialInstanceCount"] for variant in variants] == [2, 2]


def test_each_variant_answers_with_its_own_model(account, plan, other_archive, exported, monkeypatch):
    extract = tarfile.TarFile.extractall

    def takes_no_filter(files, path):  # as that of Python 3.11.2, Debian 12's
        extract(files, path)

    monkeypatch.setattr(tarfile.TarFile, "extractall", takes_no_filter)
    new = dataclasses.replace(plan, archive=other_archive)
    sagemaker.deploy(account, plan)
    sagemaker.shift(account, new, 0.5)
    with Hosts({plan.model: plan.archive, new.model: other_archive}, image=None) as hosts:
        found = [sagemaker.invoke(account, LINE * 2, accept="text/csv", hosts=hosts) for _ in range(30)]
        assert hosts.kind == "application in this process"
        assert json.loads(sagemaker.invoke(account, LINE, hosts=hosts).body)["success"]
    by_variant = {answer.variant: answer.body for answer in found}
    assert by_variant.keys() == {plan.model, new.model} and len(set(by_variant.values())) == 2
    want = load_predictor(exported)(
        load_predictor(exported).signature.parse({f"g{i}": int(i == 1) for i in range(1, 11)})
    )
    assert by_variant[plan.model].decode() == f"{want[0]!s}\n" * 2
    with pytest.raises(requests.RequestException):
        requests.get(f"{hosts.urls[plan.model]}/ping", timeout=2)


def test_what_an_endpoint_would_not_take_is_said_before_it_is_sent(account, plan):
    sagemaker.deploy(account, plan)
    with pytest.raises(ValueError, match="takes text/csv"):
        sagemaker.invoke(account, "<x/>", "application/xml")
    with pytest.raises(ValueError, match="25 MB at most, not 26.0: use `transform`"):
        sagemaker.invoke(account, b" " * (26 * 2**20))
    with pytest.raises(ValueError, match="give hosts="):
        sagemaker.invoke(account, LINE)
    echo = lambda variant, body, kind, accept: (body, kind)  # noqa: E731
    assert sagemaker.invoke(account, b"a picture", "image/png", hosts=echo).content_type == "image/png"


def test_a_batch_transform_reads_lines_and_says_where_its_answers_lie(account, plan):
    where = sagemaker.transform(account, plan, LINE * 3)
    assert where.endswith("/transform/out/rows.csv.out")
    client = account.client("sagemaker")
    [job] = client.list_transform_jobs(NameContains=NAME)["TransformJobSummaries"]
    found = client.describe_transform_job(TransformJobName=job["TransformJobName"])
    assert found["TransformInput"]["SplitType"] == "Line" and found["TransformOutput"]["AssembleWith"] == "Line"
    assert found["ModelName"] == plan.model
    with pytest.raises(ValueError, match=r"names the columns \(g2, g1, g3, \.\.\.\).*leave that line out"):
        sagemaker.transform(account, plan, "g2,g1,g3,g4,g5,g6,g7,g8,g9,g10\n" + LINE)


@pytest.mark.parametrize(
    ("inputs", "outputs", "accept"),
    [
        ((Array("user", (1,)), Text("said")), (Output("mark", NUMBER),), "text/csv"),
        ((Text("said"),), (Output("mark", NUMBER), Output("tone", NUMBER)), "application/jsonlines"),
        ((Array("series", (20, 5)),), (Output("mark", NUMBER),), None),
    ],
)
def test_a_batch_transform_of_an_own_model_asks_for_what_holds_its_answers(
    account, exported, tmp_path, inputs, outputs, accept
):
    card = json.loads((exported / "card.json").read_text())
    (tmp_path / "own").mkdir()
    shutil.copy(exported / "model.onnx", tmp_path / "own")
    card = {**card, "signature": InputSignature(inputs, outputs=outputs).to_dict(), "formats": ["onnx"]}
    (tmp_path / "own" / "card.json").write_text(json.dumps(card))
    plan = Plan(model_archive.pack(tmp_path / "own", tmp_path / "own.tar.gz"), IMAGE)
    if accept is None:
        with pytest.raises(ValueError, match="lines of CSV, which hold no pictures and arrays: ask the endpoint"):
            sagemaker.transform(account, plan, "1,2\n")
        return
    with pytest.raises(ValueError, match="leave that line out"):
        sagemaker.transform(account, plan, ",".join(each.name for each in inputs))
    sagemaker.transform(account, plan, "1,2\n")
    client = account.client("sagemaker")
    [job] = client.list_transform_jobs(NameContains=plan.model)["TransformJobSummaries"]
    found = client.describe_transform_job(TransformJobName=job["TransformJobName"])
    assert found["TransformOutput"]["Accept"] == accept
