"""A shadow: another version of a model that is asked what was asked, after the answer, to see how far the two differ.

An answered request waits in a queue for a thread that asks the shadow and compares. The answer neither waits for that
nor fails with it: where the queue is full, the request is dropped, and counted.
"""

from __future__ import annotations

import io
import json
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from helpers.data.outputs import CLASSES
from helpers.serving import log
from helpers.serving.lane import PATH, Answer, Lane
from helpers.serving.media_types import JSON, LINES_TYPES
from helpers.serving.model_slot import ModelSlot
from helpers.serving.platforms import content_of
from helpers.serving.wiring import prediction_of

WAITING, WAITING_BYTES = 256, 32 * 1024 * 1024  # requests that wait for the shadow, and the bytes of their bodies
DISAGREE = 0.1  # absolute for probabilities; of the larger of two numbers beyond 1
_APART = {"notes", "errors", "success"}  # of an answer: what the model did not say


class Asked(NamedTuple):
    """A request that was answered, and its answer, which is of the type `kind`."""

    method: str
    query: bytes
    body: bytes
    content_type: str
    answer: bytes
    kind: str = JSON
    path: str = PATH
    accept: str = ""


class Shadow:
    """Another version that is asked, too. Its thread starts with the first request.

    is_over: whether the model has become this version, which then is not asked.
    """

    def __init__(self, predictor, waiting: int = WAITING):
        self.slot = predictor if isinstance(predictor, ModelSlot) else ModelSlot(predictor)
        self.waiting = waiting
        self.is_over = False
        self._queue: deque[Asked] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def beside(self, app: Callable, asked, metrics: dict, asks: Callable[[str], bool]) -> Callable:
        """A WSGI application around `app` whose predictions the application `asked` is asked for, too.

        asks: whether a path is one of predictions.
        """
        part = prediction_of(asked)
        self._lane, self._app, self._metrics = part.lane, part.inner, metrics
        return _Shadowed(app, self, asked.config["MAX_CONTENT_LENGTH"], asks)

    def offer(self, asked: Asked) -> None:
        """Have the shadow asked what was answered, as soon as there is time."""
        if self.is_over:
            return
        size = len(asked.body) + len(asked.answer)
        with self._changed:
            if len(self._queue) >= self.waiting or self._bytes + size > WAITING_BYTES:
                self._metrics["dropped"].inc()
                return
            self._queue.append(asked)
            self._bytes += size
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._queue:
                    self._changed.wait()
                asked = self._queue.popleft()
                self._bytes -= len(asked.body) + len(asked.answer)
            try:
                both = asked.answer, self._ask(asked)
                contents = [content_of(answer, asked.kind) for answer in both]
                if self._ranks and _is_of_one_row(asked):
                    contents = by_class(*contents)
                largest, disagree = difference(*contents)
            except Exception as error:
                log.info("the shadow %s did not answer: %s", self.slot.version, error)
                self._metrics["errors"].inc()
                continue
            self._metrics["difference"].observe(largest)
            if disagree:
                self._metrics["disagreements"].inc()

    @property
    def _ranks(self) -> bool:
        """Whether a row is answered with a list of its classes, best first, as a picture is."""
        signature = self.slot.current.signature
        return signature.takes_pictures and [o.kind for o in signature.outputs] == [CLASSES]

    def _ask(self, asked: Asked) -> bytes:
        """The shadow's answer; ValueError where it refuses."""
        if asked.path != PATH:
            found = None
        elif asked.method == "GET":
            found = self._lane.get(asked.query)
        else:
            found = self._lane.post(asked.query, asked.body, asked.content_type)
        if found is not None:
            return found[0]
        status = ""

        def start_response(given, headers, exc_info=None):
            nonlocal status
            status = given

        body = b"".join(self._app(_environ(asked), start_response))
        if not status.startswith("200"):
            raise ValueError(f"{status}: {body.decode(errors='replace')[:200]}")
        return body


class ShadowedLane(Lane):
    """A lane whose answers a shadow is asked for, too."""

    def __init__(self, lane: Lane, shadow: Shadow):
        super().__init__(lane.slot, lane.may_pass, lane.reader_of, lane.is_open)
        self.shadow, self.path = shadow, lane.path

    def get(self, query: bytes) -> Answer | None:
        answer = super().get(query)
        if answer is not None:
            self.shadow.offer(Asked("GET", query, b"", "", answer[0]))
        return answer

    def post(self, query: bytes, body: bytes, content_type: str) -> Answer | None:
        answer = super().post(query, body, content_type)
        if answer is not None:
            self.shadow.offer(Asked("POST", query, body, content_type, answer[0]))
        return answer


class _Shadowed:
    """The same around a WSGI application."""

    def __init__(self, app: Callable, shadow: Shadow, max_body_bytes: int, asks: Callable[[str], bool]):
        self.app, self.shadow, self.max_body_bytes, self.asks = app, shadow, max_body_bytes, asks

    def __call__(self, environ: dict, start_response: Callable):
        length, path = environ.get("CONTENT_LENGTH") or "0", environ["PATH_INFO"]
        if not self.asks(path) or not length.isdecimal() or int(length) > self.max_body_bytes:
            return self.app(environ, start_response)
        body = environ["wsgi.input"].read(int(length)) if int(length) else b""
        environ["wsgi.input"] = io.BytesIO(body)
        status = kind = ""

        def respond(given, headers, *exc_info):
            nonlocal status, kind
            status, kind = given, dict(headers).get("Content-Type", "")
            return start_response(given, headers, *exc_info)

        chunks = self.app(environ, respond)
        answer = b"".join(chunks)
        if hasattr(chunks, "close"):
            chunks.close()
        method = environ["REQUEST_METHOD"]
        if status.startswith("200") and method in ("GET", "POST"):
            query, sent = environ["QUERY_STRING"].encode("latin-1"), environ.get("CONTENT_TYPE", "")
            self.shadow.offer(Asked(method, query, body, sent, answer, kind, path, environ.get("HTTP_ACCEPT", "")))
        return [answer]


def _environ(asked: Asked) -> dict:
    return {
        "REQUEST_METHOD": asked.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": asked.path,
        "QUERY_STRING": asked.query.decode("latin-1"),
        "CONTENT_TYPE": asked.content_type,
        "HTTP_ACCEPT": asked.accept,
        "CONTENT_LENGTH": str(len(asked.body)),
        "SERVER_NAME": "shadow",
        "SERVER_PORT": "0",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(asked.body),
        "request.id": "shadow",
    }


def _is_of_one_row(asked: Asked) -> bool:
    """Whether a request holds a row of a model that takes pictures, and no list, and is answered so."""
    sent = asked.content_type.partition(";")[0].strip().lower()
    if sent in LINES_TYPES or asked.kind.partition(";")[0] != JSON:
        return False
    content = json.loads(asked.body) if sent.endswith("json") else {}
    return isinstance(content, dict) and "instances" not in content


def by_class(one: dict, other: dict) -> list[dict]:
    """Two rankings of a row's classes as the best of each, and the probabilities of all that either names.

    A class that one names alone lies below the last of the other, as far as that tells.
    """
    shares = [{each["label"]: each["probability"] for each in answer["predictions"]} for answer in (one, other)]
    labels = shares[0].keys() | shares[1].keys()
    return [
        {
            "prediction": max(each, key=each.get),
            "probabilities": {label: each.get(label, min(each.values())) for label in labels},
        }
        for each in shares
    ]


def difference(one, other) -> tuple[float, bool]:
    """The largest absolute difference between the numbers of two answers, and whether they disagree.

    They do where a number differs by more than `DISAGREE`, or by more than that part of the larger one beyond 1; where
    a class is another one; and where one has what the other lacks.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        names = (one.keys() | other.keys()) - _APART
        if isinstance(one.get("prediction"), str) and "probabilities" not in one:
            names.discard("prediction")  # the number in full, which stands there as a number, too
        parts = [difference(one.get(name), other.get(name)) for name in names]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        parts = [difference(a, b) for a, b in zip(one, other, strict=True)]
    elif isinstance(one, int | float) and isinstance(other, int | float):
        apart = abs(one - other)
        return apart, apart > DISAGREE * max(1.0, abs(one), abs(other))
    else:
        return 0.0, one != other
    return max((apart for apart, _ in parts), default=0.0), any(disagree for _, disagree in parts)
