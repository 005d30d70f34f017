"""The versions of an export that are kept beside it, in `.NAME.versions/`: those before it, and those that wait.

`models/games` is what answers; `models/.games.versions/0003-before-VERSION` is the third that was put aside there, and
`0004-beside-VERSION` one that was exported beside it and has not answered yet. Each is a whole export. Three of either
kind are kept. Imports the standard library only, as the launcher needs this module before anything is installed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Container, Mapping
from pathlib import Path
from typing import NamedTuple

CARD = "card.json"
BEFORE, BESIDE = "before", "beside"
KEPT = 3  # of each of the two kinds
DIGITS = 12  # of a version

_NAME = re.compile(rf"(\d{{4,}})-({BEFORE}|{BESIDE})-([0-9a-f]{{{DIGITS}}})")


def version_of(card: Mapping) -> str:
    """The version of an export: 12 digits of the SHA-256 of all that answers, which is its signature and its files.

    Other weights give another version, and so does another range, category, class or scaling of pixels; another name
    for people does not.
    """
    signature = {part: content for part, content in card["signature"].items() if part != "display_name"}
    files = {name: entry.get("sha256") for name, entry in card["files"].items()}
    answers = [signature, card.get("input_shape"), files]
    return hashlib.sha256(json.dumps(answers, sort_keys=True).encode()).hexdigest()[:DIGITS]


def is_same_model(one: Mapping, other: Mapping) -> bool:
    """Whether two cards are of one model with one signature, which may have been exported in other formats."""
    weights = _weights(one)
    return weights is not None and (weights, one["signature"]) == (_weights(other), other["signature"])


def _weights(card: Mapping) -> str | None:
    model = card.get("model")
    return model.get("weights") if isinstance(model, Mapping) else None


class Kept(NamedTuple):
    """One export that is kept: its folder, the number by which they follow each other, "before" or "beside"."""

    path: Path
    number: int
    place: str
    version: str


def store_of(directory: Path) -> Path:
    """The folder that holds what is kept of the export in `directory`."""
    directory = directory.resolve()
    return directory.with_name(f".{directory.name}.versions")


def is_kept(folder: Path) -> bool:
    """Whether a folder is that of a version which is kept, to which nothing is to be written."""
    return _NAME.fullmatch(folder.name) is not None and folder.parent.name.endswith(".versions")


def kept(directory: Path) -> list[Kept]:
    """What is kept of the export in `directory`, the newest first."""
    found = []
    with contextlib.suppress(OSError):
        for path in store_of(directory).iterdir():
            name = _NAME.fullmatch(path.name)
            if name and (path / CARD).exists():
                found.append(Kept(path, int(name[1]), name[2], name[3]))
    return sorted(found, key=lambda each: each.number, reverse=True)


def keep(folder: Path, directory: Path, version: str, place: str) -> None:
    """Keep a copy of the export in `folder` as a version of the one in `directory`; whole, or not at all."""
    store = store_of(directory)
    store.mkdir(exist_ok=True)
    part = store / f".part-{secrets.token_hex(4)}"
    copy(folder, part)
    number = 1 + max((each.number for each in kept(directory)), default=0)
    os.replace(part, store / f"{number:04d}-{place}-{version}")


def copy(folder: Path, target: Path) -> None:
    """Copy an export; no file of one is ever written again, so the copy may share them where the system allows it."""
    shutil.copytree(folder, target, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)


def prune(directory: Path, current: str | None, spared: Container[str] = ()) -> None:
    """Remove what need not be kept: beyond `KEPT` of each kind, and what is there again as `current`.

    What a killed process has left half written goes, too. spared: versions that stay in any case.
    """
    store, seen, counts = store_of(directory), {current}, {BEFORE: 0, BESIDE: 0}
    stays = set()
    for each in kept(directory):
        counts[each.place] += each.version not in seen
        if each.version not in seen and (counts[each.place] <= KEPT or each.version in spared):
            stays.add(each.path)
        seen.add(each.version)
    with contextlib.suppress(OSError):
        for path in store.iterdir():
            if path not in stays and (_NAME.fullmatch(path.name) or path.name.startswith(".part-")):
                remove(path)
        if not stays:
            store.rmdir()


def remove(folder: Path) -> None:
    """Remove an export, its card first: what is left of it when this is interrupted is none."""
    with contextlib.suppress(OSError):
        (folder / CARD).unlink()
    shutil.rmtree(folder, ignore_errors=True)
