"""A connection of the production server: uvicorn's, with the lane on it, limits, and errors in the services' own shape.

uvicorn hands each request to an ASGI application as a task. A plain request to /predict needs none: it is answered as
soon as its last byte is here, by `lane.Lane`, and the next one that says the same but for what is asked, without being
parsed (`repeated`). Whatever is irregular goes uvicorn's way to the application.

What uvicorn leaves open is closed here: a request that does not arrive in time, headers without end, a body that ends
before its length, an answer that nobody reads.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import NoReturn

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from helpers.serving.asgi import LARGE_BYTES
from helpers.serving.callers import CALLER, written_refusal
from helpers.serving.framing import (
    ALLOW,
    CUT_SHORT,
    HEADER_BYTES,
    HEADERS,
    LARGE_HEADERS,
    LONG_ADDRESS,
    MANY_HEADERS,
    NO_ADDRESS,
    NO_CHUNKS,
    NO_HEADER,
    NO_LENGTH,
    NO_METHOD,
    NO_PROXY,
    NO_REQUEST,
    OTHER_CODING,
    OTHER_VERSION,
    TWO_HOSTS,
    TWO_LENGTHS,
    Malformed,
    escaped,
    origin_form,
)
from helpers.serving.lane import Answer, Lane
from helpers.serving.repeated import Repeated
from helpers.serving.wiring import wiring_of

REQUEST_SECONDS = 10  # a request must arrive within this time
IDLE_SECONDS = 75  # a connection on which nothing is asked is closed after this time
UNREAD_SECONDS = 30  # and one whose client does not read its answer after this
CONNECTIONS = 1024  # at once, for each worker
SLICE_BYTES = 8 * 1024  # read at once from one connection: some fifty plain requests, after which others get their turn

# What the parser does not take: by words in what it says, the first that fit, the status and the sentence of an answer.
_UNREAD = (
    ("can't be present", 400, TWO_LENGTHS),
    ("Content-Length", 400, NO_LENGTH),
    ("Transfer-Encoding", 501, OTHER_CODING),
    ("HTTP version", 505, OTHER_VERSION),
    ("HTTP/2", 505, OTHER_VERSION),
    ("PRI", 505, OTHER_VERSION),
    ("start char in url", 400, NO_ADDRESS),
    ("url s", 400, NO_ADDRESS),  # its scheme or its server
    ("chunk", 400, NO_CHUNKS),
    ("Chunk", 400, NO_CHUNKS),
    ("header", 400, NO_HEADER),
    ("after start line", 400, NO_HEADER),
)
# The beginning of a request by a method that the parser does not know.
_OTHER_METHOD = re.compile(rb"(?!(?:GET|POST) )[0-9A-Z_-]+ +/")
_IRREGULAR = {b"content-encoding", b"transfer-encoding", b"upgrade"}  # headers of requests that the lane leaves alone


class Connection(HttpToolsProtocol):
    """One client's connection. `config.app` is an `asgi.Gateway`; its `app` may be wired with lanes and more."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        wiring = wiring_of(self.app.app)
        self.lanes, self.observed, self.callers = wiring.lanes, wiring.observed, wiring.callers
        self.path = b""  # of the request that is being received
        self.lane: Lane | None = None  # and its lane
        self.repeated: Repeated | None = None  # what stays of the requests that the lane answered last
        self.is_answered = False  # what has just been read, by the lane
        self.since = time.monotonic()  # the beginning of the request that is arriving, or of the idle time
        self.unread_since: float | None = None
        self.receiving = False  # a request has begun and is not whole yet
        self.head_bytes = 0  # received of the request whose headers are arriving
        self.header_bytes = 0  # of its headers that are whole
        self.is_in_address = False  # the first line of that request is not whole yet
        self.plain: bytearray | None = None  # the body of a request for the lane
        self.seen_headers: list[tuple[bytes, bytes]] | None = None  # those that were looked at last
        self.head = b""  # what every answer of the lane begins with, as long as these two are the same
        self.head_version, self.head_defaults = "", None
        self.silent_bytes = 0  # received after the headers and since the last byte of the body
        self.problem: tuple[int, str] | None = None  # why the parser was told to stop
        self.later: tuple[int, str] | None = None  # a refusal, told after the answers to the requests before it
        self.active = None  # the cycle of the request that is being answered
        self.rest = bytearray()  # what has arrived and waits for this connection's turn
        self.is_at_end = False  # the client has said that nothing comes after it
        self.refused = False
        self.last = False  # no further request on this connection

    # ---- the connection ----

    def connection_made(self, transport) -> None:
        super().connection_made(transport)
        self.flow = _Flow(self)
        if len(self.connections) > CONNECTIONS:
            self.refuse(503, "too many connections at once: try again in a moment")

    def data_received(self, data: bytes) -> None:
        """Read what has arrived, a slice now and what is more than that in turns with the other connections.

        Else a client that sends thousands of requests without waiting would hold the others up for seconds.
        """
        if self.rest:
            self.rest += data
        elif len(data) <= SLICE_BYTES:
            self._read(data)
        else:
            self._read(data[:SLICE_BYTES])
            self.rest += data[SLICE_BYTES:]
            self.transport.pause_reading()
            self.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        """The next slice; reading goes on when nothing waits any more."""
        if self.transport.is_closing() or self.refused:
            self.rest.clear()
        # Its client does not read its answers, or what it asked before waits: read on once it has been answered.
        if self.rest and (self.flow.write_paused or self.pipeline):
            return
        data = bytes(self.rest[:SLICE_BYTES])
        del self.rest[:SLICE_BYTES]
        if data:
            self._read(data)
        if self.rest:
            self.loop.call_soon(self._read_on)
        elif self.is_at_end:
            if not self._ended():
                self.transport.close()
        elif not (self.pipeline or self.flow.write_paused or self.transport.is_closing()):
            self.flow.resume_reading()
            self.transport.resume_reading()

    def _read(self, data: bytes) -> None:
        if self.refused:
            return
        self._unset_keepalive_if_required()
        begins = not self.receiving
        if begins and self.repeated is not None and self._answer_repeated(data):
            return
        if self.receiving and self.head_bytes >= 0:
            self.head_bytes += len(data)
        elif self.receiving:
            self.silent_bytes += len(data)
        if not self.receiving or self.is_in_address:
            if not data.isascii():
                line, end, rest = data.partition(b"\n")
                data = escaped(line) + end + rest
            self.is_in_address = b"\n" not in data
        self.is_answered = False
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._stay_with_http(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self.refuse(*self.problem or _refusal(str(error), data if begins else b""))
            return
        if max(self.head_bytes, self.silent_bytes) > HEADER_BYTES:
            self.refuse(431, LARGE_HEADERS)
        if begins and self.is_answered:
            self.repeated = Repeated.of(data, self.path)

    def _stay_with_http(self, rest: bytes) -> None:
        """Read a request that offers another protocol (h2c, as Java's client does) again, without the offer.

        The parser takes what follows such headers for the other protocol, and would drop the body.
        """
        version = self.parser.get_http_version().encode()
        head = [b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)]
        head += [b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(b"".join(head) + b"\r\n" + rest)

    def eof_received(self) -> bool:
        """The client sends nothing more; True where it still gets an answer."""
        if self.rest:
            self.is_at_end = True
            return True
        return self._ended()

    def _ended(self) -> bool:
        if self.refused:
            return self.later is not None  # which is told once the requests before it have their answers
        if self.receiving:
            self.refuse(400, CUT_SHORT)
            return True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
            return True
        return False

    def sweep(self, now: float) -> None:
        """Called every second: close what takes too long."""
        if self.unread_since is not None and now - self.unread_since > UNREAD_SECONDS:
            self.transport.abort()
        elif self.refused and self.later is None:
            if now - self.since > 1:
                self.transport.close()
        elif self.receiving:
            if now - self.since > REQUEST_SECONDS:
                self.refuse(408, f"the request did not arrive within {REQUEST_SECONDS} seconds")
        elif (self.cycle is None or self.cycle.response_complete) and now - self.since > IDLE_SECONDS:
            self.transport.close()

    def shutdown(self) -> None:
        if self.receiving and self.plain is not None:
            self.last = True
        else:
            super().shutdown()

    def pause_writing(self) -> None:
        self.unread_since = time.monotonic()
        super().pause_writing()
        self.flow.pause_reading()  # no further requests from a client that does not read its answers

    def resume_writing(self) -> None:
        self.unread_since = None
        super().resume_writing()
        if self.rest:
            self.loop.call_soon(self._read_on)
        if not self.pipeline and not self.transport.is_closing():
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self.later and self.active.response_complete:
            (code, error), self.later, self.receiving = self.later, None, False
            self.refuse(code, error)
        elif self.pipeline or self.flow.write_paused:
            self.flow.pause_reading()
        elif self.rest:
            self.loop.call_soon(self._read_on)

    def refuse(self, code: int, error: str) -> None:
        """Answer what is no request, and close; after the answers to the requests before it."""
        self.refused = True
        if self.pipeline and self.cycle.more_body:  # the refused one itself, whose headers were in order
            self.pipeline.popleft()
        active = self.active
        if active is not None and not active.response_complete:
            if not active.more_body:
                self.later = code, error
                return
            active.disconnected = True
            active.message_event.set()
            if active.response_started:
                self.transport.close()
                return
        elif self.receiving and self.head_bytes < 0 and self.plain is None:  # answered before its body was here
            self.transport.close()
            return
        request_id = self.observed.identify(None) if self.observed else ""
        origin = dict(_tidied(self.headers or ())).get(b"origin", b"").decode("latin-1")
        more = self.callers.headers_of_refusal(origin)
        more += [ALLOW] if code == 405 else []
        more.append(("X-Request-ID", request_id))
        self.transport.write(written_refusal(f"{code} {HTTPStatus(code).phrase}", error, more))
        self._end_answers()
        if self.observed:
            self.observed.note("", "", str(code), 0.0, request_id, self.client[0] if self.client else "")

    def _end_answers(self) -> None:
        """Send no more. What still arrives is read and dropped for a while, or the client would lose the answer."""
        self.refused, self.since = True, time.monotonic()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def close(self) -> None:
        """Close after an answer, which may have been given before the whole body was here."""
        if self.receiving:
            self._end_answers()
        else:
            self.transport.close()

    # ---- the parser's callbacks ----

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self.receiving = True
        self.head_bytes = self.header_bytes = self.silent_bytes = 0
        self.since = time.monotonic()

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > HEADER_BYTES:
            self._stop_parser(414, LONG_ADDRESS)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head_bytes < 0:  # a trailer, after a body in chunks: it must not pass for a header
            return
        name = name.lower()
        self.headers.append((name, value))
        if name == b"expect" and value.strip().lower() == b"100-continue":
            self.expect_100_continue = True
        self.header_bytes += len(name) + len(value)
        if len(self.headers) > HEADERS or self.header_bytes > HEADER_BYTES:
            self._stop_parser(431, LARGE_HEADERS if self.header_bytes > HEADER_BYTES else MANY_HEADERS)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                self._stop_parser(405, NO_PROXY)
            return  # read again by `_stay_with_http`
        if self.url[:1] != b"/" or b"#" in self.url:
            self._read_address()
        if self.lanes and self._is_plain():
            self.plain = bytearray()
        else:
            self._careful()
        self.head_bytes = -1

    def on_body(self, body: bytes) -> None:
        self.silent_bytes = 0
        if self.plain is None:
            super().on_body(body)
        else:
            self.plain += body

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self.receiving = False
        self.since = time.monotonic()
        if self.plain is None:
            super().on_message_complete()
            return
        body, self.plain = self.plain, None
        if not self._answer(bytes(body)):
            self._careful()
            super().on_body(bytes(body))
            super().on_message_complete()

    def _stop_parser(self, code: int, error: str) -> NoReturn:
        """Let the parser, which has called this connection, read no further; the request is refused then."""
        self.problem = code, error
        raise ValueError

    def _read_address(self) -> None:
        """Take the host of a whole address for that of the request."""
        try:
            self.url, host = origin_form(self.parser.get_method(), self.url)
        except Malformed as error:
            self._stop_parser(400, str(error))
        if host is not None and sum(name == b"host" for name, _ in self.headers) < 2:
            self.headers = [header for header in self.headers if header[0] != b"host"] + [(b"host", host)]

    def _careful(self) -> None:
        """Hand the request to the application, as uvicorn does."""
        self.headers = _tidied(self.headers)
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings and codings != [b"chunked"]:
            self._stop_parser(501, OTHER_CODING)
        if self.parser.get_http_version() not in ("1.0", "1.1"):
            self._stop_parser(505, OTHER_VERSION)
        if sum(name == b"host" for name, _ in self.headers) > 1:
            self._stop_parser(400, TWO_HOSTS)
        if codings and self.parser.get_http_version() != "1.1":
            self._stop_parser(400, TWO_LENGTHS)
        url, headers = self.url, self.headers
        expects = self.expect_100_continue and self.parser.get_http_version() == "1.1"
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        super().on_headers_complete()
        self.cycle.transport = _OfCycle(self)
        if self.last:
            self.cycle.keep_alive = False

    def _start_asgi_task(self, cycle, app) -> None:
        self.active = cycle
        super()._start_asgi_task(cycle, app)

    # ---- the lane ----

    def _is_plain(self) -> bool:
        """Whether the lane may answer the request whose headers are here, once its body is."""
        self.path, _, self.query = self.url.partition(b"?")
        if self.path not in self.lanes or self.expect_100_continue:
            return False
        if self.headers != self.seen_headers:
            self._look_at_headers()
        if not self.are_plain or self.parser.get_http_version() != "1.1" or not self._finds_lane():
            return False
        method = self.parser.get_method()
        if method == b"POST":
            return 0 <= self.length <= LARGE_BYTES
        return method == b"GET" and self.length < 0

    def _finds_lane(self) -> bool:
        """Choose the lane for the path; False where none is open, or an earlier request still waits for its answer."""
        if self.cycle is not None and not self.cycle.response_complete:
            return False
        lane = self.lanes[self.path]
        if lane.canary is not None and lane.is_open():
            lane = lane.canary(self.caller)
        self.lane = lane
        return lane.is_open()

    def _answer_repeated(self, data: bytes) -> bool:
        """Answer what says the same as the request before it, but for what is asked; False where it does not."""
        asked = self.repeated.asked(data)
        if asked is None:
            return False
        self.path, self.since = self.repeated.path, time.monotonic()
        if not self._finds_lane():
            return False
        self.query, body = (b"", asked) if self.repeated.body_follows else (asked, b"")
        return self._answer(body)

    def _look_at_headers(self) -> None:
        """Find out what the headers say; a client sends the same ones again, and then it holds for all of them."""
        headers = dict(_tidied(self.headers))

        def given(name: bytes) -> str | None:
            value = headers.get(name)
            return None if value is None else value.decode("latin-1")

        self.seen_headers = self.headers
        self.are_plain = (
            len(headers) == len(self.headers)
            and headers.keys().isdisjoint(_IRREGULAR)
            and self.callers.may_ask_for(given(b"host"))
            and self.lanes[self.path].may_pass(given(b"x-api-key"), given(b"authorization"))
        )
        self.length = int(headers.get(b"content-length", -1))
        self.content_type = given(b"content-type") or ""
        self.given_id = given(b"x-request-id")
        self.caller = given(CALLER.lower().encode()) or (self.client[0] if self.client else "")
        self.said_to_origin = self.callers.headers(given(b"origin"))
        self.head, self.repeated = b"", None

    def _answer(self, body: bytes) -> bool:
        """Let the lane answer; False where it does not."""
        begin = time.perf_counter()
        if self.length < 0:
            method, answer = "GET", self.lane.get(self.query)
        else:
            method, answer = "POST", self.lane.post(self.query, body, self.content_type)
        if answer is None:
            return False
        request_id = self.observed.identify(self.given_id)
        keep = self.parser.should_keep_alive() and not self.last
        self.transport.write(self._response(answer, request_id, keep))
        self.is_answered = True
        if not keep:
            self.refused = True
            self.transport.close()
        seconds = time.perf_counter() - begin
        self.observed.note(method, self.lane.path, "200", seconds, request_id, self.client[0] if self.client else "")
        if self.lane.count is not None:
            self.lane.count("200", seconds)
        return True

    def _response(self, answer: Answer, request_id: str, keep: bool) -> bytes:
        defaults = self.server_state.default_headers  # a new list each second
        body, version = answer
        if not self.head or self.head_version != version or self.head_defaults is not defaults:
            self.head_version, self.head_defaults = version, defaults
            head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-model-version: {version}\r\n"
            head += "".join(f"{name.lower()}: {value}\r\n" for name, value in self.said_to_origin)
            self.head = head.encode("latin-1") + b"".join(b"%b: %b\r\n" % header for header in defaults)
        close = b"" if keep else b"connection: close\r\n"
        tail = b"x-request-id: %b\r\ncontent-length: %d\r\n%b\r\n%b"
        return self.head + tail % (request_id.encode(), len(body), close, body)


def _refusal(said: str, data: bytes) -> tuple[int, str]:
    """The status and the sentence of an answer to `data`, of which the parser says why it is no request."""
    if "method" in said and _OTHER_METHOD.match(data):
        return 405, NO_METHOD
    return next(((code, sentence) for words, code, sentence in _UNREAD if words in said), (400, NO_REQUEST))


def _tidied(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers without blanks after their values; a length without zeros before it, of which Python reads few."""
    values = [(name, value.rstrip(b" \t")) for name, value in headers]
    return [
        (name, value.lstrip(b"0") or b"0") if name == b"content-length" else (name, value) for name, value in values
    ]


class _Flow(FlowControl):
    """uvicorn's, which lets nothing more arrive while what has arrived waits for its connection's turn."""

    def __init__(self, connection: Connection):
        super().__init__(connection.transport)
        self.connection = connection

    def resume_reading(self) -> None:
        if not self.connection.rest:
            super().resume_reading()


class _OfCycle:
    """A connection's transport as uvicorn's cycle of one request and its answer has it."""

    def __init__(self, connection: Connection):
        self.write, self.is_closing = connection.transport.write, connection.transport.is_closing
        self.close = connection.close
