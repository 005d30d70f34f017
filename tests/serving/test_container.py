"""The Containerfile, built and run: what is in the image, whom it runs as, how it answers and how it ends."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from containers import BARE, BASE, HARDENED, SERVICE, fill, lent
from service_processes import is_ready, until

from helpers import PROJECT
from helpers.export.predictors import load_predictor
from helpers.serving import serve_command
from helpers.tools.container import check_model

KUBERNETES = PROJECT / "helpers" / "cloud" / "container" / "kubernetes.yaml"

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("service_image")]

ASK = """
import sys, urllib.request
print(urllib.request.urlopen("http://127.0.0.1:8080" + sys.argv[1]).read().decode())
"""

# What SageMaker asks of a container, from within it; prints one line.
PINGS = """
import http.client, pathlib, time
codes = []
pathlib.Path("/dev/shm/asking").touch()
while codes[-1:] != [200]:
    connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=10)
    try:
        connection.request("GET", "/ping")
        code = connection.getresponse().status
    except OSError:
        time.sleep(0.01)  # nothing listens yet
        continue
    if code not in codes:
        codes.append(code)
print("/ping", *codes)
"""
INVOCATIONS = """
import http.client, json, time
LINE, ROW = "1,0,0,0,0,0,0,0,0,0\\n", json.dumps({f"g{i}": int(i == 1) for i in range(1, 11)})

def invoke(body, kind, accept):
    connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=60)
    connection.request("POST", "/invocations", body, {"Content-Type": kind, "Accept": accept})
    answer = connection.getresponse()
    return answer.status, answer.headers.get_content_type(), answer.read().decode()

kinds = "text/csv", "application/json", "application/jsonlines"
found = {}
for kind in kinds:
    for accept in kinds:
        found[f"{kind} {accept}"] = invoke(LINE if kind == "text/csv" else ROW, kind, accept)
large = LINE * (6 * 2**20 // len(LINE))
begin = time.perf_counter()
code, _, lines = invoke(large, "text/csv", "text/csv")
seconds = time.perf_counter() - begin
found["6 MB"] = code, large.count("\\n"), lines.count("\\n"), sorted(set(lines.splitlines())), seconds
found["unknown kind"] = invoke("<row/>", "application/xml", "*/*")
found["26 MB"] = invoke(LINE * (26 * 2**20 // len(LINE)), "text/csv", "*/*")
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def hardened(podman, service_image):
    """A container that may do nothing but serve."""
    with podman.running(SERVICE, options=HARDENED) as container:
        podman.wait_until_healthy(container)
        yield container


def query(row: np.ndarray, names: list[str]) -> str:
    return "/predict?" + "&".join(f"{name}={value:g}" for name, value in zip(names, row, strict=True))


def test_it_answers_as_the_model_does_without_network_rights_or_a_place_to_write(podman, hardened, exported):
    predictor = load_predictor(exported)
    row = predictor.signature.sample(1)
    answer = json.loads(podman.python(hardened, ASK, query(row[0], predictor.signature.names)))
    assert answer["probability"] == pytest.approx(float(predictor(row)[0]), abs=1e-6)


def test_it_is_as_small_beside_its_base_as_the_readme_says(podman):
    size = {image: int(podman("inspect", "--format={{.Size}}", image).stdout) for image in (BASE, SERVICE)}
    added = (size[SERVICE] - size[BASE]) / 1e6
    said = re.search(r"image adds (\d+) MB to its base", (PROJECT / "README.md").read_text(encoding="utf-8"))[1]
    assert added == pytest.approx(int(said), rel=0.05) and added < 300


# ---- what is in it ----


def test_nothing_of_what_trains_is_in_it_and_the_versions_are_those_of_the_lock(podman, hardened):
    source = (
        "from importlib.metadata import distributions as d; print(*(f'{e.name.lower()}=={e.version}' for e in d()))"
    )
    found = set(podman.python(hardened, source).lower().replace("_", "-").split())
    lock = (PROJECT / "requirements.lock").read_text()
    assert found <= set(re.findall(r"^(\S+==\S+)", lock, re.MULTILINE))
    names = {each.partition("==")[0] for each in found}
    assert {"flask", "onnxruntime"} <= names
    assert not [name for name in names if name.startswith(("tensorflow", "keras", "pandas", "jupyter", "ipy", "pip"))]


def test_a_new_model_makes_the_last_layer_anew_and_no_other(podman):
    said = [podman("inspect", "--format={{json .RootFS.Layers}}", image).stdout for image in (BARE, SERVICE)]
    bare, service = map(json.loads, said)
    assert service[: len(bare)] == bare and len(service) == len(bare) + 1


def test_the_model_is_there_without_the_formats_that_nothing_here_reads(podman, hardened):
    files = podman("exec", hardened, "ls", "/opt/ml/model").stdout.split()
    assert set(files) == {"card.json", "model.npz", "model.onnx"}


def test_each_module_that_serves_has_its_bytecode(podman, hardened):
    source = """
import os, sys, onnxruntime
import helpers.tools.container, helpers.serving.production, helpers.serving.services, helpers.serving.accepting
specs = [module.__spec__ for module in sys.modules.values() if getattr(module, "__spec__", None)]
cached = [spec.cached for spec in specs if spec.cached and "/opt/" in spec.origin]
print(len(cached), *(path for path in cached if not os.path.exists(path)))
"""
    count, *missing = podman.python(hardened, source).split()
    assert int(count) > 200 and missing == []


# ---- what it may do ----


def test_it_runs_as_a_user_without_rights_who_can_write_nothing(podman, hardened):
    source = """
import os
status = dict(line.split(":\\t", 1) for line in open("/proc/1/status").read().splitlines() if ":\\t" in line)
writable = [folder for folder in ("/", "/tmp", "/opt/service") if os.access(folder, os.W_OK)]
print(status["Uid"].split()[1], status["CapEff"], status["NoNewPrivs"], *writable)
"""
    assert podman.python(hardened, source).split() == ["10001", "0" * 16, "1"]


# ---- how it answers ----


def test_it_keeps_sagemaker_s_contract_from_the_first_ping_to_sigterm(podman, exported):
    """`docker run IMAGE serve`, as root, the model in /opt/ml/model: what its documentation asks of a container.

    What asks starts just before the service, as a process beside it, so that it sees the service start.
    """
    entry_point = podman("inspect", '--format={{join .Config.Entrypoint " "}}', BARE).stdout.strip()
    asking = f"python -c {shlex.quote(PINGS)} & until ls /dev/shm/asking; do sleep 0.05; done; exec {entry_point} serve"
    options = ("--network=none", "--user=0", f"--volume={exported}:/opt/ml/model:ro", "--entrypoint=sh")
    with podman.running(BARE, "-c", asking, options=options) as container:
        podman.wait_until_healthy(container)
        until(lambda: "/ping " in podman.logs(container))
        assert "/ping 503 200\n" in podman.logs(container), podman.logs(container)
        found = json.loads(podman.python(container, INVOCATIONS))
        nothing_is_written_but_its_entry_for_the_command_models(podman, container)
        podman("stop", "--time=5", container)
        assert podman("inspect", "--format={{.State.ExitCode}}", container).stdout.strip() == "0"  # killed: 137
    (code, kind, text), expected = found["application/json application/json"], load_predictor(exported)
    want = json.loads(text)["prediction"]
    assert float(want) == pytest.approx(float(expected(np.eye(1, 10, dtype=np.float32))[0]), abs=1e-6)
    for asked in ("text/csv", "application/json", "application/jsonlines"):
        assert found[f"{asked} text/csv"] == [200, "text/csv", f"{want}\n"]
        lines = [200, "application/jsonlines", f'{{"probability":{want}}}\n']
        assert found[f"{asked} application/jsonlines"] == lines
        code, kind, text = found[f"{asked} application/json"]
        answer = json.loads(text)
        assert (code, kind) == (200, "application/json")
        assert answer.get("predictions", [answer.get("probability")]) == [float(want)]
    code, sent, answered, values, seconds = found["6 MB"]
    print(f"6 MB of CSV, {sent:,} rows, in {seconds:.2f} s")
    assert (code, sent, values) == (200, answered, [want])
    assert found["unknown kind"][0] == 415 and found["26 MB"][0] == 413


def nothing_is_written_but_its_entry_for_the_command_models(podman, container: str) -> None:
    """Where everything may be written."""
    changed = {line[2:] for line in podman("diff", container).stdout.splitlines()}  # as "A /etc"
    of_a_service = re.compile(r"/opt/ml/\.model\.served(/\d+-\d+\.(json|lock))?")
    kept = {path for path in changed if not of_a_service.fullmatch(path)}
    assert kept <= {"/etc", "/run", "/run/.containerenv", "/run/secrets", "/opt", "/opt/ml", "/opt/ml/model"}
    assert len(changed) - len(kept) <= 3


def test_its_health_is_known(podman, hardened):
    podman("healthcheck", "run", hardened)
    state = json.loads(podman("inspect", "--format={{json .State}}", hardened).stdout)
    assert (state.get("Health") or state["Healthcheck"])["Status"] == "healthy"
    done = podman("exec", "--env=PORT=1", hardened, "python", "-m", "helpers.tools.container", "--health", check=False)
    assert done.returncode == 1 and "refused" in done.stdout


def test_its_workers_count_together_where_nothing_else_can_be_written(podman, hardened):
    assert "prediction-metrics" in podman("exec", hardened, "ls", "/dev/shm").stdout
    assert podman.logs(hardened).startswith("Serving /opt/ml/model")  # and no warning


@pytest.mark.parametrize(
    ("image", "words", "sentence"),
    [
        (
            BARE,
            (),
            r"/opt/ml/model holds no exported model: mount the folder of one there, as in --volume ./models/games:",
        ),
        (BARE, ("serve", "--model", "/typo"), r"/typo holds no exported model: mount"),
        (BARE, ("--model=/opt/service",), r"/opt/service holds no exported model that user 10001 can read: mount"),
        (SERVICE, ("--strct",), r"there is no option --strct \(did you mean --strict\?\)"),
        (SERVICE, ("--model",), r"--model needs a value"),
    ],
    ids=["no model", "a path that is none", "a folder that is none", "an option that is none", "a value left out"],
)
def test_what_cannot_be_served_is_a_sentence_and_exit_code_2(podman, image, words, sentence):
    done = podman("run", "--rm", *HARDENED, image, *words, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert re.match(f"serve: {sentence}", done.stderr) and done.stderr.count("\n") == 1


def test_a_model_that_nothing_here_runs_is_said_and_one_for_numpy_or_of_another_image_is_served(
    podman, exported, tmp_path
):
    folder = shutil.copytree(
        exported, tmp_path / "model", ignore=shutil.ignore_patterns("*.onnx", "*.tflite", "saved*")
    )
    card = json.loads((folder / "card.json").read_text())
    for formats, answers in ((["keras", "h5"], False), (["keras", "npz"], True)):
        (folder / "card.json").write_text(json.dumps({**card, "formats": formats}))
        port = serve_command.free_port("127.0.0.1", 0)
        options = ("--network=host", f"--env=PORT={port}", "--user=0", f"--volume={folder}:/opt/ml/model:ro")
        if answers:
            with podman.running(BARE, options=options) as container:
                podman.wait_until_healthy(container)
            (folder / "model.npz").write_bytes(b"cut")
            done = podman("run", "--rm", *options, BARE, "--take-in", check=False)
            assert done.returncode == 2 and "model/model.npz has 3 bytes instead of" in done.stderr
        else:
            done = podman("run", "--rm", *options, BARE, check=False)
            assert done.returncode == 2 and done.stderr.count("\n") == 1
            said = "holds keras, h5 alone, and only onnx, npz run there: export it to onnx or npz first, or build the "
            said += "image with --build-arg BACKEND=keras"
            assert said in done.stderr
            fill(tmp_path / "context", folder)
            built = podman("build", "--format=docker", *lent(), ".", cwd=tmp_path / "context", check=False)
            assert built.returncode and said in built.stderr


def test_an_image_for_litert_serves_what_only_that_runs(podman, exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "model", ignore=shutil.ignore_patterns("model.[no]*", "saved*"))
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, "formats": ["keras", "tflite"]}))
    fill(tmp_path / "context", folder)
    podman.build(tmp_path / "context", "--build-arg=BACKEND=litert", "--tag=localhost/for-litert")
    predictor = load_predictor(exported)
    row = predictor.signature.sample(1)
    with podman.running("localhost/for-litert", options=HARDENED) as container:
        podman.wait_until_healthy(container)
        answer = json.loads(podman.python(container, ASK, query(row[0], predictor.signature.names)))
        assert podman("exec", container, "ls", "/opt/ml/model").stdout.split() == ["card.json", "model.tflite"]
    assert answer["probability"] == pytest.approx(float(predictor(row)[0]), abs=1e-6)


def test_what_keras_alone_runs_is_served_by_keras_where_that_is_there(exported, tmp_path):
    card = json.loads((exported / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps({**card, "formats": ["keras", "h5"]}))
    assert check_model(["--model", str(tmp_path)]) == ["--backend", "keras"]
    assert check_model(["--model", str(tmp_path), "--backend", "onnx"]) == []


# ---- how it ends ----

STATES = """
import os
for pid in filter(str.isdigit, os.listdir("/proc")):
    if pid != str(os.getpid()):
        print(pid, open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0])
"""


def test_a_worker_that_dies_is_replaced_and_leaves_no_zombie(podman, hardened):
    def processes() -> dict[str, str]:
        return dict(line.split() for line in podman.python(hardened, STATES).splitlines())

    before = until(lambda: len(processes()) == 4 and processes())
    podman.python(hardened, "import os, sys; os.kill(int(sys.argv[1]), 9)", max(before, key=int))
    until(lambda: len(processes()) == 4 and processes().keys() != before.keys())
    podman.python(hardened, "import subprocess; subprocess.Popen(['sleep', '0.2'])")  # whose parent ends before it
    until(lambda: len(processes()) == 4)
    assert "Z" not in processes().values()


def test_sigterm_ends_it_while_it_starts_too(podman):
    with podman.running(SERVICE, options=HARDENED) as container:
        podman("stop", "--time=5", container)
        assert podman("inspect", "--format={{.State.ExitCode}}", container).stdout.strip() in ("143", "0")


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed: apt-get install shellcheck")
def test_the_entry_point_is_shellcheck_clean():
    script = KUBERNETES.parent / "entrypoint.sh"
    done = subprocess.run(["shellcheck", "--severity=style", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


# ---- Kubernetes ----


def documents() -> list[dict]:
    return list(yaml.safe_load_all(KUBERNETES.read_text()))


def validated(file: Path) -> subprocess.CompletedProcess:
    command = [str(Path(sys.executable).parent / "kubernetes-validate"), "--strict", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_manifest_is_one_that_kubernetes_takes(tmp_path):
    done = validated(KUBERNETES)
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(KUBERNETES.read_text().replace("readOnlyRootFilesystem", "readonlyRoot"))
    assert validated(wrong).returncode != 0


def test_the_service_finds_the_pods_and_their_port():
    deployment, service = documents()
    pod = deployment["spec"]["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert service["spec"]["ports"][0]["targetPort"] in [port["name"] for port in pod["spec"]["containers"][0]["ports"]]


@pytest.mark.skipif(not shutil.which("catatonit"), reason="podman holds a pod open by catatonit, which is not here")
def test_podman_plays_the_manifest_and_it_answers(podman, free_port, tmp_path):
    deployment, service = documents()
    pod = deployment["spec"]["template"]["spec"]
    pod["hostNetwork"] = True  # so that no network is made on this machine, and a port that is free is used
    del pod["containers"][0]["ports"]
    pod["containers"][0]["env"].append({"name": "PORT", "value": str(free_port)})
    file = tmp_path / "kubernetes.yaml"
    file.write_text(yaml.safe_dump_all([deployment, service]))
    try:
        podman("kube", "play", file)
        until(lambda: is_ready(f"http://127.0.0.1:{free_port}"))
        name = podman("ps", "--format={{.Names}}", "--filter=name=predict").stdout.strip()
        podman("healthcheck", "run", name)
        settings = "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Memory}} {{.EffectiveCaps}}"
        assert podman("inspect", f"--format={settings}", name).stdout.split() == ["true", str(300 * 2**20), "[]"]
    finally:
        podman("kube", "down", file)


# ---- the README's lines ----


def lines_of_the_readme() -> list[list[str]]:
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    return [shlex.split(line) for line in re.findall(r"^    (podman .+)", text, re.MULTILINE)]


def test_the_readme_s_lines_build_and_run_it_and_curl_gets_what_the_model_predicts(
    podman, service_image, exported, free_port
):
    predictor = load_predictor(exported)
    row = predictor.signature.sample(1)
    curl = ["curl", "-sS", f"http://127.0.0.1:{free_port}{query(row[0], predictor.signature.names)}"]
    build, run, mounted, play, down = lines_of_the_readme()
    for line, word in ((play, "play"), (down, "down")):
        assert line == ["podman", "kube", word, str(KUBERNETES.relative_to(PROJECT))]
    assert (build[:2], build[-1]) == (["podman", "build"], ".")
    podman.build(service_image, *build[2:-1])
    for line in (run, mounted):
        assert line[:3] == ["podman", "run", "--rm"] and line[-1] in podman("images", "--format={{.Names}}").stdout
        words = shlex.join(line[1:]).replace("--publish 5000:8080", f"--network=host --env=PORT={free_port}")
        words = words.replace("models/titanic", "models/games")  # the model that the tests hold
        command = [*podman.command, *shlex.split(words)]
        how = {"cwd": service_image, "env": podman.environment, "stdout": subprocess.DEVNULL}
        with subprocess.Popen(command, **how) as running:
            until(lambda: is_ready(f"http://127.0.0.1:{free_port}"))
            answer = json.loads(subprocess.run(curl, capture_output=True, check=True).stdout)
            running.terminate()
        assert running.returncode == 0
        assert answer["probability"] == pytest.approx(float(predictor(row)[0]), abs=1e-6)
