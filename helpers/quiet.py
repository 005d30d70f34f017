"""Keeps what C libraries write to standard error out of a notebook's output.

TensorFlow and LiteRT announce themselves on the process's standard error, below Python, where neither logging nor
`TF_CPP_MIN_LOG_LEVEL` reaches all of it. Python's own warnings and errors go another way and stay.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Inside the `with` block, file descriptor 2 leads nowhere."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        before = os.dup(2)
    except OSError:  # a process without standard error
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(nowhere)
        os.close(before)
