"""The services that `bench --peers` holds ours against, each in an environment of its own, made on request.

FastAPI with pydantic under uvicorn, and Fastify on Node, both with ONNX Runtime and the same model file. Their packages
are installed into `build/peers/`, never into ours; `peers/` holds the two applications.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers import PROJECT
from helpers.batch import environments

SOURCES = Path(__file__).parent / "peers"
FASTAPI, FASTIFY = "FastAPI, pydantic, uvicorn", "Fastify, Node"
_PYTHON = ["fastapi>=0.115", "uvicorn", "uvloop", "httptools", "onnxruntime", "numpy"]
_NODE = ["fastify@5", "onnxruntime-node@1"]


class PeerMissing(Exception):
    """The message says in one sentence which peer cannot run here, and why."""


@contextmanager
def peer(kind: str, model: Path, names: tuple[str, ...], port: int, workers: int) -> Iterator[str]:
    """The address of a peer that serves the ONNX file of `model`, for the time of the block; raises `PeerMissing`."""
    folder = PROJECT / "build" / "peers" / ("fastapi" if kind == FASTAPI else "fastify")
    command = _fastapi(folder, port, workers) if kind == FASTAPI else _fastify(folder)
    settings = {
        "PEER_MODEL": str(model.resolve() / "model.onnx"),
        "PEER_NAMES": json.dumps(names),
        "PEER_PORT": str(port),
        "PEER_WORKERS": str(workers),
    }
    process = subprocess.Popen(command, cwd=folder, env=os.environ | settings, stdout=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _fastapi(folder: Path, port: int, workers: int) -> list[str]:
    python = environment(FASTAPI, folder, _PYTHON)
    shutil.copy(SOURCES / "fastapi_app.py", folder)
    options = ["--port", str(port), "--workers", str(workers), "--log-level", "error", "--no-access-log"]
    return [python, "-m", "uvicorn", "fastapi_app:app", *options]


def _fastify(folder: Path) -> list[str]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if not (node and npm):
        raise PeerMissing(f"{FASTIFY} is left out: install Node and npm to measure it, too")
    if not (folder / "installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}\n', encoding="utf-8")
        # the package holds the runtime for the CPU; its script would fetch one for a graphics card
        with _left_out(FASTIFY):
            environments.run([npm, "install", "--ignore-scripts", "--silent", "--prefix", str(folder), *_NODE])
        (folder / "installed").touch()
    shutil.copy(SOURCES / "fastify_app.js", folder)
    return [node, "fastify_app.js"]


def environment(kind: str, folder: Path, packages: list[str]) -> str:
    """The Python of a peer's environment, made in `folder` where it is missing; raises `PeerMissing`."""
    with _left_out(kind):
        return str(environments.make(folder, packages))


@contextmanager
def _left_out(kind: str) -> Iterator[None]:
    try:
        yield
    except environments.NotInstalled as error:
        reason = f"its packages cannot be installed ({str(error)[:200]})"
        raise PeerMissing(f"{kind} is left out: {reason}") from None
