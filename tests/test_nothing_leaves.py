"""What a command or a notebook reads stays on this machine: no name is asked for, no other host called, and the home
folder of whoever runs it holds nothing afterwards but the settings and caches that `watching.IN_HOME` lists.

The notebooks of the route are watched where nbval runs them, in `test_notebooks.py`, and `train` in
`test_own_table_commands.py`.
"""

import sys
from pathlib import Path

import pytest
from watching import CAN_WATCH, Seen, watched

from helpers import PROJECT

pytestmark = pytest.mark.skipif(not CAN_WATCH, reason="needs Linux with strace, which sees each call")


def watch(folder: Path, command: list[str]) -> Seen:
    """Run `command` with a fresh home folder, and look; it must succeed."""
    done, seen = watched(folder, command, PROJECT)
    assert done.returncode == 0, done.stdout + done.stderr
    return seen


def python(source: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", source, *map(str, arguments)]


SERVE = """
import subprocess, sys, time, urllib.request
model, port = sys.argv[1:]
serve = subprocess.Popen([sys.executable, "-m", "helpers", "serve", "--model", model, "--port", port])
url = f"http://127.0.0.1:{port}/predict?" + "&".join(f"g{i}=1" for i in range(1, 11))
while True:
    try:
        assert b"probability" in urllib.request.urlopen(url).read()
        break
    except OSError:
        assert serve.poll() is None
        time.sleep(0.05)
serve.terminate()
serve.wait()
"""

LAB = """
import json, subprocess, sys, time, urllib.request
port = sys.argv[1]
lab = subprocess.Popen([sys.executable, "-m", "helpers", "lab", "--no-browser", "--allow-root", "--port", port,
                        "--IdentityProvider.token=learner"])
def page(path):
    return urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}?token=learner").read()
while True:
    try:
        page("api")
        break
    except OSError:
        assert lab.poll() is None
        time.sleep(0.05)
assert b'"news": {"disabled": true}' in page("lab")
assert b"null" in page("lab/api/update")  # what the page asks for when it is opened
notification = json.loads(page("lab/api/settings/@jupyterlab/apputils-extension:notification"))
assert notification["schema"]["properties"]["fetchNews"]["default"] == "false"  # else it asks the reader whether to ask
lab.terminate()
lab.wait()
"""

A_NOTEBOOK = """
import sys, nbclient, nbformat
source = ("from helpers.export.predictors import load_predictor\\n"
          "import onnxruntime\\n"
          f"load_predictor({sys.argv[1]!r})\\n"
          f"onnxruntime.InferenceSession({sys.argv[1]!r} + '/model.onnx')")
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
nbclient.NotebookClient(notebook, kernel_name="python3").execute()
"""


def test_a_call_to_another_host_and_a_question_for_a_name_are_seen(tmp_path):
    source = """
import socket
for address in (("198.51.100.7", 9), ("127.0.0.53", 53), ("127.0.0.1", 9)):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(address)
try:
    socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).connect(("2001:db8::7", 9))
except OSError:
    pass
"""
    seen = watch(tmp_path, python(source))
    assert seen.called_outside == {"198.51.100.7:9", "127.0.0.53:53", "2001:db8::7:9"}
    assert "127.0.0.1:9" in seen.called


def test_what_onnx_runtime_writes_without_the_project_is_seen(exported, tmp_path):
    source = "import sys, onnxruntime; onnxruntime.InferenceSession(sys.argv[1])"
    assert any("onnxruntime" in file for file in watch(tmp_path, python(source, exported / "model.onnx")).left_unlisted)


def test_serve_leaves_nothing_and_calls_nobody(exported, tmp_path, free_port):
    seen = watch(tmp_path, python(SERVE, exported, free_port))
    assert seen.called_outside == set() and seen.left == set()
    assert f"127.0.0.1:{free_port}" in seen.called  # it did look


@pytest.mark.slow
def test_a_notebook_that_loads_the_model_leaves_nothing_and_calls_nobody(exported, tmp_path):
    seen = watch(tmp_path, python(A_NOTEBOOK, exported))
    assert seen.called_outside == set() and seen.left_unlisted == set()


@pytest.mark.slow
def test_jupyterlab_asks_nobody_for_news_or_a_newer_release(tmp_path, free_port):
    seen = watch(tmp_path, python(LAB, free_port))
    assert seen.called_outside == set() and seen.left_unlisted == set()
