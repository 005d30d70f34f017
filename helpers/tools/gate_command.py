"""`tutorial.py gate`: whether a version of a model may take the place of the one that answers.

Checked options come in; a line goes out for each thing that was checked, and the exit code: 0 where all of them hold,
1 where one does not, 2 where nothing could be checked.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from helpers.data.raw_tables import DataError
from helpers.export import registry, versions
from helpers.export.errors import ArtifactError
from helpers.export.predictors import load_predictor
from helpers.export.versions import CURRENT, Version
from helpers.serving import gate, golden
from helpers.serving.golden import CannotGate

MOST_SWAPS = 3  # of features that are named


def main(chosen: argparse.Namespace) -> int:
    """Hold a version against golden requests, the version before it, or both; returns the exit code."""
    directory, version = chosen.model
    try:
        new, before = _versions(directory, version, is_draft=bool(chosen.draft))
        imports = (chosen.imports, Path.cwd()) if chosen.imports else None
        predictor = load_predictor(new.path, imports=imports)
        known = (predictor.signature, chosen.label, chosen.positive)
        rows = gate.held_out_rows(chosen.data, *known) if chosen.data else None
        if chosen.draft:
            return _draft(predictor, rows, chosen.draft)
        findings = gate.ask(predictor, chosen.golden)
        if rows is not None and before:
            findings.append(gate.compare(predictor, load_predictor(before.path, imports=imports), *rows))
        elif rows is not None and not findings:
            raise CannotGate(f"{new.version} has no version before it to compare its AUC with: add --golden FILE")
    except (ArtifactError, DataError, CannotGate) as error:
        print(f"gate: {error}", file=sys.stderr)
        return 2
    name = f"{registry.shown(directory)}@{new.version}"
    for finding in findings:
        print(finding)
    if rows is not None and not before:
        print("       its AUC is compared with none, as there is no version before it")
    failed = sum(not finding.holds for finding in findings)
    if failed:
        print(f"{name} is held back: {failed} of {len(findings)} do not hold")
        for one, other in gate.swaps_that_mend(predictor, chosen.golden)[:MOST_SWAPS] if chosen.golden else ():
            print(
                f"every golden request would hold with {one} and {other} exchanged: look whether they are swapped in it"
            )
        return 1
    print(f"{name} may pass: {f'all {len(findings)} hold' if len(findings) > 1 else 'it holds'}")
    if new.place != CURRENT:
        promote = registry.line("models", "promote", registry.word(directory), new.version)
        print(f"put it in its place: {promote}")
    return 0


def _versions(directory: Path, version: str | None, is_draft: bool) -> tuple[Version, Version | None]:
    """The version to be held back or not, and the one that it is compared with, if there is one.

    Without a number it is the newest of those that wait beside the current one, or else the current one, by whose
    answers the others are drafted, too. What waits is compared with the current one, and the current one with the one
    before it.
    """
    there_are = versions.versions(directory)
    waiting = [each for each in there_are if each.place == versions.BESIDE and not is_draft]
    new = versions.find(directory, version) if version else (waiting or there_are)[0]
    others = [each for each in there_are if each.place == (versions.BEFORE if new.place == CURRENT else CURRENT)]
    return new, others[0] if others else None


def _draft(predictor, rows, path: Path) -> int:
    drafted = gate.draft(predictor, rows[0])
    more, noticed, swaps = gate.draft_for_swaps(predictor, rows[0], drafted)
    golden.write([*drafted, *more], path)
    count = len(drafted) + len(more)
    print(f"{path.name} holds {count} golden requests, with bounds from the answers of {predictor.version}")
    if swaps:
        print(f"they notice {noticed:,} of {swaps:,} swaps of two features")
    print("go through them: it is you who knows what is right, and a model that is wrong now would stay so")
    return 0
