#!/usr/bin/env python3
# Assigned, as it is printed: what stands here by itself, PYTHONOPTIMIZE=2 leaves out.
__doc__ = """From an echo service to a trained Keras model that answers over HTTP, in notebooks.

usage: python3 tutorial.py COMMAND [options]

  run     execute every notebook, write them as HTML to build/index.html, print the key figures
          --data sample | article | PATH   the table to train on       --label NAME   its column to predict
  train   train a model on a table of yours, and say how to serve it
          --data TABLE --label NAME   a table (CSV, Excel, Parquet, JSON, an address) and its column to predict
  lab     open JupyterLab on the first notebook
  serve   serve a model on http://127.0.0.1:5000, that of the sample (trained first if need be) or another one
          --model NAME | PATH   a model in models/, or the folder of one
          FILE   a model of yours, exported first: a Keras file, a SavedModel, model.json, ONNX, LiteRT
  export FILE   export such a model of yours to models/, with what it takes and answers
  models  list the models and their versions: which is current, how good, who serves it
          rollback NAME [VERSION]   put the one before back    promote NAME   put the one beside in its place
  gate    say whether a new version may take the place of the one that answers
          --golden FILE   requests and bounds of their answers    --data TABLE   compare the AUC, too
  score   score the rows of files, millions of them, with a model
          INPUT OUTPUT   files of rows (CSV, Parquet, JSON), and what to write    --model NAME | PATH   as for `serve`
          --engine beam | spark   on a cluster, too
  lambda  pack a model and its service into one zip for AWS Lambda
          --model NAME | PATH   as for `serve`    --run   call it on this machine, too
  test    pass every test; with --quick those that a commit waits for
  bench   measure speed, each figure beside its baseline
  doctor URL   say why a URL does not answer, and what to do
  renew   execute notebooks in place, after a change to them
  setup   set up the environment in .venv, which otherwise the first command does

`python3 tutorial.py COMMAND --help` shows the options of a command.
"""

import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "installed.sha256"  # written last: whatever was interrupted before it is done again
# Where Python may not keep what it compiles (many images say so), each start would compile TensorFlow anew.
KEEPS_NOTHING = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
NEEDED_DISK = 5 * 1024**3  # bytes; the installed environment takes 4.0 GB on the disk
REMEDIES = {  # what to do, and what pip and uv print when it is that
    "the disk is full, make room (5 GB)": ("no space left", "disk quota"),
    "the package index cannot be reached, check the network and the proxy": (
        "dns error",
        "name resolution",
        "getaddrinfo",
        "connection refused",
        "error sending request",
        "failed to fetch",
        "failed to establish",
        "network is unreachable",
        "timed out",
        "no matching distribution found for uv",
    ),
}


class SetUpError(Exception):
    """Set-up cannot go on; the message is one sentence that says what to do."""


def main(arguments: list) -> int:
    if not arguments or arguments[0] in ("help", "-h", "--help"):
        try:
            print(__doc__.strip(), flush=True)
        except OSError:  # who reads it has ended, as `head` does, or its disk is full; Python would try again
            os._exit(1)
        return 0
    try:
        check_python()
        check_folder()
        check_options(arguments)
        try:
            set_up()
        except OSError as error:
            where = "make the folder writable, or clone the project into one of your own"
            raise SetUpError(f"{VENV} cannot be set up ({error}): {where}, then run this again.") from None
    except SetUpError as error:
        say(f"tutorial.py: {error}")
        return 2
    except KeyboardInterrupt:
        say("\ntutorial.py: interrupted; the same command goes on from here.")
        return 130
    return hand_over([str(PYTHON), "-m", "helpers", *arguments])


def check_python() -> None:
    """Python 3.6, which some systems still call python3, has to be able to read this file, to be told so."""
    if sys.version_info < (3, 11):
        raise SetUpError(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}: install one and use it.")


def check_folder() -> None:
    if not (ROOT / "helpers").is_dir():
        raise SetUpError(
            f"{ROOT} does not hold the rest of the project: clone all of it, and run the tutorial.py in it."
        )
    if os.pathsep in str(ROOT):
        raise SetUpError(f"no environment can be set up in {ROOT}: move it to a path without a {os.pathsep!r}.")


def check_options(arguments: list) -> None:
    """End here, with nothing installed, after `--help` and after options that cannot be meant."""
    sys.dont_write_bytecode = True  # a command that is refused leaves nothing behind
    sys.path.insert(0, str(ROOT))
    from helpers.tools.command_line import parse

    parse(arguments)


def set_up() -> None:
    """Build .venv and install what requirements.lock names; nothing to do where that is already so."""
    sources = [(ROOT / name).read_bytes() for name in ("requirements.lock", "pyproject.toml")]
    wanted = sha256(b"".join([*sources, str(ROOT).encode()])).hexdigest()  # a moved folder needs its paths anew
    if STAMP.exists() and STAMP.read_text() == wanted and PYTHON.exists():
        return
    create_venv()
    say("Installing the packages of requirements.lock into .venv (about 4 GB, once) ...")
    install("-r", "requirements.lock")
    install("--no-deps", "--editable", ".")
    if KEEPS_NOTHING:
        run(PYTHON, "-m", "compileall", "-q", "helpers")
    STAMP.write_text(wanted)


def create_venv() -> None:
    STAMP.unlink(missing_ok=True)
    if shutil.disk_usage(ROOT).free < NEEDED_DISK and not PYTHON.exists():
        raise SetUpError(f"the disk of {ROOT} has less than 5 GB free: make room, then run this again.")
    if PYTHON.exists() and works(PYTHON, "-m", "pip", "--version"):
        return
    say("Creating .venv ...")
    shutil.rmtree(VENV, ignore_errors=True)
    try:
        import ensurepip  # noqa: F401  Debian without python3-venv has `venv`, but not this
        import venv

        venv.create(VENV, with_pip=True, symlinks=os.name != "nt")
    except ImportError:
        raise SetUpError(
            "this Python has no venv module: install it (on Debian and Ubuntu `sudo apt install python3-venv`), "
            "then run this again."
        ) from None
    except subprocess.CalledProcessError as error:  # the pip in it
        raise SetUpError(f"{VENV} cannot be created ({error}): mend that, then run this again.") from None


def install(*what: str) -> None:
    """Install with uv, which takes seconds; with pip, which takes minutes, where uv cannot be had or fails."""
    uv = [PYTHON, "-m", "uv"]
    installers = [[PYTHON, "-m", "pip", "install", "--quiet", *what]]
    if works(*uv, "--version") or works(PYTHON, "-m", "pip", "install", "--quiet", "uv"):
        compiled = ["--compile-bytecode"] if KEEPS_NOTHING else []
        installers.insert(0, [*uv, "pip", "install", "--quiet", *compiled, "--python", PYTHON, *what])
    for attempt, installer in enumerate(installers):
        if attempt:
            say("uv could not install, trying pip (some minutes) ...")
        result = run(*installer)
        if result.returncode == 0:
            return
        for remedy, signs in REMEDIES.items():
            if any(sign in result.stderr.lower() for sign in signs):
                raise SetUpError(f"the packages could not be installed: {remedy}, then run this again.")
    say(result.stderr)
    raise SetUpError("the packages could not be installed: the lines above say why; mend that, then run this again.")


def run(*command) -> subprocess.CompletedProcess:
    as_text = {"encoding": "utf-8", "errors": "replace"}  # as uv writes, whatever this system's encoding is
    # pip installs into .venv, wherever this account has it install otherwise
    environment = {name: value for name, value in os.environ.items() if name not in ("PIP_TARGET", "PIP_PREFIX")}
    environment["PIP_USER"] = "0"
    quietly = {"cwd": ROOT, "env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **as_text}
    return subprocess.run([*map(str, command)], check=False, **quietly)


def works(*command) -> bool:
    return run(*command).returncode == 0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def hand_over(command: list) -> int:
    """Become `command` where the system can, so that its signals and exit code are its own."""
    if os.name == "posix":
        os.execv(command[0], command)
    try:
        return subprocess.call(command)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
