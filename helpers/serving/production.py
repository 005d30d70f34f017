"""The prediction service as `tutorial.py serve` runs it: worker processes, one per core, behind one port.

`main(argv)` is `tutorial.py serve`. The application is the one of the notebook, `services.create_predict_app`; around
it stand what a process needs that nobody watches: workers that are replaced when they die, a stop that ends every
process, a model that can be replaced while it serves. No process here imports TensorFlow.
"""

from __future__ import annotations

import argparse
import functools
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from helpers import PROJECT
from helpers.serving.callers import Callers, is_loopback
from helpers.serving.supervisor import CannotServe, Place, Supervisor

log = logging.getLogger("helpers.serving.services")


@dataclass(frozen=True)
class Options:
    """What a worker needs to know; it travels to the worker's process."""

    model: Path
    backend: str
    api_key: str | None
    access_log: bool
    allow_hosts: tuple[str, ...] | None = None  # beside this machine's own names; None: any
    allow_origins: tuple[str, ...] = ()


def main(argv: list[str]) -> int:
    """Serve until SIGTERM or Ctrl+C; returns the exit code."""
    chosen = _command_line().parse_args(argv)
    try:
        options = Options(
            chosen.model,
            chosen.backend,
            _read_key(chosen.api_key_file),
            chosen.access_log,
            tuple(chosen.allow_host) if is_loopback(chosen.host) else None,
            _checked_origins(chosen.allow_origin),
        )
        _check_port(chosen.host, chosen.port)
        ensure_exported(chosen.model, chosen.backend)
    except CannotServe as error:
        print(f"serve: {error}", file=sys.stderr)
        return 2

    shown = "127.0.0.1" if chosen.host == "0.0.0.0" else chosen.host
    workers = f"{chosen.workers} worker{'s' if chosen.workers > 1 else ''}"
    print(f"Serving {chosen.model} on http://{shown}:{chosen.port} with {workers}. Ctrl+C stops it.", flush=True)
    if not is_loopback(chosen.host):
        key = "with the API key" if options.api_key else "without a key"
        print(f"Listening on {chosen.host}: whoever reaches port {chosen.port} can ask it, {key}.", flush=True)
    return supervise(chosen.host, chosen.port, chosen.workers, functools.partial(worker_app, options))


def worker_app(options: Options) -> Callable:
    """The application of one worker, called in its process: loads the model and answers once before it serves.

    Raises `CannotServe` where the model cannot be loaded.
    """
    from helpers.export.errors import PredictorError
    from helpers.export.predictors import load_predictor
    from helpers.serving.model_slot import ModelSlot, Watcher
    from helpers.serving.services import create_predict_app

    load = functools.partial(load_predictor, options.model, options.backend)
    seen = Watcher.stamp(options.model)  # before loading: what is written meanwhile is a change
    try:
        slot = ModelSlot(load())
    except PredictorError as error:
        raise CannotServe(str(error)) from error
    app = create_predict_app(
        slot,
        api_key=options.api_key,
        access_log=sys.stdout if options.access_log else None,
        allow_hosts=options.allow_hosts,
        allow_origins=options.allow_origins,
    )
    Watcher(slot, options.model, load, seen=seen)
    return app


def supervise(host: str, port: int, workers: int, load: Callable[[], Callable]) -> int:
    """Serve in worker processes until told to stop; returns the exit code.

    load: called in each worker, returns its WSGI application.
    """
    import helpers.export.predictors
    import helpers.serving.protocol
    import helpers.serving.services  # noqa: F401  imported once, before the workers fork from this process
    from helpers.serving.observability import shared_counts

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=2048)
    with shared_counts(workers) as counts:
        return Supervisor(listener, workers, functools.partial(_work, load, counts)).run()


def _work(load: Callable[[], Callable], counts: Path | None, place: Place) -> None:
    """What one worker does, in its process, until SIGTERM."""
    from helpers.serving import protocol
    from helpers.serving.asgi import Gateway
    from helpers.serving.observability import count_as
    from helpers.serving.services import BODY_BYTES

    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime would write to the home directory
    sys.setswitchinterval(0.001)  # while a thread computes a long list, the others are asked to wait this long
    count_as(place.number, counts)
    protocol.run(Gateway(load(), BODY_BYTES), place)


def _command_line() -> argparse.ArgumentParser:
    cli = argparse.ArgumentParser(prog="tutorial.py serve", description="Serve an exported model over HTTP.")
    cli.add_argument("--host", default="127.0.0.1", help="127.0.0.1 (default): this machine only; 0.0.0.0: everyone")
    cli.add_argument("--port", type=int, default=5000)
    cli.add_argument("--workers", type=int, default=_cores(), help="processes (default: one per core)")
    cli.add_argument(
        "--model",
        type=Path,
        default=PROJECT / "models" / "games",
        metavar="DIR",
        help="an exported model (default: models/games)",
    )
    cli.add_argument("--backend", default="onnx", help="onnx (default), litert, numpy or keras")
    cli.add_argument(
        "--api-key-file", type=Path, metavar="FILE", help="a file with the key that /predict then asks for"
    )
    cli.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name, beside localhost, under which a service that listens on this machine only is called",
    )
    cli.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="a page's origin, such as http://localhost:3000, that may read the answers; may be repeated",
    )
    cli.add_argument("--access-log", action="store_true", help="one JSON line per request on standard output")
    return cli


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def _read_key(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CannotServe(f"the API key file {path} cannot be read ({error})") from error
    if not key:
        raise CannotServe(f"the API key file {path} is empty: write the key into it")
    if not (key.isascii() and key.isprintable()):
        raise CannotServe(f"the key in {path} holds characters that a header cannot carry: use those of ASCII")
    return key


def _checked_origins(origins: list[str]) -> tuple[str, ...]:
    try:
        Callers(origins=origins)
    except ValueError as error:
        raise CannotServe(f"--allow-origin: {error}") from error
    return tuple(origins)


def _check_port(host: str, port: int) -> None:
    """Ask for the port before anything is trained or loaded."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise CannotServe(f"cannot listen on {host}:{port} ({error.strerror}): try another --port") from error


def ensure_exported(model: Path, *backends: str) -> None:
    """Export where the folder lacks a file for one of `backends`: notebook 02, for one, leaves the Keras file alone.

    Happens in a process of its own, so that this one never holds TensorFlow, and ends with this one. Raises
    `CannotServe` where it fails.
    """
    from helpers.export.predictors import BACKENDS

    files = ["card.json", *(BACKENDS[backend].file for backend in backends if backend in BACKENDS)]
    if all((model / file).exists() for file in files):
        return
    print(f"Nothing to serve in {model} yet: exporting first, after training where there is no model.", flush=True)
    code = "import sys; from helpers.export.pipeline import ensure_export; ensure_export(sys.argv[1])"
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    process = None
    try:
        process = subprocess.Popen([sys.executable, "-c", code, str(model.resolve())], cwd=PROJECT)
        failed = process.wait()
    finally:
        signal.signal(signal.SIGTERM, previous)
        if process and process.poll() is None:
            process.kill()
            process.wait()
    if failed:
        raise CannotServe(f"the model could not be exported to {model}, see above")
