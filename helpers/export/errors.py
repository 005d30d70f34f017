"""What goes wrong with model files, as exceptions whose message says what is wrong, where, and what to do.

`first_line` and `last_line` find the reason in the message of another library, to be a part of such a sentence.
"""

from __future__ import annotations

import re

LONGEST = 300  # characters of another library's reason


class ArtifactError(RuntimeError):
    """A model that cannot be exported, or a file that cannot be read."""


class NeedsMoreError(ArtifactError):
    """A file that cannot be read without what its reader has to give, in Python or in the words of a command.

    found: what is wrong. in_python, typed: what to do there, and where a command reads the file. `str()` says the first
    of them, `for_command()` the other.
    """

    def __init__(self, found: str, in_python: str, typed: str):
        super().__init__(f"{found}: {in_python}")
        self._typed = f"{found}: {typed}"

    def for_command(self) -> ArtifactError:
        return ArtifactError(self._typed)


def needs_rebuilding(found: str, how: str) -> NeedsMoreError:
    """The refusal of a model that its reader has to build anew. how: "build the model anew without it", say."""
    give = "load_keras(file, architecture=model)"
    return NeedsMoreError(
        found,
        f"{how} and give it, {give}",
        f"{how}, give it in Python, helpers.export.legacy.{give}, and export what that has saved as .keras",
    )


class Remark(UserWarning):
    """What whoever exports a model should know of it, and what its card does not tell: the command prints it."""


class NoConversionError(ValueError):
    """A model of Keras 2 that asks one of our stand-ins for what Keras 3 cannot do."""


class PredictorError(ArtifactError):
    """An artifact that cannot be served."""


def first_line(error: Exception) -> str:
    """The reason in the first line of an error, or below TensorFlow's remarks on where in a graph it arose.

    A sentence of our own is left whole.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and lines[0].startswith("Graph execution error"):
        where = ("Detected at", "File ", "<stack traces", "[[")
        lines = [line for line in lines[1:] if not line.startswith(where)]
    if not lines:
        return type(error).__name__
    return lines[0] if isinstance(error, ArtifactError) else lines[0][:LONGEST]


def last_line(error: Exception) -> str:
    """The reason at the end of Keras's long messages, without its colours and without what was received."""
    told = re.sub(r"\x1b\[\d*m", "", str(error))
    told = re.split("Arguments received by|Full object config", told)[0].strip()
    return told.splitlines()[-1].strip() if told else type(error).__name__
