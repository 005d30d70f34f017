"""A model and its service as one zip for AWS Lambda, which takes 262,144,000 bytes unpacked and no more.

The folder of an export comes in, out goes a file that Lambda runs as it is, the same to the last byte each time it is
made: files in order, with one date and one mode, and compiled code that is not held against the time of its source.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from helpers import PROJECT
from helpers.cloud.lambda_packages import BACKENDS, CannotPackage, Target, closure, files, installed_bytes, wanted
from helpers.data.inputs import InputSignature, signature_from
from helpers.data.signature import Signature
from helpers.export import predictors, registry
from helpers.export.card import not_run, read_artifact, read_card
from helpers.export.errors import PredictorError
from helpers.export.folder import CARD
from helpers.serving.lambda_limits import MOST_BODY
from helpers.whole_file import becoming

HANDLER = "helpers.serving.on_lambda.handler"
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MOST_UNZIPPED = 262_144_000  # bytes, 250 MiB, layers included
MOST_ZIPPED = 52_428_800  # bytes, 50 MiB, sent with the call that makes a function; a larger one goes by way of S3
_ROOMS = ("data", "export", "serving")  # of helpers, with what stands beside them: the application and what it reads
_SAME_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold


@dataclass(frozen=True)
class Package:
    """A finished zip: the file, where it runs, what runs the model, and bytes unpacked by what they belong to."""

    path: Path
    target: Target
    backend: str
    parts: dict[str, int]
    compiled: bool  # whether it holds .pyc files, which spare a cold start the compiling

    @property
    def unzipped(self) -> int:
        return sum(self.parts.values())

    @property
    def zipped(self) -> int:
        return self.path.stat().st_size


def build(model: Path | str, path: Path | str, target: Target | None = None, backend: str | None = None) -> Package:
    """Write the zip of an exported model to `path`, replacing what is there; nothing is written where it fails.

    target: where it is to run, Lambda on x86_64 where none is given; with `Target.here()` this machine can call it.
    backend: "onnx", "litert" or "numpy"; None is the best that the export holds a file for.
    Raises `CannotPackage` where it would not fit, no request would, a package cannot be had or the export holds no such
    file.
    """
    model, path, target = Path(model), Path(path).absolute(), target or Target.on_lambda("x86_64")
    card, backend = _checked(model, backend)
    signature = signature_from(card["signature"])
    check_request(signature)
    packages = closure(wanted(backend, signature.takes_pictures), target)
    with _zip_becoming(path) as part, tempfile.TemporaryDirectory(prefix="lambda-") as temporary:
        download, root = Path(temporary) / "packages", Path(temporary) / "root"
        parts = {"the application": _copy(_application(), root)}
        parts["the model"] = _copy(_model_files(model, backend), root)
        for name, of_it in files(packages, target, download).items():
            parts[name] = _copy(of_it, root)
        source = sum(parts.values())
        compiled = _compile(root, target)
        parts["compiled code (.pyc)"] = _size(root) - source
        check_size({name: size for name, size in parts.items() if size})
        _write(root, part)
    by_size = sorted(parts.items(), key=lambda entry: -entry[1])
    return Package(path, target, backend, {name: size for name, size in by_size if size}, compiled)


def check_size(parts: dict[str, int]) -> None:
    """Refuse, with the sum, what Lambda would refuse; parts: bytes unpacked by name."""
    total = sum(parts.values())
    if total > MOST_UNZIPPED:
        largest = sorted(parts.items(), key=lambda entry: -entry[1])[:3]
        told = ", ".join(f"{name} {megabytes(size)}" for name, size in largest)
        raise CannotPackage(
            f"{megabytes(total)} unpacked ({told}) is more than the {megabytes(MOST_UNZIPPED)} that Lambda takes: "
            "serve this model in a container or on a machine of your own"
        )


def check_request(signature: Signature | InputSignature) -> None:
    """Refuse, with the sum, a model that no request could reach: whose smallest row is more than Lambda lets in.

    Smallest as JSON: a digit and a comma for each number, open sizes 1. Pictures come as files, however small.
    """
    arrays = [each for each in signature.inputs if each.kind == "array"]
    numbers = {each.name: math.prod(1 if size is None else size for size in each.shape) for each in arrays}
    least = 2 * sum(numbers.values())
    if least > MOST_BODY:
        told = " + ".join(f"{count:,} numbers of {name!r}" for name, count in numbers.items())
        raise CannotPackage(
            f"one row holds {told}, {megabytes(least)} as JSON even with one digit each, and Lambda takes "
            f"requests of {megabytes(MOST_BODY)}: serve this model in a container or on a machine of your own"
        )


def tensorflow_bytes() -> int:
    """What TensorFlow and Keras would take instead of the runtime, with all that they need, as installed here."""
    return installed_bytes("tensorflow", "keras")


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


# ---- what goes in ----


def _checked(model: Path, backend: str | None) -> tuple[dict, str]:
    """The card of the export and the backend that runs it; `CannotPackage` where Lambda cannot."""
    try:
        card = read_card(model)
        if not backend and predictors.best_backend(card) == "keras":
            runs = [name for name, runtime in predictors.BACKEND_OF.items() if runtime in BACKENDS]
            sizes = f"{megabytes(tensorflow_bytes())} where Lambda has {megabytes(MOST_UNZIPPED)}"
            elsewhere = f"serve it on a machine of your own, as Keras and TensorFlow take {sizes}"
            raise CannotPackage(f"{registry.shown(model)} {not_run(card, runs, elsewhere)}")
        backend = backend or predictors.best_backend(card)
        if backend == "keras":
            check_size({"TensorFlow and Keras": tensorflow_bytes()})
        if backend not in BACKENDS:
            raise CannotPackage(f"Lambda runs {', '.join(BACKENDS)} here, not {backend!r}")
        read_artifact(model, predictors.BACKENDS[backend].file, card)
    except PredictorError as error:
        raise CannotPackage(str(error)) from error
    return card, backend


def _application() -> dict[str, Path]:
    """The modules, templates and scripts of the service, unchanged."""
    helpers = PROJECT / "helpers"
    inside = [*helpers.glob("*.py"), *(path for room in _ROOMS for path in (helpers / room).rglob("*"))]
    return {
        path.relative_to(PROJECT).as_posix(): path
        for path in inside
        if path.is_file() and "__pycache__" not in path.parts and path.name != "__main__.py"
    }


def _model_files(model: Path, backend: str) -> dict[str, Path]:
    return {f"model/{name}": model / name for name in (CARD, predictors.BACKENDS[backend].file)}


def _copy(named: dict[str, Path], root: Path) -> int:
    """Copy files to their places under `root`; returns their bytes."""
    for name, path in named.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, root / name)
    return sum((root / name).stat().st_size for name in named)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in _files(folder))


def _files(folder: Path) -> Iterable[Path]:
    return sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.as_posix())


# ---- compiled code ----

_COMPILE = """
import compileall, py_compile, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl+C ends this one, too, which has nothing to say to it
compileall.compile_dir(
    sys.argv[1], quiet=2, stripdir=sys.argv[1], prependdir="/var/task", workers=1,
    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
"""


def _compile(root: Path, target: Target) -> bool:
    """Add a .pyc beside every module, made by the function's own minor version of Python; False without one."""
    python = _interpreter(target.python)
    if python is None:
        return False
    subprocess.run([python, "-I", "-c", _COMPILE, str(root)], stdout=subprocess.DEVNULL, check=True)
    return True


def _interpreter(version: str) -> str | None:
    """A Python of this minor version: this one, one that is installed, or one that uv can have; else None."""
    if Target.here().python == version:
        return sys.executable
    uv = [sys.executable, "-m", "uv", "python"]
    own = os.environ | {"UV_PYTHON_INSTALL_DIR": str(PROJECT / "build" / "pythons"), "UV_HTTP_RETRIES": "1"}
    # uv looks along PATH, where pyenv shows only those of its Pythons that are chosen in this folder.
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    own["PATH"] = os.pathsep.join([*map(str, pyenv.glob(f"{version}.*/bin")), os.environ.get("PATH", "")])
    find, install = [*uv, "find", "--no-python-downloads", version], [*uv, "install", "--quiet", "--no-bin", version]
    for command in (find, install, find):
        found = subprocess.run(command, env=own, capture_output=True, text=True, check=False)
        if command is find and not found.returncode:
            return found.stdout.strip()
    return None


# ---- the file ----


@contextmanager
def _zip_becoming(path: Path) -> Iterator[Path]:
    """`becoming`, which tells before anything is fetched where no file can be made, as `CannotPackage`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with becoming(path) as part:
            yield part
    except OSError as error:
        raise CannotPackage(
            f"{path} cannot be made: {error.strerror or error} ({error.filename or 'the disk'}); "
            "make room, or give another place"
        ) from error


def _write(root: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in _files(root):
            entry = zipfile.ZipInfo(file.relative_to(root).as_posix(), _SAME_DATE)
            entry.create_system = 3  # Unix, whose modes follow: everyone may read
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes(), compresslevel=4)  # in half the time of 6, for 3 % more bytes
