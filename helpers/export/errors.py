"""What goes wrong with model files, as exceptions whose message says what is wrong, where, and what to do."""


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


class PredictorError(ArtifactError):
    """An artifact that cannot be served."""
