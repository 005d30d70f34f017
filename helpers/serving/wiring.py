"""What holds an application of this package together with the servers and the applications around it.

A server calls any WSGI application. Of one that carries a `Wiring` it uses more: the lanes that answer without a call,
the ids and counts of what the server refuses itself, and which requests may take long.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from flask import Flask

from helpers.serving.callers import Callers
from helpers.serving.lane import Lane
from helpers.serving.model_slot import ModelSlot
from helpers.serving.observability import Observed


@dataclass
class Wiring:
    """What a server uses of an application beside calling it; as it stands here, of one that is not ours.

    observed: what gives ids to the answers and counts them. callers: whose requests are answered. lanes: by the path
    that each answers, as it comes in a request. takes_long: whether a request under a path may, so that it must not
    hold up others. each_second: wants to be called so often.
    """

    observed: Observed | None = None
    callers: Callers = field(default_factory=Callers)
    lanes: dict[bytes, Lane] = field(default_factory=dict)
    takes_long: Callable[[str], bool] = lambda path: False
    each_second: Callable[[], None] = lambda: None


@dataclass
class Prediction:
    """What the applications around one use that asks a model: a service of several, one with a shadow or a canary.

    slot: the place of its model. lane: the short way to it. inner: the WSGI application within the layers that are the
    whole's: callers, ids and counts.
    """

    slot: ModelSlot
    lane: Lane
    inner: Callable


def wire(app: Flask, part: Wiring | Prediction) -> None:
    """Let the application carry it, among its `extensions` by the name of its class."""
    app.extensions[type(part).__name__] = part


def wiring_of(app: Callable) -> Wiring:
    return getattr(app, "extensions", {}).get(Wiring.__name__) or Wiring()


def prediction_of(app: Flask) -> Prediction:
    return app.extensions[Prediction.__name__]
