"""The prediction service as `tutorial.py serve` runs it: worker processes, one per core, behind one port.

`serve_command` is what is typed. The application is the one of the notebook, `services.create_predict_app`; around it
stand what a process needs that nobody watches: workers that are replaced when they die, a stop that ends every process,
a model that can be replaced while it serves. No process here imports TensorFlow.
"""

from __future__ import annotations

import functools
import gc
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from helpers.serving.supervisor import CannotServe, Place, Supervisor


@dataclass(frozen=True)
class Options:
    """What a worker needs to know; it travels to the worker's process."""

    model: Path
    backend: str | None
    api_key: str | None = None
    access_log: bool = False
    allow_hosts: tuple[str, ...] | None = None  # beside this machine's own names; None: any
    allow_origins: tuple[str, ...] = ()
    strict: bool = False
    unseen: str = "refuse"
    imports: str = ""  # a module with the layers of the model, where Keras runs it


def worker_app(options: Options) -> Callable:
    """The application of one worker, called in its process: loads the model and answers once before it serves.

    Raises `CannotServe` where the model cannot be loaded, or does not answer.
    """
    from helpers.export.errors import PredictorError
    from helpers.export.predictors import load_predictor
    from helpers.serving.model_slot import ModelSlot, Watcher
    from helpers.serving.services import create_predict_app

    if options.imports:
        from helpers.export.own_model import import_layers

        import_layers(options.imports, options.model)
    load = functools.partial(load_predictor, options.model, options.backend)
    seen = Watcher.stamp(options.model)  # before loading: what is written meanwhile is a change
    try:
        slot = ModelSlot(load())
        app = create_predict_app(
            slot,
            api_key=options.api_key,
            access_log=sys.stdout if options.access_log else None,
            allow_hosts=options.allow_hosts,
            allow_origins=options.allow_origins,
            strict=options.strict,
            unseen=options.unseen,
        )
    except PredictorError as error:
        raise CannotServe(str(error)) from error
    except Exception as error:
        raise CannotServe(f"{options.model.name} cannot be served: {error!r}") from error
    if not slot.ready:
        raise CannotServe(f"{options.model.name} does not answer: {slot.problem}")
    Watcher(slot, options.model, load, seen=seen)
    return app


def supervise(
    host: str, port: int, workers: int, load: Callable[[], Callable], on_ready: Callable[[], None] | None = None
) -> int:
    """Serve in worker processes until told to stop; returns the exit code, 2 where nothing could be served.

    load: called in each worker, returns its WSGI application. on_ready: called once the first worker can answer.
    """
    import helpers.export.predictors
    import helpers.serving.protocol
    import helpers.serving.services  # noqa: F401  imported once, before the workers fork from this process
    from helpers.serving.observability import shared_counts

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=2048)
    with shared_counts(workers) as counts:
        return Supervisor(listener, workers, functools.partial(_work, load, counts), on_ready).run()


def _work(load: Callable[[], Callable], counts: Path | None, place: Place) -> None:
    """What one worker does, in its process, until SIGTERM."""
    from helpers.serving import protocol
    from helpers.serving.asgi import Gateway
    from helpers.serving.observability import count_as

    sys.setswitchinterval(0.001)  # while a thread computes a long list, the others are asked to wait this long
    count_as(place.number, counts)
    app = load()
    gc.freeze()  # what is loaded lives as long as this process: a collection between two requests need not look at it
    protocol.run(Gateway(app, app.config["MAX_CONTENT_LENGTH"]), place)
