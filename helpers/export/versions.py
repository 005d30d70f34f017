"""The versions of a model: which there are, and which of them answers.

    from helpers.export.versions import promote, rollback, versions
    versions("models/games")            # the current one, those beside it, those before it
    promote("models/games")             # put the newest of those beside it in its place
    rollback("models/games")            # put the one before it back, and with a second call undo that
    rollback("models/games", "5f2e")    # any that is kept, by the first digits of its version

Each change is one step: a service that reads the model meanwhile has the old one or the new one, and a running
`tutorial.py serve` takes it up by itself. What is taken out of its place is kept as the newest of those before it.
Imports the standard library only until something is changed, as the launcher needs it before anything is installed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from helpers import wording
from helpers.export.errors import ArtifactError
from helpers.export.folder import card_of, replacing
from helpers.export.kept import BEFORE, BESIDE, copy, kept, version_of

CURRENT = "current"


class UnknownVersion(ArtifactError):
    """Digits that mean no version of a model, or several; the message says which there are."""


@dataclass(frozen=True)
class Version:
    """One version of a model: 12 digits, its place ("current", "beside", "before"), its folder and its card."""

    version: str
    place: str
    path: Path
    card: dict


def versions(directory: str | Path) -> list[Version]:
    """The versions of the export in `directory`: the current one, those beside it, those before it, newest first."""
    directory = Path(directory)
    card = card_of(directory)
    found = {version_of(card): Version(version_of(card), CURRENT, directory, card)} if card else {}
    for each in kept(directory):
        card = card_of(each.path)
        if card and each.version not in found:
            found[each.version] = Version(each.version, each.place, each.path, card)
    return sorted(found.values(), key=lambda each: (CURRENT, BESIDE, BEFORE).index(each.place))


def find(directory: str | Path, digits: str) -> Version:
    """The version of the export in `directory` that begins with `digits`. Raises `UnknownVersion`."""
    directory = Path(directory)
    there_are = versions(directory)
    fit = [each for each in there_are if re.match(r"[0-9a-f]+$", digits) and each.version.startswith(digits)]
    if len(fit) == 1:
        return fit[0]
    shown = ", ".join(f"{each.version} ({each.place})" for each in fit or there_are)
    if fit:
        raise UnknownVersion(f"{digits!r} begins several versions of {directory.name}: give more digits ({shown})")
    raise UnknownVersion(f"{directory.name} has no version {digits!r}: there is {shown or 'none'}")


def rollback(directory: str | Path, digits: str | None = None) -> Version:
    """Put the version before the current one back, or the one that begins with `digits`; returns it.

    A second call without `digits` undoes the first. Raises `ArtifactError` where there is none, or where it is damaged.
    """
    return _put(Path(directory), digits, "rollback")


def promote(directory: str | Path, digits: str | None = None) -> Version:
    """Put the newest version beside the current one in its place, or the one that begins with `digits`; returns it.

    Raises `ArtifactError` where there is none, or where it is damaged.
    """
    return _put(Path(directory), digits, "promote")


def chosen(directory: str | Path, digits: str | None, action: str) -> Version:
    """The version that `rollback` or `promote` would put in place. Raises `UnknownVersion`."""
    directory = Path(directory)
    if digits is not None:
        version = find(directory, digits)
    else:
        place = {"rollback": BEFORE, "promote": BESIDE}[action]
        fit = [each for each in versions(directory) if each.place == place]
        if not fit:
            made = (
                "it has not been replaced yet" if place == BEFORE else "`train --beside` and `export --beside` make one"
            )
            raise UnknownVersion(f"{directory.name} has no version {place} the current one: {made}")
        version = fit[0]
    if version.place == CURRENT:
        raise UnknownVersion(f"{version.version} is the current version of {directory.name} already")
    return version


def _put(directory: Path, digits: str | None, action: str) -> Version:
    with replacing(directory) as scratch:
        version = chosen(directory, digits, action)  # now that no other process changes which there are
        _check_files(version)
        copy(version.path, scratch)
    return Version(version.version, CURRENT, directory, version.card)


def _check_files(version: Version) -> None:
    """`PredictorError` where a file of a version is not the one that its card describes."""
    from helpers.export.card import read_artifact, read_card

    card = read_card(version.path)
    for file in card["files"]:
        read_artifact(version.path, file, card)


def still_asked(directory: str | Path, signature: Mapping) -> Path:
    """The folder of the export in `directory` whose model answers the callers of one with `signature`.

    That is `directory`, or where it has become a model of another question, the newest before it that is none. Raises
    `UnknownVersion` where none is kept.
    """
    directory = Path(directory)
    card = card_of(directory)
    reason = other_question(signature, card["signature"]) if card else ""  # a damaged one is not passed over
    if not reason:
        return directory
    for each in versions(directory):
        if each.place == BEFORE and not other_question(signature, each.card["signature"]):
            return each.path
    raise UnknownVersion(f"{directory.name} is another model now, {reason}: start this service again to serve it")


def other_question(before: Mapping, now: Mapping) -> str:
    """Why a model with the signature `now` cannot answer the callers of one with `before`, or "".

    Signatures as cards hold them. They ask alike where they take the same features by name (or the same inputs),
    predict the same label, and answer with the same outputs; ranges and categories may differ.
    """
    was, are = ([each["name"] for each in signature.get("features", ())] for signature in (before, now))
    added, gone = ([name for name in these if name not in others] for these, others in ((are, was), (was, are)))
    if added or gone:
        told = (f"{word}: {wording.listed(names, 6)}" for word, names in (("new", added), ("gone", gone)) if names)
        return f"it takes other features ({'; '.join(told)})"
    if _outcome(before) != _outcome(now):
        return f"it predicts {_outcome(now)} where the one before predicts {_outcome(before)}"
    if before.get("outputs") != now.get("outputs"):
        return "it answers with other outputs or classes than the one before"
    if _inputs(before) != _inputs(now):
        return "it takes inputs of another kind or shape"
    return ""


def _inputs(signature: Mapping) -> list[dict]:
    """What the inputs of a signature are, whichever values they tell apart from all others, or are usual."""
    return [{key: each[key] for key in each if key not in ("known", "usual")} for each in signature.get("inputs", ())]


def _outcome(signature: Mapping) -> str:
    return " = ".join(filter(None, (signature["label"], signature.get("positive"))))
