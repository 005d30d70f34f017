"""The notebook's server: cheroot with a waiting room, limits, and errors in the services' own shape.

One thread collects every request, and only a whole request is handed to the few threads that run the application, so
that slow or half-open connections cost no thread.
"""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import threading
import time
from collections import deque

from cheroot import connections, server, wsgi
from cheroot.workers import threadpool

from helpers.serving.callers import written_refusal
from helpers.serving.framing import (
    ALLOW,
    BODY_BYTES,
    CUT_SHORT,
    HEADER_BYTES,
    LARGE_HEADERS,
    LONG_ADDRESS,
    NO_REQUEST,
    Arrival,
    Malformed,
)
from helpers.serving.wiring import wiring_of

REQUEST_SECONDS = 10  # a request must arrive within this time, and an idle connection is closed after it
LARGE_BYTES = 16 * 1024  # requests beyond this have a thread of their own, so that they do not hold up the small ones
REFUSED_SECONDS = 2  # for which the rest of a refused request is received, and dropped
RECEIVED_BYTES = 256 * 1024  # at once
SEATED_AT_ONCE = 32  # new connections, before those that are there are looked at again
WAITING_CONNECTIONS = 1000  # beyond these the one that waits longest is closed
_ORIGIN = re.compile(rb"\nOrigin:[ \t]*([^\r\n]*?)[ \t]*\r\n", re.IGNORECASE)

# What cheroot refuses itself, by the status it gives: the status and the sentence that the other server gives, too.
_REFUSED = {
    "400": ("400 Bad Request", NO_REQUEST),
    "413": ("431 Request Header Fields Too Large", LARGE_HEADERS),
    "414": ("414 URI Too Long", LONG_ADDRESS),
}


class Server(wsgi.Server):
    """cheroot with the waiting room, errors in JSON and a stop that keeps to its time limit."""

    max_request_header_size = HEADER_BYTES
    keep_alive_conn_limit = None  # cheroot's 10 would make the 11th client connect anew for every request
    expiration_interval = 0.25  # seconds

    def __init__(self, app, host: str, port: int, threads: int):
        self.max_body_bytes = getattr(app, "config", {}).get("MAX_CONTENT_LENGTH") or BODY_BYTES
        wiring = wiring_of(app)
        self.observed, self.callers = wiring.observed, wiring.callers
        super().__init__((host, port), app, server_name="notebook", request_queue_size=512, timeout=REQUEST_SECONDS)
        self.ConnectionClass = _Connection
        self.requests = _Threads(self, min=threads, max=threads)

    def prepare(self):
        super().prepare()
        self._connections._selector.close()
        self._connections = _WaitingRoom(self)

    def process_conn(self, conn):
        """The watching thread calls this for a new connection and for one on which bytes have arrived."""
        self._connections.receive(conn)

    def error_log(self, msg="", level=20, traceback=False):
        """Silent: a thread's lines would land in whichever cell runs; the application logs what matters."""


class _Threads(threadpool.ThreadPool):
    """The threads that run the application; of large requests one at a time, so that small ones find a thread."""

    def __init__(self, server, min, max):
        super().__init__(server, min=min, max=max)
        del self.get  # cheroot's is the one of a single queue
        self._small, self._large, self._large_runs = deque(), deque(), False
        self._changed = threading.Condition()

    def put(self, conn):
        with self._changed:
            (self._large if conn.is_large else self._small).append(conn)
            self._changed.notify()

    def get(self):
        """The connection to be served next; called by each thread."""
        with self._changed:
            while True:
                if self._small:
                    return self._small.popleft()
                if self._large and not self._large_runs:
                    self._large_runs = True
                    return self._large.popleft()
                self._changed.wait()

    def large_is_done(self):
        with self._changed:
            self._large_runs = False
            self._changed.notify()

    def stop(self, timeout=5):
        """As in cheroot, but a request that does not finish in time is left behind instead of waited for."""
        deadline = time.monotonic() + (timeout or 0)
        workers = list(self._clear_threads())
        with self._changed:
            self._small.extend([threadpool._SHUTDOWNREQUEST] * len(workers))
            self._changed.notify_all()
        for worker in workers:
            worker.join(max(0.0, deadline - time.monotonic()))
            if worker.is_alive():
                self._force_close(worker.conn)
                worker.join(0.1)


class _WaitingRoom(connections.ConnectionManager):
    """Every connection waits here, watched by one thread, until a whole request has arrived on it."""

    def receive(self, conn):
        if conn.refused:
            if conn.rfile.drop():
                self._selector.register(conn.socket.fileno(), selectors.EVENT_READ, data=conn)
            else:
                conn.close()
            return
        if not conn.rfile.has_data():
            conn.last_used = time.time()  # the first bytes of a request: its time starts now
        if not conn.rfile.collect():
            if conn.rfile.has_data():
                conn.refuse("400 Bad Request", CUT_SHORT)  # it may have closed its own direction only
            conn.close()
            return
        if self._num_connections >= WAITING_CONNECTIONS:
            self._expire(min(waiting.last_used for _, waiting in self._waiting()) + 0.001)
        self._seat(conn)

    def put(self, conn):
        """A thread has answered on this connection, which may be used for another request."""
        conn.last_used = time.time()
        try:
            self._seat(conn)
        except (OSError, ValueError, KeyError):  # the server was stopped meanwhile
            conn.close()

    def _expire(self, threshold):
        """Close the connections unused since `threshold`; a client whose time for a request is over is told so."""
        late = threshold <= time.time() - self.server.timeout  # and not only closed to make room
        for _, conn in self._waiting():
            if late and conn.last_used < threshold and conn.rfile.has_data() and not conn.refused:
                conn.refuse("408 Request Timeout", f"the request did not arrive within {self.server.timeout:g} seconds")
        super()._expire(threshold)

    def stop(self):
        self._stop_requested = True
        with contextlib.suppress(OSError):  # a connection wakes the watching thread at once
            socket.create_connection(self.server.socket.getsockname()[:2], timeout=1).close()
        super().stop()

    def _from_server_socket(self, server_socket):
        """Seats new connections at once, or each that has arrived with others would wait a round.

        Some of them only: while callers go on connecting there is always one more, and the others wait meanwhile.
        """
        with selectors.DefaultSelector() as more:
            more.register(server_socket, selectors.EVENT_READ)
            for _ in range(SEATED_AT_ONCE):
                if self._stop_requested or not more.select(0):
                    break
                if (conn := super()._from_server_socket(server_socket)) is not None:
                    self.server.process_conn(conn)

    def _seat(self, conn):
        try:
            whole = conn.rfile.arrival.is_whole()
        except Malformed as error:
            conn.refuse(error.status, str(error))
            conn.last_used = time.time() - self.server.timeout + REFUSED_SECONDS
            whole = False
        if whole:
            conn.socket.settimeout(max(0.01, conn.last_used + self.server.timeout - time.time()))
            conn.is_large = len(conn.rfile.buffer) > LARGE_BYTES
            conn.rfile.expect_next()
            self.server.requests.put(conn)
            return
        if conn.rfile.arrival.expects_word:
            conn.rfile.arrival.expects_word = False
            conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._selector.register(conn.socket.fileno(), selectors.EVENT_READ, data=conn)

    def _waiting(self):
        return [(fd, conn) for fd, conn in self._selector.connections if conn is not self.server]


class _Request(server.HTTPRequest):
    def simple_response(self, status, msg=""):
        """What cheroot itself refuses (malformed, too long, too slow), in the services' own shape of an error."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.conn.wfile.write(self.conn.refusal(*_REFUSED.get(status[:3], (status, msg))))


class _Connection(server.HTTPConnection):
    RequestHandlerClass = _Request

    def __init__(self, server, sock, makefile):
        super().__init__(server, sock, makefile)
        self.rfile.close()
        self.rfile = _Received(sock, server.max_body_bytes)
        self.refused = self.is_large = False

    def communicate(self):
        try:
            return super().communicate()
        finally:
            if self.is_large:
                self.server.requests.large_is_done()

    def refusal(self, status: str, error: str) -> bytes:
        """A whole answer that refuses a request, after which the connection is closed."""
        observed = self.server.observed
        origin = _ORIGIN.search(self.rfile.buffer, 0, HEADER_BYTES)
        more = self.server.callers.headers_of_refusal(origin and origin[1].decode("latin-1"))
        more += [ALLOW] if status.startswith("405") else []
        if observed:
            request_id = observed.identify(None)
            observed.note("", "", status[:3], 0.0, request_id, self.remote_addr)
            more.append(("X-Request-ID", request_id))
        return written_refusal(status, error or status.partition(" ")[2], more)

    def refuse(self, status: str, error: str) -> None:
        """Answer with a refusal and send nothing more. What the client still sends has to be received and dropped:
        closing before it has ended would take the answer away from the client."""
        self.refused = True
        self.send(self.refusal(status, error))
        self.rfile.buffer.clear()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def send(self, data: bytes) -> None:
        """Send some hundred bytes without waiting."""
        self.socket.settimeout(0)
        with contextlib.suppress(OSError):
            self.socket.sendall(data)


class _Received:
    """The bytes that have arrived on a connection, read as cheroot reads a file.

    cheroot reads only after a whole request has arrived, and no further than its end.
    """

    def __init__(self, sock: socket.socket, max_body_bytes: int):
        self.socket = sock
        self.buffer = bytearray()
        self.max_body_bytes = max_body_bytes
        self.bytes_read = 0
        self.closed = False
        self.expect_next()

    def expect_next(self) -> None:
        """The request that is whole will be read from the buffer: what comes after it is the next one."""
        self.arrival = Arrival(self.buffer, self.max_body_bytes)

    def collect(self) -> bool:
        """Take what has arrived, without waiting; False when the client has hung up."""
        data = self._receive()
        self.buffer += data or b""
        return data != b""

    def drop(self) -> bool:
        """Take what has arrived and forget it; False when the client has hung up."""
        return self._receive() != b""

    def has_data(self) -> bool:
        return bool(self.buffer)

    def readline(self, size: int = -1) -> bytes:
        end = self.buffer.find(b"\n") + 1 or len(self.buffer)
        return self._take(min(end, size) if size >= 0 else end)

    def read(self, size: int = -1) -> bytes:
        return self._take(size if size >= 0 else len(self.buffer))

    def close(self) -> None:
        self.closed = True
        self.buffer.clear()

    def _receive(self) -> bytes | None:
        """What has arrived; None where nothing has, no bytes where the client has hung up."""
        self.socket.settimeout(0)
        try:
            return self.socket.recv(RECEIVED_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _take(self, size: int) -> bytes:
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        self.bytes_read += len(data)
        return data
