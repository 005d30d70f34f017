"""How the features of a table and a model's scores are distributed, and how far other rows lie from that.

In: the matrix of a table's rows and the scores that a model gave them. Out: a `Distribution`, in a card plain JSON:
for each feature some bins and how many rows fell into each. Rows that come later are counted in the same bins, and the
*population stability index* says how far the two lie apart:

    PSI = sum over the bins of (now - then) * ln(now / then), of the shares of the rows in each

0 is no difference. By custom up to 0.1 counts as none, from 0.25 on as large; two draws of n and N rows from one
distribution of k bins differ by (k - 1) * (1/n + 1/N) on average, so that few rows say little.

B. Yurdakul, Statistical Properties of Population Stability Index, 2018, https://scholarworks.wmich.edu/dissertations/3208
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from helpers.data.signature import CATEGORY, REAL, Feature, Signature

BINS = 10  # of numbers and scores: deciles of the training rows
SOME, LARGE = 0.1, 0.25  # the usual thresholds of the index


@dataclass(frozen=True)
class Bins:
    """The bins of one feature. at, width: its columns in the matrix. edges: between bins of a number, as encoded."""

    name: str
    kind: str
    at: int
    width: int
    missing: bool = False
    edges: tuple[float, ...] = ()

    @cached_property
    def count(self) -> int:
        if self.kind == CATEGORY:
            return self.width + 1  # one for a text that training never saw
        return (len(self.edges) + 1 if self.kind == REAL else 2) + self.missing

    @cached_property
    def _edges(self) -> np.ndarray:
        return np.array(self.edges, np.float32)

    def codes(self, matrix: np.ndarray) -> np.ndarray:
        """The bin of each row, (k,)."""
        if self.kind == CATEGORY:
            return matrix[:, self.at : self.at + self.width] @ np.arange(1, self.width + 1, dtype=np.float32)
        first = matrix[:, self.at]
        codes = np.searchsorted(self._edges, first, side="right") if self.kind == REAL else first
        if self.missing:
            codes = np.where(matrix[:, self.at + self.width - 1] == 1, self.count - 1, codes)
        return codes


class Distribution:
    """The bins of each feature of a signature and of the score, and the rows of the training in each."""

    def __init__(self, bins: Sequence[Bins], score_edges: Sequence[float], counts: np.ndarray):
        self.bins, self.score_edges = tuple(bins), np.array(score_edges, np.float32)
        self.counts = np.asarray(counts, np.int64)
        ends = np.cumsum([0, *(each.count for each in self.bins), len(self.score_edges) + 1])
        self._parts = [slice(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True)]
        self.size = int(ends[-1])
        if self.counts.shape != (self.size,):
            raise ValueError(f"{self.counts.shape} counts for {self.size} bins")

    @classmethod
    def of(cls, signature: Signature, matrix: np.ndarray, scores: np.ndarray) -> Distribution:
        """That of a table's rows, (k, m), and of the scores of a model, (k,)."""

        def edges(feature: Feature, at: int) -> tuple[float, ...]:
            there = matrix[matrix[:, at + feature.width - 1] != 1] if feature.missing else matrix
            return _deciles(there[:, at])

        bins = _bins(signature, edges)
        score_edges = _deciles(scores)
        size = sum(each.count for each in bins) + len(score_edges) + 1
        empty = cls(bins, score_edges, np.zeros(size, np.int64))
        return cls(bins, score_edges, empty.count(matrix, scores))

    @classmethod
    def from_dict(cls, signature: Signature, data: Mapping) -> Distribution:
        """The inverse of `to_dict`; ValueError, KeyError or TypeError for what is none of this signature."""
        found = data["features"]
        bins = _bins(signature, lambda feature, _: tuple(map(float, found[feature.name]["edges"])))
        counts = [count for name in signature.names for count in found[name]["counts"]]
        return cls(bins, data["score"]["edges"], np.array(counts + data["score"]["counts"]))

    def to_dict(self) -> dict:
        """Plain JSON types: `{"rows", "features": {NAME: {"edges", "counts"}}, "score": {"edges", "counts"}}`."""
        features = {
            each.name: ({"edges": list(each.edges)} if each.kind == REAL else {})
            | {"counts": self.counts[part].tolist()}
            for each, part in zip(self.bins, self._parts, strict=False)
        }
        score = {"edges": self.score_edges.tolist(), "counts": self.counts[self._parts[-1]].tolist()}
        return {"rows": self.rows_in(self.counts), "features": features, "score": score}

    def count(self, matrix: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """How many of the rows fall into each bin, (size,)."""
        counts = np.zeros(self.size, np.int64)
        for each, part in zip(self.bins, self._parts, strict=False):
            codes = each.codes(matrix).astype(np.intp)
            counts[part] = np.bincount(codes, minlength=each.count)[: each.count]
        codes = np.searchsorted(self.score_edges, scores, side="right")
        counts[self._parts[-1]] = np.bincount(codes, minlength=len(self.score_edges) + 1)
        return counts

    def psi(self, counts: np.ndarray) -> dict[str, float]:
        """How far rows with these counts lie from the training, by feature."""
        return {
            each.name: _psi(self.counts[part], counts[part]) for each, part in zip(self.bins, self._parts, strict=False)
        }

    def score_psi(self, counts: np.ndarray) -> float:
        """How far their scores lie from those of the training."""
        return _psi(self.counts[self._parts[-1]], counts[self._parts[-1]])

    def rows_in(self, counts: np.ndarray) -> int:
        """How many rows were counted."""
        return int(counts[self._parts[-1]].sum())


def _bins(signature: Signature, edges_of: Callable[[Feature, int], tuple[float, ...]]) -> list[Bins]:
    """The bins of each feature; edges_of: those of a number, by its column in the matrix."""
    bins = []
    for feature, part in zip(signature.features, signature.slices, strict=True):
        edges = edges_of(feature, part.start) if feature.kind == REAL else ()
        bins.append(Bins(feature.name, feature.kind, part.start, feature.width, feature.missing, edges))
    return bins


def _deciles(values: np.ndarray) -> tuple[float, ...]:
    """The edges between bins of about as many rows each; fewer where many rows have the same value.

    An edge lies halfway between two values, as another runtime's answers to the same rows differ in the last bit.
    """
    there = np.unique(values)
    if len(there) < 2:
        return ()
    at = np.searchsorted(there, np.quantile(values, np.arange(1, BINS) / BINS, method="inverted_cdf"))
    at = np.unique(at[at > 0])
    return tuple(((there[at - 1].astype(np.float64) + there[at]) / 2).astype(np.float32).tolist())


def _psi(then: np.ndarray, now: np.ndarray) -> float:
    """The index of counts, of which each gets half a row more, so that an empty bin has a logarithm."""
    then, now = then + 0.5, now + 0.5
    then, now = then / then.sum(), now / now.sum()
    return float(((now - then) * np.log(now / then)).sum())
