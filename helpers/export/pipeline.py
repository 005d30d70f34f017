"""From a table to an exported model without a notebook in between.

What notebooks 02 and 03 do step by step, for those who skipped them: `tutorial.py serve` on a fresh clone, and a
reader who opens notebook 03 or 04 first. `python -m helpers.export.pipeline DIRECTORY` is `ensure_export` in a process
of its own.
"""

import contextlib
import io
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from helpers.data import games
from helpers.data.columns import Column
from helpers.data.inputs import signature_from
from helpers.data.raw_tables import DataError
from helpers.data.tables import Table, features_and_label, remark_on_test
from helpers.export import registry
from helpers.export.errors import ArtifactError
from helpers.export.folder import check_replaceable, is_export

PATIENCE = 10  # epochs without a better validation loss, after which training ends


def train_and_export(
    directory: Path | str = registry.DEFAULT,
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
    check_replaceable(Path(directory))
    table = games.load_table(data, label, positive, drop, treat_as)
    return export_table(table, train(table, epochs, verbose), directory, Path(data).name, formats)


@dataclass(frozen=True)
class Trained:
    """A trained classifier: `model` (Keras), `history` of its epochs, `metrics` on the rows that were set aside.

    rows: those that it was trained on, (k, m) float32.
    """

    model: object
    history: dict[str, list[float]]
    metrics: dict
    rows: object


def train(table: Table, epochs: int = 100, verbose: int = 0, seed: int = 0) -> Trained:
    """Train the classifier on a table and measure it on rows set aside.

    Training ends when the validation loss gets no better, at the latest after `epochs`, and keeps the best weights.
    verbose: 1 shows progress. seed: of the first weights and the order of the rows; the rows set aside stay the same.
    """
    from helpers.model.evaluation import roc_auc, roc_auc_interval
    from helpers.model.training import build_classifier, early_stopping, fit

    signature = table.signature()
    train, test = games.split(table.frame, table.label)
    (x, y), (x_test, y_test) = features_and_label(train, signature), features_and_label(test, signature)
    model = build_classifier(signature.width, standardize=None if signature.all_binary else x, seed=seed)
    callbacks = [early_stopping(PATIENCE)]
    history = fit(model, x, y, epochs, seed=seed, callbacks=callbacks, verbose=verbose).history
    probabilities = model(x_test).numpy().ravel()
    metrics = {
        "rows": len(table.frame),
        "test_rows": len(test),
        "test_auc": roc_auc(y_test, probabilities),
        "test_auc_interval": list(roc_auc_interval(y_test, probabilities)),
    }
    remark = remark_on_test(y_test)
    return Trained(model, history, metrics | ({"remark": remark} if remark else {}), x)


def export_table(
    table: Table,
    trained: Trained,
    directory: Path | str,
    data: str,
    formats: tuple[str, ...] | None = None,
    beside: bool = False,
) -> dict:
    """Export what was trained on a table to `directory`, and return the model card.

    data: what the card calls the table. beside: as a version beside the model that is there.
    """
    from helpers.export.artifacts import FORMATS, export_model

    return export_model(
        trained.model,
        directory,
        signature=table.signature(),
        metrics={"data": data, **trained.metrics},
        formats=formats or FORMATS,
        columns=table.columns,
        beside=beside,
        trained_on=trained.rows,
    )


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
        model,
        directory,
        signature=signature_from(card["signature"]),
        metrics=card["metrics"],
        formats=[name for name in FILES if name in wanted or name in card["formats"]],
        columns=[Column(**column) for column in card.get("columns", ())],
        source=card.get("source"),
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
