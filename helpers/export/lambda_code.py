"""The compiled functions that Lambda layers hold, and whether this Python can run them."""

from __future__ import annotations

import base64
import dis
import marshal
import types
from pathlib import Path

from helpers.export.errors import NeedsMoreError
from helpers.export.keras_tree import label_of, layers_of, name_of, own_functions


def refuse_foreign_code(path: Path, tree: dict) -> None:
    """`NeedsMoreError` for a Lambda layer compiled by another Python, whose code would not run here, or run wild."""
    for layer in layers_of(tree):
        code = _code_of(layer)
        if code is not None and not _is_code_of_this_python(code):
            name = name_of(layer)
            raise NeedsMoreError(
                f"{path.name}: the code of {label_of(layer)} was compiled by another version of Python, which this one "
                "cannot run",
                f"give the function itself, custom_objects={{'{name}': my_function}}",
                own_functions([layer]),
            )


def _code_of(layer: dict) -> str | None:
    """The compiled function of a Lambda layer, as base64; None where it has a function by name, or is another layer."""
    function = layer["config"].get("function") if layer["class_name"] == "Lambda" else None
    if isinstance(function, list):
        return function[0]
    if isinstance(function, dict) and function.get("class_name") == "__lambda__":
        return function["config"].get("code", "")
    return None


def _is_code_of_this_python(code: str) -> bool:
    try:
        loaded = marshal.loads(base64.b64decode(code))
    except (ValueError, TypeError, EOFError):
        return False
    here = (lambda x: x).__code__
    return isinstance(loaded, types.CodeType) and _first_instruction(loaded) == _first_instruction(here)


def _first_instruction(code: types.CodeType) -> str:
    """The name of the first instruction that is none of a closure's: it differs between versions of Python."""
    names = (one.opname for one in dis.get_instructions(code))
    return next((name for name in names if name not in ("COPY_FREE_VARS", "MAKE_CELL")), "")
