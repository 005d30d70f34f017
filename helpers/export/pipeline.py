"""From a table to an exported model without a notebook in between.

What notebooks 02 and 03 do step by step, for those who skipped them: `tutorial.py serve` on a fresh clone, and a
reader who opens notebook 03 or 04 first.
"""

import os
from pathlib import Path

from helpers import PROJECT
from helpers.data.games import load_games, split
from helpers.data.signature import Signature
from helpers.data.tables import features_and_label

MODEL = PROJECT / "models" / "games"


def train_and_export(
    directory: Path | str = MODEL,
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


def ensure_export(directory: Path | str = MODEL, formats: tuple[str, ...] | None = None) -> dict:
    """The card of the model in `directory`, trained or exported first where need be.

    Trains on the sample data (some seconds) only where the directory holds no model at all.
    """
    from helpers.export.artifacts import export_model
    from helpers.export.card import read_card
    from helpers.export.formats import FORMATS
    from helpers.export.legacy import load_keras

    directory = Path(directory)
    wanted = formats or FORMATS
    if not (directory / "card.json").exists():
        print(f"No model in {directory.name}/ yet: training it on the sample data (some seconds).")
        return train_and_export(directory, formats=wanted)
    card = read_card(directory)
    if set(wanted) <= {*card["formats"], *card.get("not_exported", ())}:
        return card
    from helpers.model.training import auc

    model = load_keras(directory / "model.keras", custom_objects={"auc": auc})
    return export_model(
        model, directory, signature=Signature.from_dict(card["signature"]), metrics=card["metrics"], formats=wanted
    )


def _check_writable(directory: Path) -> None:
    """Raise `ArtifactError` before the training rather than after it where nothing can be written."""
    from helpers.export.errors import ArtifactError

    parent = next(folder for folder in directory.absolute().parents if folder.exists())
    if not os.access(parent, os.W_OK):
        raise ArtifactError(
            f"the model cannot be written to {directory.name}/: make {parent.name}/ writable, or name another folder"
        )
