"""A WSGI application behind an asynchronous server (ASGI).

A request's body is collected by the event loop, within a size, before the application is called; a body that never
arrives whole is dropped without calling it. The application runs on the event loop's own thread, where a small request
is answered soonest; a large one, and any to a model that takes long, goes to another thread, so that the small ones go
on beside it.
"""

from __future__ import annotations

import asyncio
import io
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote_to_bytes

from helpers.serving.wiring import wiring_of

LONG_AT_ONCE = 4  # requests to a model that takes long, computed side by side: a small one need not wait for all
LARGE_BYTES = 100 * 1024  # a body beyond this (1,300 rows of ten features, 3 ms) is answered in a thread of its own

_SLASH = re.compile(b"%2f", re.IGNORECASE)
_ENVIRON = {
    "GATEWAY_INTERFACE": "CGI/1.1",
    "SCRIPT_NAME": "",
    "wsgi.errors": sys.stderr,
    "wsgi.input_terminated": True,
    "wsgi.multiprocess": True,
    "wsgi.multithread": True,
    "wsgi.run_once": False,
    "wsgi.version": (1, 0),
}


class Gateway:
    """The ASGI application that calls the WSGI application `app`; of a larger body it hands on no more than the limit.

    What lies beyond `max_body_bytes` is for the application to refuse, which sees the length that was declared or had
    arrived.
    """

    def __init__(self, app: Callable, max_body_bytes: int):
        self.app, self.max_body_bytes = app, max_body_bytes
        self._large = ThreadPoolExecutor(1, thread_name_prefix="large-request")
        self._long = ThreadPoolExecutor(LONG_AT_ONCE, thread_name_prefix="long-request")
        wiring = wiring_of(app)
        self._takes_long, self.each_second = wiring.takes_long, wiring.each_second

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        environ = _environ(scope)
        body, is_whole = b"", True
        if "CONTENT_LENGTH" in environ or "HTTP_TRANSFER_ENCODING" in environ:
            declared = int(environ.get("CONTENT_LENGTH", 0))
            if declared > self.max_body_bytes:
                is_whole = False
            else:
                try:
                    body, is_whole = await self._read(receive)
                except ConnectionError:
                    return
                environ["CONTENT_LENGTH"] = str(len(body))
        environ["wsgi.input"] = io.BytesIO(body)
        takes_long = self._takes_long(environ["PATH_INFO"])
        if takes_long or len(body) > LARGE_BYTES:
            pool = self._long if takes_long else self._large
            status, headers, answer = await asyncio.get_running_loop().run_in_executor(pool, self._call, environ)
        else:
            status, headers, answer = self._call(environ)
        if not is_whole and "HTTP_EXPECT" in environ:
            headers.append((b"connection", b"close"))  # the body that was announced is not sent any more
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _read(self, receive: Callable) -> tuple[bytes, bool]:
        """The body, and whether it was read to its end; ConnectionError when the client has hung up within it."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError
            body += message["body"]
            if not message.get("more_body") or len(body) > self.max_body_bytes:
                return bytes(body), not message.get("more_body")

    def _call(self, environ: dict) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        status, headers = "500", []

        def start_response(given_status, given_headers, exc_info=None):
            nonlocal status, headers
            status, headers = given_status, given_headers

        chunks = self.app(environ, start_response)
        try:
            answer = b"".join(chunks)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        return int(status[:3]), [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers], answer


def _environ(scope: dict) -> dict:
    """The WSGI environ of an ASGI scope, without the body."""
    environ = _ENVIRON.copy()
    for name, value in scope["headers"]:
        if b"_" in name:  # "X_API_KEY" would pass for "X-API-Key"
            continue
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    host, port = scope["server"]
    environ["REQUEST_METHOD"] = scope["method"]
    path = _SLASH.sub(b"%252F", scope["raw_path"])  # one within a name parts no names, as in the notebook's server
    environ["PATH_INFO"] = unquote_to_bytes(path).decode("latin-1")
    environ["QUERY_STRING"] = scope["query_string"].decode("latin-1")
    environ["SERVER_PROTOCOL"] = f"HTTP/{scope['http_version']}"
    environ["SERVER_NAME"], environ["SERVER_PORT"] = host, str(port)
    environ["REMOTE_ADDR"] = scope["client"][0] if scope["client"] else ""
    environ["wsgi.url_scheme"] = scope["scheme"]
    return environ
