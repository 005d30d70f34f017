"""The workflow that makes a model: its steps, run one after the other in a copy of the project, as a runner does.

What differs from there: the environment is this one's, and podman has the store and the settings of `containers`.
"""

import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import notebook_tools as tools
import pytest
from containers import lent, provide_base
from filelock import FileLock
from test_workflow import commands, steps

from helpers import PROJECT
from helpers.data.signature import Signature
from helpers.export.artifacts import export_model
from helpers.export.card import read_card

WORKFLOW = PROJECT / ".github" / "workflows" / "model.yml"
IMAGE, TAG = "keras-flask-tutorial", "localhost/keras-flask-tutorial:workflow"  # the other tests use the first one

pytestmark = pytest.mark.slow


def scripts() -> dict[str, str]:
    """{name: commands} of the steps that run something."""
    return {step["name"]: step["run"] for step in steps(WORKFLOW) if "run" in step}


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """The project as the first step checks it out, set up."""
    clone = tools.copy_project(tmp_path_factory.mktemp("runner") / "tutorial")
    for name in ("tutorial.py", "Containerfile", ".containerignore"):
        shutil.copy(PROJECT / name, clone)
    own, venv = Path(sys.prefix), clone / ".venv"
    venv.mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (venv / name).symlink_to(own / name)
    sources = [(clone / name).read_bytes() for name in ("requirements.lock", "pyproject.toml")]
    (venv / "installed.sha256").write_text(sha256(b"".join([*sources, str(clone).encode()])).hexdigest())
    return clone


def test_the_notebook_shows_its_commands():
    notebook = tools.read(PROJECT / "notebooks" / "10_replace-it.ipynb")
    shown = "".join(cell.source for cell in tools.section(notebook, "Let it run by itself")).split("```")[1]
    assert [line for line in shown.strip().splitlines() if line not in commands(WORKFLOW)] == []


def test_its_steps_train_gate_build_and_let_the_container_answer(podman, service_image, clone, tmp_path):
    program = tmp_path / "podman"
    program.write_text(
        f"""#!/bin/sh
word=$1
shift
case $word in
    build) set -- {" ".join(lent())} "$@" ;;
    run) set -- --network=none "$@" ;;
esac
exec {" ".join(podman.command)} "$word" "$@"
""".replace("exec podman", f"exec {shutil.which('podman')}")
    )
    program.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = tools.environment_in(clone, PATH=path, CONTAINERS_CONF=podman.environment["CONTAINERS_CONF"])
    said = {}
    with FileLock(podman.folder / "build.lock"):
        provide_base(podman)
        try:
            for name, script in scripts().items():
                run = {"cwd": clone, "env": environment, "capture_output": True, "text": True, "timeout": 300}
                done = subprocess.run(["bash", "-e", "-c", script.replace(IMAGE, TAG)], check=False, **run)
                said[name] = done.stdout + done.stderr
                assert done.returncode == 0, f"{name}: {said[name][-3000:]}"
        finally:
            podman("rm", "--force", "--ignore", "candidate")
            podman("rmi", "--force", "--ignore", TAG)
    assert "may pass: all 6 hold" in said["hold it back where a golden request is answered otherwise"]
    card = read_card(clone / "models" / "games")
    assert set(card["formats"]) >= {"keras", "onnx", "tflite"} and card["metrics"]["test_auc"] > 0.8


def test_a_model_that_is_held_back_ends_it_before_anything_is_built(clone, trained, sample):
    names = list(scripts())
    gate = next(i for i, name in enumerate(names) if "tutorial.py gate" in scripts()[name])
    assert all("podman" not in scripts()[name] for name in names[: gate + 1])
    assert not any(step.get("continue-on-error") or "if" in step for step in steps(WORKFLOW))
    shutil.rmtree(clone / "models", ignore_errors=True)
    turned = Signature(tuple(reversed(Signature.from_table(sample.drop(columns="label")).features)))
    export_model(trained, clone / "models" / "games", signature=turned, formats=("onnx",))
    script = scripts()[names[gate]]
    run = {"cwd": clone, "env": tools.environment_in(clone), "capture_output": True, "text": True}
    done = subprocess.run(["bash", "-e", "-c", script], check=False, **run)
    assert done.returncode == 1 and "is held back" in done.stdout, done.stdout + done.stderr
