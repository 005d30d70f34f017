"""What a person types: the nearest of the words that are known, words quoted for a terminal, files made by hand.

Imports the standard library only, as the launcher needs this module before anything is installed.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import os
import re
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of the words known that is nearest to `word` in any case, or None where none is near.

    Who mistypes a word mostly has its first letter: without it, a like ending alone (Aachen, München) is not enough.
    A word behind a point, as those of objects within rows are, may be meant by itself.
    """
    folded, word = {each.casefold(): each for each in known}, word.casefold()
    if len(within := [each for each in folded if each.endswith(f".{word}")]) == 1:
        return folded[within[0]]
    near = difflib.get_close_matches(word, folded)
    is_meant = (each for each in near if each[:1] == word[:1] or difflib.get_close_matches(word, [each], cutoff=0.75))
    return next((folded[each] for each in is_meant), None)


def named(word: str, known: Iterable[str]) -> str | None:
    """The one of the words known that is `word`, in any case where that is one only; else None."""
    known = list(known)
    same = [each for each in known if each.casefold() == word.casefold()]
    return word if word in known else same[0] if len(same) == 1 else None


def meant(word: str, known: Iterable[str]) -> str:
    """What is put behind `word`: in brackets, which of the words known is meant, or "" where none is near."""
    near = nearest(word, known)
    return f" ({did_you_mean(near)})" if near else ""


def did_you_mean(near: str) -> str:
    """The question whether a word is meant, which is in quotation marks where it has a blank or a sign, "?" say."""
    shown = near if "'" in near and '"' in near else quoted(near)  # 5'11", which a terminal takes in pieces only
    return f'did you mean "{near}"?' if shown.endswith("?") else f"did you mean {shown}?"


def listed(known: Iterable[str], most: int = 12) -> str:
    """Words as the end of a sentence names them, the first of them where there are many."""
    known = [*known]
    more = len(known) - most
    return with_commas(known[:most] if more > 1 else known) + (f" and {more} more" if more > 1 else "")


def with_commas(words: Iterable[str]) -> str:
    """Words with commas between them, each in quotation marks where one of them holds a comma itself."""
    words = [*words]
    return ", ".join(f'"{word}"' for word in words) if any("," in word for word in words) else ", ".join(words)


def from_commas(text: str) -> tuple[str, ...]:
    """Words with commas between them; one that holds a comma itself stands in quotation marks."""
    words = next(csv.reader([text], skipinitialspace=True), [])
    return tuple(word.strip() for word in words if word.strip())


def put_together(words: Iterable[str], known: Iterable[str]) -> list[str]:
    """Words that were cut at commas, with those that are one of the words known put together again: 1 = no, 5 = yes.

    Not where each of them is one of those by itself.
    """
    words, known = list(words), list(known)
    folded = [word.casefold() for word in words]
    for name in (each for each in known if "," in each):
        parts = [part.casefold() for part in from_commas(name)]
        at = next((at for at in range(len(folded)) if folded[at : at + len(parts)] == parts), None)
        if at is not None and any(named(part, known) is None for part in parts):
            words[at : at + len(parts)], folded[at : at + len(parts)] = [name], [name.casefold()]
    return words


def option(name: str, value: str) -> str:
    """An option with its value as it is typed in a terminal, where one that begins with - would be an option."""
    return f"{name}{'=' if value.startswith('-') else ' '}{quoted(value)}"


def no_file(word: str) -> str:
    """The sentence that there is no such file: which one beside it may be meant, or else in which folder it is not."""
    path = Path(os.path.expanduser(word))
    if path.is_symlink():
        return f"{word} is a link to {os.readlink(path)}, which is not there: give the file itself"
    beside: list[str] = []
    with suppress(OSError):
        beside = [name for name in os.listdir(path.parent) if not name.startswith(".")]
    near = nearest(path.name, beside)
    where = "" if near or path.is_absolute() else f" in {Path.cwd()}"
    return f"there is no file {word}{where}" + (meant(near, [near]) if near else "")


def text_in(path: Path, most: int = -1) -> str:
    """What a person has written to a file, as editors and PowerShell's `>` on Windows leave it, too: with a mark.

    most: bytes that are read, where there may be no end. Raises OSError, and UnicodeDecodeError for what is no text.
    """
    with path.open("rb") as file:
        content = file.read(most)
    is_utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_utf_16 else "utf-8-sig")


def quoted(word: str) -> str:
    """A word as it is typed in a terminal: as it is, in double quotes, which Windows knows too, or in single ones."""
    if os.name == "nt":
        return subprocess.list2cmdline([word])
    if re.fullmatch(r"[\w@%+=:,./-]+", word):
        return word
    return f'"{word}"' if not set(word) & set('"$`!\\') else "'" + word.replace("'", "'\"'\"'") + "'"


def line(*words: str) -> str:
    """A command as it is typed in a terminal."""
    return " ".join(map(quoted, words))
