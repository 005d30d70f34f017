"""The GitHub workflows, which run elsewhere: read here by what knows their language, and each command tried."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from helpers import PROJECT

WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
BESIDE_PYTHON = Path(sys.executable).parent  # where `pip` and `uv` are after `pip install uv`, there as here
PATH = os.pathsep.join([str(BESIDE_PYTHON), os.environ["PATH"]])


def checker(*command: str) -> subprocess.CompletedProcess:
    program = str(BESIDE_PYTHON / command[0])
    return subprocess.run([program, *command[1:]], cwd=PROJECT, capture_output=True, text=True, check=False)


def zizmor(*paths: Path) -> subprocess.CompletedProcess:
    return checker("zizmor", "--offline", "--no-progress", *map(str, paths))


def schema(*paths: Path, kind: str = "github-workflows") -> subprocess.CompletedProcess:
    return checker("check-jsonschema", "--builtin-schema", f"vendor.{kind}", *map(str, paths))


def steps(path: Path) -> list[dict]:
    jobs = yaml.safe_load(path.read_text())["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


def commands(path: Path) -> list[str]:
    """Each command line of the steps that run something, once."""
    scripts = [step["run"] for step in steps(path) if "run" in step]
    return list(dict.fromkeys(line.strip() for script in scripts for line in script.splitlines() if line.strip()))


def test_there_is_a_workflow_and_it_passes_the_readme_s_test_command():
    assert [path.name for path in WORKFLOWS] == ["model.yml", "test.yml"]
    assert "python3 tutorial.py test" in commands(WORKFLOWS[1])


def test_zizmor_finds_no_weakness():
    done = zizmor(PROJECT / ".github")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_every_word_is_one_that_github_knows():
    for done in (schema(*WORKFLOWS), schema(PROJECT / ".github" / "dependabot.yml", kind="dependabot")):
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_to_a_commit_with_its_version_beside_it(path):
    uses = re.findall(r"uses:\s*(.+)", path.read_text())
    assert uses
    assert [line for line in uses if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "check"),
    [
        (r"@[0-9a-f]{40} #", "@v4 #", zizmor),
        (r"persist-credentials: false", "fetch-depth: 1", zizmor),
        (r"contents: read", "contents: write-all-of-it", schema),
        (r"runs-on: ubuntu-latest", "run-on: ubuntu-latest", schema),
    ],
    ids=["an action that is not pinned", "credentials left behind", "a right that is none", "a key that is none"],
)
def test_a_fault_is_found(tmp_path, old, new, check):
    text, changes = re.subn(old, new, WORKFLOWS[1].read_text())
    assert changes
    changed = tmp_path / ".github" / "workflows" / "test.yml"
    changed.parent.mkdir(parents=True)
    changed.write_text(text)
    assert check(changed).returncode != 0


def faults(line: str) -> list[str]:
    """What would stop a command line: a program or a subcommand that is not there, an option that its help lacks."""
    command = shlex.split(line)
    program = shutil.which(command[0], path=PATH)
    if program is None:
        return [f"there is no program {command[0]!r}"]
    first_option = next((i for i, word in enumerate(command) if word.startswith("-")), len(command))
    help_of = [program, *command[1:first_option], "-h"]
    done = subprocess.run(help_of, cwd=PROJECT, capture_output=True, text=True, check=False)
    if "usage" not in (done.stdout + done.stderr).lower():
        return [f"{shlex.join(help_of)} says {done.stderr or done.stdout!r}"]
    options = [word for word in command[first_option:] if word.startswith("-")]
    known = re.findall(r"(?<!\w)--?[\w-]+", done.stdout + done.stderr)
    return [f"{command[0]} does not know {option}" for option in options if option not in known]


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for path in WORKFLOWS for c in commands(path) if "podman" not in c])
def test_each_command_exists_and_knows_its_options(command):  # those of podman are run, in test_model_workflow
    assert faults(command) == []


@pytest.mark.parametrize(
    "command",
    [
        "uv pip compile --upgrades pyproject.toml",
        "uv pip compiles --universal",
        "python3 tutorial.py tests",
        "no-such-program",
    ],
)
def test_a_command_that_would_fail_is_found(command):
    assert faults(command)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_each_script_is_one_that_bash_can_read(path):
    for step in steps(path):
        if "run" in step:
            done = subprocess.run(["bash", "-n"], input=step["run"], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
