"""A canary: another version of a model that answers some of the callers, the same ones each time.

Who calls is told by the header `X-Caller-ID`, and without it by the address. Behind a proxy every caller has the
proxy's address, so all of them would meet the same version: let the proxy set the header. The API key tells nobody
apart, as all callers of a service share one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from functools import lru_cache

from helpers.serving.callers import CALLER
from helpers.serving.model_slot import ModelSlot

_IN_ENVIRON = "HTTP_" + CALLER.upper().replace("-", "_")
_REMEMBERED = 4096  # callers


class Canary:
    """Another version, and the share of the callers that it answers, above 0 and below 1.

    is_over: whether the model has become this version, which then answers everybody.
    """

    def __init__(self, predictor, share: float):
        if not 0 < share < 1:
            raise ValueError(f"a canary answers a share between 0 and 1 of the callers, not {share}")
        self.slot = predictor if isinstance(predictor, ModelSlot) else ModelSlot(predictor)
        self.share = share
        self.is_over = False
        self._salt = self.slot.version
        self._chooses = lru_cache(_REMEMBERED)(self._chosen)

    def answers(self, caller: str) -> bool:
        """Whether it answers this caller: decided by a hash, so that every process decides alike, now and later.

        Another version is met by other callers.
        """
        return not self.is_over and self._chooses(caller)

    def _chosen(self, caller: str) -> bool:
        digest = hashlib.sha256(f"{self._salt}:{caller}".encode()).digest()
        return int.from_bytes(digest[:8], "big") < self.share * 2**64

    def lanes(self, lane, other) -> Callable[[str], object]:
        """What gives for each caller the lane that answers it."""
        return lambda caller: other if self.answers(caller) else lane


class Split:
    """A WSGI application that lets `other` answer the predictions of the canary's callers, and `app` all the rest.

    asks: whether a path is one of predictions.
    """

    def __init__(
        self,
        app: Callable,
        other: Callable,
        canary: Canary,
        counts: list[Callable[[str, float], None]],
        asks: Callable[[str], bool],
    ):
        self.app, self.other, self.canary, self.counts, self.asks = app, other, canary, counts, asks

    def __call__(self, environ: dict, start_response: Callable):
        if not self.asks(environ["PATH_INFO"]):
            return self.app(environ, start_response)
        begin, code = time.perf_counter(), "500"
        is_canary = self.canary.answers(environ.get(_IN_ENVIRON) or environ.get("REMOTE_ADDR", ""))
        if is_canary:
            environ["model.version"] = self.canary.slot.version

        def respond(status, headers, *exc_info):
            nonlocal code
            code = status[:3]
            return start_response(status, headers, *exc_info)

        try:
            return (self.other if is_canary else self.app)(environ, respond)
        finally:
            self.counts[is_canary](code, time.perf_counter() - begin)
