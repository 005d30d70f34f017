"""Notebook 00's checks: what is well is said to be well, and each thing that is not comes with its remedy."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from importlib.metadata import version

import pytest
import requests

from helpers import PROJECT
from helpers.tools import environment
from helpers.tools.environment import MEND, NOTE, OK, Check, Report

LOCK = PROJECT / "requirements.lock"


def test_every_line_that_is_not_well_has_a_remedy_and_no_other():
    report = environment.check_environment(browser_seconds=0.1)
    assert [check.name for check in report] == [
        *("Python", "packages", "Keras", "folder", "disk", "memory", "curl", "port 5000", "browser")
    ]
    for check in report:
        assert (check.status == OK) == (check.remedy == ""), check
        assert check.status in (OK, NOTE, MEND)


def test_an_old_python_is_to_be_replaced():
    assert environment.check_python((3, 11, 0)).status == OK
    old = environment.check_python((3, 10, 9))
    assert old.status == MEND and old.found == "3.10.9" and "3.11" in old.remedy


def test_settings_of_keras_that_are_not_the_notebooks_are_to_be_mended(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert environment.check_keras().status == OK
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    check = environment.check_keras()
    assert check.status == MEND and check.found == "KERAS_BACKEND=jax" and "Unset that variable" in check.remedy
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    settings = {"backend": "theano", "floatx": "float16", "image_data_format": "channels_first"}
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    found = environment.check_keras().found
    assert "float16" in found and "channels_first" in found and "theano" not in found  # the variable overrules it
    monkeypatch.delenv("KERAS_BACKEND")
    assert str(tmp_path / "keras.json") + ' says "backend": "theano"' in environment.check_keras().found
    (tmp_path / "keras.json").write_text("not JSON")
    assert environment.check_keras().status == OK  # Keras takes no notice of it, either


def test_the_lock_is_read_with_its_markers_and_comments(tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "# a comment\npytest==1.0\n    # via nbval\nrequests[socks]==2.0 ; python_version >= '3'\n"
        "appnope==3.0 ; sys_platform == 'no-such-system'\n"
    )
    assert environment.read_lock(lock) == {"pytest": "1.0", "requests": "2.0"}


def test_the_lock_of_this_project_names_what_the_notebooks_import():
    assert {"flask", "jupyter", "keras", "onnxruntime", "pandas", "tensorflow"} <= set(environment.read_lock(LOCK))


def test_the_same_versions_are_well(tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"pytest=={version('pytest')}\nnbval=={version('nbval')}\n")
    assert environment.check_packages(lock) == Check("packages", "all 2 as in requirements.lock")


def test_another_version_is_noted_with_both(tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"pytest==0.0.1\nnbval=={version('nbval')}\n")
    check = environment.check_packages(str(lock))  # a path as text will do
    assert check.status == NOTE
    assert check.found == f"pytest {version('pytest')} (lock: 0.0.1) differ from requirements.lock"
    assert "requirements.lock" in check.remedy


def test_missing_packages_are_counted(tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text("".join(f"no-such-package-{letter}==1.0\n" for letter in "abcdefg"))
    check = environment.check_packages(lock)
    assert check.status == MEND and check.found.startswith("no-such-package-a, ")
    assert check.found.endswith("no-such-package-d and 3 more missing")


def test_a_folder_that_cannot_be_written_is_to_be_left(tmp_path):
    assert environment.check_folder(tmp_path).status == OK
    assert list(tmp_path.iterdir()) == []
    gone = environment.check_folder(tmp_path / "nowhere")  # even the superuser, as whom CI runs, cannot write there
    assert gone.status == MEND and "Copy the project" in gone.remedy


def test_disk_and_memory_are_held_against_what_is_needed():
    assert environment.check_disk(PROJECT, needed=1).status == OK
    assert environment.check_disk(PROJECT, needed=2**80).status == MEND
    assert environment.check_memory(needed=1).status == OK
    assert environment.check_memory(needed=2**80).status == NOTE


def test_a_hubs_memory_limit_counts(monkeypatch):
    monkeypatch.setenv("MEM_LIMIT", str(512 * 1024**2))
    check = environment.check_memory()
    assert (check.found, check.status) == ("0.5 GiB available", NOTE)


def test_a_proxy_that_a_terminal_would_take_to_this_machine_is_said():
    check = environment.check_curl(proxy="HTTP_PROXY")
    assert check.status == NOTE and "HTTP_PROXY" in check.found
    assert "export NO_PROXY=127.0.0.1,localhost,::1" in check.remedy


IMPORT_KERAS = """
import gc, sys
import helpers.model.training
print(sum(each["collections"] for each in gc.get_stats()), *{"sklearn", "matplotlib"} & set(sys.modules))
assert gc.isenabled() and gc.get_freeze_count() > 100_000  # what the import made, and garbage is looked for again
import sklearn, matplotlib  # whoever wants them later has them
"""


@pytest.mark.slow
def test_a_command_imports_keras_alone_and_hardly_looks_for_garbage_meanwhile():
    """Else half of a start: a third looks for garbage that is not there, a fifth imports what no command uses."""
    done = subprocess.run([sys.executable, "-c", IMPORT_KERAS], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50  # collections, of a thousand without `helpers`; and no names after it


ASKED_BEHIND_A_PROXY = """
import os, subprocess, sys, urllib.request
import requests
import helpers
from helpers.serving.notebook_server import serve
from helpers.serving.services import create_echo_app
with serve(create_echo_app(), port=0) as server:
    url = f"{server.url}/predict?msg=Hello"
    assert requests.get(url, timeout=5).json()["response"] == "Hello"
    assert requests.get(url.replace("127.0.0.1", "localhost"), timeout=5).ok
    assert b"Hello" in urllib.request.urlopen(url, timeout=5).read()
    assert b"Hello" in subprocess.run(["curl", "-s", url], capture_output=True, check=True).stdout
child = [sys.executable, "-c", "import helpers; print(helpers.PROXY)"]  # as `tutorial.py` and `lab` start theirs
assert subprocess.run(child, capture_output=True, text=True, check=True).stdout.strip() == helpers.PROXY
print(helpers.PROXY or "-", os.environ["NO_PROXY"])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment_of", "said"),
    [
        (
            {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"},
            "HTTP_PROXY 127.0.0.1,::1,localhost",
        ),
        (
            {"http_proxy": "http://127.0.0.1:9", "no_proxy": "example.org"},
            "http_proxy example.org,127.0.0.1,::1,localhost",
        ),
        ({"ALL_PROXY": "http://127.0.0.1:9", "NO_PROXY": "localhost"}, "ALL_PROXY localhost,127.0.0.1,::1"),
        ({"http_proxy": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1,localhost,::1"}, "- 127.0.0.1,localhost,::1"),
    ],
)
def test_calls_to_this_machine_take_no_proxy(environment_of, said):
    bare = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    command = [sys.executable, "-c", ASKED_BEHIND_A_PROXY]
    done = subprocess.run(command, cwd=PROJECT, env=bare | environment_of, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == said, done.stderr


def test_curl_is_looked_for(tmp_path):
    assert environment.check_curl().status == OK
    assert environment.check_curl(path=str(tmp_path)).status == MEND


def test_a_taken_port_is_noted_and_a_free_one_is_well(free_port):
    assert environment.check_port(free_port).status == OK
    with socket.socket() as other_program:
        other_program.bind(("127.0.0.1", free_port))
        other_program.listen()
        check = environment.check_port(free_port)
    assert check.status == NOTE and "AirPlay" in check.remedy
    assert environment.check_port(free_port).status == OK


def visit(road: str):
    """A `show` that does what the page's script does, on one of its two roads."""

    def show(page: str) -> None:
        assert "<script>" in page
        address = re.search(r"http://127\.0\.0\.1:\d+/\w+/direct", page)[0]
        requests.get(address.replace("/direct", road), timeout=5)

    return show


@pytest.mark.parametrize(("road", "words"), [("/direct", "at 127.0.0.1"), ("/proxy", "through Jupyter's proxy")])
def test_a_browser_that_calls_is_seen_with_its_road(road, words):
    check = environment.check_browser(1.0 if road == "/direct" else 0.2, show=visit(road))
    assert check == Check("browser", f"reaches the kernel {words}")


def test_a_caller_that_does_not_know_the_token_is_not_the_browser():
    check = environment.check_browser(0.2, show=visit("/something-else"))
    assert check.status == NOTE and "Trust Notebook" in check.remedy


def test_the_browser_check_leaves_no_thread_and_no_port():
    before, pages = threading.active_count(), []
    environment.check_browser(0.1, show=pages.append)
    assert threading.active_count() == before
    port = int(re.search(r"127\.0\.0\.1:(\d+)", pages[0])[1])
    assert environment.check_port(port).status == OK


def test_the_report_is_a_table_with_everything_in_it():
    report = Report([Check("curl", "installed"), Check("disk", "<1 GiB free", MEND, "Make room.")])
    page, text = report._repr_html_(), repr(report)
    assert page.count("<tr>") == 3 and "&lt;1 GiB free" in page and "Make room." in page
    assert text.splitlines()[0].split() == ["✓", "curl", "installed"] and "Make room." in text
    assert not report.ready and Report(report[:1]).ready
