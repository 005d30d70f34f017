"""What the workers of a service have to say: a line that all of them say is written once.

Each worker takes up a new model, or refuses it, by itself, and in the same words as the others. Its lines go to the
process that watches the workers, which writes one where they agree, and says who where they do not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from helpers.serving import log

# For which a line waits for the workers that have not said it; each looks for a new model once a second.
AGREE_SECONDS = 3


def hand_on(say: Callable[[str], None]) -> None:
    """Let what this process would log go to `say`, but for what comes with a stack trace."""

    def is_for_here(record: logging.LogRecord) -> bool:
        if record.exc_info:
            return True
        try:
            say(record.getMessage())
        except OSError:  # nobody listens any more
            return True
        return False

    log.addFilter(is_for_here)


class Sayings:
    """Lines that workers have said and that are not written yet."""

    def __init__(self):
        self._said: dict[str, tuple[float, set[int]]] = {}  # since when, and by which workers

    def hear(self, line: str, worker: int) -> None:
        if line in self._said and worker in self._said[line][1]:  # once more: it was another occasion
            self._write(line)
        self._said.setdefault(line, (time.monotonic(), set()))[1].add(worker)

    def tell(self, workers: Iterable[int], wait: float = AGREE_SECONDS) -> None:
        """Write what each of `workers` has said, and what has waited for so many seconds."""
        there, now = set(workers), time.monotonic()
        for line, (since, who) in list(self._said.items()):
            if who >= there:
                del self._said[line]
                log.warning("%s", line)
            elif now - since >= wait:
                self._write(line)

    def _write(self, line: str) -> None:
        who = sorted(self._said.pop(line)[1])
        log.warning("worker%s %s: %s", "s" * (len(who) > 1), ", ".join(map(str, who)), line)
