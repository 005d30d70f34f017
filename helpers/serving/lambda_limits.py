"""How much Lambda lets in and out, and an application that keeps to it.

Lambda refuses a larger request before the function sees it. To a larger answer it says 502, "Internal Server Error",
and nothing else; here that is an error that names the reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from helpers.serving.callers import json_refusal

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: "Invocation payload", called synchronously
MOST_BYTES = 6 * 2**20  # of an event, and of what the handler returns, each as JSON
MOST_BODY = MOST_BYTES * 3 // 4  # of a request: what is no text travels as base64
_HEADERS = 16 * 1024  # bytes left for an answer's status and headers
_AS_TEXT = ("text/", "application/json")  # the service's types that apig-wsgi does not send as base64


class Limited:
    """A WSGI application that answers 413 where the answer of `app` is larger than Lambda sends."""

    def __init__(self, app: Callable):
        self.app = app

    def __call__(self, environ: dict, start_response: Callable) -> Iterable[bytes]:
        status, headers = "", []

        def start(given: str, with_headers: list, exc_info=None) -> None:
            nonlocal status, headers
            status, headers = given, with_headers

        chunks = self.app(environ, start)
        named = {name.lower(): value for name, value in headers}
        length = named.get("content-length", "")
        if not length.isdecimal() or int(length) > (MOST_BYTES - _HEADERS) // 6:  # JSON writes a byte as six at most
            body = b"".join(chunks)
            getattr(chunks, "close", lambda: None)()
            size = _in_json(body, named.get("content-type", "")) + _HEADERS
            if size > MOST_BYTES:
                status = "413 REQUEST ENTITY TOO LARGE"
                headers, body = json_refusal(_sentence(size))
            chunks = [body]
        start_response(status, headers)
        return chunks


def _in_json(body: bytes, content_type: str) -> int:
    """The bytes that a body takes in what the handler returns."""
    if content_type.startswith(_AS_TEXT):
        return len(json.dumps(body.decode(), ensure_ascii=False).encode())
    return (len(body) + 2) // 3 * 4


def _sentence(size: int) -> str:
    return (
        f"the answer has {size / 2**20:.1f} MB, and Lambda sends {MOST_BYTES // 2**20} MB at most: "
        "ask for fewer rows at once"
    )
