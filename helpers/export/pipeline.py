"""From a table to an exported model without a notebook in between.

What notebooks 02 and 03 do step by step, for those who skipped them: `tutorial.py serve` on a fresh clone, and a
reader who opens notebook 03 or 04 first. `python -m helpers.export.pipeline DIRECTORY` is `ensure_export` in a process
of its own.
"""

import contextlib
import io
import os
import sys
from pathlib import Path

from helpers.data.games import load_games, split
from helpers.data.signature import Signature
from helpers.data.tables import DataError, features_and_label
from helpers.export import registry
from helpers.export.errors import ArtifactError
from helpers.export.folder import check_replaceable, is_export


def train_and_export(
    directory: Path | str = registry.DEFAULT,
    data: str | Path = "sample",
    label: str = "label",
    epochs: int = 100,
    formats: tuple[str, ...] | None = None,
    verbose: int = 0,
) -> dict:
    """Train the classifier on a table, export it to `directory`, and return the model card.

    data, label: as `games.load_games` takes them. formats: None for all of them. verbose: 1 shows progress.
    """
    from helpers.export.artifacts import export_model
    from helpers.export.formats import FORMATS
    from helpers.model.evaluation import roc_auc, roc_auc_interval
    from helpers.model.training import build_classifier, fit

    _check_writable(Path(directory))
    table = load_games(data, label)
    train, test = split(table, label)
    signature = Signature.from_table(table.drop(columns=label), label)
    x, y = features_and_label(train, label)
    x_test, y_test = features_and_label(test, label)
    model = build_classifier(signature.n, standardize=None if signature.all_binary else x)
    fit(model, x, y, epochs=epochs, seed=0, verbose=verbose)
    probabilities = model(x_test).numpy().ravel()
    metrics = {
        "data": Path(data).name,
        "rows": len(table),
        "test_rows": len(test),
        "test_auc": roc_auc(y_test, probabilities),
        "test_auc_interval": list(roc_auc_interval(y_test, probabilities)),
    }
    return export_model(model, directory, signature=signature, metrics=metrics, formats=formats or FORMATS)


def ensure_export(directory: Path | str = registry.DEFAULT, formats: tuple[str, ...] | None = None) -> dict:
    """The card of the model in `directory`, trained or exported first where need be.

    Trains on the sample data (some seconds) only where the model of the sample, `registry.DEFAULT`, is missing. Raises
    `ArtifactError` where any other directory holds no export, and where it lacks the Keras file to export from.
    """
    from helpers.export.artifacts import export_model
    from helpers.export.card import read_artifact, read_card
    from helpers.export.formats import FILES, FORMATS
    from helpers.export.legacy import load_keras

    directory = registry.find(str(Path(directory).absolute()))
    wanted = formats or FORMATS
    if not is_export(directory):
        print(f"No model in {directory.name}/ yet: training it on the sample data (some seconds).")
        return train_and_export(directory, formats=wanted)
    card = read_card(directory)
    if set(wanted) <= {*card["formats"], *card.get("not_exported", ())}:
        return card
    from helpers.model.training import auc

    read_artifact(directory, FILES["keras"], card)  # a file that somebody exchanged is another model than the card's
    model = load_keras(directory / FILES["keras"], custom_objects={"auc": auc})
    return export_model(
        model, directory, signature=Signature.from_dict(card["signature"]), metrics=card["metrics"], formats=wanted
    )


def _check_writable(directory: Path) -> None:
    """Raise `ArtifactError` before the training rather than after it where nothing can be written."""
    check_replaceable(directory)
    parent = next(folder for folder in directory.absolute().parents if folder.exists())
    if not os.access(parent, os.W_OK):
        raise ArtifactError(
            f"the model cannot be written to {directory.name}/: make {parent.name}/ writable, or name another folder"
        )


def main(directory: str) -> int:
    """`ensure_export` for a process that shall not hold TensorFlow: 0, or 2 and the reason on standard output."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            ensure_export(directory)
    except (ArtifactError, DataError) as error:
        print(error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
