"""What the workers of a service have to say: a line that all of them say is written once.

Each worker takes up a new model, or refuses it, by itself, and in the same words as the others. Its lines go to the
process that watches the workers, which writes one where they agree, and says who where they do not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from helpers.serving import log

# For which a line waits for those who have not said it: a model may take long to load, on a busy machine above all.
# Only what a worker says alone comes as late as this.
AGREE_SECONDS = 60


def hand_on(say: Callable[[str], None]) -> None:
    """Let what this process would log go to `say`, but for what it says of itself, or with a stack trace."""

    def is_for_here(record: logging.LogRecord) -> bool:
        if record.exc_info or hasattr(record, "is_of_itself"):
            return True
        try:
            say(record.getMessage())
        except OSError:  # nobody listens any more
            return True
        return False

    log.addFilter(is_for_here)


@dataclass
class _Saying:
    """Since when a line waits, which workers have said it, and which of them all are expected to."""

    since: float
    expected: set[int]
    who: set[int] = field(default_factory=set)

    @property
    def is_of_all(self) -> bool:
        return self.who >= self.expected


class Sayings:
    """Lines that workers have said and that are not written yet."""

    def __init__(self):
        self._said: dict[str, _Saying] = {}

    def hear(self, line: str, worker: int, expected: Iterable[int]) -> None:
        """A worker says a line; expected: who will say it, too, where it is the first to."""
        if line in self._said and worker in self._said[line].who:  # once more: it was another occasion
            self._write(line)
        self._said.setdefault(line, _Saying(time.monotonic(), set(expected))).who.add(worker)

    def expect_no_more(self, worker: int) -> None:
        """Wait no longer for a worker that has ended: the one in its place begins with what the others have come to."""
        for saying in self._said.values():
            saying.expected.discard(worker)

    def tell(self, wait: float = AGREE_SECONDS) -> None:
        """Write what all have said, and what has waited for so many seconds."""
        now = time.monotonic()
        for line, saying in list(self._said.items()):
            if saying.is_of_all or now - saying.since >= wait:
                self._write(line)

    def _write(self, line: str) -> None:
        saying = self._said.pop(line)
        if saying.is_of_all:
            log.warning("%s", line)
        else:
            log.warning("worker%s %s: %s", "s" * (len(saying.who) > 1), ", ".join(map(str, sorted(saying.who))), line)
