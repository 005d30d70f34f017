"""Golden requests: a small JSON file of requests whose answers are known well enough to hold a model against.

    [
      {"request": {"age": 3, "class": "1st"}, "at_least": 0.7, "why": "children of the first class were saved first"},
      {"request": {"age": 60, "class": "3rd"}, "at_most": 0.3},
      {"request": {"age": 3, "class": "1st"}, "more_than": {"age": 60, "class": "3rd"}}
    ]

Each holds a request as `/predict` takes it, and one or more of: what the answer's number is at least and at most, the
class that is predicted, another request whose answer it exceeds. Imports the standard library only, as the launcher
reads such a file before anything is installed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from helpers.whole_file import becoming
from helpers.wording import did_you_mean, nearest, text_in

MOST_BYTES = 4 * 1024 * 1024
NO_LIST = 'no list of golden requests, as [{"request": {...}, "at_least": 0.5}] is'
BOUNDS = ("at_least", "at_most", "prediction", "more_than")


class CannotGate(ValueError):
    """A model cannot be held against what was given; the message says in one sentence why, and what to do."""


@dataclass(frozen=True)
class Golden:
    """A request as `/predict` takes it, and what is known of its answer; `why` in a person's words."""

    request: dict
    at_least: float | None = None
    at_most: float | None = None
    prediction: str | None = None
    more_than: dict | None = None
    why: str = ""


def read(path: Path) -> tuple[Golden, ...]:
    """The golden requests of a file; `CannotGate` where it holds something else."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise CannotGate(f"{path.name} is larger than {MOST_BYTES:,} bytes: a few golden requests are enough")
        content = json.loads(text_in(path, MOST_BYTES))  # a device has no size
    except OSError as error:
        raise CannotGate(f"{path.name} cannot be read ({error})") from error
    except UnicodeDecodeError as error:
        raise CannotGate(f"{path.name} is no text in UTF-8, and so {NO_LIST}") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise CannotGate(f"{path.name} is not valid JSON ({error}): mend it there") from error
    if not isinstance(content, list) or not content:
        raise CannotGate(f"{path.name} is {NO_LIST}")
    return tuple(_golden(entry, f"entry {number} of {path.name}") for number, entry in enumerate(content, start=1))


def write(golden: Iterable[Golden], path: Path) -> None:
    """Write golden requests, one a line; what they leave open is left out. Raises `CannotGate` where that fails."""
    lines = [
        json.dumps({k: v for k, v in asdict(each).items() if v not in (None, "")}, ensure_ascii=False)  # to be read
        for each in golden
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with becoming(path) as part:
            part.write_text("[\n  " + ",\n  ".join(lines) + "\n]\n", encoding="utf-8")
    except OSError as error:
        raise CannotGate(f"{path} cannot be written ({error.strerror}): make room, or name another file") from error


def _golden(entry, where: str) -> Golden:
    known = [field.name for field in fields(Golden)]
    if not isinstance(entry, dict) or not isinstance(entry.get("request"), dict):
        raise CannotGate(f'{where} has no "request", an object as /predict takes it: add one')
    for name in entry.keys() - known:
        near = nearest(name, known)
        hint = did_you_mean(near) if near else f"it may hold {', '.join(known)}"
        raise CannotGate(f"{where} has a {name!r}, which nobody knows: {hint}")
    if not any(entry.get(name) is not None for name in BOUNDS):
        raise CannotGate(f"{where} says nothing of the answer: add one of {', '.join(BOUNDS)}")
    for name in ("at_least", "at_most"):
        value = entry.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value)):
            raise CannotGate(f"{where}: {name} is {value!r}, and needs to be a number")
    low, high = entry.get("at_least"), entry.get("at_most")
    if low is not None and high is not None and low > high:
        raise CannotGate(f"{where}: no answer is at least {low} and at most {high}")
    for name, kind, what in (("prediction", str, "a text"), ("more_than", dict, "a request"), ("why", str, "a text")):
        if entry.get(name) is not None and not isinstance(entry[name], kind):
            raise CannotGate(f"{where}: {name} is {entry[name]!r}, and needs to be {what}")
    return Golden(**entry)
