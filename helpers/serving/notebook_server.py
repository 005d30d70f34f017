"""A WSGI application in a thread of the notebook, with a handle to stop it.

`serve(app)` returns when the socket accepts connections; the handle holds `.url`, `.port`, `.show()` and `.stop()`.
The server is cheroot. Around it stands a waiting room: one thread collects every request, and only a whole request is
handed to the few threads that run the application, so that slow or half-open connections cost no thread.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import http.client
import os
import re
import secrets
import selectors
import socket
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterable
from typing import Self

from cheroot import connections, server, wsgi
from cheroot.workers import threadpool

from helpers.export.served import open_directly, url_of
from helpers.serving.callers import CallerCheck, Callers, is_loopback, written_refusal
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

THREADS = 4  # threads that run the application; more of them only contend for Python's interpreter lock
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

_running: dict[int, ServerHandle] = {}  # port that was asked for -> the server that this process runs for it
_running_lock = threading.Lock()


def serve(
    app, host: str = "127.0.0.1", port: int = 5000, *, threads: int = THREADS, allow_hosts: Iterable[str] = ()
) -> ServerHandle:
    """Serve a WSGI application in a thread of this process; returns when the socket accepts connections.

    Running the same cell again replaces the server that it started before. A port taken by another program is not an
    error: a free one is used, and said. `port=0` takes a free one without a word. `host="0.0.0.0"` lets every machine
    that can reach this one call the service; the default lets only this machine, under its own names (localhost,
    127.0.0.1), those of `allow_hosts`, and the one under which Jupyter shows the page of `handle.show()`.
    """
    if not isinstance(port, int) or not 0 <= port <= 65535:
        raise ValueError(f"port is {port!r}: give a whole number from 0 to 65535, 0 for any that is free")
    with _running_lock:
        if port in _running:
            _running.pop(port).stop()
        taken = port != 0 and _is_taken(host, port)
        try:
            try:
                handle = ServerHandle(app, host, 0 if taken else port, threads, allow_hosts)
            except OSError:
                taken = not taken and port != 0 and _is_taken(host, port)  # by another program, since it was looked at
                if not taken:
                    raise
                handle = ServerHandle(app, host, 0, threads, allow_hosts)
        except OSError as error:
            raise OSError(f"cannot serve on {host}:{port}, try host='127.0.0.1' and port=0 ({error})") from error
        if taken:
            print(f"Port {port} is taken by {_occupant(port)}: serving on {handle.port} instead.")
        if port:
            _running[port] = handle
    if host in ("0.0.0.0", "::"):
        print(f"Listening on every network interface: whoever reaches this machine's port {handle.port} can call it.")
    return handle


class ServerHandle:
    """A running server: `.url` ("http://127.0.0.1:5000"), `.port`, `.show()`, `.stop()`; also usable in `with`."""

    def __init__(self, app, host: str, port: int, threads: int = THREADS, allow_hosts: Iterable[str] = ()):
        self._word = secrets.token_urlsafe(16)
        self._server = _Server(app, host, port, threads, allow_hosts, self._word)
        self._stopped = False
        failed: list[OSError] = []
        ready = threading.Event()

        def run():
            # cheroot's own threads inherit this one's being a daemon: none of them can keep the interpreter alive
            try:
                self._server.prepare()
            except OSError as error:
                failed.append(error)
                return
            finally:
                ready.set()
            self._server.serve()

        self._thread = threading.Thread(target=run, name=f"notebook-server-{port}", daemon=True)
        self._thread.start()
        ready.wait()
        if failed:
            self._thread.join()
            raise failed[0]
        self.port: int = self._server.bind_addr[1]
        self.url = url_of(host, self.port)
        atexit.register(self.stop)

    def stop(self, timeout: float = 5.0) -> None:
        """Stop accepting, let requests in flight finish within `timeout` seconds, free the port. Safe to call twice."""
        if self._stopped:
            return
        self._stopped = True
        self._server.shutdown_timeout = timeout
        self._server.stop()
        self._thread.join(timeout)
        atexit.unregister(self.stop)
        for port, handle in list(_running.items()):
            if handle is self:
                del _running[port]

    def show(self, path: str = "/", height: int = 560):
        """The page at `path` inside the notebook's output, `height` pixels high.

        Where the browser runs on another machine than the kernel (JupyterHub, Binder, EC2), it is reached through
        Jupyter's own address, by jupyter-server-proxy; the page itself finds out which of the two it is.
        """
        from IPython.display import HTML

        frame = f"service-page-{secrets.token_hex(4)}"
        proxied = f"proxy/{self.port}{path}?notebook={self._word}"
        return HTML(_FRAME.format(frame=frame, height=height, url=self.url + path, proxied=proxied))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<server at {self.url}, {'stopped' if self._stopped else 'running'}>"


_FRAME = """\
<iframe id="{frame}" title="the service's page" width="100%" height="{height}"
  style="border: 1px solid #ccc; box-sizing: border-box"></iframe>
<script>
(function () {{
  const frame = document.getElementById("{frame}");
  const config = document.getElementById("jupyter-config-data");
  const base = config ? JSON.parse(config.textContent).baseUrl : document.body.dataset.baseUrl;
  const near = ["localhost", "127.0.0.1", "[::1]", ""].includes(location.hostname);
  frame.src = near || !base ? "{url}" : base + "{proxied}";
}})();
</script>"""


class _Server(wsgi.Server):
    """cheroot with the waiting room, errors in JSON and a stop that keeps to its time limit."""

    max_request_header_size = HEADER_BYTES
    keep_alive_conn_limit = None  # cheroot's 10 would make the 11th client connect anew for every request
    expiration_interval = 0.25  # seconds

    def __init__(self, app, host: str, port: int, threads: int, allow_hosts: Iterable[str], word: str):
        self.max_body_bytes = getattr(app, "config", {}).get("MAX_CONTENT_LENGTH") or BODY_BYTES
        wiring = wiring_of(app)
        self.observed, self.callers = wiring.observed, wiring.callers
        if is_loopback(host):
            app = _NotebookCheck(app, Callers(allow_hosts), word)
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


class _NotebookCheck(CallerCheck):
    """Lets through, beside this machine's own names, the one under which the notebook's reader sees Jupyter.

    Jupyter's proxy passes on the `Host` of the reader's browser, which only the browser knows. The page that `show`
    puts into the notebook names a word that nobody else knows: the name under which it comes is answered from then on.
    """

    def __init__(self, app, callers: Callers, word: str):
        super().__init__(app, callers)
        self._introduction = f"notebook={word}"

    def __call__(self, environ, start_response):
        if environ["QUERY_STRING"] == self._introduction:
            self.callers.allow(environ.get("HTTP_HOST", ""))
        return super().__call__(environ, start_response)


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


def _is_taken(host: str, port: int) -> bool:
    """Whether another program listens there. Asked first, as cheroot's error does not tell one reason from another."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        if os.name == "posix":  # as cheroot does; elsewhere this option would share a port that is taken
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno in (errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", errno.EADDRINUSE))
    return False


def _occupant(port: int) -> str:
    """Who listens on a port of this machine, as far as its first answer tells."""
    try:
        with open_directly(f"http://127.0.0.1:{port}/", seconds=1) as answer:
            name = answer.headers.get("Server", "")
    except urllib.error.HTTPError as error:
        name = error.headers.get("Server", "")
    except (OSError, http.client.HTTPException):
        name = ""
    if name.startswith("AirTunes"):
        return "AirPlay (System Settings > General > AirDrop & Handoff > AirPlay Receiver turns it off)"
    return f"another program ({name})" if name else "another program"
