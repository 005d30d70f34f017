"""Who may ask a service from where: the names under which it answers, and the origins whose pages may read it.

A page in a reader's browser can let a name of its own point to 127.0.0.1 and ask whatever listens there (DNS
rebinding); the request then carries that name as its `Host`. And a page of another origin may read an answer only if
the service says so, which it does for the origins it is given (https://fetch.spec.whatwg.org/#http-cors-protocol).
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
from collections.abc import Callable, Iterable

_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^/\s?#@]+", re.ASCII | re.IGNORECASE)
_NAME = re.compile(r"[^\s/?#@:\[\]]+")
_LOCALHOST = re.compile(r"([a-z0-9_-]+\.)*localhost", re.ASCII)
_HOST = re.compile(r"(?:\[([^\[\]]+)\]|([^\[\]:]+))(?::[0-9]*)?", re.ASCII)
CALLER = "X-Caller-ID"  # by which a canary tells callers apart
_HEADERS = f"Content-Type, X-API-Key, Authorization, X-Request-ID, {CALLER}"
_SHOWN = "X-Request-ID, X-Model-Version"
_REMEMBERED = 64  # Host headers whose verdict is kept; they come from clients

Headers = list[tuple[str, str]]


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine itself."""
    address = _address(host)
    return address.is_loopback if address else bool(_LOCALHOST.fullmatch(host))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a host is named by, None for a name."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host)
    return None


class Callers:
    """The rules for `Host` and `Origin`.

    hosts: names that are answered beside those of this machine itself; None: any name.
    origins: such as "http://localhost:3000"; "*" is every page. Raises `ValueError` for what is no name or no origin.
    """

    def __init__(self, hosts: Iterable[str] | None = None, origins: Iterable[str] = ()):
        self.hosts = None if hosts is None else {host.lower() for host in hosts}
        self.origins = {origin.lower().rstrip("/") for origin in origins}
        for host in self.hosts or ():
            if not (_NAME.fullmatch(host) or _address(host)):
                raise ValueError(f"{host!r} is no name of a machine: give one like service.example, without a port")
        for origin in self.origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin: give one like http://localhost:3000, without a path")
        self._known: dict[str, bool] = {}

    def may_ask_for(self, host: str | None) -> bool:
        """Whether a request with this `Host` header is answered; one without it comes from no browser."""
        if self.hosts is None or not host:
            return True
        try:
            return self._known[host]
        except KeyError:
            found = _HOST.fullmatch(host.lower())
            name = found and (found[1] or found[2].removesuffix("."))  # a name that ends in a dot is the whole one
            verdict = bool(name) and (is_loopback(name) or name in self.hosts)
            if len(self._known) < _REMEMBERED:
                self._known[host] = verdict
            return verdict

    def allow(self, host: str) -> None:
        """Answer requests for this `Host` header from now on."""
        if self.hosts is not None:
            self._known[host] = True

    def headers(self, origin: str | None) -> Headers:
        """What an answer says to a page of this origin; nothing where no origin is allowed."""
        if not self.origins:
            return []
        vary = [("Vary", "Origin")]
        if not origin or not ("*" in self.origins or origin.lower() in self.origins):
            return vary
        return [("Access-Control-Allow-Origin", origin), ("Access-Control-Expose-Headers", _SHOWN), *vary]

    def headers_of_refusal(self, origin: str | None) -> Headers:
        """The same where a request was refused, perhaps before its origin was read: it is taken for the only one."""
        return self.headers(origin or (next(iter(self.origins)) if len(self.origins) == 1 else None))


class CallerCheck:
    """A WSGI application that holds each request against `callers` before `app` sees it."""

    def __init__(self, app: Callable, callers: Callers):
        self.app, self.callers = app, callers

    def __call__(self, environ: dict, start_response: Callable):
        if not self.callers.may_ask_for(environ.get("HTTP_HOST")):
            return _refuse(environ, start_response)
        more = self.callers.headers(environ.get("HTTP_ORIGIN"))
        if not more:
            return self.app(environ, start_response)
        allowed = len(more) > 1
        if allowed and environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
            start_response("204 NO CONTENT", [*more, *_preflight(environ)])
            return [b""]

        def respond(status, headers, *exc_info):
            return start_response(status, headers + more, *exc_info)

        return self.app(environ, respond)


def _preflight(environ: dict) -> Headers:
    """The answer to a browser that asks what it may send; it carries no key, as it asks before it sends one."""
    headers = [
        ("Access-Control-Allow-Methods", "GET, POST"),
        ("Access-Control-Allow-Headers", _HEADERS),
        ("Access-Control-Max-Age", "600"),
    ]
    if environ.get("HTTP_ACCESS_CONTROL_REQUEST_PRIVATE_NETWORK") == "true":
        headers.append(("Access-Control-Allow-Private-Network", "true"))
    return headers


def _refuse(environ: dict, start_response: Callable) -> list[bytes]:
    error = "this service answers under the names of its own machine only: call it as localhost, or allow the name "
    error += "that you use: --allow-host NAME of `serve`, allow_hosts in Python"
    headers, body = json_refusal(error)
    start_response("403 FORBIDDEN", headers)
    return body_for(environ, body)


def json_refusal(error: str) -> tuple[Headers, bytes]:
    """The headers and the body of an answer in the services' one shape of an error, given without Flask."""
    body = json.dumps({"success": False, "error": error}).encode()
    return [("Content-Type", "application/json"), ("Content-Length", str(len(body)))], body


def written_refusal(status: str, error: str, more: Headers) -> bytes:
    """A whole answer of that shape with a status, "404 Not Found", after which the connection is closed."""
    headers, body = json_refusal(error)
    head = "".join(f"{name}: {value}\r\n" for name, value in [*headers, *more, ("Connection", "close")])
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + body


def body_for(environ: dict, body: bytes) -> list[bytes]:
    """What a WSGI application sends of `body`: nothing to HEAD, whose client would take it for the next answer."""
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]
