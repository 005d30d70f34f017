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
import json
import os
import re
import secrets
import selectors
import socket
import threading
import time
import urllib.error
import urllib.request
from typing import Self

from cheroot import connections, server, wsgi
from cheroot.workers import threadpool

THREADS = 4  # threads that run the application; more of them only contend for Python's interpreter lock
REQUEST_SECONDS = 10  # a request must arrive within this time, and an idle connection is closed after it
WAITING_BYTES = 256 * 1024  # what the waiting room collects of one request; the rest is read by the application
HEADER_BYTES = 16 * 1024
WAITING_CONNECTIONS = 1000  # beyond these the one that waits longest is closed

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)

_running: dict[int, ServerHandle] = {}  # port that was asked for -> the server that this process runs for it
_running_lock = threading.Lock()


def serve(app, host: str = "127.0.0.1", port: int = 5000, *, threads: int = THREADS) -> ServerHandle:
    """Serve a WSGI application in a thread of this process; returns when the socket accepts connections.

    Running the same cell again replaces the server that it started before. A port taken by another program is not an
    error: a free one is used, and said. `port=0` takes a free one without a word. `host="0.0.0.0"` lets every machine
    that can reach this one call the service; the default lets only this machine.
    """
    with _running_lock:
        if port in _running:
            _running.pop(port).stop()
        taken = port != 0 and _is_taken(host, port)
        try:
            handle = ServerHandle(app, host, 0 if taken else port, threads)
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

    def __init__(self, app, host: str, port: int, threads: int = THREADS):
        self._server = _Server(app, host, port, threads)
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
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
        self.url = f"http://[{shown}]:{self.port}" if ":" in shown else f"http://{shown}:{self.port}"
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
        return HTML(_FRAME.format(frame=frame, height=height, url=self.url + path, port=self.port, path=path))

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
  frame.src = near || !base ? "{url}" : base + "proxy/{port}{path}";
}})();
</script>"""


class _Server(wsgi.Server):
    """cheroot with the waiting room, errors in JSON and a stop that keeps to its time limit."""

    max_request_header_size = HEADER_BYTES
    keep_alive_conn_limit = None  # cheroot's 10 would make the 11th client connect anew for every request
    expiration_interval = 0.25  # seconds

    def __init__(self, app, host: str, port: int, threads: int):
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
    def stop(self, timeout=5):
        """As in cheroot, but a request that does not finish in time is left behind instead of waited for."""
        deadline = time.monotonic() + (timeout or 0)
        workers = list(self._clear_threads())
        for _ in workers:
            self._queue.put(threadpool._SHUTDOWNREQUEST)
        for worker in workers:
            worker.join(max(0.0, deadline - time.monotonic()))
            if worker.is_alive():
                self._force_close(worker.conn)
                worker.join(0.1)


class _WaitingRoom(connections.ConnectionManager):
    """Every connection waits here, watched by one thread, until a whole request has arrived on it."""

    def receive(self, conn):
        if not conn.rfile.has_data():
            conn.last_used = time.time()  # the first bytes of a request: its time starts now
        if not conn.rfile.collect():
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

    def stop(self):
        self._stop_requested = True
        with contextlib.suppress(OSError):  # a connection wakes the watching thread at once
            socket.create_connection(self.server.socket.getsockname()[:2], timeout=1).close()
        super().stop()

    def _seat(self, conn):
        if conn.rfile.holds_request():
            conn.socket.settimeout(max(0.01, conn.last_used + self.server.timeout - time.time()))
            self.server.requests.put(conn)
        else:
            self._selector.register(conn.socket.fileno(), selectors.EVENT_READ, data=conn)

    def _waiting(self):
        return [(fd, conn) for fd, conn in self._selector.connections if conn is not self.server]


class _Request(server.HTTPRequest):
    def simple_response(self, status, msg=""):
        """What cheroot itself refuses (malformed, too long, too slow), in the services' own shape of an error."""
        error = {"success": False, "error": msg or str(status).partition(" ")[2]}
        body = json.dumps(error).encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.conn.wfile.write(head.encode() + b"Connection: close\r\n\r\n" + body)


class _Connection(server.HTTPConnection):
    RequestHandlerClass = _Request

    def __init__(self, server, sock, makefile):
        super().__init__(server, sock, makefile)
        self.rfile.close()
        self.rfile = _Received(sock)


class _Received:
    """The bytes that have arrived on a connection, read as cheroot reads a file; waits for more where they run out."""

    def __init__(self, sock: socket.socket):
        self.socket = sock
        self.buffer = bytearray()
        self.bytes_read = 0
        self.closed = False

    def collect(self) -> bool:
        """Take what has arrived, without waiting; False when the client has hung up."""
        self.socket.settimeout(0)
        try:
            data = self.socket.recv(WAITING_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.buffer += data
        return bool(data)

    def holds_request(self) -> bool:
        """Whether a whole request is here, or as much of one as waits in this room."""
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return len(self.buffer) > HEADER_BYTES
        if _CHUNKED.search(self.buffer, 0, end):
            return self.buffer.endswith(b"\r\n\r\n") and len(self.buffer) > end + 4
        length = _LENGTH.search(self.buffer, 0, end)
        return length is None or len(self.buffer) - end - 4 >= min(int(length[1]), WAITING_BYTES)

    def has_data(self) -> bool:
        return bool(self.buffer)

    def readline(self, size: int = -1) -> bytes:
        while (end := self.buffer.find(b"\n") + 1) == 0 and not 0 <= size <= len(self.buffer):
            if not self._more():
                break
        end = end or len(self.buffer)
        return self._take(min(end, size) if size >= 0 else end)

    def read(self, size: int = -1) -> bytes:
        while (size < 0 or len(self.buffer) < size) and self._more():
            pass
        return self._take(size if size >= 0 else len(self.buffer))

    def close(self) -> None:
        self.closed = True
        self.buffer.clear()

    def _more(self) -> bool:
        data = self.socket.recv(65536)
        self.buffer += data
        return bool(data)

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
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1) as answer:
            name = answer.headers.get("Server", "")
    except urllib.error.HTTPError as error:
        name = error.headers.get("Server", "")
    except (OSError, http.client.HTTPException):
        name = ""
    if name.startswith("AirTunes"):
        return "AirPlay (System Settings > General > AirDrop & Handoff > AirPlay Receiver turns it off)"
    return f"another program ({name})" if name else "another program"
