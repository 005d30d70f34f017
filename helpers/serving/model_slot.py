"""The place of the model in a service: what stands in it answers, and it can be replaced while requests come in.

A new predictor is loaded, warmed up and compared before one assignment puts it in place; whatever is wrong with it is
raised as `ModelRejected`, and the old one goes on answering.
"""

from __future__ import annotations

import errno
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.data.inputs import InputSignature
from helpers.data.outputs import as_arrays
from helpers.export.versions import other_question
from helpers.serving import log
from helpers.serving.drift import Drift

HEAVY_SECONDS = 0.001  # for one row: a model that takes longer does not compute on the event loop's thread
ROWS, FEW_ROWS = 256, 8  # that a model answers before it is put in place; few of a row that is large
LARGE_ROW = 4096  # numbers


class ModelRejected(RuntimeError):
    """A new model was not put in place; the message says why. The one before it goes on answering."""


@dataclass(frozen=True)
class Swap:
    """What a replaced model changed: versions, and how far an answer moved at most."""

    old: str
    new: str
    largest_change: float


def version_of(model) -> str:
    """The version of a predictor, as `X-Model-Version` says it."""
    return str(getattr(model, "version", "unversioned"))


class ModelSlot:
    """Holds the predictor that answers as `.current`. A request reads it once and uses that one to its end."""

    def __init__(self, predictor):
        self.current = predictor
        self.ready = False  # True once a model has answered
        self.problem: str | None = None  # why the warm-up failed
        self.seconds = 0.0  # that the model takes for a row
        self.watch: Drift | None = None  # counts what the model is asked, where its card tells how it was trained
        self.on_swap: list[Callable[[str], None]] = []  # called with "ok" or "rejected"
        self._lock = threading.Lock()

    @property
    def version(self) -> str:
        return version_of(self.current)

    @property
    def is_heavy(self) -> bool:
        """Whether a request may take so long that others must not wait for it: pictures have to be decoded, too."""
        return self.seconds > HEAVY_SECONDS or self.current.signature.takes_pictures

    def warm_up(self) -> bool:
        """Let the model answer a few rows; True (and `.ready`) if it can."""
        try:
            self.seconds = _check(self.current)
        except Exception as error:
            self.problem = f"{type(error).__name__}: {error}"
            log.exception("the model does not answer")
            return False
        self.ready, self.problem = True, None
        return True

    def swap(self, load: Callable[[], Callable]) -> Swap:
        """Replace the model by the predictor that `load()` returns. Raises `ModelRejected`, and keeps the old one.

        The new one must take the same features by name (or the same inputs) and answer with the same outputs, the
        same for a row alone as for the row among others.
        """
        with self._lock:
            try:
                swap = self._replace(load)
            except Exception as error:
                for tell in self.on_swap:
                    tell("rejected")
                raise ModelRejected(f"the new model was rejected, {self.version} goes on serving: {error}") from error
            for tell in self.on_swap:
                tell("ok")
            return swap

    def _replace(self, load: Callable[[], Callable]) -> Swap:
        new, old = load(), self.current
        if reason := other_question(old.signature.to_dict(), new.signature.to_dict()):
            raise ValueError(f"{reason}: start this service again to serve it")
        seconds = _check(new)
        swap = Swap(self.version, version_of(new), _largest_change(old, new))
        self.current = new  # the switch: one assignment, seen by the next request
        self.seconds = seconds
        self.ready, self.problem = True, None
        return swap


def _largest_change(old, new) -> float:
    """How far the answers to random requests moved at most: to those that both models understand."""
    if isinstance(new.signature, InputSignature):
        before = after = new.signature.sample(_rows_for(new.signature))
    else:
        requests = new.signature.sample_rows(ROWS)
        known = old.signature.reader(unseen="answer").read(requests, keep_going=True)
        good = sorted(set(range(len(requests))) - set(known.bad))
        if not good:
            return 0.0
        before, after = known.matrix[good], new.signature.parse(requests)[good]
    return float(np.abs(_side_by_side(new(after)) - _side_by_side(old(before))).max())


def _check(predictor) -> float:
    """Let the model answer some rows; returns the seconds that one takes. ValueError where it does not answer them."""
    signature = predictor.signature
    rows = signature.sample(_rows_for(signature))
    answers = as_arrays(predictor(rows))
    if len(answers) != len(signature.outputs):
        raise ValueError(f"it has {len(answers)} outputs where its signature says {len(signature.outputs)}")
    for output, found in zip(signature.outputs, answers, strict=True):
        if problem := output.problem(found, len(rows)):
            raise ValueError(problem)
    alone, seconds = [], []
    for i in range(FEW_ROWS):
        start = time.perf_counter()
        alone.append(_side_by_side(predictor(rows[i : i + 1])))
        seconds.append(time.perf_counter() - start)
    together = _side_by_side(answers)[:FEW_ROWS]
    known = getattr(predictor, "card", {}).get("parity", {}).get("limit", 0)  # how far rounding goes in a deep model
    allowed = max(1e-5 * max(1.0, np.abs(together).max()), 2 * known)
    if not np.allclose(np.concatenate(alone), together, rtol=1e-5, atol=allowed):
        raise ValueError("it answers a row alone otherwise than among others")
    return min(seconds)


def _rows_for(signature) -> int:
    return FEW_ROWS if getattr(signature, "size", 0) > LARGE_ROW else ROWS


def _side_by_side(answers) -> np.ndarray:
    """The answers of all outputs, (k, m)."""
    return np.hstack([part.reshape(len(part), -1) for part in as_arrays(answers)])


class Watcher:
    """A thread that looks at a model directory every `seconds` and swaps in what has changed there.

    name: of the model, for the log, where there are several.
    seen: `Watcher.stamp(directory)` from before the slot's model was loaded, so that what was written while it was
    being loaded counts as a change; without it, what is there now is taken for what the slot holds.
    again: seconds after which a model is tried once more that was rejected for want of memory or the like.
    """

    def __init__(
        self,
        slot: ModelSlot,
        directory: Path | str,
        load: Callable[[], Callable],
        seconds: float = 1.0,
        seen: tuple | None = None,
        name: str = "",
        again: float = 60.0,
    ):
        self.slot, self.directory, self.load, self.seconds = slot, Path(directory), load, seconds
        self._of = f"{name}: " if name else ""
        self._seen = self.stamp(self.directory) if seen is None else seen
        self._again, self._due = again, math.inf
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model-watcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    @staticmethod
    def stamp(directory: Path) -> tuple:
        """Names, sizes and times of the directory's files: another stamp means that somebody has written there."""
        try:
            stats = [(path.name, path.stat()) for path in sorted(directory.iterdir())]
        except OSError:  # a file was replaced between the two calls: look again at the next turn
            return ()
        return tuple((name, stat.st_mtime_ns, stat.st_size, stat.st_ino) for name, stat in stats)

    def _run(self) -> None:
        while not self._stop.wait(self.seconds):
            try:
                self._look()
            except Exception:  # of what is told of a swap, say: the next new model must be found all the same
                log.exception("%ssomething failed while a new model was taken up", self._of)

    def _look(self) -> None:
        stamp = self.stamp(self.directory)
        if not stamp or (stamp == self._seen and time.monotonic() < self._due):
            return
        time.sleep(min(self.seconds, 0.2))
        if self.stamp(self.directory) != stamp:
            return  # still being written
        self._seen, self._due = stamp, math.inf
        try:
            swap = self.slot.swap(self.load)
        except ModelRejected as error:
            log.error("%s%s", self._of, error)
            if _may_pass(error):
                self._due = time.monotonic() + self._again
            return
        if swap.old == swap.new:  # written or touched again: what answers is what it was
            return
        moved = swap.largest_change
        log.warning("%smodel %s replaced by %s, answers moved by at most %.3g", self._of, swap.old, swap.new, moved)


def _may_pass(error: BaseException | None) -> bool:
    """Whether what went wrong lies in what the machine has free at the moment, not in the model."""
    short = errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN
    while error is not None:
        is_short = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in short)
        if is_short or "bad_alloc" in str(error):  # as ONNX Runtime says it
            return True
        error = error.__cause__
    return False
