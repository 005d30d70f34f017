"""A log whose reader may be slow, or stand still: another thread writes the lines, and no request waits for it."""

from __future__ import annotations

import contextlib
import os
import queue
import threading

MOST_LINES = 10_000  # that wait to be written; what comes while as many wait is dropped
END_SECONDS = 1.0  # for the lines that wait when the service ends


class BackgroundLog:
    """A text stream into the file descriptor `target`. `write` takes a line and never waits for its reader.

    Each line is one call of the system, so that those of several processes do not mix.
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
            except OSError:  # nobody reads it any more, or its disk is full
                return
