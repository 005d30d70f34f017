"""`tutorial.py train`: a table becomes a model in `models/`, and nothing else happens.

Checked options come in. What each column became is printed before the training, the AUC and the line that serves the
model after it; the figures of notebook 02 are written as a page where that is asked for.
"""

from __future__ import annotations

import argparse
import html
import shutil
import sys
import textwrap
from base64 import b64encode
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from helpers import wording
from helpers.data import games
from helpers.data.raw_tables import DataError
from helpers.data.tables import Table, as_one, features_and_label
from helpers.export import registry, versions
from helpers.export.errors import ArtifactError, PredictorError
from helpers.export.folder import is_export
from helpers.model.codes import telling_codes
from helpers.model.leakage import telling_features

WIDEST = 40  # signs of a cell in the report on the columns, but for the last

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
  :root {{ color-scheme: light dark }}
  body {{ font: 17px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2.5rem auto; padding: 0 1rem }}
  .wide {{ overflow-x: auto }}
  table {{ border-collapse: collapse; font-size: .9rem }}
  th, td {{ text-align: left; padding: .25rem 1rem .25rem 0; border-bottom: 1px solid #8884; vertical-align: top }}
  img {{ max-width: 100%; background: #fff; border-radius: .3rem }}
</style>
<h1>{title}</h1>
<p>{summary}</p>
<h2>What each column became</h2>
<div class="wide">{columns}</div>
{figures}
</html>
"""


def main(chosen: argparse.Namespace) -> int:
    """Train, export, say how good it is; returns the exit code."""
    try:
        table = load(chosen)
        if not chosen.replace:
            table = in_place_of(chosen.model, table, "say --replace, or name this one with --model")
    except (DataError, ArtifactError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    print(told(table), flush=True)
    if chosen.beside and (remark := registry.beside_none(chosen.model)):
        print(remark, flush=True)
    there_were = versions.versions(chosen.model)
    from helpers.export.pipeline import export_table, train

    try:
        trained = train(table, verbose=int(sys.stderr.isatty()))
        card = export_table(table, trained, chosen.model, data=Path(chosen.data).name, beside=chosen.beside)
    except (ArtifactError, DataError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    metrics = card["metrics"]
    low, high = metrics["test_auc_interval"]
    print(f"test AUC {metrics['test_auc']:.3f} (95 % interval {low:.3f} to {high:.3f}), {metrics['test_rows']:,} rows")
    if "remark" in metrics:
        print(metrics["remark"])
    code = _report(table, trained, chosen.report) if chosen.report else 0
    for remark in registry.what_became_of(chosen.model, there_were, chosen.beside):
        print(remark)
    print(registry.how_to_serve(chosen.model, card))
    return code


def _report(table: Table, trained, path: Path) -> int:
    """Write the page with the figures, and say so; returns the exit code."""
    try:
        write_report(table, trained, path)
    except OSError as error:
        says = f"{path} cannot be written ({error.strerror}), the model is there: train again with another --report"
        print(f"train: {says}", file=sys.stderr)
        return 1
    print(f"the figures: {path}")
    return 0


def load(chosen: argparse.Namespace) -> Table:
    """The table that the options name; raises `DataError`."""
    treat_as, name = dict(chosen.treat_as), chosen.display_name or ""
    return games.load_table(chosen.data, chosen.label, chosen.positive, chosen.drop, treat_as, name)


def told(table: Table) -> str:
    """What was done to the file, what each column became, and what is to be asked of some, as lines to print."""
    signature = table.signature()
    telling = telling_features(signature, *features_and_label(table.frame, signature))
    hints = [
        f"{name} alone predicts {table.label} (AUC {area:.3f}): would you know it beforehand? "
        f"If not, {wording.option('--drop', wording.with_commas([name]))}."
        for name, area in telling.items()
        if name not in table.groups
    ]
    hints += [
        f"{name} tells more by each of its numbers (AUC {by_name:.3f}) than by their size ({by_size:.3f}): do they "
        f"name something? If so, {wording.option('--as', f'{name}=category')}."
        for name, (by_name, by_size) in telling_codes(table.frame, signature).items()
        if name not in table.groups
    ]
    return "\n".join([*table.said, f"{len(table.frame):,} rows", "", *_lines_of(table), "", *hints])


def _lines_of(table: Table) -> list[str]:
    """The report on the columns of a table, wrapped in its cells so that it fits the terminal; 160 signs in a file."""
    report = table.report().astype(str)
    rows = [list(report.columns), *report.to_numpy().tolist()]
    widths = [min(WIDEST, max(map(len, cells))) for cells in zip(*rows, strict=True)]
    room = shutil.get_terminal_size((160, 24)).columns
    widths[-1] = max(WIDEST // 2, room - sum(widths[:-1]) - 2 * len(widths))
    lines = []
    for row in rows:
        cells = [textwrap.wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
        lines += [
            "  ".join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip()
            for parts in zip_longest(*cells, fillvalue="")
        ]
    return lines


def in_place_of(directory: Path, table: Table, otherwise: str) -> Table:
    """The table whose model is to take the place of the one in a folder, what it predicts called as there.

    otherwise: what to do where it may not. Raises `ArtifactError` where that is the model of a table with other columns
    or another question.
    """
    from helpers.data.inputs import signature_from
    from helpers.export.card import read_card

    if not is_export(directory):
        return table
    try:
        before = signature_from(read_card(directory)["signature"])
    except PredictorError:
        return table  # a damaged export is replaced
    if as_one(before.positive) == as_one(table.positive):
        table = replace(table, positive=before.positive)
    now = table.signature()
    same = (set(before.names), before.label) == (set(now.names), now.label)
    if same and before.positive and before.positive != now.positive:
        raise ArtifactError(
            f"{registry.shown(directory)} predicts {before.outcome}, and this model would predict {now.outcome}: say "
            f"--positive {wording.quoted(before.positive)} for the same question, or {otherwise}"
        )
    if (set(before.names), before.label, before.positive) != (set(now.names), now.label, now.positive):
        raise ArtifactError(
            f"{registry.shown(directory)} holds another model (it predicts {before.outcome} from "
            f"{textwrap.shorten(', '.join(before.names), 80)}): {otherwise}"
        )
    if table.display_name or not before.display_name:
        return table
    remark = f"called {before.display_name!r} as before (--display-name calls it otherwise)"
    return replace(table, display_name=before.display_name, said=(*table.said, remark))


def write_report(table: Table, trained, path: Path) -> None:
    """The figures of notebook 02 as one page that needs no other file."""
    from helpers.figures import training as figures
    from helpers.figures.style import png, title_of

    _, test = games.split(table.frame, table.label)
    x_test, y_test = features_and_label(test, table.signature())
    probabilities = trained.model(x_test).numpy().ravel()
    pictures = [
        figures.learning_curves(trained.history),
        figures.roc(y_test, {"network": probabilities}),
        figures.precision_recall(y_test, {"network": probabilities}),
        figures.calibration(y_test, probabilities),
        figures.predictions(y_test, probabilities, table.signature().outcome),
    ]
    shown = "\n".join(
        f'<p><img alt="{html.escape(title_of(each))}" src="data:image/png;base64,{b64encode(png(each)).decode()}"></p>'
        for each in pictures
    )
    title = f"The probability of {table.signature().outcome}"
    low, high = trained.metrics["test_auc_interval"]
    summary = (
        f"{len(table.frame):,} rows, {len(test):,} of them to test on: test AUC {trained.metrics['test_auc']:.3f}, "
        f"95 % interval {low:.3f} to {high:.3f}."
    )
    if remark := trained.metrics.get("remark"):
        summary += f" {remark[0].upper()}{remark[1:]}."
    columns = table.report().to_html(index=False, border=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    page = PAGE.format(title=html.escape(title), summary=html.escape(summary), columns=columns, figures=shown)
    path.write_text(page, encoding="utf-8")
