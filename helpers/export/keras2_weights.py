"""Weights that Keras 2 laid out otherwise: those of CuDNNLSTM and CuDNNGRU, in the layout of LSTM and GRU.

In and out: a group of an HDF5 file that may be written to. cuDNN keeps each gate's kernels transposed and has two
biases, one for the input and one for the state: LSTM adds them up, GRU with `reset_after` keeps them apart.
"""

from __future__ import annotations

import numpy as np

LSTM_GATES, GRU_GATES = 4, 3
KERNEL, RECURRENT, BIAS = "kernel:0", "recurrent_kernel:0", "bias:0"


def convert_cudnn(weights) -> None:
    """Rewrite the weights of every cuDNN layer below the group `weights`; they are told by the shape of the bias."""
    import h5py

    found = []

    def look(path: str, item) -> None:
        if isinstance(item, h5py.Group) and {KERNEL, RECURRENT, BIAS} <= set(item):
            units, *columns = item[RECURRENT].shape
            gates = [LSTM_GATES * units], [GRU_GATES * units]
            if columns in gates and item[BIAS].shape == (2 * columns[0],):
                found.append(item)

    weights.visititems(look)
    for group in found:
        _convert(group)


def _convert(group) -> None:
    units, columns = group[RECURRENT].shape
    gates = columns // units
    kernels = np.split(group[KERNEL][()], gates, axis=1)
    recurrent = np.split(group[RECURRENT][()], gates, axis=1)
    biases = group[BIAS][()].reshape(2, -1)
    _replace(group, KERNEL, np.hstack([kernel.reshape(kernel.shape[::-1]).T for kernel in kernels]))
    _replace(group, RECURRENT, np.hstack([kernel.T for kernel in recurrent]))
    _replace(group, BIAS, biases.sum(0) if gates == LSTM_GATES else biases)


def _replace(group, name: str, value: np.ndarray) -> None:
    del group[name]
    group[name] = value
