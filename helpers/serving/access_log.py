"""The access log: one JSON line for each request, into a stream whose reader may be slow, or stand still.

Imports the standard library only, as requests are answered, and logged, before anything else is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TextIO

MOST_LINES = 10_000  # that wait to be written; what comes while as many wait is dropped
END_SECONDS = 1.0  # for the lines that wait when the service ends
_OWN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


def own_id(given: str | None) -> str:
    """A caller's `X-Request-ID`; "" where there is none, or where it could forge a line."""
    return given if given and _OWN_ID.fullmatch(given) else ""


def write_line(stream: TextIO, method: str, path: str, code: str, seconds: float, request_id: str, client: str) -> None:
    """Log one answered request; nothing, where the stream cannot be written to."""
    line = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "id": request_id,
        "client": client,
        "method": method,
        "path": path,
        "status": int(code),
        "ms": round(seconds * 1000, 3),
    }
    try:
        stream.write(json.dumps(line) + "\n")
        stream.flush()
    except (OSError, ValueError):  # nobody reads it any more, or its disk is full: the answer goes out all the same
        pass


@contextlib.contextmanager
def to_stdout(is_wanted: bool) -> Iterator[BackgroundLog | None]:
    """A log on the standard output, or None; at the end what waits is written."""
    log = BackgroundLog(sys.stdout.fileno()) if is_wanted else None
    try:
        yield log
    finally:
        if log is not None:
            log.close()


class BackgroundLog:
    """A text stream into the file descriptor `target`. `write` takes a line and never waits for its reader.

    Another thread writes the lines. Each line is one call of the system, so that those of several processes do not mix.
    """

    def __init__(self, target: int, most: int = MOST_LINES):
        self._target = os.dup(target)
        self._lines: queue.Queue[str | None] = queue.Queue(most)
        self._thread = threading.Thread(target=self._write_all, name="access-log", daemon=True)
        self._thread.start()

    def write(self, line: str) -> int:
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(line)
        return len(line)

    def flush(self) -> None:
        """Nothing: a line is written as soon as its reader lets it."""

    def close(self) -> None:
        """Write what waits, for a moment."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=END_SECONDS)
            self._thread.join(END_SECONDS)

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            content = line.encode()
            try:
                while content:
                    content = content[os.write(self._target, content) :]
            except BrokenPipeError:  # nobody reads it any more
                return
            except OSError:  # its disk is full, say: the line is lost, and a later one may find room
                pass
