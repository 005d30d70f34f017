"""How far the requests of the last hour lie from the rows that the model was trained on.

Rows as the model takes them and its scores go in; counts by bin and minute are kept, and no row: what was asked stays
in memory until a few hundred rows are together, or somebody looks. `report` compares the last hour with the training's
distribution, which the model's card holds. Several processes count together in the folder of their metrics.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.data.distribution import LARGE, SOME, Distribution
from helpers.serving import OF_ITSELF, log

MINUTES = 60  # that are looked at
TOGETHER = 512  # rows that are counted at once
AT_LEAST = 200  # rows, below which nothing is said: chance alone moves the index of ten bins by 0.05 then
FEATURES_PER_ROW = 32  # of wide tables every second, third, ... row is counted, so that the price stays the same


@dataclass(frozen=True)
class Report:
    """The last hour against the training: the rows counted, the index of each feature, and that of the scores.

    features and score say nothing ({} and None) below `AT_LEAST` rows.
    """

    rows: int
    features: dict[str, float]
    score: float | None

    def __str__(self) -> str:
        if self.score is None:
            few = f"{self.rows:,} request{'s' * (self.rows != 1)} of the last hour"
            return f"{few}: from {AT_LEAST} on they are compared with the training"
        name, most = max(self.features.items(), key=lambda each: each[1])
        return (
            f"{self.rows:,} requests of the last hour: scores {_in_words(self.score)} those of the training "
            f"(PSI {self.score:.2f}), most changed feature {name} (PSI {most:.2f})"
        )


class Drift:
    """Counts what a model is asked; call it with rows and their scores.

    model: whose rows and scores these are. place: the folder in which processes count together, and this one's number
    there; None: it counts for itself.
    name: of what is counted there. now: the time in seconds.
    """

    def __init__(
        self,
        model: object,
        distribution: Distribution,
        place: tuple[Path, int] | None = None,
        name: str = "model",
        now: Callable[[], float] = time.time,
    ):
        self.model, self.distribution, self.place, self.name, self.now = model, distribution, place, name, now
        self.every = 1 + len(distribution.bins) // FEATURES_PER_ROW
        self._table = self._made()
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._rows = 0  # that wait
        self._seen = 0  # rows, of which each so-manieth waits
        self._lock = threading.Lock()

    def __call__(self, matrix: np.ndarray, scores: np.ndarray) -> None:
        """Rows, (k, m) float32, and their scores, (k,)."""
        if self.every > 1:
            first = -self._seen % self.every
            self._seen += len(scores)
            if first >= len(scores):
                return
            matrix, scores = (np.ascontiguousarray(part[first :: self.every]) for part in (matrix, scores))
        self._waiting.append((matrix, scores))
        self._rows += len(scores)
        if self._rows >= TOGETHER:
            self.fold()

    def fold(self) -> None:
        """Count the rows that wait."""
        with self._lock:
            waiting, self._waiting, self._rows = self._waiting, [], 0
            if waiting:
                # Bytes joined: to concatenate as many arrays takes several times as long, which the others wait for.
                rows = b"".join([rows for rows, _ in waiting])
                scores = b"".join([np.ascontiguousarray(scores, np.float32) for _, scores in waiting])
                scores = np.frombuffer(scores, np.float32)
                self._add(np.frombuffer(rows, np.float32).reshape(len(scores), -1), scores)

    def _add(self, matrix: np.ndarray, scores: np.ndarray) -> None:
        minute = int(self.now() // 60)
        slice_ = self._table[minute % MINUTES]
        if slice_[0] != minute:
            slice_[:] = 0
            slice_[0] = minute
        slice_[1:] += self.distribution.count(matrix, scores)

    def report(self) -> Report:
        """The last hour of all processes against the training."""
        self.fold()
        oldest = int(self.now() // 60) - MINUTES
        counts = sum(table[table[:, 0] > oldest, 1:].sum(axis=0) for table in self._tables())
        rows = self.distribution.rows_in(counts)
        if rows < AT_LEAST:
            return Report(rows, {}, None)
        return Report(rows, self.distribution.psi(counts), self.distribution.score_psi(counts))

    # ---- where the counts are ----

    @property
    def _shape(self) -> tuple[int, int]:
        return MINUTES, 1 + self.distribution.size

    def _made(self) -> np.ndarray:
        """The counts of this process: in a file that the others read, or in memory."""
        if self.place is not None:
            folder, number = self.place
            path, size = folder / f"drift-{self.name}-{number}.counts", 8 * int(np.prod(self._shape))
            try:
                if not path.exists() or path.stat().st_size != size:
                    path.write_bytes(bytes(size))  # whole, as a full disk would end the process by a signal later
                return np.memmap(path, np.int64, "r+", shape=self._shape)
            except OSError as error:
                says = "drift is counted by worker %d alone: %s (%s)"
                log.warning(says, number, path, error.strerror, extra=OF_ITSELF)
                self.place = None
        return np.zeros(self._shape, np.int64)

    def _tables(self) -> list[np.ndarray]:
        if self.place is None:
            return [self._table]
        folder, number = self.place
        own = f"drift-{self.name}-{number}.counts"
        others = [path for path in folder.glob(f"drift-{self.name}-*.counts") if path.name != own]
        found = [np.fromfile(path, np.int64) for path in others]
        return [self._table, *(each.reshape(self._shape) for each in found if each.size == np.prod(self._shape))]


def drift_of(model, place: tuple[Path, int] | None, name: str = "") -> Drift | None:
    """What counts the requests to a model; None where its card does not say how its training was distributed."""
    data = getattr(model, "card", {}).get("distribution")
    if not data:
        return None
    try:
        distribution = Distribution.from_dict(model.signature, data)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        log.warning("the distribution in the card of %s is damaged (%r): drift is not watched", model.version, error)
        return None
    return Drift(model, distribution, place, f"{name or 'model'}-{model.version}")


def _in_words(index: float) -> str:
    return "like" if index < SOME else "somewhat unlike" if index < LARGE else "far from"
