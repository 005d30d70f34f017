"""The prediction service under granian: worker processes, one per core, behind one port.

`main(argv)` is `tutorial.py serve`. The application is the one of the notebook, `services.create_predict_app`; around
it stand what a process needs that nobody watches: workers that are replaced when they die, a stop that ends every
process, a model that can be replaced while it serves. No process here imports TensorFlow.
"""

from __future__ import annotations

import argparse
import functools
import ipaddress
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from helpers import PROJECT

log = logging.getLogger("helpers.serving.services")

STOP_SECONDS = 5  # a worker that has not stopped after this time is killed
REQUEST_SECONDS = 10  # headers must arrive within this time
CONNECTIONS = 1024  # at once, for each worker


@dataclass(frozen=True)
class Options:
    """What a worker needs to know; it travels to the worker's process."""

    model: Path
    backend: str
    api_key: str | None
    access_log: bool


def main(argv: list[str]) -> int:
    """Serve until SIGTERM or Ctrl+C; returns the exit code."""
    chosen = _command_line().parse_args(argv)
    try:
        options = Options(chosen.model, chosen.backend, _read_key(chosen.api_key_file), chosen.access_log)
        _check_port(chosen.host, chosen.port)
        ensure_exported(chosen.model, chosen.backend)
    except CannotServe as error:
        print(f"serve: {error}", file=sys.stderr)
        return 2

    counts = tempfile.mkdtemp(prefix="prediction-metrics-")  # each worker counts in a file of its own
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = counts
    import helpers.export.predictors
    import helpers.serving.services  # noqa: F401  imported once, before the workers fork from this process

    shown = "127.0.0.1" if chosen.host == "0.0.0.0" else chosen.host
    workers = f"{chosen.workers} worker{'s' if chosen.workers > 1 else ''}"
    print(f"Serving {chosen.model} on http://{shown}:{chosen.port} with {workers}. Ctrl+C stops it.", flush=True)
    if not _is_loopback(chosen.host):
        key = "with the API key" if options.api_key else "without a key"
        print(f"Listening on {chosen.host}: whoever reaches port {chosen.port} can ask it, {key}.", flush=True)
    try:
        return supervise(chosen.host, chosen.port, chosen.workers, functools.partial(worker_app, options))
    finally:
        shutil.rmtree(counts, ignore_errors=True)


def worker_app(options: Options) -> Callable:
    """The application of one worker, called in its process: loads the model and answers once before it serves."""
    # A forked process inherits a handler that only tells granian's main loop: while it loads, SIGTERM shall end it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    from helpers.export.errors import PredictorError
    from helpers.export.predictors import load_predictor
    from helpers.serving.model_slot import ModelSlot, Watcher
    from helpers.serving.rsgi import gateway
    from helpers.serving.services import BODY_BYTES, create_predict_app

    threading.Thread(target=_end_with_parent, args=(os.getppid(),), name="parent-watch", daemon=True).start()
    _forget_dead_workers()
    load = functools.partial(load_predictor, options.model, options.backend)
    try:
        slot = ModelSlot(load())
    except PredictorError as error:
        print(f"serve: {error}", file=sys.stderr, flush=True)
        _failure_mark().touch()
        os.kill(os.getppid(), signal.SIGTERM)  # no other worker could load it either
        sys.exit(1)
    app = create_predict_app(slot, api_key=options.api_key, access_log=sys.stdout if options.access_log else None)
    Watcher(slot, options.model, load)
    return gateway(app, BODY_BYTES, REQUEST_SECONDS)


def supervise(host: str, port: int, workers: int, load: Callable[[], Callable]) -> int:
    """Run granian until it is told to stop, and again should it give up on its workers; returns the exit code.

    load: called in each worker, returns its RSGI application.
    """
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels
    from granian.server import Server

    class PatientServer(Server):
        """granian, but a worker that dies again within seconds is replaced again instead of ending the service."""

        def _respawn_workers(self, *args, **kwargs):
            time.sleep(0.2)  # no busy loop where a worker cannot live
            super()._respawn_workers(*args, **kwargs)
            self.respawned_wrks.clear()

    while True:
        server = PatientServer(
            "helpers.serving.production:worker_app",
            address=host,
            port=port,
            interface=Interfaces.RSGI,
            http=HTTPModes.http1,
            workers=workers,
            blocking_threads=1,
            websockets=False,
            backlog=2048,
            backpressure=CONNECTIONS,
            http1_settings=HTTP1Settings(header_read_timeout=REQUEST_SECONDS * 1000),
            respawn_failed_workers=True,
            respawn_interval=0,
            workers_kill_timeout=STOP_SECONDS,
            log_level=LogLevels.error,
        )
        try:
            server.serve(target_loader=load, wrap_loader=False)
        except SystemExit:
            if not server.interrupt_signal:
                log.error("granian gave up on its workers: starting it anew")
                time.sleep(1)
                continue
        return 1 if _failure_mark().exists() else 0


class CannotServe(Exception):
    """The message says in one sentence what to do."""


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
    return key


def _check_port(host: str, port: int) -> None:
    """Ask for the port once without sharing it: granian's workers share theirs, with a second server's, too."""
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


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _end_with_parent(parent: int) -> None:
    """End this worker when the process that started it is gone, which else would serve on without anyone to stop it."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


def _failure_mark() -> Path:
    """The file by which a worker tells the process that started it that the model cannot be served."""
    return Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]) / "failed"


def _forget_dead_workers() -> None:
    """Workers that died no longer have a model: drop what they said of it from the metrics; their counts stay."""
    from prometheus_client import multiprocess

    for path in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob("gauge_live*_*.db"):
        pid = int(path.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except OSError:
            multiprocess.mark_process_dead(pid)
