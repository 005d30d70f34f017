"""The packages that a Lambda function needs, for its Python and processor: which, in which version, and their files.

Names come in; their dependencies are those that the installed packages declare, the versions those of
`requirements.lock`. Where the function's Python, system and processor are this environment's, the files are the
installed ones: exact, at once, and without a network. For others uv downloads them.
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from helpers import PROJECT

# The Pythons that Lambda runs on Amazon Linux 2023, whose C library (glibc 2.34) today's wheels of NumPy and ONNX
# Runtime need: they ask for 2.27 and 2.28, and Python 3.11 runs on Amazon Linux 2 with 2.26.
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
PYTHONS = ("3.12", "3.13", "3.14")
NEWEST_TRIED = "3.13"
_GLIBC = "manylinux_2_34"
_MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}  # Lambda's name of a processor -> Linux's

APPLICATION = ("flask", "msgspec", "numpy", "prometheus-client", "apig-wsgi")
BACKENDS = {"onnx": ("onnxruntime",), "litert": ("ai-edge-litert",), "numpy": ()}
PICTURES = ("pillow",)
# Declared by the runtimes, and never imported by a prediction: `tests/cloud/test_lambda_zip.py` runs without them.
NEEDLESS = {"protobuf", "flatbuffers", "packaging", "tqdm", "backports-strenum", "ml-dtypes", "colorama"}
_LEFT_OUT = (  # files that a prediction does not open
    "*/tests/*",
    "*.pyi",
    "*.pxd",
    "*.h",
    "*.a",
    "*.pyc",
    "*.dist-info/RECORD",  # lists what was installed, which is more than what is here
    "*.dist-info/INSTALLER",
    "*.dist-info/REQUESTED",
    "*.dist-info/direct_url.json",
    "*.dist-info/uv_*.json",
    "../*",  # commands of the packages, as `flask`
    "bin/*",
    "numpy/f2py/*",
    "numpy/distutils/*",
    "numpy/_pyinstaller/*",
    "onnxruntime/capi/libonnxruntime.so*",  # the runtime once more, for programs in C; Python has it in its extension
    "onnxruntime/tools/*",
    "onnxruntime/transformers/*",
    "onnxruntime/quantization/*",
    "onnxruntime/datasets/*",
    "ai_edge_litert/libLiteRtWebGpuAccelerator.so",
    "ai_edge_litert/tools/*",
    "ai_edge_litert/vendors/*",
    "ai_edge_litert/aot/*",
)


class CannotPackage(Exception):
    """No zip can be made; the message says in one sentence why, and what to do."""


@dataclass(frozen=True)
class Target:
    """Where a function is to run: the minor version of its Python ("3.13"), "x86_64" or "arm64", and the system."""

    python: str = NEWEST_TRIED
    machine: str = "x86_64"
    system: str = "linux"

    @classmethod
    def here(cls) -> Target:
        """This environment's own: what can be called on this machine."""
        machine = {"aarch64": "arm64", "amd64": "x86_64"}.get(platform.machine().lower(), platform.machine())
        return cls(f"{sys.version_info.major}.{sys.version_info.minor}", machine, sys.platform)

    @classmethod
    def on_lambda(cls, machine: str) -> Target:
        """Lambda's: with this environment's Python where Lambda has that one, too."""
        here = cls.here().python
        return cls(here if here in PYTHONS else NEWEST_TRIED, machine)

    @property
    def runtime(self) -> str:
        """Lambda's name of the runtime."""
        return f"python{self.python}"

    def __str__(self) -> str:
        return f"Python {self.python} on {self.system.capitalize()} {self.machine}"


def wanted(backend: str, pictures: bool) -> tuple[str, ...]:
    """The packages that the application asks for itself with this backend of the model."""
    return (*APPLICATION, *BACKENDS[backend], *(PICTURES if pictures else ()))


def closure(names: tuple[str, ...], target: Target, without: set[str] = frozenset(NEEDLESS)) -> dict[str, str]:
    """The packages `names` and what they depend on, in order of the alphabet, each with its version in the lock."""
    locked, found, ahead = _locked(target), {}, [canonicalize_name(name) for name in names]
    while ahead:
        name = ahead.pop()
        if name in found or name in without:
            continue
        try:
            found[name] = locked[name]
            requires = metadata.requires(name) or ()
        except (KeyError, metadata.PackageNotFoundError):
            raise CannotPackage(
                f"{name} is not in requirements.lock, or not installed: run `python3 tutorial.py setup`"
            ) from None
        for requirement in map(Requirement, requires):
            if requirement.marker is None or requirement.marker.evaluate(_environment(target)):
                ahead.append(canonicalize_name(requirement.name))
    return dict(sorted(found.items()))


def files(packages: dict[str, str], target: Target, download_to: Path) -> dict[str, dict[str, Path]]:
    """The files of each package, by their path in the zip.

    download_to: an empty folder for what is not installed here. Raises `CannotPackage` where that cannot be had.
    """
    if target == Target.here() and all(metadata.version(name) == version for name, version in packages.items()):
        distributions = [metadata.distribution(name) for name in packages]
    else:
        _download(packages, target, download_to)
        distributions = list(metadata.distributions(path=[str(download_to)]))
    return {canonicalize_name(each.metadata["Name"]): installed_files(each) for each in distributions}


def installed_files(distribution: metadata.Distribution) -> dict[str, Path]:
    """The files of an installed package that a running program opens, by their path from where packages lie."""
    listed = {file.as_posix(): Path(file.locate()) for file in distribution.files or ()}
    return {
        name: path for name, path in sorted(listed.items()) if not any(fnmatch(name, pattern) for pattern in _LEFT_OUT)
    }


def installed_bytes(*names: str) -> int:
    """What packages and all that they depend on take in this environment, in bytes, as their records say."""
    packages = closure(names, Target.here(), without=set())
    return sum(file.size or 0 for name in packages for file in metadata.distribution(name).files or ())


def _download(packages: dict[str, str], target: Target, folder: Path) -> None:
    pins = [f"{name}=={version}" for name, version in packages.items()]
    where = ["--target", str(folder), "--python-version", target.python]
    where += ["--python-platform", f"{_MACHINES[target.machine]}-{_GLIBC}", "--only-binary", ":all:"]
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--link-mode", "copy"]
    as_text = {"encoding": "utf-8", "errors": "replace"}  # as uv writes, whatever this system's encoding is
    done = subprocess.run([*command, *where, *pins], capture_output=True, check=False, **as_text)
    if done.returncode:
        reason = " ".join(line.strip(" ×╰─▶│├") for line in done.stderr.strip().splitlines())
        raise CannotPackage(
            f"the packages for {target} cannot be downloaded ({reason[:300] or 'no reason given'}): "
            "check the network and the proxy, then run this again"
        )


def _locked(target: Target) -> dict[str, str]:
    """The versions of requirements.lock for this Python, system and processor."""
    versions = {}
    for line in (PROJECT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if found := re.match(r"([\w.-]+)==([^\s;]+)\s*(?:;\s*(.+))?$", line):
            name, version, marker = found.groups()
            if marker is None or Marker(marker).evaluate(_environment(target)):
                versions[canonicalize_name(name)] = version
    return versions


def _environment(target: Target) -> dict[str, str]:
    """What the conditions of requirements ask for."""
    systems = {"linux": ("Linux", "posix"), "darwin": ("Darwin", "posix"), "win32": ("Windows", "nt")}
    system, os_name = systems.get(target.system, (platform.system(), "posix"))
    return {
        "python_version": target.python,
        "python_full_version": f"{target.python}.0",
        "implementation_version": f"{target.python}.0",
        "sys_platform": target.system,
        "platform_system": system,
        "os_name": os_name,
        "platform_machine": _MACHINES.get(target.machine, target.machine) if system == "Linux" else target.machine,
        "extra": "",
    }
