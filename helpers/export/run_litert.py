"""A LiteRT file as a function of arrays, run by LiteRT."""

from __future__ import annotations

from collections import deque

import numpy as np

from helpers.data.input_kinds import OPEN
from helpers.data.outputs import answers_of
from helpers.quiet import quiet

# Rows, and numbers in them, per call of an interpreter, which keeps the memory of the largest that it has seen.
BLOCK_ROWS, BLOCK_NUMBERS = 1024, 1_000_000


class LiteRTFunction:
    """A LiteRT file as a function of an array for each input.

    inputs, outputs: what they are called, in the order in which they are given and wanted; a file that calls them
    otherwise has them in its own order. A file of whole numbers that stand for real ones (quantized) takes and gives
    the real ones. The attributes `inputs` and `outputs` are LiteRT's details of each by name, `function` is what the
    file calls the function that is run.
    """

    def __init__(self, content: bytes, inputs=(), outputs=()):
        self._content = content
        with quiet():  # the first interpreter of a process announces itself
            self.first = self._new()
        self.function, *found = _tensors(self.first)
        self.inputs, self.outputs = (_in_order(*each) for each in zip(found, (inputs, outputs), strict=True))
        row = sum(abs(int(np.prod(detail["shape_signature"]))) for detail in self.inputs.values())
        one = any(detail["shape_signature"][0] == 1 for detail in self.inputs.values())
        self._block = 1 if one else max(1, min(BLOCK_ROWS, BLOCK_NUMBERS // max(row, 1)))
        # Two pools, so that no interpreter of a fixed shape is ever resized: for one row, and for blocks that short
        # ones are padded to.
        self._single, self._blocks = deque([(self.first, ())]), deque()

    def _new(self):
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=self._content, num_threads=1)
        for detail in interpreter.get_input_details():
            if (detail["shape_signature"][1:] < 0).any():  # which LiteRT has as 1, too small for a convolution
                sizes = [OPEN if size < 0 else size for size in detail["shape_signature"][1:]]
                interpreter.resize_tensor_input(detail["index"], (1, *sizes))
        try:
            interpreter.allocate_tensors()
        except RuntimeError as error:
            if "Select TensorFlow op" not in str(error):
                raise
            raise ValueError(
                "it holds operations of TensorFlow that LiteRT does not have: bring the model that it was made of"
            ) from error
        return interpreter

    def __call__(self, *arrays: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        rows = len(arrays[0])
        if rows == 1:
            return answers_of(self._invoke(self._single, arrays))
        pool, found = (self._blocks if self._block > 1 else self._single), []
        for start in range(0, rows, self._block):
            block = [array[start : start + self._block] for array in arrays]
            short = self._block - len(block[0])
            padded = [np.concatenate([part, np.zeros((short, *part.shape[1:]), part.dtype)]) for part in block]
            found.append([answer[: len(block[0])] for answer in self._invoke(pool, padded)])
        if not found:
            one = self._invoke(self._single, [np.zeros((1, *array.shape[1:]), array.dtype) for array in arrays])
            return answers_of([answer[:0] for answer in one])
        return answers_of([np.concatenate(parts) for parts in zip(*found, strict=True)])

    def _invoke(self, pool: deque, arrays) -> list[np.ndarray]:
        try:
            interpreter, shapes = pool.pop()  # pop and append of a deque are atomic
        except IndexError:
            interpreter, shapes = self._new(), ()
        wanted = tuple([array.shape for array in arrays])
        if shapes != wanted:
            for detail, shape in zip(self.inputs.values(), wanted, strict=True):
                interpreter.resize_tensor_input(detail["index"], shape)
            interpreter.allocate_tensors()
        for detail, array in zip(self.inputs.values(), arrays, strict=True):
            interpreter.set_tensor(detail["index"], _quantized(array, detail))
        interpreter.invoke()
        found = [_real(interpreter.get_tensor(detail["index"]), detail) for detail in self.outputs.values()]  # copies
        pool.append((interpreter, wanted))
        return found


def _tensors(interpreter) -> tuple[str, dict[str, dict], dict[str, dict]]:
    """The function of a file that LiteRT runs, its first, and LiteRT's details of its inputs and outputs by names.

    "" and the names of the tensors where the file does not name its functions.
    """
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    for function in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(function)
        named = runner.get_input_details(), runner.get_output_details()
        if {each["name"] for each in named[0].values()} == {each["name"] for each in inputs}:
            ends = (
                {name: next(each for each in details if each["index"] == own["index"]) for name, own in found.items()}
                for details, found in zip((inputs, outputs), named, strict=True)
            )
            return function, *ends
    return "", {each["name"]: each for each in inputs}, {each["name"]: each for each in outputs}


def _in_order(found: dict[str, dict], names) -> dict[str, dict]:
    return {name: found[name] for name in names} if set(names) == set(found) else found


def _quantized(array: np.ndarray, detail: dict) -> np.ndarray:
    scale, zero = detail["quantization"]
    if not scale or array.dtype != np.float32 or np.dtype(detail["dtype"]).kind not in "iu":
        return array
    ends = np.iinfo(detail["dtype"])
    return np.clip(np.round(array / scale + zero), ends.min, ends.max).astype(detail["dtype"])


def _real(answer: np.ndarray, detail: dict) -> np.ndarray:
    scale, zero = detail["quantization"]
    return (answer.astype(np.float32) - zero) * np.float32(scale) if scale and answer.dtype.kind in "iu" else answer
