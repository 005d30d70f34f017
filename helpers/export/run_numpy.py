"""The steps of `model.npz` as functions of a matrix: what a network is when the framework is taken away."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

WEIGHTS = {"dense": ("kernel", "bias"), "standardize": ("mean", "spread"), "affine": ("scale", "offset")}


def step_of(step: dict, weights: dict) -> Callable[[np.ndarray], np.ndarray]:
    """One step of `model.npz` as a function of its input matrix."""
    do = step["do"]
    if do == "dense":
        kernel, bias = weights["kernel"], weights["bias"]
        return lambda x: x @ kernel + bias
    if do == "standardize":
        mean, spread = weights["mean"], weights["spread"]
        return lambda x: (x - mean) / spread
    if do == "affine":
        scale, offset = weights["scale"], weights["offset"]
        return lambda x: x * scale + offset
    if do == "leaky_relu":
        slope = step.get("slope", 0.2)
        return lambda x: np.where(x > 0, x, slope * x)
    if do not in _ACTIVATIONS:
        raise ValueError(f"NumPy does not know the step {do!r}")
    return _ACTIVATIONS[do]


def _sigmoid(x):
    e = np.exp(-np.abs(x))  # of a number that is not positive, so that nothing overflows
    return np.where(x >= 0, 1, e) / (1 + e)


def _elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def _softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "elu": _elu,
    # constants of Klambauer et al., Self-Normalizing Neural Networks, 2017
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),
    "softplus": lambda x: np.logaddexp(x, 0),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "silu": lambda x: x * _sigmoid(x),
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "exponential": np.exp,
    "softmax": _softmax,
}
