"""`score` as it is typed, and what its tests read of an output."""

import csv
import os
import sys

from helpers import PROJECT

ENV = {**os.environ, "PYTHONPATH": str(PROJECT)}


def command(*words, model, engine: str = "", options=()) -> list[str]:
    named = [] if "--model" in words else ["--model", str(model)]
    with_engine = ["--engine", engine, "--", *map(str, options)] if engine else []
    return [sys.executable, "-m", "helpers", "score", *map(str, words), *named, *with_engine]


def rejected(path) -> list[dict]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
