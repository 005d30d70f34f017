"""What goes wrong with model files, as exceptions whose message says what is wrong, where, and what to do."""


class ArtifactError(RuntimeError):
    """A model that cannot be exported, or a file that cannot be read."""


class PredictorError(ArtifactError):
    """An artifact that cannot be served."""
