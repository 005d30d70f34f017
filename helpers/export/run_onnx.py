"""An ONNX file as a function of arrays, run by ONNX Runtime."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable

import numpy as np

from helpers.data.outputs import answers_of


def onnx_session(content: bytes):
    """An ONNX file as a session of ONNX Runtime that computes on the thread which calls it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # a damaged file is told by the exception
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    session._model_bytes = None  # the whole file once more, kept for a change of providers
    return session


def onnx_function(session) -> Callable[..., np.ndarray | tuple[np.ndarray, ...]]:
    """A session as a function of an array for each input. A file made for one row at a time gets each row by itself."""
    feeds = [each.name for each in session.get_inputs()]
    wanted = [each.name for each in session.get_outputs()]

    def run(*arrays):
        return session.run(wanted, dict(zip(feeds, arrays, strict=True)))

    if any(each.shape and each.shape[0] == 1 for each in session.get_inputs()):
        run = _row_by_row(run)
    return lambda *arrays: answers_of(run(*arrays))


def _row_by_row(run: Callable) -> Callable:
    """A function of arrays of one row as one of any number of rows."""

    def each(*arrays):
        found = [run(*(array[i : i + 1] for array in arrays)) for i in range(len(arrays[0]))]
        return [np.concatenate(parts) for parts in zip(*found, strict=True)]

    return each


class FewRows:
    """A session as a function of few rows, (k, m) float32 to (k,), whose input and output lie where they lay before.

    Nothing is looked up or made anew for them, which is a fifth of the time of one row and a quarter of that of ten. A
    thread that finds all places for as many rows taken makes another one.
    """

    most = 16  # rows; of more the computing itself is what takes time

    def __init__(self, session, row_shape: tuple[int, ...]):
        import onnxruntime

        self._session, self._row_shape, self._options = session, row_shape, onnxruntime.RunOptions()
        # InferenceSession.run_with_iobinding asks at every call for graphics cards
        self._run = session._sess.run_with_iobinding
        self._places = [deque() for _ in range(self.most + 1)]

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        places = self._places[len(rows)]
        try:
            place = places.pop()
        except IndexError:
            place = self._new_place(len(rows))
        source, target, run = place
        source[:] = rows
        run()
        answers = target.copy()
        places.append(place)
        return answers

    def _new_place(self, count: int) -> tuple[np.ndarray, np.ndarray, Callable[[], None]]:
        from onnxruntime import OrtValue

        source, target = np.zeros((count, *self._row_shape), np.float32), np.zeros((count, 1), np.float32)
        binding = self._session.io_binding()
        # on the CPU such a value is the array's own memory
        binding.bind_ortvalue_input(self._session.get_inputs()[0].name, OrtValue.ortvalue_from_numpy(source))
        binding.bind_ortvalue_output(self._session.get_outputs()[0].name, OrtValue.ortvalue_from_numpy(target))
        run = functools.partial(self._run, binding._iobinding, self._options)
        return source, target.reshape(-1), run
