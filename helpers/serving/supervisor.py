"""Worker processes behind one listening socket: started, watched, replaced, and ended together.

All workers accept from the same socket, so a worker that dies takes only its own connections with it, and a new one
is reached under the same port. Each says that it lives, once a second, through a pipe to the process that watches.
While there is none, at the start too, that process answers in their place: 503, for requests of every path.
"""

from __future__ import annotations

import atexit
import mmap
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from helpers.serving import log
from helpers.serving.callers import Callers
from helpers.serving.sayings import Sayings
from helpers.serving.stand_in import NOBODY, STARTING, StandIn

STOP_SECONDS = 5  # a worker that has not stopped after this time is killed
SILENT_SECONDS = 15  # a worker that has not said for this time that it lives is killed and replaced
LOADING_SECONDS = 120  # and one that has not said for this time after its start that it is ready
RETRY_SECONDS = (0.2, 5.0)  # the first and the longest pause before a worker that died is replaced
CANNOT_SERVE = 3  # exit code of a worker whose application could not be made
ABSENT_SECONDS = 2  # without any worker where there was one, after which this process answers in their place
LOOK_SECONDS = 0.1  # between two looks at the workers
FORKS = sys.platform == "linux"  # a worker then shares what is imported already; elsewhere it is a new interpreter
MOST_STARTS = 3  # of each worker, before any was ready

LIVES, SAYS, FAILS = b".", b">", b"!"  # what a worker's word begins with
LONGEST_WORD = 16 * 1024  # bytes

_BUSY = 2**31 - 1  # connections of a worker that cannot take any

_HANGUP = getattr(signal, "SIGHUP", None)  # of a terminal that is closed; Windows has none
_SIGNALS = {signal.SIGTERM, signal.SIGINT, *filter(None, [_HANGUP])}
_one_word = threading.Lock()  # at a time, of a worker's threads; a place that travels to a new interpreter holds none


class CannotServe(Exception):
    """The message says in one sentence what to do."""


class Place:
    """A worker's place among the others, in its own process: its number, the listening socket, and how it is heard.

    board: for each worker, the connections that it holds, in memory that all of them share; None where they do not.
    """

    def __init__(self, number: int, listener: socket.socket, pipe: Connection, board: memoryview | None):
        self.number, self.listener, self.pipe, self.board = number, listener, pipe, board

    def tell(self) -> None:
        """Say that this worker is ready, or still lives."""
        self._send(LIVES)

    def fail(self, problem: str) -> None:
        """Say why this worker cannot serve."""
        self._send(FAILS + problem.encode(errors="replace"))

    def say(self, line: str) -> None:
        """Say what is to be written, once where all workers say it; any thread may."""
        self._send(SAYS + line.encode(errors="replace"))

    def _send(self, word: bytes) -> None:
        with _one_word:
            self.pipe.send_bytes(word[:LONGEST_WORD])

    def holds(self, connections: int) -> bool:
        """Say how many connections this worker holds; whether another one holds fewer."""
        if self.board is None:
            return False
        self.board[self.number] = connections
        return min(self.board) < connections


class _Worker:
    """One worker as the supervisor sees it: its process, and the end of the pipe on which it is heard."""

    def __init__(self, number: int):
        self.number = number
        self.process: multiprocessing.process.BaseProcess | None = None
        self.pipe: Connection | None = None
        self.heard = 0.0
        self.ready = False
        self.is_first = False  # of those with which the service began
        self.problem = ""
        self.pause = RETRY_SECONDS[0]
        self.start_at = 0.0


class Supervisor:
    """Runs `workers` processes, each of which calls `work(place)`; `run` returns the exit code, 2 for nothing served.

    work: serves until SIGTERM; calls `place.tell()` when it is ready and at least every `SILENT_SECONDS` from then on;
    raises `CannotServe` where it has nothing to serve. Before any worker was ready this ends the service; later a
    worker that cannot start is tried again, while the others go on. on_ready: called when the first worker is ready.
    callers: the rules for `Host` and `Origin` by which 503 is answered where no worker is there; None: none.
    note: called for each of these answers as `observability.Observed.note` is.
    """

    def __init__(
        self,
        listener: socket.socket,
        workers: int,
        work: Callable,
        on_ready: Callable[[], None] | None = None,
        callers: Callers | None = None,
        note: Callable | None = None,
    ):
        self.listener, self.work, self.on_ready = listener, work, on_ready
        self.starts = 0
        self.workers = [_Worker(number) for number in range(workers)]
        self.was_ready = False
        self._stop = False
        self._looked = self._present = time.monotonic()  # when this process last looked, and a worker was there then
        self._instead = StandIn(listener, callers or Callers(), note)
        self._said = ""  # why a worker could not start, as it was last said
        self._sayings = Sayings()
        self._context = multiprocessing.get_context("fork" if FORKS else "spawn")
        self._board = memoryview(mmap.mmap(-1, 4 * workers)).cast("i") if FORKS else None

    def run(self) -> int:
        for number in _SIGNALS:
            if number != _HANGUP or signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                signal.signal(number, self._told_to_stop)
        try:
            while not self._stop:
                for worker in self.workers:
                    is_due = worker.process is None and time.monotonic() >= worker.start_at
                    if is_due and not self._start(worker):
                        return 2
                self._listen(LOOK_SECONDS)
                self._sayings.tell()
                for worker in self.workers:
                    if worker.process is not None and not worker.process.is_alive() and not self._replace(worker):
                        return 2
                self._stand_in()
            return 0
        finally:
            self._end()

    def _told_to_stop(self, *_) -> None:
        self._stop = True

    def _stand_in(self) -> None:
        """Answer where no worker does: at the start, and once none has been there for a while."""
        now, reason = self._looked, None  # what has passed since, halted perhaps, the next look counts
        was_absent = self._present < now - ABSENT_SECONDS
        if not self.was_ready:
            self._present, reason = now, STARTING
        elif any(worker.ready and worker.process is not None for worker in self.workers):
            self._present = now
            if was_absent:
                log.warning("serve: a worker answers again")
        elif was_absent:
            reason = NOBODY
        self._instead.answer(reason)

    def _start(self, worker: _Worker) -> bool:
        """Start a worker's process, or try later; False where the service cannot be started at all."""
        self.starts += 1
        self._instead.leave()  # a new process would hold its connections open
        worker.heard, worker.ready, worker.problem = time.monotonic(), False, ""
        worker.is_first = not self.was_ready
        try:
            worker.pipe, theirs = self._context.Pipe(duplex=False)
            place = Place(worker.number, self.listener, theirs, self._board)
            process = self._context.Process(target=_run, args=(self.work, place), name=f"worker-{worker.number}")
            with _signals_held():  # until the new process has handlers of its own
                process.start()
        except OSError as error:  # no process, memory or descriptor is to be had at the moment
            worker.problem = f"no worker can be started ({error.strerror})"
            return self._try_again(worker)
        theirs.close()
        worker.process = process
        if self._board is not None:
            self._board[worker.number] = _BUSY  # until it says what it holds
        return True

    def _listen(self, seconds: float) -> None:
        """Wait for a worker's word or its end; kill one that is silent."""
        pipes = {worker.pipe: worker for worker in self.workers if worker.pipe is not None}
        ends = [worker.process.sentinel for worker in self.workers if worker.process is not None]
        for heard in multiprocessing.connection.wait([*pipes, *ends], seconds):
            if heard in pipes:
                worker = pipes[heard]
                try:
                    word = heard.recv_bytes()
                except (EOFError, OSError):
                    heard.close()
                    worker.pipe = None
                else:
                    self._hear(worker, word)
        now, before = time.monotonic(), self._looked
        self._looked, away = now, now - before - seconds  # this process was halted, or had to wait for a busy machine
        if away > 1:
            self._present = min(now, self._present + away)
        for worker in self.workers:
            if away > 1:
                worker.heard = min(now, worker.heard + away)  # begun anew each time, its silence might never end
            limit = SILENT_SECONDS if worker.ready else LOADING_SECONDS
            if now - worker.heard > limit and worker.process is not None:
                log.error("worker %d has been silent for %d seconds: replacing it", worker.number, limit)
                worker.process.kill()
                worker.heard = now  # its end, too, is seen at the next look only

    def _hear(self, worker: _Worker, word: bytes) -> None:
        kind, text = word[:1], word[1:].decode(errors="replace")
        if kind == SAYS:
            self._sayings.hear(text, worker.number, self._alike(worker))
            return
        if kind == FAILS:
            worker.problem = text
            return
        if not worker.ready:
            self._said = ""
        worker.heard, worker.ready, worker.pause = time.monotonic(), True, RETRY_SECONDS[0]
        if not self.was_ready:
            self.was_ready = True
            if self.on_ready and not self._stop:
                self.on_ready()

    def _alike(self, worker: _Worker) -> list[int]:
        """Who may say what this worker says.

        Of a change those that serve; of what it finds as it loads those that load, and those that began together with
        it and may have loaded sooner.
        """
        together = worker.is_first and not worker.ready
        there = [each for each in self.workers if each.process is not None]
        return [each.number for each in there if each.ready == worker.ready or (together and each.is_first)]

    def _hear_last(self, worker: _Worker) -> None:
        """Hear what a worker has said before it ended."""
        while worker.pipe is not None and worker.pipe.poll():
            try:
                self._hear(worker, worker.pipe.recv_bytes())
            except (EOFError, OSError):
                break
        if worker.pipe is not None:
            worker.pipe.close()
            worker.pipe = None

    def _replace(self, worker: _Worker) -> bool:
        """Make room for a new process where one has ended; False where the service cannot be started at all."""
        worker.process.join()
        code, worker.process = worker.process.exitcode, None
        self._sayings.expect_no_more(worker.number)
        if self._board is not None:
            self._board[worker.number] = _BUSY
        return self._try_again(worker, code)

    def _try_again(self, worker: _Worker, code: int | None = None) -> bool:
        """Say why a worker has ended or could not start, and set the time of the next try; False for none.

        code: the exit code of its process.
        """
        self._hear_last(worker)
        if worker.problem and worker.problem != self._said:  # it is tried again and again
            more = ", trying again; without any worker requests are answered with 503" if self.was_ready else ""
            log.error("serve: %s%s", worker.problem, more)
            self._said = worker.problem
        if not self.was_ready and code == CANNOT_SERVE:
            return False
        if not self.was_ready and self.starts > MOST_STARTS * len(self.workers):
            log.error("serve: no worker stays alive: is there memory for as many --workers?")
            return False
        worker.start_at = time.monotonic() + worker.pause  # no busy loop where a worker cannot live
        worker.pause = min(2 * worker.pause, RETRY_SECONDS[1])
        return True

    def _end(self) -> None:
        running = [worker for worker in self.workers if worker.process is not None]
        for worker in running:
            worker.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for worker in running:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            self._hear_last(worker)
        self._sayings.tell(wait=0)
        self.listener.close()


def _run(work: Callable[[Place], None], place: Place) -> None:
    """What a worker's process does."""
    # SIGTERM ends it while it loads; Ctrl+C, and a terminal's end, reach every process of a terminal, of which the
    # first tells the others.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for number in _SIGNALS - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), name="parent-watch", daemon=True).start()
    if FORKS:
        atexit._clear()  # what the process that started it is to do at its own end
    try:
        work(place)
    except CannotServe as error:
        place.fail(str(error))
        sys.exit(CANNOT_SERVE)
    finally:
        if FORKS:  # which Python 3.14 does, too: TensorFlow removes files that it has written for itself
            atexit._run_exitfuncs()


def _end_with_parent(parent: int) -> None:
    """End this worker when the process that started it is gone, which else would serve on without anyone to stop it."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


class _signals_held:
    """Signals that come within the block are delivered after it; a process forked within starts with them held."""

    def __enter__(self):
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

    def __exit__(self, *_):
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
