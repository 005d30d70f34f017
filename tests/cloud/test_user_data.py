"""The script that turns a fresh machine into the endpoint, executed: a fresh folder, its own commands, a real answer.

It installs from a git repository made of this working tree, and runs as a user without rights where the test may become
one. Two things are given to it: the environment (installing it anew would take minutes) and another folder than /opt.
"""

import contextlib
import getpass
import hashlib
import http.server
import os
import pwd
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

import pytest
import requests

from helpers import PROJECT
from helpers.cloud.user_data import user_data

AWS = PROJECT / "helpers" / "cloud" / "aws"
SCRIPT = AWS / "user_data.sh"
UNITS = sorted(AWS.glob("*.service"))
SERVICE = "keras-flask-tutorial.service"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the script is for an EC2 instance, which runs Linux")


def tool(name: str) -> str:
    return shutil.which(name) or pytest.skip(f"{name} is not installed: apt-get install {name.replace('-analyze', '')}")


# ---- the files by themselves ----


def test_the_script_is_shellcheck_clean():
    done = subprocess.run([tool("shellcheck"), "--severity=style", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_script_with_its_settings_is_shellcheck_clean_too():
    filled = user_data("https://example.org/x.git", "main", api_key="yes", jupyter="open")
    command = [tool("shellcheck"), "--severity=warning", "-"]
    done = subprocess.run(command, input=filled, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def machine(tmp_path):
    """The units in the folders of an instance, with what they start."""
    for unit in UNITS:
        target = tmp_path / "etc/systemd/system" / unit.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(unit, target)
    python = tmp_path / "opt/keras-flask-tutorial/.venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    for target in ("network-online", "multi-user", "basic", "sysinit", "shutdown"):
        (tmp_path / f"etc/systemd/system/{target}.target").write_text("[Unit]\nDescription=a target\n")
    return tmp_path


def verify(machine: Path, unit: str) -> subprocess.CompletedProcess:
    command = [tool("systemd-analyze"), "verify", "--man=no", f"--root={machine}", unit]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("unit", [unit.name for unit in UNITS])
def test_the_units_are_systemd_clean(unit, machine):
    done = verify(machine, unit)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_wrong_unit_would_not_pass(machine):
    unit = machine / "etc/systemd/system" / SERVICE
    unit.write_text(unit.read_text().replace("RestartSec=2", "RestartSecs=2").replace(".venv/bin/python", "bin/none"))
    said = verify(machine, SERVICE).stderr
    assert "RestartSecs" in said and "bin/none is not executable" in said


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_units_run_without_rights_and_start_again_on_failure(unit):
    lines = unit.read_text().splitlines()
    assert {"User=tutorial", "Restart=on-failure", "NoNewPrivileges=yes"} <= set(lines)


# ---- executed ----


@contextlib.contextmanager
def folder_of_its_own():
    """A folder that a user without rights can reach, as pytest's own it cannot."""
    folder = Path(tempfile.mkdtemp(prefix="fresh-machine-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def service_user() -> str:
    """Whom the service runs as: "nobody" where this test may become it and it can reach this Python, else oneself."""
    if os.geteuid() == 0 and shutil.which("runuser"):
        becomes = ["runuser", "-u", "nobody", "--", sys.executable, "-c", "import flask"]
        if subprocess.run(becomes, capture_output=True, check=False, cwd="/").returncode == 0:
            return "nobody"
    return getpass.getuser()


def repository(path: Path) -> str:
    """Make a git repository with the working tree as it is, uncommitted changes included; returns its commit."""
    clutter = shutil.ignore_patterns("__pycache__", "article.csv*")
    for name in ("helpers", "data"):
        shutil.copytree(PROJECT / name, path / name, ignore=clutter)
    git = ["git", "-C", path, "-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "the project"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return head.stdout.strip()


class Machine:
    """A folder in which the script is executed, as on a fresh machine, and what it starts there."""

    def __init__(self, folder: Path, port: int):
        self.folder, self.port, self.url = folder, port, f"http://127.0.0.1:{port}"
        self.app, self.state, self.user = folder / "app", folder / "state", service_user()
        self.commit = repository(folder / "repository")
        if os.geteuid() == 0:  # git refuses a repository of somebody else
            subprocess.run(["chown", "-R", self.user, folder / "repository"], check=True)

    def execute(self, **settings: str) -> subprocess.CompletedProcess:
        """The script as `user_data` writes it, run by bash as cloud-init does."""
        places = {"app": self.app, "state": self.state, "units": self.folder / "units", "venv": sys.prefix}
        settings = {"jupyter": "no", "epochs": "1", "port": self.port, "service_user": self.user, **places, **settings}
        script = user_data(
            f"file://{self.folder}/repository", self.commit, **{name: str(value) for name, value in settings.items()}
        )
        run = {"capture_output": True, "text": True, "timeout": 120, "cwd": "/"}
        return subprocess.run(["bash"], input=script, env={"PATH": os.environ["PATH"]}, check=False, **run)

    @property
    def pid(self) -> int:
        return int((self.state / f"{SERVICE}.pid").read_text())

    def stop(self) -> None:
        for file in self.state.glob("*.pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGTERM)
        wait_until(lambda: not any(exists(int(file.read_text())) for file in self.state.glob("*.pid")))


def exists(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def fresh():
    """A machine on which the script has run once, from nothing to the trained model's endpoint."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with folder_of_its_own() as folder:
        machine = Machine(folder, port)
        try:
            machine.first = machine.execute(api_key="yes")
            assert machine.first.returncode == 0, machine.first.stdout + machine.first.stderr
            yield machine
        finally:
            machine.stop()


@pytest.fixture
def key(fresh) -> dict[str, str]:
    return {"X-API-Key": (fresh.state / "api-key").read_text().strip()}


def article_request(machine: Machine, headers=None) -> requests.Response:
    return requests.get(
        f"{machine.url}/predict", {f"g{i}": int(i == 1) for i in range(1, 11)}, headers=headers, timeout=5
    )


@pytest.mark.slow
def test_the_endpoint_answers_the_article_s_request(fresh, key):
    answer = article_request(fresh, key)
    assert answer.status_code == 200
    assert answer.json()["success"] and 0 < answer.json()["probability"] < 1
    assert "user-data: ready" in fresh.first.stdout


@pytest.mark.slow
def test_the_project_is_there_at_its_revision(fresh):
    command = ["git", "-c", "safe.directory=*", "-C", fresh.app, "rev-parse", "HEAD"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == fresh.commit


@pytest.mark.slow
def test_the_service_runs_as_the_user_it_was_given(fresh):
    assert Path(f"/proc/{fresh.pid}").stat().st_uid == pwd.getpwnam(fresh.user).pw_uid


@pytest.mark.slow
def test_the_key_is_made_on_the_machine_and_nowhere_written_but_in_its_file(fresh, key):
    assert article_request(fresh).status_code == 401
    (secret,) = key.values()
    assert len(secret) == 64
    assert (fresh.state / "api-key").stat().st_mode & 0o077 == 0
    log = (fresh.state / f"{SERVICE}.log").read_text()
    assert secret not in fresh.first.stdout + fresh.first.stderr + log
    assert secret not in Path(f"/proc/{fresh.pid}/cmdline").read_text()


@pytest.mark.slow
def test_run_again_it_changes_nothing_and_the_service_answers_again(fresh, key):
    before, model = fresh.pid, (fresh.app / "models/games/card.json").read_bytes()
    again = fresh.execute(api_key="yes")
    assert again.returncode == 0, again.stdout + again.stderr
    assert fresh.pid != before and not exists(before)
    assert (fresh.app / "models/games/card.json").read_bytes() == model
    assert article_request(fresh, key).status_code == 200  # by the same key


@pytest.mark.slow
def test_a_model_of_one_s_own_is_fetched_when_its_checksum_fits(fresh, tmp_path, key):
    model = fresh.app / "models" / "games"
    archive, deeper = tmp_path / "model.tar.gz", tmp_path / "deeper.tar.gz"
    subprocess.run(["tar", "-czf", archive, "-C", model, "."], check=True)
    subprocess.run(["tar", "-czf", deeper, "-C", model.parent, "games"], check=True)
    card = (model / "card.json").read_bytes()
    shutil.rmtree(model)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    handler.func.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/model.tar.gz"
        wrong = fresh.execute(api_key="yes", model_url=url, model_sha256="0" * 64)
        assert wrong.returncode != 0 and "user-data: failed in line" in wrong.stdout
        assert not model.exists()
        checksum = hashlib.sha256(deeper.read_bytes()).hexdigest()
        wrong = fresh.execute(api_key="yes", model_url=url.replace("model", "deeper"), model_sha256=checksum)
        assert wrong.returncode != 0 and "deeper.tar.gz holds no card.json at its top: pack it by tar" in wrong.stdout
        assert not model.exists()
        checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
        right = fresh.execute(api_key="yes", model_url=url, model_sha256=checksum)
        server.shutdown()
    assert right.returncode == 0, right.stdout + right.stderr
    assert (model / "card.json").read_bytes() == card
    assert article_request(fresh, key).status_code == 200


# ---- JupyterLab ----


@contextlib.contextmanager
def jupyter(folder: Path, port: int, **environment: str):
    """JupyterLab with the instance's configuration; yields the process, whose log is in `folder`/log."""
    command = [sys.executable, "-m", "jupyterlab", "--config", AWS / "jupyter_server_config.py"]
    command += ["--allow-root"] if os.geteuid() == 0 else []
    environment = {"JUPYTER_STATE": str(folder), "JUPYTER_PORT": str(port), "HOME": str(folder), **environment}
    with open(folder / "log", "w") as log:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
        process = subprocess.Popen(command, env=inherited | environment, stdout=log, stderr=log, cwd=folder)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def status_of(url: str) -> int:
    """The HTTP status of a page, whatever its certificate; 0 where nothing listens."""
    try:
        with urllib.request.urlopen(url, timeout=5, context=ssl._create_unverified_context()) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def listening_on(process: subprocess.Popen) -> set[str]:
    import psutil

    sockets = psutil.Process(process.pid).net_connections("tcp")
    return {each.laddr.ip for each in sockets if each.status == psutil.CONN_LISTEN}


@pytest.mark.slow
def test_jupyter_listens_on_127_0_0_1_and_asks_for_a_token_that_no_log_shows(tmp_path, free_port):
    with jupyter(tmp_path, free_port) as process:
        url = f"http://127.0.0.1:{free_port}/api/contents"
        wait_until(lambda: status_of(url) != 0)
        token = (tmp_path / "jupyter-token").read_text()
        assert status_of(url) == 403
        assert status_of(f"{url}?token={token}") == 200
        assert listening_on(process) == {"127.0.0.1"}
    assert (tmp_path / "jupyter-token").stat().st_mode & 0o077 == 0
    assert len(token) >= 40 and token not in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_jupyter_open_to_the_network_needs_tls_and_still_the_token(tmp_path, free_port):
    with jupyter(tmp_path, free_port, JUPYTER_HOST="0.0.0.0") as process:
        assert process.wait(20) != 0
    assert "does not start on 0.0.0.0 without TLS" in (tmp_path / "log").read_text()
    names = {"JUPYTER_CERTIFICATE": str(tmp_path / "jupyter.pem"), "JUPYTER_KEY": str(tmp_path / "jupyter.key")}
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -out jupyter.pem -keyout jupyter.key"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    with jupyter(tmp_path, free_port, JUPYTER_HOST="0.0.0.0", **names):
        url = f"https://127.0.0.1:{free_port}/api/contents"
        wait_until(lambda: status_of(url) != 0)
        assert status_of(url) == 403
        assert status_of(f"{url}?token={(tmp_path / 'jupyter-token').read_text()}") == 200
        assert status_of(url.replace("https:", "http:")) == 0  # nothing in the clear
