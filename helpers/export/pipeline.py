"""From a table to an exported model without a notebook in between.

What notebooks 02 and 03 do step by step, for those who skipped them: `tutorial.py serve` on a fresh clone, and a
reader who opens notebook 03 or 04 first.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from helpers import PROJECT
from helpers.data import games
from helpers.data.signature import Signature
from helpers.data.tables import Table, features_and_label, load_table, remark_on_test

MODEL = PROJECT / "models" / "games"
PATIENCE = 10  # epochs without a better validation loss, after which the training of a reader's table ends
SMALL = 5_000  # rows: below these batches of 32, so that an epoch has steps enough


def train_and_export(
    directory: Path | str = MODEL,
    data: str | Path = "sample",
    label: str = "label",
    epochs: int = 100,
    formats: tuple[str, ...] | None = None,
    verbose: int = 0,
    positive: str | None = None,
    drop: Iterable[str] = (),
    treat_as: Mapping[str, str] | None = None,
) -> dict:
    """Train the classifier on a table, export it to `directory`, and return the model card.

    data: "sample", "article", or the path or address of a table; label, positive, drop, treat_as: as `load_table` takes
    them. formats: None for all of them. verbose: 1 shows progress.
    """
    table = load_table(games.locate(data), label, positive, drop, treat_as)
    return export_table(table, directory, Path(data).name, epochs, formats, verbose)


def export_table(
    table: Table,
    directory: Path | str,
    data: str,
    epochs: int = 100,
    formats: tuple[str, ...] | None = None,
    verbose: int = 0,
) -> dict:
    """Train the classifier on a loaded table, export it to `directory`, and return the model card.

    data: what to call the table in the card. The tables of the ten games train for all `epochs`, as the article did;
    any other ends when the validation loss gets no better, and keeps its best weights.
    """
    from helpers.export.artifacts import FORMATS, export_model

    _check_writable(Path(directory))
    model, metrics = train(table, epochs, verbose)
    metrics = {"data": data, **metrics}
    return export_model(
        model,
        directory,
        signature=table.signature(),
        metrics=metrics,
        formats=formats or FORMATS,
        columns=table.columns,
    )


def train(table: Table, epochs: int = 100, verbose: int = 0):
    """The classifier trained on a table, and what was measured on rows set aside: rows, test_rows, AUC, interval."""
    import keras

    from helpers.model.evaluation import roc_auc, roc_auc_interval
    from helpers.model.training import build_classifier, fit

    signature = table.signature()
    train, test = games.split(table.frame, table.label)
    (x, y), (x_test, y_test) = features_and_label(train, signature), features_and_label(test, signature)
    model = build_classifier(signature.width, standardize=None if signature.all_binary else x)
    if games.are_games(table.frame):
        fit(model, x, y, epochs=epochs, seed=0, verbose=verbose)
    else:
        stopping = keras.callbacks.EarlyStopping(monitor="val_loss", patience=PATIENCE, restore_best_weights=True)
        batch = 100 if len(x) >= SMALL else 32
        fit(model, x, y, epochs=epochs, batch_size=batch, seed=0, callbacks=[stopping], verbose=verbose)
    probabilities = model(x_test).numpy().ravel()
    metrics = {
        "rows": len(table.frame),
        "test_rows": len(test),
        "test_auc": roc_auc(y_test, probabilities),
        "test_auc_interval": list(roc_auc_interval(y_test, probabilities)),
    }
    remark = remark_on_test(y_test)
    return model, metrics | ({"remark": remark} if remark else {})


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
