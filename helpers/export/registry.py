"""The models of this project, folders of `models/`: their names, and which one a person means by a word.

A name or a path comes in as it was typed, the folder of an export goes out, or a sentence that says what the thing is
instead. Imports the standard library only, as the launcher needs this module before anything is installed.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from helpers import PROJECT, wording
from helpers.export import versions
from helpers.export.errors import ArtifactError
from helpers.export.file_kinds import is_saved_model
from helpers.export.folder import CARD, is_export
from helpers.export.kept import KEPT

MODELS = PROJECT / "models"
DEFAULT = MODELS / "games"  # the model of the sample: the only one that a command trains where there is none

KERAS_FILES = {".keras", ".h5", ".hdf5"}
OTHER_MODEL_FILES = {".npz", ".pb", ".pt", ".pth", ".safetensors", ".pkl", ".joblib", ".zip"}
TABLES = {".csv", ".tsv", ".parquet", ".feather", ".xlsx", ".xls", ".json", ".jsonl", ".dta", ".arff"}
PACKED = {".gz", ".bz2", ".xz", ".zst", ".zip"}


class UnknownModel(ArtifactError):
    """A word that means no model; the message is one sentence that says what it is instead, and what there is."""


def names() -> list[str]:
    """The names of the models that were exported to `models/`, in order."""
    with suppress(OSError):
        return sorted(path.name for path in MODELS.iterdir() if not path.name.startswith(".") and is_export(path))
    return []


class Choice(NamedTuple):
    """A model that was named: its folder, and where one of its versions was named the whole of that, or None."""

    directory: Path
    version: str | None = None

    @property
    def folder(self) -> Path:
        """The folder that holds it now; a version has another one once it is put in place."""
        return versions.find(self.directory, self.version).path if self.version else self.directory

    def __str__(self) -> str:
        return f"{shown(self.directory)}@{self.version}" if self.version else shown(self.directory)


def find(word: str) -> Path:
    """The folder of the export that `word` means, as `choose` does."""
    return choose(word).folder


def choose(word: str) -> Choice:
    """What `word` means: the name of a model in `models/`, or else a path; with `@` and the first digits a version.

    `games` need not be there yet, as it is trained where it is missing. Raises `UnknownModel` for anything else that
    is no export of this project, and `versions.UnknownVersion` for a version that there is not.
    """
    name, at, digits = word.rpartition("@")
    if not at or is_export(MODELS / word) or os.path.lexists(os.path.expanduser(word)):
        return Choice(_find(word))
    directory = _find(name)
    return Choice(directory, versions.find(directory, digits).version)


def _find(word: str) -> Path:
    if not word.strip():
        raise UnknownModel(f"a model has a name or a path: {there_are()}")
    named, path = MODELS / word, Path(os.path.expanduser(word))
    is_name = Path(word).name == word
    folder = named if is_name and (is_export(named) or not os.path.lexists(path)) else Path(os.path.abspath(path))
    if is_export(folder) or (is_default(folder) and not os.path.lexists(folder)):
        return folder
    if folder.is_dir():
        raise UnknownModel(_other_folder(folder))
    if os.path.lexists(folder):
        raise UnknownModel(_other_file(folder))
    raise UnknownModel(f"there is no model {word!r}{wording.meant(word, names())}: {there_are()}")


def new(word: str) -> Path:
    """The folder for a model that is to be made: `titanic` is `models/titanic`, anything else a path."""
    if not word.strip() or word.startswith("-"):
        raise UnknownModel("a model needs a name, such as titanic")
    if Path(word).name == word and not word.startswith("."):
        return MODELS / word
    return Path(os.path.abspath(os.path.expanduser(word)))


def is_default(directory: Path) -> bool:
    return directory.resolve() == DEFAULT.resolve()


def for_table(data: str) -> Path:
    """The folder of the model of a table, "sample", or a path or address: the name of the table, which no other has."""
    if data == "sample":
        return DEFAULT
    path = Path(urlsplit(data).path if "://" in data else data)
    if path.suffix.lower() in PACKED and Path(path.stem).suffix.lower() in TABLES:
        path = path.with_suffix("")
    name = path.stem.removesuffix(".weights").lstrip("-.") or "table"  # no option, and nothing that is hidden
    return MODELS / (f"my-{name}" if name == DEFAULT.name else name)


def shown(directory: Path) -> str:
    """A folder as one says it: from the project on where it is in there."""
    with suppress(ValueError):
        return directory.resolve().relative_to(PROJECT.resolve()).as_posix()
    return str(directory)


def there_are() -> str:
    """The end of a sentence: which models there are, or how to make one."""
    found = names()
    if not found:
        return "none has been exported yet, `python3 tutorial.py run` does"
    return f"the models here are {wording.listed(found)}" if len(found) > 1 else f"the only one here is {found[0]}"


def serve_command(directory: Path) -> str:
    """The line that serves a model."""
    return line("serve", "--model", word(directory))


def how_to_serve(directory: Path, card: dict) -> str:
    """What to do with the model that was exported to `directory` with this card: a line to copy, or two."""
    version, there = versions.version_of(card), versions.versions(directory)[0]
    if there.version == version:
        return f"serve it: {serve_command(directory)}{_import_of(card)}"
    name = word(directory)
    put = f"put it in its place: {line('models', 'promote', name, version)}"
    waits = "it waits beside the model that is there"
    if reason := versions.other_question(there.card["signature"], card["signature"]):
        return f"{waits}, whose callers it cannot answer: {reason}\n{put}"
    ask = line("serve", "--model", name, "--shadow", f"{name}@{version}")
    return f"{waits}\nask it too: {ask}\n{put}"


def _import_of(card: dict) -> str:
    """The option that names the module with the model's own layers where Keras, which needs them, runs it."""
    from helpers.export.predictors import best_backend

    module = card.get("source", {}).get("imports")
    return f" --import {module}" if module and best_backend(card) == "keras" else ""


def beside_none(directory: Path) -> str:
    """What becomes of a model that was to wait beside one that is not there; "" where it is."""
    if is_export(directory):
        return ""
    name = word(directory)
    return f"there is no model {name} yet{wording.meant(name, names())}: this one waits beside none, and answers"


def what_became_of(directory: Path, there_were: list[versions.Version], beside: bool) -> list[str]:
    """What an export has made of the versions that there were: which was replaced, and which is no longer kept."""
    there, was = versions.versions(directory), there_were[0] if there_were else None
    said = [gone] if (gone := no_longer_kept(directory, there_were)) else []
    if was and beside and {each.version for each in there} <= {each.version for each in there_were}:
        said.append("it is a version that is there already: none was added")
    if was and was.version in [each.version for each in there[1:]]:
        back = line("models", "rollback", word(directory))
        said.append(f"in the place of {was.version} of {was.card.get('created', '?')[:10]}; back again: {back}")
    return said


def no_longer_kept(directory: Path, there_were: list[versions.Version]) -> str:
    """Which of the versions that waited or had been replaced are gone, as newer ones came; "" where all are there."""
    there = {each.version for each in versions.versions(directory)}
    gone = [each for each in there_were if each.place != versions.CURRENT and each.version not in there]
    shown = ", ".join(f"{each.version} ({each.place} it, of {each.card.get('created', '?')[:10]})" for each in gone)
    return f"no longer kept: {shown}, as {KEPT} newer ones are" if shown else ""


def word(directory: Path) -> str:
    """What is typed for a model: its name where it is in `models/`, else its path."""
    inside = directory.resolve().parent == MODELS.resolve() and re.match(r"[^-.]", directory.name)
    return directory.name if inside else str(directory)


def line(*typed: str) -> str:
    """A command of this project, to be copied to the terminal in which this runs."""
    launcher = "tutorial.py" if Path.cwd() == PROJECT else str(PROJECT / "tutorial.py")
    return wording.line("python3", launcher, *typed)


def no_model(file: Path) -> str:
    """What to do with a table where a model is wanted, told by its name; "" for another file."""
    return train_on(file) if file.suffix.lower() in TABLES else ""


def train_on(file: Path) -> str:
    """What to do with a table where a model is wanted."""
    train = f"{line('train', '--data', str(file))} --label COLUMN"
    return f"{file} is a table, and a model is served: train one with `{train}` first"


def no_table(file: Path) -> str:
    """The same of a model's file where a table is wanted; HDF5 may hold either."""
    if file.suffix.lower() not in (".keras", ".onnx", ".tflite"):
        return ""
    return f"{file} is a model, and a table is wanted: {_serve_file(file)}"


def _serve_file(file: Path) -> str:
    return f"serve it with `{line('serve', str(file))}`, which exports it first"


def _other_folder(folder: Path) -> str:
    if is_saved_model(folder):
        return f"the folder {folder} is a SavedModel: {_serve_file(folder)}"
    if (folder / CARD).exists():
        return f"the model card {folder / CARD} is damaged: export the model again, to another folder"
    holds = sorted(path.name for path in folder.iterdir() if path.suffix in KERAS_FILES)
    what = f"holds {holds[0]}, but no {CARD} that says what the model takes" if holds else f"has no {CARD}"
    return f"the folder {folder} {what}, so it is no model that this project exported: {there_are()}"


def _other_file(file: Path) -> str:
    if file.suffix.lower() in KERAS_FILES:
        return f"{file} is a Keras file: {_serve_file(file)}"
    if file.suffix.lower() in (".onnx", ".tflite"):
        return f"{file} is a model's file alone: {_serve_file(file)}"
    if file.suffix.lower() in OTHER_MODEL_FILES:
        return f"{file} is a model's file alone, and the folder of a whole export is served: {there_are()}"
    if sentence := no_model(file):
        return sentence
    what = "a file" if file.exists() else "a link that leads nowhere"
    return f"{file} is {what}, and the folder of an export is served: {there_are()}"
