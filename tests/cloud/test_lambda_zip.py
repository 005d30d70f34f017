"""The zip for Lambda: what is in it, and that it answers, by Lambda's own runtime, as the notebook's server does."""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from own_models_on_lambda import picture, picture_classifier

from helpers import PROJECT
from helpers.cloud import lambda_packages, lambda_zip
from helpers.cloud.lambda_local import CallFailed, Function, body_of, event, measure, unpacked
from helpers.cloud.lambda_packages import CannotPackage, Target
from helpers.cloud.lambda_zip import MOST_UNZIPPED, Package, build, check_request, check_size
from helpers.data.input_kinds import Array, Image, Text
from helpers.data.inputs import InputSignature
from helpers.export.own_model import export_file
from helpers.export.predictors import load_predictor
from helpers.serving.lambda_limits import MOST_BODY, MOST_BYTES, Limited
from helpers.serving.notebook_server import serve
from helpers.serving.serve_command import free_port
from helpers.serving.services import create_predict_app
from helpers.tools.lambda_command import example_event

pytestmark = pytest.mark.slow  # each works on zips of some 80 MB, or starts one


@pytest.mark.skipif(os.name != "posix", reason="SIGINT is what Ctrl-C sends on POSIX systems")
def test_ctrl_c_ends_the_compiler_without_a_word(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.py").write_text(f"x = [{'1, ' * 300_000}]\n")
    command = [sys.executable, "-I", "-c", lambda_zip._COMPILE, str(tmp_path)]
    compiler = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "__pycache__").exists():
        assert compiler.poll() is None
        time.sleep(0.01)
    compiler.send_signal(signal.SIGINT)
    assert compiler.communicate(timeout=20)[1] == "" and compiler.returncode == -signal.SIGINT


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="awslambdaric is there for Linux only")
GAMES = "&".join(f"g{i}={i % 2}" for i in range(1, 11))
ROW = {f"g{i}": i % 2 for i in range(1, 11)}
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=B"}


@pytest.fixture(scope="session")
def package(made_once, exported) -> Package:
    """The zip of the sample's model, for this machine."""
    folder = made_once("lambda", lambda folder: build(exported, folder / "games.zip", Target.here(), "onnx"))
    path = folder / "games.zip"
    with zipfile.ZipFile(path) as archive:
        return Package(path, Target.here(), "onnx", {"all": sum(entry.file_size for entry in archive.infolist())}, True)


# a file of the releases of github.com/aws/aws-lambda-runtime-interface-emulator, and of the wheel of aws-sam-cli
EMULATOR = os.environ.get("AWS_LAMBDA_RIE") or shutil.which("aws-lambda-rie")


@pytest.fixture(scope="module", params=["Runtime API", *(["emulator"] if EMULATOR else [])])
def function(package, request):
    """The zip called through this project's Runtime API, and by AWS's own emulator where that is at hand."""
    with Function(package) if request.param == "Runtime API" else emulated(package) as running:
        yield running


@contextlib.contextmanager
def emulated(package: Package):
    """The zip under AWS's Runtime Interface Emulator; yields what answers an event, as `Function` does."""
    port, api = free_port("127.0.0.1", 0), free_port("127.0.0.1", 0)
    places = [f"--runtime-interface-emulator-address=127.0.0.1:{port}", f"--runtime-api-address=127.0.0.1:{api}"]
    program = [sys.executable, "-S", "-m", "awslambdaric", lambda_zip.HANDLER]
    with unpacked(package, "awslambdaric") as folder:
        variables = {
            "LAMBDA_TASK_ROOT": str(folder / "task"),
            "PYTHONPATH": os.pathsep.join((str(folder / "task"), str(folder / "runtime"))),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
        }
        how = {"cwd": folder / "task", "env": variables, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen([EMULATOR, *places, *program], start_new_session=True, **how)

        def call(request: dict) -> dict:
            path = "/2015-03-31/functions/function/invocations"
            code, _, content = by_http(f"http://127.0.0.1:{port}", "POST", path, json.dumps(request).encode(), {})
            assert code == 200, content
            return json.loads(content)

        try:
            end = time.monotonic() + 20
            while not listens(port):
                assert process.poll() is None and time.monotonic() < end, "the emulator does not start"
                time.sleep(0.02)
            yield call
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def server(exported):
    with serve(create_predict_app(load_predictor(exported, "onnx")), port=0) as running:
        yield running


def form(name: str, content: bytes, file: str = "") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"' + (f'; filename="{file}"' if file else "")
    return b"--B\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n--B--\r\n"


def by_http(url: str, method: str, path: str, body: bytes | None, headers: dict) -> tuple[int, dict, bytes]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return found


def test_it_takes_as_much_as_the_readme_says(package):
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert "Lambda takes 262 MB unpacked and this is less than 100)" in readme
    assert 80 < package.unzipped / 1e6 < 100


REQUESTS = {
    "page": ("GET", "/", None, {}),
    "docs": ("GET", "/docs", None, {}),
    "openapi": ("GET", "/openapi.json", None, {}),
    "script": ("GET", "/static/page.js", None, {}),
    "styles": ("GET", "/static/service.css", None, {}),
    "live": ("GET", "/health/live", None, {}),
    "ready": ("GET", "/health/ready", None, {}),
    "by address": ("GET", f"/predict?{GAMES}", None, {}),
    "encoded address": ("GET", "/predict?" + GAMES.replace("g1=1", "%671=%31"), None, {}),
    "a name twice": ("GET", f"/predict?{GAMES}&g1=0", None, {}),
    "an empty value": ("GET", f"/predict?{GAMES.replace('g2=0', 'g2=')}", None, {}),
    "a name in Unicode": ("GET", f"/predict?{GAMES}&gr%C3%B6%C3%9Fe=1", None, {}),
    "a plus": ("GET", f"/predict?{GAMES}&g+1=1", None, {}),
    "JSON": ("POST", "/predict", json.dumps(ROW).encode(), JSON),
    "JSON in Unicode": ("POST", "/predict", '{"größe": "é"}'.encode(), JSON),
    "rows": ("POST", "/predict", json.dumps([ROW, ROW]).encode(), JSON),
    "a bad row": ("POST", "/predict?errors=rows", json.dumps([ROW, {"g1": 7}]).encode(), JSON),
    "a form": ("POST", "/predict", GAMES.encode(), FORM),
    "a multipart form": ("POST", "/predict", form("g1", b"1"), MULTIPART),
    "no JSON": ("POST", "/predict", b'{"g1": ', JSON),
    "bytes": ("POST", "/predict", b"\x89PNG\xff\xfe", {"Content-Type": "application/octet-stream"}),
    "compressed JSON": ("POST", "/predict", b"\x1f\x8b", {**JSON, "Content-Encoding": "gzip"}),
    "no body": ("POST", "/predict", None, {}),
    "a cookie": ("GET", f"/predict?{GAMES}", None, {"Cookie": "a=1; b=2"}),
    "another method": ("DELETE", "/predict", None, {}),
    "another path": ("GET", "/pr%C3%A9dict", None, {}),
    "a stage": ("GET", f"/prod/predict?{GAMES}", None, {}),
    "a head": ("HEAD", "/health/live", None, {}),
    "options": ("OPTIONS", "/predict", None, {}),
}
OF_THE_SERVER = {"date", "server", "connection", "transfer-encoding", "keep-alive"}
OF_THE_FILE = {"last-modified", "etag"}  # its date, which is that of the unpacking


@LINUX
@pytest.mark.parametrize("name", REQUESTS)
def test_an_event_is_answered_like_the_request_to_the_byte(function, server, name):
    method, path, body, headers = REQUESTS[name]
    headers = {**headers, "X-Request-ID": "the-same"}
    code, expected, content = by_http(server.url, method, path, body, headers)
    answer = function(event(method, path, body, headers))
    assert (answer["statusCode"], body_of(answer)) == (code, content)
    found = {key.lower(): value for key, value in answer["headers"].items()}
    for headers in (found, expected):
        headers["allow"] = sorted(headers.get("allow", "").split(", "))  # Flask keeps them in a set
    for key in (expected.keys() | found.keys()) - OF_THE_SERVER - OF_THE_FILE:
        assert found.get(key) == expected.get(key), key


@LINUX
def test_metrics_tell_of_the_calls(function):
    function(event("GET", f"/predict?{GAMES}"))
    answer = function(event("GET", "/metrics"))
    assert answer["statusCode"] == 200
    assert b'http_requests_total{code="200",method="GET",path="/predict"}' in body_of(answer)


@LINUX
def test_a_body_in_base64_is_the_same_body(function):
    plain = event("POST", "/predict", json.dumps(ROW).encode(), JSON)
    encoded = {**plain, "body": base64.b64encode(plain["body"].encode()).decode(), "isBase64Encoded": True}
    assert body_of(function(plain)) == body_of(function(encoded))


@LINUX
def test_an_api_gateway_with_a_stage_finds_the_same_path(function):
    """Payload 1.0, as a REST API sends it: the stage is in the address, not in the path."""
    request = {
        "version": "1.0",
        "resource": "/{proxy+}",
        "path": "/predict",
        "httpMethod": "GET",
        "headers": {"Host": "example.execute-api.us-east-1.amazonaws.com"},
        "multiValueHeaders": {"Host": ["example.execute-api.us-east-1.amazonaws.com"]},
        "queryStringParameters": {name: str(value) for name, value in ROW.items()},
        "multiValueQueryStringParameters": {name: [str(value)] for name, value in ROW.items()},
        "requestContext": {"stage": "prod", "path": "/prod/predict", "identity": {"sourceIp": "203.0.113.7"}},
        "body": None,
        "isBase64Encoded": False,
    }
    assert json.loads(body_of(function(request))) == json.loads(body_of(function(event("GET", f"/predict?{GAMES}"))))


@LINUX
def test_a_key_from_the_configuration_is_asked_for(package):
    with Function(package, {"API_KEY": "secret"}) as function:
        request = event("GET", f"/predict?{GAMES}")
        assert function(request)["statusCode"] == 401
        assert function({**request, "headers": {**request["headers"], "x-api-key": "secret"}})["statusCode"] == 200


@LINUX
def test_what_is_too_large_for_lambda_is_said(package):
    rows = b"1,0,0,0,0,0,0,0,0,0\n" * 20_000
    ask = event("POST", "/invocations", rows, {"Content-Type": "text/csv"})
    with unpacked(package) as folder:
        card = folder / "task" / "model" / "card.json"
        content = json.loads(card.read_text(encoding="utf-8"))
        names = ["no" * 200, "yes" * 150]  # each answer of a list says one of them
        content["signature"]["outputs"] = [{"name": "prediction", "kind": "classes", "classes": names}]
        card.write_text(json.dumps(content), encoding="utf-8")
        with Function(package, folder=folder) as function:
            answer = function(ask)
            metrics = body_of(function(event("GET", "/metrics"))).decode()
            with pytest.raises(CallFailed, match="no event of 6,29.* bytes: 6,291,456 at most"):
                function(event("POST", "/predict", b" " * MOST_BYTES, JSON))
    said = json.loads(body_of(answer))
    assert answer["statusCode"] == 413 and said["success"] is False
    assert re.fullmatch(r"the answer has \d\.\d MB, and Lambda sends 6 MB at most: ask for fewer .*", said["error"])
    assert answer["headers"]["x-request-id"] and answer["headers"]["x-model-version"]
    assert 'code="413",method="POST",path="/invocations"} 1.0' in metrics


def test_what_lambda_would_send_passes_to_the_last_byte_of_its_json():
    most = MOST_BYTES - 16 * 1024
    for kind, body, status in (
        ("text/csv", b"1" * (most - 2), "200 OK"),
        ("text/csv", b"1" * (most - 1), "413"),
        ("application/json", b'"' * (most // 2 - 1), "200 OK"),  # a quotation mark takes two
        ("application/json", b'"' * (most // 2), "413"),
        ("image/png", bytes(most // 4 * 3), "200 OK"),  # as base64
        ("image/png", bytes(most // 4 * 3 + 1), "413"),
    ):
        started = []
        app = lambda environ, start, kind=kind, body=body: start("200 OK", [("Content-Type", kind)]) or [body]  # noqa: E731
        found = b"".join(Limited(app)({}, lambda *head, started=started: started.extend(head)))
        assert started[0].startswith(status) and (found == body) == (status == "200 OK")


def test_a_runtime_of_the_standard_library_gets_the_same_answers(package, server):
    with Function(package, runtime="") as function:
        answer = function(event("GET", f"/predict?{GAMES}"))
    assert body_of(answer) == by_http(server.url, "GET", f"/predict?{GAMES}", None, {})[2]


@LINUX
def test_a_function_that_cannot_start_says_why(package):
    with Function(package, {"LAMBDA_TASK_ROOT": "/nowhere"}) as function, pytest.raises(CallFailed, match="Iteration"):
        function(event("GET", "/health/live"))


def test_what_is_measured_is_an_answer(package, tmp_path):
    with pytest.raises(CallFailed, match="the function refused the request: .*g11: unknown"):
        measure(package, event("GET", f"/predict?{GAMES}&g11=1"), starts=1, calls=0)
    ends = [("signal", [None, 2500, 2]), ("meta", [None, 2])]
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["signal"], ["mean"], axes=[1], keepdims=0),
            helper.make_node("Add", ["mean", "meta"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
    )
    versions = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=8), tmp_path / "net.onnx")
    export_file(tmp_path / "net.onnx", tmp_path / "net")
    asked = example_event(tmp_path / "net", "onnx")
    client = create_predict_app(load_predictor(tmp_path / "net")).test_client()
    answer = client.post("/predict", data=asked["body"], headers=JSON)
    assert answer.status_code == 200, answer.get_json()


@pytest.fixture
def python_for_everyone() -> str:
    """A Python of this minor version that another user may run."""
    wanted = f"python{Target.here().python}"
    for path in (sys.executable, shutil.which(wanted, path="/usr/local/bin:/usr/bin:/bin")):
        if (
            path
            and subprocess.run([*AS_NOBODY, path, "-S", "-c", ""], capture_output=True, check=False).returncode == 0
        ):
            return path
    pytest.skip(f"there is no {wanted} here that the user nobody may run")


AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs")


@LINUX
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be somebody else")
def test_nobody_without_a_place_to_write_answers_and_leaves_no_file(package, python_for_everyone):
    home = Path(tempfile.mkdtemp(prefix="lambda-home-"))
    try:
        home.chmod(0o777)
        with Function(package, {"HOME": str(home)}, python=python_for_everyone, prefix=AS_NOBODY) as function:
            assert function.get(f"/predict?{GAMES}")["success"]
            task = Path(os.readlink(f"/proc/{function._process.pid}/cwd"))
            assert not list(task.rglob("*.tmp")) and stat.S_IMODE((task / "model" / "card.json").stat().st_mode) & 0o4
            assert os.stat(f"/proc/{function._process.pid}").st_uid == 65534
        assert not list(home.rglob("*"))  # where ONNX Runtime would leave a device id
    finally:
        shutil.rmtree(home)


# ---- what is in it ----


def test_a_zip_is_the_same_to_the_byte_whenever_it_is_made(package, exported, tmp_path):
    again = build(exported, tmp_path / "again.zip", Target.here(), "onnx")
    assert hashlib.sha256(again.path.read_bytes()).digest() == hashlib.sha256(package.path.read_bytes()).digest()
    assert again.unzipped == package.unzipped < MOST_UNZIPPED / 2


def test_a_zip_holds_the_application_as_it_is_and_nothing_that_is_never_opened(package):
    with zipfile.ZipFile(package.path) as archive:
        names = archive.namelist()
        modes = {entry.external_attr >> 16 for entry in archive.infolist()}
        source = archive.read("helpers/serving/services.py")
    assert source == (lambda_packages.PROJECT / "helpers" / "serving" / "services.py").read_bytes()
    assert names == sorted(names) and modes == {0o100644}
    assert {"model/card.json", "model/model.onnx"} == {name for name in names if name.startswith("model/")}
    assert not [name for name in names if "libonnxruntime.so" in name or name.startswith(("google/", "PIL/", "tests/"))]
    assert not [name for name in names if name.startswith(("helpers/cloud", "helpers/tools", "helpers/model"))]


@pytest.mark.parametrize("backend", ["litert", "numpy"])
def test_the_other_runtimes_answer_too(backend, exported, tmp_path):
    package = build(exported, tmp_path / f"{backend}.zip", Target.here(), backend)
    expected = load_predictor(exported, backend)
    with Function(package) as function:
        answer = function.get(f"/predict?{GAMES}")
    row = np.array([[i % 2 for i in range(1, 11)]], np.float32)
    assert answer["probability"] == pytest.approx(float(expected(row)[0]), abs=1e-7)


def test_a_model_of_pictures_takes_pillow_with_it(tmp_path):
    export = picture_classifier(tmp_path)
    package = build(export, tmp_path / "pictures.zip", Target.here())
    assert "pillow" in package.parts
    with serve(create_predict_app(load_predictor(export)), port=0) as server, Function(package) as function:
        body = form("image", picture(), "a picture.png")
        expected = by_http(server.url, "POST", "/predict", body, MULTIPART)
        answer = function(event("POST", "/predict", body, MULTIPART))
    assert (answer["statusCode"], body_of(answer)) == (expected[0], expected[2])


def test_what_does_not_fit_is_refused_with_the_sum():
    with pytest.raises(CannotPackage, match=r"^262\.1 MB unpacked \(weights 262\.1 MB, .*than the 262\.1 MB"):
        check_size({"weights": MOST_UNZIPPED, "the application": 1})
    check_size({"weights": MOST_UNZIPPED - 1, "the application": 1})


def test_a_model_that_no_request_could_reach_is_refused_with_the_sum(exported, tmp_path):
    most = MOST_BODY // 2
    frames = [Array("a", (None, most - 1)), Array("b", (1,)), Image("seen", (4096, 4096, 3)), Text("said")]
    check_request(InputSignature(tuple(frames)))
    too_large = InputSignature((*frames, Array("c", (1, 1))))
    shutil.copytree(exported, tmp_path / "large")
    card = json.loads((exported / "card.json").read_text(encoding="utf-8")) | {"signature": too_large.to_dict()}
    (tmp_path / "large" / "card.json").write_text(json.dumps(card), encoding="utf-8")
    said = r"2,359,295 numbers of 'a' \+ 1 numbers of 'b' \+ 1 numbers of 'c', 4\.7 MB as JSON .* requests of 4\.7 MB"
    with pytest.raises(CannotPackage, match=said):
        build(tmp_path / "large", tmp_path / "large.zip", Target.here())
    assert not (tmp_path / "large.zip").exists()


def test_a_model_that_only_keras_runs_is_refused_and_nothing_is_written(exported, tmp_path):
    card = json.loads((exported / "card.json").read_text(encoding="utf-8"))
    (tmp_path / "only").mkdir()
    shutil.copy(exported / "model.keras", tmp_path / "only")
    (tmp_path / "only" / "card.json").write_text(json.dumps({**card, "formats": ["keras"]}), encoding="utf-8")
    said = (
        "only holds keras alone, and only onnx, tflite, npz run there: export it to .* first, or serve it on a machine"
    )
    with pytest.raises(CannotPackage, match=f"{said} of your own, as Keras and TensorFlow take .* Lambda has 262.1 MB"):
        build(tmp_path / "only", tmp_path / "only.zip", Target.here())
    assert not (tmp_path / "only.zip").exists()


def test_a_place_that_takes_no_file_is_told_before_anything_is_fetched(exported, tmp_path):
    (tmp_path / "taken").write_text("a file of the user's")
    with pytest.raises(CannotPackage, match="games.zip cannot be made: File exists .*make room, or give another"):
        build(exported, tmp_path / "taken" / "games.zip", Target.on_lambda("arm64"))


def test_versions_are_those_of_the_lock_for_the_other_python_and_processor():
    names = lambda_packages.wanted("onnx", pictures=False)
    here, there = (lambda_packages.closure(names, target) for target in (Target.here(), Target("3.13", "arm64")))
    assert "protobuf" not in there and {"flask", "werkzeug", "numpy", "onnxruntime"} <= there.keys()
    assert here["flask"] == there["flask"]


def test_tensorflow_would_not_fit():
    assert lambda_zip.tensorflow_bytes() > 3 * MOST_UNZIPPED


def test_a_zip_for_another_processor_holds_libraries_of_that_one(exported, tmp_path):
    package = build(exported, tmp_path / "games.zip", Target.on_lambda("arm64"))
    with zipfile.ZipFile(package.path) as archive:
        [library] = [name for name in archive.namelist() if "onnxruntime_pybind11_state" in name]
        with archive.open(library) as opened:
            head = opened.read(20)
    assert head[:4] == b"\x7fELF" and int.from_bytes(head[18:20], "little") == 183  # e_machine: AArch64


@pytest.fixture
def python_of_lambda() -> str:
    """The Python that the zip is made for where this one is another."""
    version = Target.on_lambda("x86_64").python
    return lambda_zip._interpreter(version) or pytest.skip(f"there is no Python {version} here, and none to be had")


@pytest.mark.skipif(not list(Path.home().glob(".pyenv/versions/3.12.*/bin")), reason="there is no such Python of pyenv")
def test_a_python_that_pyenv_keeps_off_the_path_is_found(monkeypatch):
    monkeypatch.delenv("PYENV_VERSION", raising=False)
    assert (
        "3.12"
        in subprocess.run([lambda_zip._interpreter("3.12"), "-V"], capture_output=True, text=True, check=True).stdout
    )


@pytest.mark.skipif(
    (Target.here().system, Target.here().machine) != ("linux", "x86_64"), reason="the zip is for Linux on x86-64"
)
def test_the_zip_that_goes_to_lambda_answers_under_lambdas_python(exported, tmp_path, server, python_of_lambda):
    package = build(exported, tmp_path / "games.zip", Target.on_lambda("x86_64"))
    assert package.compiled
    with Function(package, python=python_of_lambda, runtime="") as function:
        answer = function(event("GET", f"/predict?{GAMES}"))
    assert body_of(answer) == by_http(server.url, "GET", f"/predict?{GAMES}", None, {})[2]
