"""The production server in one worker: it accepts connections beside the other workers, and looks after its own."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time

import uvicorn

from helpers.serving import OF_ITSELF, log
from helpers.serving.asgi import Gateway
from helpers.serving.protocol import IDLE_SECONDS, Connection
from helpers.serving.supervisor import Place

TAKEN_AT_ONCE = 8  # a worker takes one connection at once, and one more for as many as it holds
DEFER_SECONDS = 0.002  # for which a new connection is left to a worker that holds fewer
FULL_SECONDS = 0.5  # before another try where no connection could be accepted
_NO_MORE = 2**31 - 1  # connections, for a worker that takes none


class Server(uvicorn.Server):
    """uvicorn's server in a worker's `place`: it leaves new connections to the worker that holds the fewest.

    Once a second it looks at every connection, and says that it lives.
    """

    def __init__(self, config: uvicorn.Config, place: Place):
        super().__init__(config)
        self.place = place
        self.servers = []
        self._deferred = self._is_full = False
        self._tasks: set[asyncio.Task] = set()  # connections that are being set up

    async def startup(self, sockets=None) -> None:
        if sys.platform == "win32":  # its event loop cannot watch a socket
            await super().startup([self.place.listener])
            return
        self._loop = asyncio.get_running_loop()
        self.place.listener.setblocking(False)
        self._loop.add_reader(self.place.listener, self._accept)
        self.place.holds(0)
        self.started = True

    async def shutdown(self, sockets=None) -> None:
        if sys.platform != "win32":
            self._loop.remove_reader(self.place.listener)
            self.place.holds(_NO_MORE)
        await super().shutdown([self.place.listener])

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:
            self.place.tell()
            self.config.app.each_second()
            now = time.monotonic()
            for connection in list(self.server_state.connections):
                connection.sweep(now)
        return await super().on_tick(counter)

    def _accept(self) -> None:
        """Take connections, or let a worker that holds fewer take them; if none does in time, take them after all.

        Some at once: this is called once in a round, in which each connection has its turn, and the last of a crowd
        would wait for as many rounds as there are others before it.
        """
        held = len(self.server_state.connections) + len(self._tasks)
        others_hold_fewer = self.place.holds(held)
        if others_hold_fewer and not self._deferred:
            self._pause(DEFER_SECONDS)
            return
        self._deferred = False
        for _ in range(1 + held // TAKEN_AT_ONCE):
            try:
                connection, _ = self.place.listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return  # another worker has taken it, or it is gone
            except OSError as error:  # no descriptor is free: connections wait in the kernel until one is
                if not self._is_full:  # said once: the next try is near
                    says = "worker %d takes no new connection until others have ended: %s"
                    log.error(says, self.place.number, error.strerror, extra=OF_ITSELF)
                self._is_full = True
                self._pause(FULL_SECONDS)
                return
            self._is_full = False
            connection.setblocking(False)
            self._tasks.add(self._loop.create_task(self._set_up(connection)))

    async def _set_up(self, connection: socket.socket) -> None:
        try:
            protocol = Connection(self.config, self.server_state, {}, self._loop)
            await self._loop.connect_accepted_socket(lambda: protocol, connection)
        finally:
            self._tasks.discard(asyncio.current_task())

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self.place.listener)
        self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        if not self.should_exit:
            self._deferred = True
            self._loop.add_reader(self.place.listener, self._accept)


def run(app: Gateway, place: Place) -> None:
    """Serve the ASGI application `app` on the listening socket of `place` until SIGTERM."""
    try:
        import uvloop  # noqa: F401  not made for Windows

        loop = "uvloop"
    except ImportError:
        loop = "asyncio"
    config = uvicorn.Config(
        app,
        http=Connection,
        loop=loop,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=2048,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=3,
    )
    # uvicorn raises the signal again once it has ended: let this process end in order then, too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    Server(config, place).run()
