"""JSON as callers send it: bytes become Python's objects, or an error that says what is wrong with them, and where."""

from __future__ import annotations

import json
from collections import Counter

from helpers.data.refusals import InvalidRequest, Named


class MalformedJSON(ValueError):
    """A body, or a line of one, that calls itself JSON and is none."""


def decode(content: bytes, line: int | None = None):
    """What a body holds, or the line with that number, of which no object may hold a name twice.

    Raises `MalformedJSON`, and `InvalidRequest` for what is held twice.
    """
    what = "the body" if line is None else f"line {line}"
    try:
        return _decode(content.decode(json.detect_encoding(content), "surrogatepass"))
    except InvalidRequest:
        raise
    except json.JSONDecodeError as error:
        where = f"column {error.colno}" if line is not None else f"line {error.lineno}, column {error.colno}"
        raise MalformedJSON(f"{what} is not valid JSON: {error.msg.removesuffix(' at')} at {where}") from error
    except (ValueError, RecursionError) as error:
        why = "a number in it has too many digits"
        if isinstance(error, UnicodeDecodeError):
            why = "it is not written in UTF-8"
        elif isinstance(error, RecursionError):
            why = "it is nested too deeply"
        raise MalformedJSON(f"{what} is not valid JSON: {why}") from error


def _once(pairs: list[tuple]) -> dict:
    content = dict(pairs)
    if len(content) < len(pairs):
        bad = Named()
        for name, count in Counter(name for name, _ in pairs).items():
            if count > 1:
                bad.add(name, "repeated")
        bad.refuse()
    return content


_decode = json.JSONDecoder(object_pairs_hook=_once).decode  # `json.loads` would make one for each line
