"""Containers as the tests make and run them, with podman and a store of their own.

No registry is asked: what the Containerfile calls docker.io/library/python:...-slim is put together here, in a second,
from the Python that runs the tests and the libraries that it loads, in the places where the official image has them.
"""

import io
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from filelock import FileLock

from helpers import PROJECT

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
BASE = f"docker.io/library/python:{PYTHON}-slim"
SERVICE = "localhost/keras-flask-tutorial:latest"  # with the model of `exported` in it
BARE = "localhost/keras-flask-tutorial:bare"  # to be given one

# Limits that every machine grants, and the runtime that runs on mixed cgroups, too.
SETTINGS = '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n'
SETTINGS += '[engine]\nruntime = "runc"\n' if shutil.which("runc") else ""
# How this machine reaches the package index, lent to a build and not written into the image.
LENT = ("/etc/ssl/certs", "/etc/pip.conf", "/etc/xdg/pip", str(Path.home() / ".config/pip"))
HARDENED = ("--network=none", "--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--memory=200m")
HARDENED += ("--security-opt=no-new-privileges",)


class Podman:
    """podman with its store in `folder`, which may be kept: a second build finds its layers there."""

    def __init__(self, folder: Path):
        self.folder = folder
        short = sha256(str(folder).encode()).hexdigest()[:8]  # podman takes no long path for it
        state = Path(tempfile.gettempdir()) / f"podman-{short}"
        self.command = ["podman", "--root", str(folder / "store"), "--runroot", str(state), "--log-level=fatal"]
        (folder / "containers.conf").write_text(f'{SETTINGS}[network]\nnetwork_config_dir = "{folder}/networks"\n')
        self.environment = os.environ | {"CONTAINERS_CONF": str(folder / "containers.conf")}

    def __call__(self, *words: object, check: bool = True, **options) -> subprocess.CompletedProcess:
        command = [*self.command, *map(str, words)]
        how = {"capture_output": True, "text": True, "timeout": 300, "env": self.environment, **options}
        done = subprocess.run(command, check=False, **how)
        assert not check or done.returncode == 0, f"podman {words[0]}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done

    def has(self, image: str) -> bool:
        return self("image", "exists", image, check=False).returncode == 0

    def build(self, context: Path, *options: str) -> None:
        """`podman build .` in `context`, with what this machine lends."""
        self("build", "--format=docker", *lent(), *options, ".", cwd=context)

    @contextmanager
    def running(self, image: str, *words: str, options: tuple[str, ...] = ()):
        """A container that serves; yields its id, and leaves nothing of it."""
        container = self("run", "--detach", *options, image, *words).stdout.strip()
        try:
            yield container
        finally:
            self("rm", "--force", "--time=5", container)

    def wait_until_healthy(self, container: str, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while self("healthcheck", "run", container, check=False).returncode:
            running = self("inspect", "--format={{.State.Running}}", container).stdout.strip() == "true"
            assert running and time.monotonic() < end, self.logs(container)

    def logs(self, container: str) -> str:
        done = self("logs", container)
        return done.stdout + done.stderr

    def python(self, container: str, source: str, *arguments: object) -> str:
        """What a line of Python prints in a running container."""
        return self("exec", container, "python", "-c", source, *arguments).stdout


def lent() -> list[str]:
    """The options of `podman build` by which this machine lends what it has."""
    volumes = [f"--volume={path}:{path}:ro" for path in LENT if os.path.exists(path)]
    return ["--isolation=chroot", "--pull-never", "--network=host", *volumes, f"--build-arg=PYTHON={PYTHON}"]


def build_service(podman: Podman, model: Path, context: Path) -> None:
    """Build the images `SERVICE`, with `model` in it, and `BARE`, as far as anything has changed.

    context: an empty folder, which gets what they are built from: this project, with one model.
    """
    fill(context, model)
    with FileLock(podman.folder / "build.lock"):
        provide_base(podman)
        podman.build(context, "--target=service", f"--tag={BARE}")
        podman.build(context, f"--tag={SERVICE}")
        podman("image", "prune", "--force", "--filter=until=72h")  # what earlier versions left


def fill(context: Path, model: Path) -> None:
    """Lay out what an image is built from: this project, with one model."""
    context.mkdir(exist_ok=True)
    for name in ("Containerfile", ".containerignore", "pyproject.toml", "requirements.lock"):
        shutil.copy(PROJECT / name, context)
    shutil.copytree(PROJECT / "helpers", context / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(model, context / "models" / "games")


def provide_base(podman: Podman) -> None:
    if not podman.has(BASE):
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "base.tar"
            write_base(archive)
            podman("import", archive, BASE)


# ---- a root file system ----

PROGRAMS = ("sh", "ls", "cat", "mkdir", "rm", "sleep")
# Beside what Python loads: the rest of the C library, and that of C++, which wheels load and the official image holds.
LIBRARIES = ("libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1", "libnss_files.so.2", "libnss_dns.so.2")
LIBRARIES += ("libstdc++.so.6", "libgcc_s.so.1")
LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "__pycache__"}
NOT_THERE = ("libX", "libx", "libtcl", "libtk", "libfont", "libfree")  # tkinter's


def write_base(archive: Path) -> None:
    """A root file system with this Python in /usr/local, a shell, and the libraries of both, as a tar file."""
    python, name = Path(sys.base_prefix), f"python{PYTHON}"
    modules = Path(sysconfig.get_path("stdlib", vars={"installed_base": str(python)}))
    program = Path(sys.executable).resolve()
    programs = [Path(shutil.which(each)) for each in PROGRAMS]
    libraries = {
        each
        for each in loaded_by(program, *programs, *modules.glob("lib-dynload/*.so"))
        if not each.name.startswith(NOT_THERE)
    }
    libraries |= {place / each for place in {each.parent for each in libraries} for each in LIBRARIES}
    with tarfile.open(archive, "w") as tar:
        for folder in ("etc", "proc", "sys", "dev", "run", "root", "tmp", "var/tmp"):
            add(tar, folder, tarfile.DIRTYPE, 0o1777 if "tmp" in folder else 0o755)
        for each in programs:
            tar.add(each.resolve(), f"bin/{each.name}", filter=_of_root)
        tar.add(program, f"usr/local/bin/{name}", filter=_of_root)
        for link in ("python3", "python"):
            add(tar, f"usr/local/bin/{link}", tarfile.SYMTYPE, linkname=name)
        tar.add(modules, f"usr/local/lib/{name}", filter=_of_root)
        for each in sorted(filter(Path.exists, libraries)):
            # that of Python itself lies where it is found without ldconfig
            tar.add(each.resolve(), f"lib/{each.name}" if python in each.parents else str(each)[1:], filter=_of_root)
        add(tar, "etc/passwd", content="root:x:0:0:root:/root:/bin/sh\n")
        add(tar, "etc/group", content="root:x:0:\n")


def loaded_by(*files: Path) -> set[Path]:
    """The shared libraries that programs and modules load."""
    done = subprocess.run(["ldd", *files], capture_output=True, text=True, check=False)
    return {Path(word) for word in done.stdout.split() if word.startswith("/") and not word.endswith(":")}


def _of_root(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    parts = Path(entry.name).parts
    if LEFT_OUT & set(parts) or any(part.startswith("config-") for part in parts):
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


def add(tar: tarfile.TarFile, name: str, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, content="", **more) -> None:
    """Add a file, a folder or a link of root to a tar file."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.size = kind, mode, len(content)
    for key, value in more.items():
        setattr(entry, key, value)
    tar.addfile(entry, io.BytesIO(content.encode()))
