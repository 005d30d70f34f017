"""What INPUT and OUTPUT of `score` mean: which files are read, and what is written.

Imports the standard library only, as the launcher needs this module before anything is installed.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from helpers.data.part_files import is_hidden
from helpers.export.registry import no_table
from helpers.wording import no_file

PARQUET, CSV, CSV_GZ = ".parquet", ".csv", ".csv.gz"
SUFFIXES = (PARQUET, CSV_GZ, CSV)
ENGINES = ("beam", "spark")  # those of `engines`, beside this process
MORE = ("litert", "keras")  # backends of a model that an engine's environment has only where they are asked for
REJECTED = ".rejected"  # what the name of the output is followed by for the rows that could not be scored


class CannotScore(RuntimeError):
    """Words that name no input, or no output; the message is one sentence that says what to do."""


def files_of(words: Iterable[str]) -> list[Path]:
    """The files that paths, folders and patterns name, each once; `CannotScore` for what names none to be read."""
    found: list[Path] = []
    for word in words:
        path = Path(os.path.expanduser(word))
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and not is_hidden(p.relative_to(path)))
            if not inside:
                raise CannotScore(f"the folder {word} holds no file")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            matched = sorted(p for p in map(Path, glob.glob(str(path), recursive=True)) if p.is_file())
            if not matched:
                raise CannotScore(no_file(word) if word.strip() else "name a file to score")
            found += matched
    for path in found:
        if not path.is_file():
            raise CannotScore(f"{path} is no ordinary file: it may be read more than once, so save it as one")
        if not os.access(path, os.R_OK):
            raise CannotScore(f"{path} cannot be read: you have no right to")
        if not path.stat().st_size:
            raise CannotScore(f"{path} is empty: leave it out, or give it a header and rows")
        if sentence := no_table(path):
            raise CannotScore(sentence)
    return list(dict.fromkeys(map(_in_full, found)))


def output_of(word: str) -> Path:
    """The file or folder to be written; `CannotScore` where something is in its place or it cannot be written."""
    path = _in_full(Path(os.path.expanduser(word)))
    if not word.strip() or not path.name:
        raise CannotScore("name a file or a folder to write")
    if path.suffix and suffix_of(path) is None:
        raise CannotScore(
            f"{word} ends in none of .parquet, .csv, .csv.gz; a name without a dot becomes a folder of parts"
        )
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise CannotScore(f"{word} is neither a file nor a folder: name one that is to be made")
    if os.path.lexists(path):
        raise CannotScore(f"{word} is there already: remove it, or give another name")
    if os.path.lexists(rejected_of(path)) and not hidden_of(path).exists():
        raise CannotScore(f"{word}{REJECTED} is there already: remove it, or give another name")
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise CannotScore(f"{folder} is a file, not a folder")
    if not os.access(folder, os.W_OK):
        raise CannotScore(f"{folder} cannot be written to: you have no right to")
    return path


def _in_full(path: Path) -> Path:
    """A path from the root, its folders without ".." and links, so that a file has one name."""
    return path.parent.resolve() / path.name if path.name not in ("", "..") else path.resolve()


def suffix_of(path: Path) -> str | None:
    """The kind of file that a name means; None where it is none of those that are written."""
    return next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)


def rejected_of(output: Path) -> Path:
    return output.with_name(output.name + REJECTED)


def hidden_of(output: Path) -> Path:
    """The folder beside the output that holds it until it is whole."""
    return output.with_name(f".{output.name}.parts")
