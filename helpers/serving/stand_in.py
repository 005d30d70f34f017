"""What answers at a listening socket while no worker is there: 503, by the same rules for `Host` and `Origin`.

Without it requests would wait in the kernel without a word. A page of an allowed origin is told, too: its browser asks
first what it may send, and hides an answer that does not name the page's origin.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TextIO
from urllib.parse import unquote_to_bytes

from helpers.serving.access_log import own_id, write_line
from helpers.serving.callers import CallerCheck, Callers, body_for, json_refusal
from helpers.serving.framing import HEADER_BYTES, Malformed, origin_form

MOST_ANSWERED = 200  # connections, between two looks at the workers
SECONDS = 1  # for the headers to arrive, and for the answer to be read
LOOK_SECONDS = 0.1  # between two looks of `starting` at the requests that nobody takes
MOST_KEPT = 100_000  # answers of a start that wait to be counted; more than a minute of all that is answered
PATH_LENGTH = 300  # of one of these; that of a model's has its name, and a folder's has at most 255


class Reason(NamedTuple):
    """Why no worker answers, and after how many seconds a client may ask again."""

    error: str
    retry_after: int


STARTING = Reason("the service is starting: its model is not loaded yet", 1)
NOBODY = Reason("no worker of this service can answer: its own output says why; it goes on trying to start one", 5)


@dataclass
class _Caller:
    connection: socket.socket
    address: str
    until: float
    head: bytearray = field(default_factory=bytearray)
    is_answered: bool = False


class StandIn:
    """Takes connections from `listener` each time that `answer` is called, and answers those whose headers are here.

    note: called for each answer as `observability.Observed.note` is.
    """

    def __init__(self, listener: socket.socket, callers: Callers, note: Callable | None = None):
        self.listener, self.note = listener, note
        self._app = CallerCheck(self._refuse, callers)
        self._reason = STARTING
        self._open: list[_Caller] = []

    def answer(self, reason: Reason | None) -> None:
        """Do what can be done without waiting; None: only for connections that were taken before."""
        if reason is not None:
            self._reason = reason
            self._accept()
        for caller in list(self._open):
            with contextlib.suppress(OSError):
                arrived = caller.connection.recv(HEADER_BYTES)  # after the answer too: unread bytes would undo it
                caller.head += b"" if caller.is_answered else arrived
            is_late = time.monotonic() >= caller.until
            if caller.is_answered and is_late:
                caller.connection.close()
                self._open.remove(caller)
            elif not caller.is_answered and (is_late or b"\r\n\r\n" in caller.head or len(caller.head) > HEADER_BYTES):
                self._answer(caller)

    def leave(self) -> None:
        """Close every connection; what was asked has its answer before."""
        while self._open:
            caller = self._open.pop()
            if not caller.is_answered:
                self._answer(caller)
            caller.connection.close()

    def _accept(self) -> None:
        self.listener.setblocking(False)
        with contextlib.suppress(OSError):
            for _ in range(MOST_ANSWERED):
                connection, address = self.listener.accept()
                connection.setblocking(False)
                self._open.append(_Caller(connection, address[0], time.monotonic() + SECONDS))

    def _answer(self, caller: _Caller) -> None:
        """Send the whole answer to a request, by its headers as far as they are here."""
        said: list[str] = []

        def start_response(status, headers):
            said.extend([f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)])

        environ = _environ(bytes(caller.head))
        body = b"".join(self._app(environ, start_response))
        request_id = own_id(environ.get("HTTP_X_REQUEST_ID")) or secrets.token_hex(4)
        said.append(f"X-Request-ID: {request_id}")
        if self.note is not None and caller.head:  # a connection without a request is none that was answered
            seconds = time.monotonic() - caller.until + SECONDS
            method, path, code = environ["REQUEST_METHOD"], environ["PATH_INFO"], said[0].split()[1]
            self.note(method, path, code, seconds, request_id, caller.address)
        caller.is_answered, caller.until = True, time.monotonic() + SECONDS
        with contextlib.suppress(OSError):
            caller.connection.sendall("\r\n".join([*said, "Connection: close", "", ""]).encode("latin-1") + body)
            caller.connection.shutdown(socket.SHUT_WR)

    def _refuse(self, environ: dict, start_response) -> list[bytes]:
        error, retry_after = self._reason
        headers, body = json_refusal(error)
        start_response("503 SERVICE UNAVAILABLE", [*headers, ("Retry-After", str(retry_after))])
        return body_for(environ, body)


class Answered(NamedTuple):
    """An answer that is still to be counted."""

    method: str
    path: str
    code: str
    seconds: float


@contextlib.contextmanager
def starting(listener: socket.socket, callers: Callers, access_log: TextIO | None = None) -> Iterator[list[Answered]]:
    """Let a thread say within the block that the service is starting: there is no worker yet, nor who watches them.

    Gives the list of its answers, for metrics that are not there yet.
    """
    answered: list[Answered] = []

    def note(method: str, path: str, code: str, seconds: float, request_id: str, client: str) -> None:
        if len(answered) < MOST_KEPT:
            answered.append(Answered(method[:PATH_LENGTH], path[:PATH_LENGTH], code, seconds))
        if access_log is not None:
            write_line(access_log, method, path, code, seconds, request_id, client)

    stand_in, done = StandIn(listener, callers, note), threading.Event()

    def stand() -> None:
        while not done.wait(LOOK_SECONDS):
            stand_in.answer(STARTING)

    thread = threading.Thread(target=stand, name="stand-in", daemon=True)
    thread.start()
    try:
        yield answered
    finally:
        done.set()
        thread.join()
        stand_in.leave()


def _environ(head: bytes) -> dict[str, str]:
    """What `CallerCheck` and metrics look at, as WSGI has it."""
    first, *lines = head.split(b"\r\n")
    method, _, rest = first.partition(b" ")
    address, host = rest.partition(b" ")[0], None
    with contextlib.suppress(Malformed):
        address, host = origin_form(method, address)
    path = unquote_to_bytes(address.partition(b"?")[0]).decode("latin-1")
    environ = {"REQUEST_METHOD": method.decode("latin-1"), "PATH_INFO": path}
    for name, colon, value in (line.decode("latin-1").partition(":") for line in lines):
        if colon:
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = value.strip()
    if host is not None:
        environ["HTTP_HOST"] = host.decode()
    return environ
