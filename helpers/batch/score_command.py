"""`tutorial.py score`: what stands around the scoring of files, from the options to the exit code.

Checked options come in. The model is exported first where that is allowed and needed; whatever ends the run early is
one sentence and exit code 2, and the same command goes on from there.
"""

from __future__ import annotations

import argparse
import csv
import errno
import functools
import sys
import time
from pathlib import Path

from helpers.batch import paths
from helpers.batch.paths import CannotScore
from helpers.export.folder import is_export
from helpers.serving.serve_command import CannotServe, ensure_exported


def main(chosen: argparse.Namespace) -> int:
    """Score the input; returns the exit code: 0 also where rows were rejected, which is said."""
    from helpers.data.raw_tables import DataError
    from helpers.export.errors import ArtifactError

    try:
        if not is_export(chosen.model):
            _check_fits_sample(chosen)
        ensure_exported(chosen.model)
        print(score(chosen), flush=True)
    except (CannotScore, DataError, ArtifactError, CannotServe) as error:
        return _failure(str(error))
    except OSError as error:
        return _failure(_of_the_disk(error, chosen.output))
    except KeyboardInterrupt:
        print("\nscore: interrupted; the same command goes on from here.", file=sys.stderr, flush=True)
        return 130
    return 0


def _check_fits_sample(chosen: argparse.Namespace) -> None:
    """`DataError` where the input is none that the model of the sample takes, which is not trained for it then."""
    from helpers.batch.encoding import Encoder
    from helpers.batch.kinds import open_source
    from helpers.data import games

    signature = games.load_table("sample").signature()
    first = open_source(paths.files_of(chosen.input)[0], signature.reader().field, chosen.keep)
    Encoder(signature).columns(first.schema.names)


def score(chosen: argparse.Namespace) -> str:
    """Score what the options name, with a progress bar; returns what came of it, in words."""
    from tqdm import tqdm

    from helpers.batch import engines, local
    from helpers.batch.kinds import open_source
    from helpers.batch.parts import Parts
    from helpers.batch.scoring import Scorer
    from helpers.export.predictors import load_predictor

    @functools.cache  # one for all files that are written alike
    def scorer(absent: frozenset[str], commas: frozenset[str]) -> Scorer:
        return Scorer(predictor, absent, commas, chosen.keep)

    imports = (chosen.imports, str(Path.cwd())) if chosen.imports else None
    predictor = load_predictor(chosen.model, imports=imports)
    is_feature = predictor.signature.reader().field
    files = paths.files_of(chosen.input)
    sources = [open_source(file, is_feature, chosen.keep) for file in files]
    keep = list(dict.fromkeys(chosen.keep))
    suffix = paths.suffix_of(chosen.output) or sources[0].like  # of the parts of a folder
    work = {"files": [source.key for source in sources], "model": predictor.version, "keep": keep, "as": suffix}
    work["in pieces"] = bool(chosen.engine)  # of which the parts have other names
    score_files = local.score_files
    how = {"threads": chosen.threads}
    if chosen.engine:
        engines.python_of(chosen.engine, predictor.backend)  # before anything is written
        score_files = functools.partial(engines.score_files, chosen.engine, chosen.engine_options)
        how = {"model": chosen.model, "backend": predictor.backend, "imports": imports}
    parts = Parts(chosen.output, suffix, work)
    started, counts = time.perf_counter(), [source.rows for source in sources]
    total = None if None in counts else sum(counts)
    with parts.opened():
        before = _rows(parts.records)
        with tqdm(total=total, initial=before, unit=" rows", unit_scale=True, disable=None) as bar:
            score_files(
                sources,
                lambda source: scorer(source.absent, source.commas),
                parts,
                keep,
                strict=chosen.strict,
                progress=lambda good, rejected: bar.update(good + rejected),
                **how,
            )
    return _came_of_it(parts, before, time.perf_counter() - started)


def _rows(records: dict[str, dict]) -> int:
    return sum(record["rows"] + record["rejected"] for record in records.values())


def _came_of_it(parts, before: int, seconds: float) -> str:
    rows = _rows(parts.records)
    rejected = sum(record["rejected"] for record in parts.records.values())
    resumed = f", {before:,} of them in an earlier run" if before else ""
    scored = f"{rows - rejected:,} row{'s' * (rows - rejected != 1)}"
    lines = [f"{scored} scored{resumed}, {(rows - before) / seconds:,.0f} rows/s: {parts.output}"]
    if noted := sum(record["noted"] for record in parts.records.values()):
        row_holds = "row holds" if noted == 1 else "rows hold"
        lines.append(f"{noted:,} {row_holds} a value that the model was not trained on: see the column notes")
    if rejected:
        lines.append(f"{rejected:,} row{'s' * (rejected != 1)} rejected, each with the reason: {parts.rejected}")
    if rejected and rejected == rows:
        with parts.rejected.open(encoding="utf-8", newline="") as file:
            lines.append(f"no row was scored; of the first one it says: {next(csv.DictReader(file))['reason']}")
    return "\n".join(lines)


def _of_the_disk(error: OSError, output: Path) -> str:
    """What an error of the system means to the person who named the output."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {output.parent} is full: make room, then the same command goes on from here"
    reason = error.strerror or error
    return f"{output} cannot be written ({reason}): make the folder {output.parent} writable, or name another"


def _failure(sentence: str) -> int:
    print(f"score: {sentence}", file=sys.stderr, flush=True)
    return 2
