"""A WSGI application behind granian's asynchronous interface (RSGI).

A request's body is collected by the event loop, within a time and a size, before the application is called: with
granian's own WSGI interface a body that never arrives holds the worker's only thread. The application itself is called
as always, one request at a time in each worker.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Callable

_ENVIRON = {
    "GATEWAY_INTERFACE": "CGI/1.1",
    "SCRIPT_NAME": "",
    "wsgi.errors": sys.stderr,
    "wsgi.input_terminated": True,
    "wsgi.multiprocess": True,
    "wsgi.multithread": False,
    "wsgi.run_once": False,
    "wsgi.version": (1, 0),
}


def gateway(app: Callable, max_body_bytes: int, seconds: float) -> Callable:
    """The RSGI application that calls the WSGI application `app`.

    A body that is larger than `max_body_bytes`, or that has not arrived after `seconds`, is refused without calling it.
    """
    # what the application sees as the header X-Request-ID is upper-cased and underlined only once per name
    variables: dict[str, str] = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}

    def variable(name: str) -> str:
        key = "HTTP_" + name.upper().replace("-", "_")
        if len(variables) < 200:  # names come from clients
            variables[name] = key
        return key

    async def serve(scope, protocol) -> None:
        environ = _ENVIRON.copy()
        for name, value in scope.headers.items():
            environ[variables.get(name) or variable(name)] = value
        body = b""
        if "CONTENT_LENGTH" in environ or "HTTP_TRANSFER_ENCODING" in environ:
            try:
                async with asyncio.timeout(seconds):
                    body = await _read(protocol, environ.get("CONTENT_LENGTH", ""), max_body_bytes)
            except TimeoutError:
                return _refuse(protocol, 408, "the request took too long to arrive")
            except _TooLarge:
                return _refuse(protocol, 413, "the request is larger than this service takes")
            environ["CONTENT_LENGTH"] = str(len(body))
        host, _, port = scope.server.rpartition(":")
        environ["REQUEST_METHOD"] = scope.method
        environ["PATH_INFO"] = scope.path
        environ["QUERY_STRING"] = scope.query_string
        environ["SERVER_PROTOCOL"] = f"HTTP/{scope.http_version}"
        environ["SERVER_NAME"], environ["SERVER_PORT"] = host, port
        environ["REMOTE_ADDR"] = scope.client.rpartition(":")[0]
        environ["wsgi.url_scheme"] = scope.scheme
        environ["wsgi.input"] = io.BytesIO(body)

        status, headers = "500", []

        def start_response(given_status, given_headers, exc_info=None):
            nonlocal status, headers
            status, headers = given_status, given_headers

        chunks = app(environ, start_response)
        try:
            protocol.response_bytes(int(status[:3]), headers, b"".join(chunks))
        finally:
            if hasattr(chunks, "close"):
                chunks.close()

    return serve


class _TooLarge(Exception):
    pass


async def _read(protocol, declared: str, limit: int) -> bytes:
    if declared.isdecimal() and int(declared) > limit:
        raise _TooLarge
    body = bytearray()
    async for chunk in protocol:
        body += chunk
        if len(body) > limit:
            raise _TooLarge
    return bytes(body)


def _refuse(protocol, code: int, error: str) -> None:
    headers = [("Content-Type", "application/json"), ("Connection", "close")]
    protocol.response_str(code, headers, json.dumps({"success": False, "error": error}))
