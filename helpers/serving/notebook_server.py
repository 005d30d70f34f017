"""A WSGI application in a thread of the notebook, with a handle to stop it.

`serve(app)` returns when the socket accepts connections; the handle holds `.url`, `.port`, `.show()` and `.stop()`.
The server is `waiting_room.Server`, of a few threads.
"""

from __future__ import annotations

import atexit
import errno
import http.client
import os
import secrets
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable
from typing import Self

from helpers.export.served import open_directly, url_of
from helpers.serving.callers import CallerCheck, Callers, is_loopback
from helpers.serving.waiting_room import Server

THREADS = 4  # threads that run the application; more of them only contend for Python's interpreter lock

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
        self._server = Server(app, host, port, threads)
        if is_loopback(host):
            self._server.wsgi_app = _NotebookCheck(app, Callers(allow_hosts), self._word)
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
