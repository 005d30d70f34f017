"""Keeps what C libraries write to standard error out of a notebook's output, and from Keras what nobody asked it for.

TensorFlow and LiteRT announce themselves on the process's standard error, below Python, where neither logging nor
`TF_CPP_MIN_LOG_LEVEL` reaches all of it. Python's own warnings and errors go another way and stay.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TAKEN_IN = ("sklearn", "matplotlib")  # by Keras, where they are installed: for its wrappers, and for galleries


@contextmanager
def quiet() -> Iterator[None]:
    """Inside the `with` block, file descriptor 2 leads nowhere."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    before = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(nowhere)
        os.close(before)


@contextmanager
def keras_alone() -> Iterator[None]:
    """Inside the `with` block Keras is imported quietly, and in a command without scikit-learn and Matplotlib.

    These are a fifth of the time of its import, and no command uses what Keras has them for. A notebook, whose reader
    may, gets Keras whole. What the import makes stays: it is neither looked through for garbage meanwhile nor, in a
    command, ever after, a tenth of what an export takes.
    """
    first, notebook, collecting = "keras" not in sys.modules, "ipykernel" in sys.modules, gc.isenabled()
    absent = [name for name in TAKEN_IN if name not in sys.modules] if first and not notebook else []
    sys.modules.update(dict.fromkeys(absent))  # None: an import finds that there is no such package
    gc.disable()
    try:
        with quiet():
            yield
    finally:
        for name in absent:
            del sys.modules[name]
        if first and not notebook:
            gc.freeze()
        if collecting:
            gc.enable()
