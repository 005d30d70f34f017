"""`tutorial.py serve`: real processes, real signals, a real model."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE, STDOUT

import notebook_tools as tools
import numpy as np
import psutil
import pytest
import requests
from playwright.sync_api import Error, sync_playwright
from service_processes import family, gone, is_ready, serving, start, until

from helpers import PROJECT
from helpers.export.predictors import load_predictor
from helpers.serving.callers import Callers
from helpers.serving.production import observed_beside
from helpers.serving.serve_command import NOT_FOR_BROWSERS, free_port, listen
from helpers.serving.stand_in import starting
from helpers.serving.supervisor import ABSENT_SECONDS, LOOK_SECONDS, STOP_SECONDS, CannotServe

pytestmark = pytest.mark.slow  # each starts processes, or a model of its own

ARTICLE = {"g1": 1, **{f"g{i}": 0 for i in range(2, 11)}}


def has_ipv6() -> bool:
    """Whether this machine has the address ::1."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
posix_only = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


def test_two_workers_answer_as_the_model_does_and_none_imports_tensorflow(exported, free_port):
    predictor = load_predictor(exported)
    with serving(exported, free_port, "--workers", "2") as (process, url):
        workers = until(lambda: len(family(process)) == 3 and family(process))
        assert len(workers) == 3
        rows = predictor.signature.sample(50)
        for row, want in zip(rows, predictor(rows), strict=True):
            params = dict(zip(predictor.signature.names, row, strict=True))
            got = requests.get(f"{url}/predict", params=params).json()["probability"]
            assert np.float32(got) == pytest.approx(want, abs=1e-6)
        if sys.platform == "linux":
            for worker in workers:
                loaded = {os.path.basename(m.path) for m in worker.memory_maps()}
                assert not any("tensorflow" in name or "pywrap" in name for name in loaded)
            assert any("onnxruntime" in m.path for m in workers[1].memory_maps())


def test_the_contract_is_that_of_the_notebook_server(exported, free_port):
    with serving(exported, free_port, "--workers", "1") as (_, url):
        assert (
            requests.post(f"{url}/predict", json=ARTICLE).content
            == requests.post(f"{url}/predict", data=ARTICLE).content
        )
        assert len(requests.post(f"{url}/predict", json=[ARTICLE] * 3).json()["predictions"]) == 3
        for answer, status in (
            (requests.get(f"{url}/predict", params={"g1": 5}), 422),
            (requests.post(f"{url}/predict", data=b"{", headers={"Content-Type": "application/json"}), 400),
            (requests.get(f"{url}/nothing"), 404),
            (requests.put(f"{url}/predict"), 405),
            (requests.post(f"{url}/predict", data=b" " * 1_100_000, headers={"Content-Type": "application/json"}), 413),
            (requests.post(f"{url}/predict", data=(b" " * 65536 for _ in range(20))), 413),
            (requests.post(f"{url}/predict", data=b"x", headers={"Content-Type": "text/plain"}), 415),
        ):
            assert answer.status_code == status
            assert answer.json()["success"] is False and answer.json()["error"]
        assert "text/html" in requests.get(url).headers["Content-Type"]
        assert requests.get(f"{url}/openapi.json").json()["openapi"].startswith("3.1")


def test_a_normal_client_is_answered_beside_500_slow_bodies_and_headers(exported, free_port):
    head = (
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    with serving(exported, free_port, "--workers", "1") as (_, url):
        slow = [socket.create_connection(("127.0.0.1", free_port)) for _ in range(500)]
        for i, connection in enumerate(slow):
            connection.sendall(head if i % 2 else b"GET /predict HTTP/1.1\r\nX-Slow")
        for _ in range(5):
            assert requests.get(f"{url}/predict", params=ARTICLE, timeout=5).status_code == 200
        for connection in slow:
            connection.close()


def test_the_metrics_of_all_workers_are_added_up(exported, free_port):
    with serving(exported, free_port, "--workers", "2") as (process, url):
        until(lambda: len(family(process)) == 3)
        for _ in range(40):  # each over a connection of its own, so that both workers get some
            assert requests.get(f"{url}/predict", params=ARTICLE).ok
        counted = 'http_requests_total{code="200",method="GET",path="/predict"} 40.0'
        until(lambda: counted in requests.get(f"{url}/metrics").text)  # what was answered is counted a moment later
        for _ in range(6):
            assert counted in requests.get(f"{url}/metrics").text


def test_the_access_log_is_one_json_line_per_request(exported, free_port):
    with serving(exported, free_port, "--workers", "1", "--access-log") as (process, url):
        requests.get(f"{url}/predict", params=ARTICLE, headers={"X-Request-ID": "mine-1"})
        requests.get(f"{url}/nothing", headers={"X-Request-ID": "mine-2"})
        process.terminate()
        lines = [json.loads(line) for line in process.communicate(timeout=20)[0].splitlines() if line.startswith("{")]
    mine = {line["id"]: line for line in lines if line["id"].startswith("mine")}
    assert mine["mine-1"]["status"] == 200 and mine["mine-1"]["path"] == "/predict" and mine["mine-1"]["ms"] >= 0
    assert mine["mine-2"]["status"] == 404 and mine["mine-2"]["method"] == "GET"
    assert "g1" not in json.dumps(mine)  # the data stay out of the log


def test_the_api_key_comes_from_a_file(exported, free_port, tmp_path):
    key = tmp_path / "key"
    key.write_text("open sesame\n")
    with serving(exported, free_port, "--workers", "1", "--api-key-file", key) as (_, url):
        assert requests.get(f"{url}/predict", params=ARTICLE).status_code == 401
        assert requests.get(f"{url}/predict", params=ARTICLE, headers={"X-API-Key": "open sesame"}).ok


@posix_only
@pytest.mark.parametrize(("given", "threads"), [({}, "16"), ({"TF_NUM_INTEROP_THREADS": "3"}, "3")])
def test_a_small_request_finds_a_thread_of_tensorflow_beside_heavy_ones(given, threads):
    code = """
import os, socket
from helpers.serving.production import supervise
from helpers.serving.supervisor import CannotServe

def load(access_log):
    raise CannotServe(f"a worker says {os.environ['TF_NUM_INTEROP_THREADS']}")

with socket.create_server(("127.0.0.1", 0)) as listener:
    supervise(listener, 1, load)
"""
    around = {name: value for name, value in tools.environment_in(PROJECT).items() if not name.startswith("TF_NUM")}
    run = {"capture_output": True, "text": True, "timeout": 60, "env": around | given}
    said = subprocess.run([sys.executable, "-c", code], check=False, **run)
    assert f"a worker says {threads}" in said.stderr + said.stdout


# ---- what cannot be served is said in one sentence ----


def refused(*options: str, **environment: str) -> str:
    process = start(*options, **environment)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2 and "Traceback" not in output and "Serving" not in output
    (said,) = [line for line in output.splitlines() if line.startswith("serve: ")]
    return said


def test_a_taken_port_is_said(exported):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port}" in refused("--model", exported, "--port", port)


def test_a_second_service_does_not_share_the_port_of_the_first(exported, free_port):
    with serving(exported, free_port, "--workers", "1"):
        assert str(free_port) in refused("--model", exported, "--port", free_port)


def test_a_missing_or_empty_key_file_is_said(exported, free_port, tmp_path):
    empty = tmp_path / "empty"
    empty.write_text("\n")
    for path in (empty, tmp_path / "no such file", "/dev/zero"):
        assert str(path) in refused("--model", exported, "--port", free_port, "--api-key-file", path)


def test_a_damaged_model_is_said_and_ends_every_process(model, free_port):
    (model / "model.onnx").write_bytes((model / "model.onnx").read_bytes()[:1000])
    assert "model.onnx" in refused("--model", model, "--port", free_port, "--workers", "2")


def test_a_file_that_was_put_in_the_place_of_an_exported_one_is_said(model, other, free_port):
    """The service runs the ONNX file: with the user's own Keras file beside it, it would answer as another model."""
    shutil.copy(other / "model.keras", model / "model.keras")
    assert "model.keras" in refused("--model", model, "--port", free_port)


def test_a_model_that_was_not_exported_for_the_backend_is_said(model, other, free_port):
    card = json.loads((model / "card.json").read_text())
    card["not_exported"] = {"npz": {"file": "model.npz", "reason": "NumPy knows no LSTM"}}
    del card["files"]["model.npz"]
    (model / "card.json").write_text(json.dumps(card))
    assert "NumPy knows no LSTM" in refused("--model", model, "--port", free_port, "--backend", "numpy")


@pytest.mark.parametrize(("file", "other"), [("model.tflite", "onnx"), ("model.onnx", "keras")])
def test_a_file_that_was_given_is_served_and_scored_as_it_is(exported, tmp_path, file, other):
    from helpers.export.own_model import export_file

    if file == "model.onnx":  # which tells the names of its features, and may be given others
        export_file(exported / file, tmp_path / "renamed", features=[f"f{i}" for i in range(10)])
        assert load_predictor(tmp_path / "renamed").signature.names[0] == "f0"
    export_file(exported / file, tmp_path / "own")
    row = ARTICLE if file == "model.onnx" else {f"x{i}": value for i, value in enumerate(ARTICLE.values(), 1)}
    expected = load_predictor(exported)(np.float32([[*row.values()]]))
    with announced("--model", tmp_path / "own", "--workers", "1", "--port", "0") as (_, url):
        assert requests.get(f"{url}/predict", params=row).json()["probability"] == pytest.approx(expected[0], abs=1e-6)
    said = refused("--model", tmp_path / "own", "--port", "0", "--backend", other)
    assert f"own holds {file} alone, of which no model.{other} can be made: leave --backend out" in said
    (tmp_path / "row.csv").write_text(",".join(row) + "\n" + ",".join(map(str, row.values())) + "\n")
    words = ["score", tmp_path / "row.csv", tmp_path / "scores.csv", "--model", tmp_path / "own"]
    done = subprocess.run(
        [sys.executable, "-m", "helpers", *map(str, words)], check=False, cwd=PROJECT, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.startswith("1 row scored"), done.stderr


def test_an_export_that_cannot_be_completed_is_said(other, free_port, tmp_path):
    bare = shutil.copytree(other, tmp_path / "bare")
    (bare / "model.keras").unlink()
    said = refused("--model", bare, "--port", free_port, "--backend", "numpy")
    assert "bare/model.keras is missing" in said
    assert {path.name for path in bare.iterdir()} == {"card.json", "model.onnx"}


def runtime(folder, body: str) -> str:
    """A folder with an ONNX Runtime that does `body` when it loads a model."""
    folder.mkdir()
    source = f"class SessionOptions:\n    pass\n\n\ndef InferenceSession(*args, **options):\n    {body}\n"
    (folder / "onnxruntime.py").write_text(source)
    return os.pathsep.join([str(folder), str(PROJECT)])


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "memory", marks=posix_only),
        ("raise ModuleNotFoundError('no onnxruntime', name='onnxruntime')", "pip install onnxruntime"),
        ("raise SystemError('of some other kind')", "of some other kind"),
    ],
    ids=["killed", "missing", "failing"],
)
def test_workers_that_cannot_load_the_model_end_the_service(exported, free_port, tmp_path, body, says):
    broken = runtime(tmp_path / "broken", body)
    assert says in refused("--model", exported, "--port", free_port, "--workers", "2", PYTHONPATH=broken)


def test_while_the_model_is_loaded_every_path_is_answered_with_503(exported, free_port, tmp_path):
    go, url = tmp_path / "go", f"http://127.0.0.1:{free_port}"
    body = f"import os, time\n    while not os.path.exists({str(go)!r}):\n        time.sleep(0.01)\n    "
    slow = runtime(tmp_path / "slow", f"{body}raise SystemError('of some other kind')")
    process = start("--model", exported, "--port", free_port, "--access-log", PYTHONPATH=slow)

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", free_port)) == 0

    try:
        until(listens)
        answers = []
        for path in ("/ping", "/health/ready", "/health/live", "/predict?g1=1", "/nothing") * 2:
            answer = requests.get(f"{url}{path}", timeout=5)
            answers.append(answer.headers["X-Request-ID"])
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
            assert "the service is starting" in answer.json()["error"]
        go.touch()
        output, _ = process.communicate(timeout=20)
        assert process.returncode == 2 and "of some other kind" in output and "Serving" not in output
        logged = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        assert [line["id"] for line in logged if line["status"] == 503] == answers
    finally:
        process.kill()


def test_what_is_answered_before_there_are_metrics_is_counted_once_there_are():
    with listen("127.0.0.1", 0) as listener:
        url = "http://127.0.0.1:{1}".format(*listener.getsockname())
        with starting(listener, Callers(hosts=[])) as answered:
            for path in ("/predict?g1=1", "/predict", "/health/ready", "/" + 2000 * "x"):
                assert requests.get(f"{url}{path}", timeout=5).status_code == 503
            for host, code in (("evil.example", b"403"), ("localhost", b"503")):
                with socket.create_connection(listener.getsockname(), timeout=5) as client:
                    client.sendall(f"GET http://{host}/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                    assert client.recv(65536).startswith(b"HTTP/1.1 " + code)
    text = observed_beside(0, None, ["games"], answered).metrics.text().decode()
    assert 'http_requests_total{code="503",method="GET",path="/predict"} 2.0' in text
    for path in ("/health/ready", "/health/live", "other"):
        assert f'http_requests_total{{code="503",method="GET",path="{path}"}} 1.0' in text
    assert 'http_request_seconds_count{path="/predict"} 2.0' in text


# ---- what it says of itself ----


def first_line(process: subprocess.Popen) -> str:
    """What the service says first: it answers by then."""
    line = process.stdout.readline()
    assert line.startswith("Serving "), line + process.stdout.read()
    return line


@contextmanager
def announced(*options: str, **more):
    """A service that has said that it serves; at the end it is told to stop."""
    process = start(*options, **more)
    try:
        yield process, re.search(r"http://\S+:\d+", first_line(process))[0]
    finally:
        process.terminate()
        process.communicate(timeout=STOP_SECONDS + 5)


def test_what_is_announced_answers(exported):
    with announced("--model", exported, "--port", "0", "--workers", "2") as (_, url):
        assert requests.get(f"{url}/predict", params=ARTICLE, timeout=5).ok


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("localhost", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        pytest.param("::1", "[::1]", marks=needs_ipv6),
        pytest.param("[::1]", "[::1]", marks=needs_ipv6),
        pytest.param("::", "[::1]", marks=needs_ipv6),
    ],
)
def test_the_url_that_is_shown_for_a_host_works(exported, host, shown):
    with announced("--model", exported, "--host", host, "--port", "0") as (_, url):
        assert url.startswith(f"http://{shown}:")
        assert requests.get(f"{url}/predict", params=ARTICLE, timeout=5).ok


def test_whoever_listens_on_every_address_is_told_so(exported):
    with announced("--model", exported, "--host", "0.0.0.0", "--port", "0") as (process, url):
        assert "whoever reaches port" in process.stdout.readline()


@pytest.mark.browser
def test_it_says_on_which_ports_browsers_open_nothing(exported, chromium):
    def refuses(page, port: int) -> bool:
        with pytest.raises(Error) as error:  # nothing listens there but the one service
            page.goto(f"http://127.0.0.1:{port}/", timeout=5000)
        return "ERR_UNSAFE_PORT" in str(error.value)

    def is_free(port: int) -> bool:
        try:
            return free_port("127.0.0.1", port) == port
        except CannotServe:
            return False

    port = next(filter(is_free, sorted(NOT_FOR_BROWSERS)))
    with announced("--model", exported, "--port", str(port)) as (process, url), sync_playwright() as playwright:
        assert process.stdout.readline().startswith(f"Browsers and JavaScript's fetch open nothing on port {port}:")
        assert requests.get(f"{url}/predict", params=ARTICLE, timeout=5).ok
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        assert all(refuses(page, each) for each in NOT_FOR_BROWSERS)
        browser.close()


def test_it_says_which_model_it_serves_and_which_others_there_are(exported, tmp_path):
    project = tools.copy_project(tmp_path / "tutorial")
    for name in ("games", "churn", "titanic"):
        shutil.copytree(exported, project / "models" / name)
    process = start("--port", "0", project=project)
    try:
        assert first_line(process).startswith("Serving models/games on http://127.0.0.1:")
        assert process.stdout.readline() == "Other models here: --model churn, --model titanic.\n"
    finally:
        process.terminate()
        process.communicate(timeout=STOP_SECONDS + 5)
    with announced("--port", "0", "--model", "titanic", project=project) as (process, _):
        assert process.stdout.readline() == "Other models here: --model churn, --model games.\n"


def test_it_says_what_curl_needs_where_a_proxy_would_take_its_requests(exported):
    with announced("--model", exported, "--port", "0", http_proxy="http://127.0.0.1:9", no_proxy="", NO_PROXY="") as (
        process,
        url,
    ):
        said = process.stdout.readline()
        bypass = re.search(r"`export (NO_PROXY)=(\S+)`", said)
        curl = ["curl", "--silent", "--fail", f"{url}/health/live"]
        proxied = {**os.environ, "http_proxy": "http://127.0.0.1:9", "no_proxy": "", "NO_PROXY": ""}
        assert subprocess.run(curl, env=proxied, check=False).returncode != 0
        del proxied["no_proxy"]
        proxied[bypass[1]] = bypass[2]
        assert subprocess.run(curl, env=proxied, check=False, stdout=subprocess.DEVNULL).returncode == 0


@posix_only
def test_the_key_may_come_from_a_pipe(exported):
    """As `--api-key-file <(command)` makes one: it can be read only once."""
    read, write = os.pipe()
    os.write(write, b"open sesame")
    os.close(write)
    command = [sys.executable, "-m", "helpers", "serve", "--model", exported, "--port", "0"]
    command += ["--api-key-file", f"/dev/fd/{read}"]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, pass_fds=[read])
    os.close(read)
    try:
        url = re.search(r"http://\S+:\d+", first_line(process))[0]
        assert requests.get(f"{url}/predict", params=ARTICLE).status_code == 401
        assert requests.get(f"{url}/predict", params=ARTICLE, headers={"X-API-Key": "open sesame"}).ok
    finally:
        process.terminate()
        process.communicate(timeout=STOP_SECONDS + 5)


# ---- signals ----


@posix_only
@pytest.mark.parametrize("delay", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.2])
def test_sigterm_ends_every_process_at_whatever_moment_it_comes(exported, free_port, delay):
    process = start("--model", exported, "--port", free_port, "--workers", "2")
    time.sleep(delay)
    members = family(process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=STOP_SECONDS + 10)
    until(lambda: gone(members))
    port = str(free_port)
    assert not [p for p in psutil.process_iter(["cmdline"]) if port in (p.info["cmdline"] or []) and not gone([p])]


@posix_only
@pytest.mark.parametrize("is_ignored", [False, True], ids=["closed", "nohup"])
def test_a_terminal_that_is_closed_ends_the_service_as_sigterm_does_unless_that_is_ignored(
    exported, free_port, tmp_path, is_ignored
):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if is_ignored else signal.SIG_DFL)
    try:
        process = start("--model", exported, "--port", free_port, "--workers", "1", TMPDIR=str(tmp_path))
    finally:
        signal.signal(signal.SIGHUP, before)
    try:
        until(lambda: is_ready(f"http://127.0.0.1:{free_port}"))
        members = family(process)
        for member in members:
            member.send_signal(signal.SIGHUP)
        if is_ignored:
            assert is_ready(f"http://127.0.0.1:{free_port}") and family(process) == members
        else:
            assert process.wait(STOP_SECONDS + 10) == 0 and list(tmp_path.iterdir()) == []
    finally:
        process.terminate()
        process.communicate(timeout=STOP_SECONDS + 10)
    until(lambda: gone(members))


@posix_only
def test_sigterm_also_ends_the_training_of_a_model_that_is_not_there_yet(tmp_path, free_port):
    project = tools.copy_project(tmp_path / "tutorial")
    process = start("--port", free_port, project=project)
    members = until(lambda: len(family(process)) > 1 and family(process))
    assert requests.get(f"http://127.0.0.1:{free_port}/ping", timeout=5).status_code == 503
    process.send_signal(signal.SIGTERM)
    assert "models/games is not there yet: training it" in process.communicate(timeout=20)[0]
    until(lambda: gone(members))


@posix_only
def test_sigterm_lets_a_request_in_flight_finish(exported, free_port):
    body = json.dumps(ARTICLE).encode()
    with serving(exported, free_port, "--workers", "1") as (process, _):
        with socket.create_connection(("127.0.0.1", free_port)) as client:
            head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
            client.sendall(f"{head}{len(body)}\r\n\r\n".encode() + body[:5])
            time.sleep(0.3)  # the service is reading it
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            client.sendall(body[5:])
            assert client.recv(65536).startswith(b"HTTP/1.1 200")


@posix_only
def test_a_killed_worker_loses_only_what_it_held_and_is_replaced(exported, free_port):
    clients, failures, answers, stop = 8, [], [], threading.Event()

    def ask():
        with requests.Session() as session:
            while not stop.is_set():
                try:
                    answers.append(session.get(f"{url}/predict", params=ARTICLE, timeout=10).status_code)
                except requests.RequestException as error:
                    failures.append(error)

    with serving(exported, free_port, "--workers", "2") as (process, url):
        workers = until(lambda: len(family(process)) == 3 and family(process)[1:])
        threads = [threading.Thread(target=ask) for _ in range(clients)]
        for thread in threads:
            thread.start()
        until(lambda: len(answers) > 200)
        workers[0].kill()
        until(lambda: len(family(process)) == 3 and workers[0] not in family(process))
        before = len(answers)
        until(lambda: len(answers) > before + 200)
        stop.set()
        for thread in threads:
            thread.join()
        assert len(failures) <= clients  # one request at a time on each connection
        assert set(answers) == {200}


@posix_only
def test_workers_that_are_killed_again_and_again_are_replaced_again_and_again(exported, free_port):
    with serving(exported, free_port, "--workers", "1") as (process, url):
        for _ in range(3):
            worker = until(lambda: family(process)[1:])[0]
            worker.kill()
            until(lambda worker=worker: gone([worker]) and is_ready(url))
        assert requests.get(f"{url}/predict", params=ARTICLE).ok


@posix_only
def test_workers_end_when_the_process_that_started_them_is_killed(exported, free_port):
    process = start("--model", exported, "--port", free_port, "--workers", "2")
    until(lambda: is_ready(f"http://127.0.0.1:{free_port}") and len(family(process)) == 3)
    workers = family(process)[1:]
    process.kill()
    process.communicate()
    until(lambda: gone(workers))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no disk that is always full")
def test_a_service_whose_output_has_no_place_goes_on(model, free_port, tmp_path):
    url, card = f"http://127.0.0.1:{free_port}", (model / "card.json").read_bytes()
    command = [sys.executable, "-m", "helpers", "serve", "--model", model, "--port", str(free_port), "--workers", "1"]
    with open("/dev/full", "w") as full:
        process = subprocess.Popen([*command, "--access-log"], cwd=PROJECT, stdout=full, stderr=full)
    try:
        until(lambda: is_ready(url))
        (model / "card.json").write_bytes(b"{")
        [worker] = family(process)[1:]
        worker.kill()
        until(lambda: "no worker" in requests.get(f"{url}/health/ready", timeout=5).text)  # which is said, too
        (model / "card.json").write_bytes(card)
        until(lambda: is_ready(url))
    finally:
        process.terminate()
        assert process.wait(STOP_SECONDS + 5) == 1  # as of any command whose output is lost


@posix_only
@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_service_without_an_output_answers(exported, free_port, closed):
    shell = f'exec "$@" {"12"[closed == "stderr"]}>&-'
    options = ["serve", "--model", exported, "--port", str(free_port), "--workers", "1", "--access-log"]
    command = ["sh", "-c", shell, "sh", sys.executable, "-m", "helpers", *options]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=PIPE, stderr=PIPE, text=True)
    try:
        until(lambda: is_ready(f"http://127.0.0.1:{free_port}"))
    finally:
        process.terminate()
        assert "Traceback" not in process.communicate(timeout=STOP_SECONDS + 5)[1]
    assert process.returncode == 0


# ---- another model while it serves ----


def put(model, other) -> None:
    """Write the files of `other` over those of `model`, the card last, as an export does."""
    for name in ("model.keras", "model.onnx", "card.json"):
        shutil.copy(other / name, model / f"{name}.new")
        os.replace(model / f"{name}.new", model / name)


def test_new_artifacts_are_swapped_in_without_a_failed_request(model, other, free_port):
    old, new = load_predictor(model), load_predictor(other)
    legal = {str(p(p.signature.parse(ARTICLE))[0]) for p in (old, new)}
    assert len(legal) == 2
    seen, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            seen.append(requests.get(f"{url}/predict", params=ARTICLE, timeout=10).json().get("prediction"))

    with serving(model, free_port, "--workers", "2") as (process, url):
        thread = threading.Thread(target=ask)
        thread.start()
        until(lambda: len(seen) > 20)
        put(model, other)
        until(lambda: all(requests.get(f"{url}/health/ready").json()["model"] == new.version for _ in range(10)))
        stop.set()
        thread.join()
        assert requests.get(f"{url}/predict", params=ARTICLE).json()["prediction"] in legal - {seen[0]}
        said = next(line for line in process.stdout if " replaced by " in line)
        assert said.startswith(f"model {old.version} replaced by {new.version}, ")
        assert 'model_swaps_total{result="ok"} 2.0' in requests.get(f"{url}/metrics").text
        process.terminate()
        assert " replaced by " not in process.stdout.read()  # once, though each worker has replaced it
    assert set(seen) == legal


@contextmanager
def running(program: str, folder: Path = PROJECT):
    """A program that supervises workers, in a folder; nothing of it is left, also where a test fails."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=PIPE, stderr=STDOUT, text=True) as process:
        try:
            yield process
        finally:
            for member in family(process):
                with suppress(psutil.NoSuchProcess):
                    member.kill()


WORKERS = """
import os, socket, sys, time
from helpers.serving import OF_ITSELF
from helpers.serving.sayings import hand_on, log
from helpers.serving.supervisor import Supervisor

def work(place):
    hand_on(place.say)
    if place.number != 1:
        time.sleep(1)  # it is ready before them
        log.error("what worker 1 does not say")
    else:
        log.error("what worker 1 says of itself", extra=OF_ITSELF)
    log.warning("what all of them say")
    place.tell()
    time.sleep(60)

listener = socket.create_server(("127.0.0.1", 0))
sys.exit(Supervisor(listener, 3, work, lambda: os.write(1, b"ready\\n")).run())  # whole, beside a worker's line
"""


@posix_only
def test_what_all_workers_say_is_said_once_and_what_some_say_with_their_numbers():
    with running(WORKERS) as process:
        at_once = {process.stdout.readline() for _ in range(3)}
        assert at_once == {"ready\n", "what all of them say\n", "what worker 1 says of itself\n"}
        process.terminate()
        assert process.stdout.read() == "workers 0, 2: what worker 1 does not say\n" and process.wait() == 0


LATE_WORKERS = """
import os, socket, sys, time
from helpers.serving.sayings import hand_on, log
from helpers.serving.supervisor import Supervisor

def work(place):
    hand_on(place.say)
    place.tell()
    time.sleep(0.5)  # all of them are ready
    if place.number == 1:
        if not os.path.exists("ended"):
            open("ended", "w").close()
            time.sleep(1)
            sys.exit()
    else:
        time.sleep(4 if place.number == 2 else 0)
        log.warning("what each says at its time")
    while True:
        time.sleep(0.5)
        place.tell()

listener = socket.create_server(("127.0.0.1", 0))
sys.exit(Supervisor(listener, 3, work).run())
"""


@posix_only
def test_a_line_waits_for_the_slowest_worker_and_for_none_that_has_ended(tmp_path):
    with running(LATE_WORKERS, tmp_path) as process:
        assert process.stdout.readline() == "what each says at its time\n"
        process.terminate()
        assert process.stdout.read() == "" and process.wait() == 0


TIDY_WORKER = """
import atexit, signal, socket, sys, time
from helpers.serving.supervisor import Supervisor

def work(place):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    atexit.register(print, "what the worker leaves is removed", flush=True)
    place.tell()
    time.sleep(60)

atexit.register(print, "and what the service leaves")
listener = socket.create_server(("127.0.0.1", 0))
sys.exit(Supervisor(listener, 1, work, lambda: print("ready", flush=True)).run())
"""


@posix_only
def test_a_worker_removes_what_it_leaves_and_nothing_of_the_service_s():
    with running(TIDY_WORKER) as process:
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.stdout.read() == "what the worker leaves is removed\nand what the service leaves\n"


SILENT_WORKER = """
import socket, sys, time
from helpers.serving import supervisor

def work(place):
    print("started", flush=True)
    place.tell()
    time.sleep(60)

supervisor.SILENT_SECONDS = 1
listener = socket.create_server(("127.0.0.1", 0))
sys.exit(supervisor.Supervisor(listener, 1, work).run())
"""


@posix_only
def test_a_silent_worker_is_replaced_and_named_once():
    with running(SILENT_WORKER) as process:
        said = [process.stdout.readline() for _ in range(3)]
        process.terminate()
        process.communicate()
    assert said == ["started\n", "worker 0 has been silent for 1 seconds: replacing it\n", "started\n"]


ONE_WORKER = """
import socket, sys, time
from helpers.serving.supervisor import Supervisor

def work(place):
    place.tell()
    time.sleep(60)

listener = socket.create_server(("127.0.0.1", 0))
sys.exit(Supervisor(listener, 1, work, lambda: print("ready", flush=True)).run())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no process sets the limits of another")
def test_a_worker_for_which_the_system_has_no_room_is_tried_again_and_a_service_that_was_halted_says_nothing():
    from resource import RLIMIT_NOFILE, prlimit

    with running(ONE_WORKER) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(ABSENT_SECONDS + 0.5)
        process.send_signal(signal.SIGCONT)
        time.sleep(5 * LOOK_SECONDS)
        limits = prlimit(process.pid, RLIMIT_NOFILE)
        prlimit(process.pid, RLIMIT_NOFILE, (3, limits[1]))
        [worker] = family(process)[1:]
        worker.kill()
        assert process.stdout.readline().startswith("serve: no worker can be started (Too many open files), trying")
        prlimit(process.pid, RLIMIT_NOFILE, limits)
        until(lambda: family(process)[1:])
        process.terminate()
        assert process.wait() == 0


def test_a_bad_artifact_leaves_the_old_model_serving_and_says_why(model, other, free_port):
    old = load_predictor(model)
    with serving(model, free_port, "--workers", "1") as (process, url):
        (model / "model.onnx").write_bytes(b"no model")
        until(lambda: 'model_swaps_total{result="rejected"} 1.0' in requests.get(f"{url}/metrics").text)
        answer = requests.get(f"{url}/predict", params=ARTICLE).json()
        assert answer["prediction"] == str(old(old.signature.parse(ARTICLE))[0])
        put(model, other)
        until(lambda: requests.get(f"{url}/health/ready").json()["model"] != old.version)
        process.terminate()
        log = process.communicate(timeout=20)[0]
    assert "rejected" in log and "model.onnx" in log
