"""The prediction service under granian: worker processes, one per core, behind one port.

`serve_command` is what is typed. The application is the one of the notebook, `services.create_predict_app`; around it
stand what a process needs that nobody watches: workers that are replaced when they die, a stop that ends every process,
a model that can be replaced while it serves. No process here imports TensorFlow.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

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
    _started_mark(os.getpid()).touch()
    load = functools.partial(load_predictor, options.model, options.backend)
    try:
        slot = ModelSlot(load())
        app = create_predict_app(slot, api_key=options.api_key, access_log=sys.stdout if options.access_log else None)
        if not slot.ready:
            raise PredictorError(f"{options.model.name} does not answer: {slot.problem}")
    except Exception as error:
        _give_up(error if isinstance(error, PredictorError) else f"{options.model.name} cannot be served: {error!r}")
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
        return 2 if failure_mark().exists() else 0


def _end_with_parent(parent: int) -> None:
    """End this worker when the process that started it is gone, which else would serve on without anyone to stop it."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


def _give_up(reason) -> NoReturn:
    """End the service from one of its workers: no other one could load the model either."""
    try:
        failure_mark().touch(exist_ok=False)
        print(f"serve: {reason}", file=sys.stderr, flush=True)
    except FileExistsError:  # another worker has said it
        pass
    os.kill(os.getppid(), signal.SIGTERM)
    sys.exit(1)


def failure_mark() -> Path:
    """The file that says that the model cannot be served."""
    return _marks() / "failed"


def starts() -> int:
    """How many workers were started up to now."""
    return sum(1 for _ in _marks().glob("started-*"))


def _started_mark(pid: int) -> Path:
    return _marks() / f"started-{pid}"


def _marks() -> Path:
    """The folder in which the processes of one service leave what the others must know."""
    return Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])


def _forget_dead_workers() -> None:
    """Workers that died no longer have a model: drop what they said of it from the metrics; their counts stay."""
    from prometheus_client import multiprocess

    for path in _marks().glob("gauge_live*_*.db"):
        pid = int(path.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except OSError:
            multiprocess.mark_process_dead(pid)
