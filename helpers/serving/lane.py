"""The short way to a prediction: plain requests to /predict, answered without Flask, at a third of the time or less.

A request that is irregular in any way, or that fails, is left to the Flask application, so that errors have one place.
The lane reads rows by the same signature and makes answers by the same function as the Flask views: what it answers is
the same to the byte. It stands before Flask in the notebook's server (`LaneFirst`, WSGI), and on the connection itself
in `tutorial.py serve` (`protocol`).
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import msgspec

from helpers.data.parameters import Rows
from helpers.serving.answers import answer
from helpers.serving.media_types import FORM, JSON
from helpers.serving.model_slot import version_of
from helpers.serving.request_rows import rows_of
from helpers.serving.typed_rows import typed_rows

JSON_TYPES = {
    JSON,
    f"{JSON}; charset=utf-8",
    f"{JSON};charset=utf-8",
    f"{JSON}; charset=UTF-8",
    f"{JSON};charset=UTF-8",
}
PATH = "/predict"

Answer = tuple[bytes, str]  # the body of a 200, and the version of the model that gave it

_decode = msgspec.json.Decoder().decode


class Lane:
    """`lane.get(query)` and `lane.post(query, body, content_type)` give an `Answer`, or None for the careful way.

    slot: the place of the model. may_pass(api_key, authorization): whether a request with these headers may pass.
    reader_of(model): what reads the model's requests. is_open(): False while every request has to go through Flask.

    Other attributes: `path` under which it answers, `canary(caller)` for the lane that answers a caller where a canary
    answers some, and `count(code, seconds)` where the answers of each version are counted; both None as a rule.
    """

    path = PATH
    canary: Callable[[str], Lane] | None = None
    count: Callable[[str, float], None] | None = None

    def __init__(self, slot, may_pass: Callable, reader_of: Callable, is_open: Callable[[], bool]):
        self.slot, self.may_pass, self.reader_of, self.is_open = slot, may_pass, reader_of, is_open

    def get(self, query: bytes) -> Answer | None:
        model = self.slot.current
        try:
            body = answer(self.slot, model, self.reader_of(model).read_query(query), False)
        except Exception:  # found again, and answered, by the view
            return None
        return body, version_of(model)

    def post(self, query: bytes, body: bytes, content_type: str) -> Answer | None:
        if not body or query:
            return None
        model = self.slot.current
        try:
            if content_type in JSON_TYPES:
                read = self._rows(self.reader_of(model), body)
                if read is None:
                    return None
                rows, is_list = read
            elif content_type == FORM:
                rows, is_list = self.reader_of(model).read_query(body), False
            else:
                return None
            found = answer(self.slot, model, rows, is_list)
        except Exception:
            return None
        return found, version_of(model)

    def _rows(self, reader, body: bytes) -> tuple[Rows, bool] | None:
        """The rows of a JSON body, and whether they are a list; None where a name may be there twice."""
        typed = typed_rows(reader)
        if typed is not None and (found := typed.read(body)) is not None:
            return found
        content = _decode(body)
        return None if _may_repeat_a_name(content, body) else rows_of(reader, content)


class LaneFirst:
    """A WSGI application that asks the lane, and where it gives no answer, `app`."""

    def __init__(self, app: Callable, lane: Lane, max_body_bytes: int):
        self.app, self.lane, self.max_body_bytes = app, lane, max_body_bytes

    def __call__(self, environ: dict, start_response: Callable):
        answer = self._answer(environ) if environ["PATH_INFO"] == PATH and self.lane.is_open() else None
        if answer is None:
            return self.app(environ, start_response)
        body, environ["model.version"] = answer
        start_response("200 OK", [("Content-Type", JSON), ("Content-Length", str(len(body)))])
        return [body]

    def _answer(self, environ: dict) -> Answer | None:
        method = environ["REQUEST_METHOD"]
        if method not in ("GET", "POST") or "HTTP_CONTENT_ENCODING" in environ:
            return None
        if not self.lane.may_pass(environ.get("HTTP_X_API_KEY"), environ.get("HTTP_AUTHORIZATION")):
            return None
        query = environ["QUERY_STRING"].encode("latin-1")
        length = environ.get("CONTENT_LENGTH") or ""
        if method == "GET":
            return self.lane.get(query)
        if not length.isdecimal() or int(length) > self.max_body_bytes:
            return None
        body = environ["wsgi.input"].read(int(length))
        environ["wsgi.input"] = BytesIO(body)  # the careful way reads it again
        if len(body) < int(length):
            return None
        return self.lane.post(query, body, environ.get("CONTENT_TYPE", ""))


def _may_repeat_a_name(content, body: bytes) -> bool:
    """Whether an object of the JSON text `body`, decoded to `content`, may hold a name twice.

    The text has a colon for each pair of name and value, and perhaps more within strings. Where it has as many colons
    as the decoded objects have names, no name was lost. Rows lie at most two levels deep; what lies deeper is not
    counted, and makes the number differ.
    """
    if isinstance(content, dict):
        names = len(content)
        content = content.get("instances")
    else:
        names = 0
    if isinstance(content, list):
        names += sum(map(len, filter(_is_object, content)))
    return body.count(b":") != names


def _is_object(value) -> bool:
    return isinstance(value, dict)
