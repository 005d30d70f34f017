"""The prediction service as `tutorial.py serve` runs it: worker processes, one per core, behind one port.

`serve_command` is what is typed. The application is the one of the notebook, `services.create_predict_app`; around it
stand what a process needs that nobody watches: workers that are replaced when they die, a stop that ends every process,
a model that can be replaced while it serves. No process here imports TensorFlow.
"""

from __future__ import annotations

import functools
import gc
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from helpers.export.registry import Choice
from helpers.serving.callers import Callers
from helpers.serving.stand_in import Answered, starting
from helpers.serving.supervisor import CannotServe, Place, Supervisor

if TYPE_CHECKING:
    from helpers.serving.observability import Observed

# TensorFlow runs what is ready of a graph on threads of this number, one per core where nobody says: two requests to a
# heavy model take them all, and a neighbour's small one waits for a whole heavy one. With 16 its p99 fell from 240 to
# 15 ms (ResNet50 asked by 4 clients, 2 workers on 2 cores); alone, ResNet50 answered 19 pictures a second as before.
TENSORFLOW_THREADS = "16"


@dataclass(frozen=True)
class Served:
    """A model to be served: its name, what answers, and the versions beside it, with the share that a canary gets.

    signature: of the model as the service starts, as its card holds it; a worker that starts later answers no other
    question than the others do.
    """

    name: str
    main: Choice
    shadow: Choice | None = None
    canary: Choice | None = None
    share: float = 0.0
    signature: Mapping | None = None

    @property
    def pinned(self) -> dict[str, str]:
        """The versions that stay what they are, and what each does."""
        roles = {"model": self.main, "shadow": self.shadow, "canary": self.canary}
        return {choice.version: role for role, choice in roles.items() if choice and choice.version}


@dataclass(frozen=True)
class Options:
    """What a worker needs to know; it travels to the worker's process."""

    models: tuple[Served, ...]
    backend: str | None
    api_key: str | None = None
    allow_hosts: tuple[str, ...] | None = None  # beside this machine's own names; None: any
    allow_origins: tuple[str, ...] = ()
    strict: bool = False
    unseen: str = "refuse"
    max_body_bytes: int | None = None  # None: what the model needs
    imports: tuple[str, Path] | None = None  # the module with the model's own layers, the folder it may lie in


def worker_app(options: Options, access_log: TextIO | None = None) -> Callable:
    """The application of one worker, called in its process: loads the model and answers once before it serves.

    access_log: a text stream for its requests. Raises `CannotServe` where the model cannot be loaded, or does not
    answer.
    """
    from helpers.serving.canary import Canary
    from helpers.serving.model_slot import ModelSlot, Watcher
    from helpers.serving.services import create_predict_app
    from helpers.serving.several import create_models_app
    from helpers.serving.shadow import Shadow

    rules = {
        "api_key": options.api_key,
        "access_log": access_log,
        "allow_hosts": options.allow_hosts,
        "allow_origins": options.allow_origins,
        "strict": options.strict,
        "unseen": options.unseen,
        "max_body_bytes": options.max_body_bytes,
    }
    # before loading: what is written meanwhile is a change
    seen = {served.name: Watcher.stamp(served.main.directory) for served in options.models}
    load = functools.partial(_load, options)
    slots = {served.name: ModelSlot(load(served.main, served.signature)) for served in options.models}
    shadows = {served.name: Shadow(load(served.shadow)) for served in options.models if served.shadow}
    canaries = {served.name: Canary(load(served.canary), served.share) for served in options.models if served.canary}
    try:
        if len(slots) > 1:
            app = create_models_app(slots, shadows=shadows, canaries=canaries, **rules)
        else:
            (name, slot), *_ = slots.items()
            app = create_predict_app(slot, shadow=shadows.get(name), canary=canaries.get(name), **rules)
    except Exception as error:
        raise CannotServe(f"{', '.join(slots)} cannot be served: {error!r}") from error
    others = [(name, other.slot) for name, other in (*shadows.items(), *canaries.items())]
    for name, slot in (*slots.items(), *others):
        if not slot.ready:
            raise CannotServe(f"{name} does not answer: {slot.problem}")
    for served in options.models:
        if not served.main.version:  # one that was chosen stays what it is
            load_again = functools.partial(load_predictor_of, served.main, options.backend, options.imports)
            name = served.name if len(slots) > 1 else ""
            Watcher(slots[served.name], served.main.directory, load_again, seen=seen[served.name], name=name)
    return app


def load_predictor_of(
    choice: Choice, backend: str | None, imports: tuple[str, Path] | None = None, signature: Mapping | None = None
) -> Callable:
    """The predictor of a model, or of the version of it that was chosen, wherever that is kept by now.

    signature: where a model of another question is there now, the one before it whose callers were those of this.
    """
    from helpers.export.predictors import load_predictor
    from helpers.export.versions import still_asked

    follows = signature is not None and choice.version is None
    return load_predictor(still_asked(choice.directory, signature) if follows else choice.folder, backend, imports)


def _load(options: Options, choice: Choice, signature: Mapping | None = None) -> Callable:
    """The same for a worker that starts: raises `CannotServe`."""
    from helpers.export.errors import ArtifactError

    try:
        return load_predictor_of(choice, options.backend, options.imports, signature)
    except ArtifactError as error:
        raise CannotServe(str(error)) from error
    except Exception as error:
        raise CannotServe(f"{choice.directory.name} cannot be served: {error!r}") from error


def supervise(
    listener: socket.socket,
    workers: int,
    load: Callable[..., Callable],
    on_ready: Callable[[], None] | None = None,
    callers: Callers | None = None,
    models: Sequence[str] = (),
    access_log: TextIO | None = None,
    answered: Sequence[Answered] = (),
) -> int:
    """Serve in worker processes until told to stop; returns the exit code, 2 where nothing could be served.

    load: called in each worker with its own `access_log`, or None; returns its WSGI application. on_ready: called once
    the first worker can answer. callers: the rules for `Host` and `Origin` that hold while none can. models: the names
    of those that are served. access_log: a text stream for the requests that no worker answers; with it each worker
    writes one of its own. answered: the requests that had their answer before.
    """
    with starting(listener, callers or Callers(), access_log) as meanwhile:
        import helpers.export.predictors
        import helpers.serving.accepting
        import helpers.serving.several  # noqa: F401  imported once, before the workers fork from this process
        from helpers.serving.observability import shared_counts

    with shared_counts(workers + 1) as counts:
        observed = observed_beside(workers, counts, models, [*answered, *meanwhile])
        observed.access_log = access_log
        work = functools.partial(_work, load, counts, access_log is not None)
        return Supervisor(listener, workers, work, on_ready, callers, observed.note).run()


def observed_beside(workers: int, counts: Path | None, models: Sequence[str], answered: Sequence[Answered]) -> Observed:
    """What counts the answers of the process that watches the workers, as one more beside them.

    answered: those of the start, which are in the access log already.
    """
    from helpers.serving import observability, services, several

    observability.count_as(workers, counts)
    is_several = len(models) > 1
    paths = several.paths_of(models) if is_several else services.own_paths()
    observed = observability.Observed(_no_application, observability.Metrics(is_several), paths)
    for each in answered:
        observed.note(*each, request_id="", client="")
    return observed


def _no_application(environ: dict, start_response: Callable):
    raise NotImplementedError("this process only counts")


def _work(load: Callable[..., Callable], counts: Path | None, is_logged: bool, place: Place) -> None:
    """What one worker does, in its process, until SIGTERM."""
    from helpers.serving import accepting, access_log
    from helpers.serving.asgi import Gateway
    from helpers.serving.observability import count_as
    from helpers.serving.sayings import hand_on

    hand_on(place.say)
    sys.setswitchinterval(0.001)  # while a thread computes a long list, the others are asked to wait this long
    count_as(place.number, counts)
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", TENSORFLOW_THREADS)  # read when TensorFlow starts, if it does
    with access_log.to_stdout(is_logged) as log:  # whose thread another process would not have
        app = load(access_log=log)
        gc.freeze()  # what is loaded lives as long as this process: a collection between two requests need not see it
        accepting.run(Gateway(app, app.config["MAX_CONTENT_LENGTH"]), place)
