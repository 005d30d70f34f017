"""The values of options: each function takes the word that was typed and returns what it stands for.

A word that cannot be meant is an `argparse.ArgumentTypeError`, or one of `option_parser.SENTENCES`: one sentence that
says what is wrong with it. Nothing is written, and nothing imported that takes long.
"""

from __future__ import annotations

import json
import math
import os
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from helpers import wording
from helpers.data.part_files import parquet_parts
from helpers.export import registry
from helpers.export.file_kinds import kind_of
from helpers.export.folder import is_export
from helpers.serving import golden
from helpers.serving.callers import Callers
from helpers.serving.serve_command import read_key
from helpers.tools.option_parser import wrong

KINDS = ("number", "yes/no", "category")  # those of `columns`, which is not imported for them
MOST_SECONDS = 3600


def text(word: str) -> str:
    return word if word.strip() else wrong("give it a value")


def names(word: str) -> tuple[str, ...]:
    """Names with commas between them; one that holds a comma itself stands in quotation marks."""
    return wording.from_commas(text(word))


def kind(word: str) -> tuple[str, str]:
    name, equals, kind = word.rpartition("=")
    if not equals or not name or kind not in KINDS:
        wrong(f"{word!r} is not like zip=category: the kinds are {', '.join(KINDS)}")
    return name, kind


def model_file(word: str) -> Path:
    """The file of a model, or the folder of a SavedModel."""
    path = Path(os.path.expanduser(text(word)))
    if path.is_dir():
        if is_export(path):
            wrong(f"{word} is a model that was exported already: serve it with {wording.line('--model', word)}")
        kind_of(path.resolve())
        return path.resolve()
    file = on_disk(word, "a model's file (.keras, .h5, .onnx, .tflite)").resolve()
    sentence = "" if file.suffix.lower() == ".json" else registry.no_model(Path(word))  # model.to_json() writes one
    return wrong(sentence) if sentence else file


def served_file(word: str) -> Path:
    """A model's file, told by its being there; any other word was meant as the name of a model."""
    path = Path(os.path.expanduser(text(word)))
    if not path.suffix and not path.is_file() and (not path.is_dir() or is_export(path)):
        wrong(f"{word!r} is none of its options: did you mean {wording.line('--model', word)}?")
    return model_file(word)


def weights_file(word: str) -> Path:
    return on_disk(word, "a file of weights").resolve()


def table_file(word: str) -> str:
    path = Path(os.path.expanduser(word))
    if parquet_parts(path):
        return str(path.resolve())
    file = str(readable(word, "a table").resolve())
    return wrong(sentence) if (sentence := registry.no_table(Path(word))) else file


def classes(word: str) -> tuple[str, ...]:
    """Names in a list, or the lines of a file; Teachable Machine writes a number before each."""
    path = Path(os.path.expanduser(text(word)))
    if not path.is_file():
        if path.suffix == ".txt":
            wrong(wording.no_file(word))
        return names(word)
    try:
        lines = [line.strip() for line in wording.text_in(path).splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        wrong(f"{word} cannot be read ({error})")
    numbered = [line.partition(" ") for line in lines]
    if all(number == str(i) and name for i, (number, _, name) in enumerate(numbered)):
        lines = [name.strip() for _, _, name in numbered]
    if len(set(lines)) < 2:
        wrong(f"{word} does not hold the names of classes, one in each line")
    return tuple(lines)


def module(word: str) -> str:
    name = word.removesuffix(".py")
    return name if all(part.isidentifier() for part in name.split(".")) else wrong(f"{word!r} is no name of a module")


def _written(word: str, what: str, *endings: str) -> Path:
    """A file that is to be written, which ends as one of its kind does."""
    path = Path(os.path.expanduser(text(word))).absolute()
    if path.suffix.lower() not in endings:
        wrong(f"{word} is not the name of a {what}: let it end in {endings[0]}")
    folder(str(path.parent))
    return path


def page(word: str) -> Path:
    return _written(word, "page", ".html", ".htm")


def golden_requests(word: str) -> tuple[golden.Golden, ...]:
    return golden.read(readable(word, "a file of golden requests"))


def draft(word: str) -> Path:
    path = _written(word, "file of golden requests", ".json")
    return wrong(f"{word} is there already: name another file") if path.exists() else path


def zip_file(word: str) -> Path:
    path = _written(word, "zip", ".zip")
    return wrong(f"{word} is a folder") if path.is_dir() else path


def whole(low: int, high: int) -> Callable[[str], int]:
    def parse(word: str) -> int:
        try:
            value = int(word)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            wrong(f"{word!r} is not a whole number from {low} to {high}")
        return value

    return parse


def seconds(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    return value if 0 < value <= MOST_SECONDS else wrong(f"{word!r} is not a number of seconds up to {MOST_SECONDS}")


def cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def address(word: str) -> str:
    """A host as the address to listen on: IPv4 where a name has both."""
    name = word.strip().removeprefix("[").removesuffix("]")  # as in a URL
    try:
        found = socket.getaddrinfo(text(name), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        wrong(f"{word!r} is no address of this machine, as 127.0.0.1, localhost or 0.0.0.0 are")
    return min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0]


def version(word: str) -> registry.Choice:
    choice = registry.choose(word)
    return choice if choice.version else wrong(f"{word} is a model: name one of its versions, as in {word}@5f2e")


def canary(word: str) -> tuple[registry.Choice, float]:
    """A version, and the share of the callers that it answers."""
    name, equals, percent = word.rpartition("=")
    try:
        share = float(percent) / 100
    except ValueError:
        share = math.nan
    if not equals or not 0 < share < 1:
        wrong(f"{word!r} is not like games@5f2e=10, which lets that version answer 10 % of the callers")
    return version(name), share


def host_name(word: str) -> str:
    return _of_callers(word, hosts=[word])


def origin(word: str) -> str:
    return _of_callers(word, origins=[word])


def _of_callers(word: str, **rule: list[str]) -> str:
    """A word that `Callers` takes as the one rule."""
    try:
        Callers(**rule)
    except ValueError as error:
        wrong(str(error))
    return word


def readable(word: str, what: str) -> Path:
    path = Path(os.path.expanduser(text(word)))
    try:
        if path.is_dir():
            wrong(f"{word} is a folder, not {what}")
        if not path.exists():
            wrong(wording.no_file(word))
        if not os.access(path, os.R_OK):
            wrong(f"{word} cannot be read: you have no right to")
        if path.is_file() and not path.stat().st_size:
            wrong(f"{word} is empty: give {what}")
    except OSError as error:
        wrong(f"{word} cannot be read: {error.strerror}")
    return path


def on_disk(word: str, what: str) -> Path:
    """The same where a pipe would not do, as it is read more than once."""
    path = readable(word, what)
    if not path.is_file():
        wrong(f"{word} is a device or a pipe, not a file on the disk")
    return path


def key_file(word: str) -> Path:
    path = readable(word, "a file with a key")
    if path.is_file():  # a pipe, as <(command) makes one, can be read only once
        read_key(path)
    return path


def table(word: str) -> str:
    if word in ("sample", "article"):
        return word
    if "://" in word:
        scheme, host = urlsplit(word)[:2]
        return word if scheme in ("http", "https") and host else wrong(f"{word} is no http address")
    return table_file(word)  # the notebooks run in a folder of their own


def notebook(word: str) -> Path:
    path = readable(word, "a notebook")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content["cells"], list) and content["nbformat"] >= 4:
            return path
    except (OSError, ValueError, LookupError, TypeError):
        pass
    wrong(f"{word} is not a notebook")


def folder(word: str) -> Path:
    """A folder to write to, which need not be there yet."""
    path = Path(os.path.expanduser(text(word))).absolute()
    there = next(folder for folder in (path, *path.parents) if os.path.lexists(folder))
    if not there.is_dir():
        wrong(f"{there} is a file, not a folder")
    return path if os.access(there, os.W_OK) else wrong(f"{there} cannot be written to: you have no right to")


def url(word: str) -> str:
    from helpers.cloud.doctor import check_url

    problem = check_url(word)
    return wrong(problem) if problem else word
