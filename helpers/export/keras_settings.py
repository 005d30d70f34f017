"""What this machine asks of Keras, where that is not what the project needs: TensorFlow, float32, channels last.

Keras reads the variable `KERAS_BACKEND` and the file `keras.json` (in `KERAS_HOME` or `~/.keras`) once, when it is
imported first. They are read here without importing it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

WANTED = {"backend": "tensorflow", "floatx": "float32", "image_data_format": "channels_last"}


@dataclass(frozen=True)
class Setting:
    """One setting that is not what the project needs."""

    found: str  # "KERAS_BACKEND=jax"
    remedy: str  # "unset KERAS_BACKEND, ..."


def foreign_settings() -> list[Setting]:
    """The settings of this machine under which Keras would not run, or would compute otherwise."""
    path = settings_file()
    settings = _read(path)
    found = []
    backend = os.environ.get("KERAS_BACKEND")
    if backend:
        settings.pop("backend", None)  # the variable overrules it
        if backend != WANTED["backend"]:
            remedy = "unset that variable (or set it to tensorflow) and start Python anew"
            found.append(Setting(f"KERAS_BACKEND={backend}", remedy))
    for name, wanted in WANTED.items():
        if settings.get(name, wanted) != wanted:
            remedy = f'write "{name}": "{wanted}" there or delete the file, and start Python anew'
            found.append(Setting(f'{path} says "{name}": {json.dumps(settings[name])}', remedy))
    return found


def settings_file() -> Path:
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path("~/.keras").expanduser()) / "keras.json"


def _read(path: Path) -> dict:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # as Keras does
    return settings if isinstance(settings, dict) else {}
