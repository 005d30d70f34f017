"""`tutorial.py lambda`: a model and its service as a zip for AWS Lambda, and nothing is sent anywhere.

Checked options come in. What is in the zip is printed by size, beside what Lambda takes and what TensorFlow would have
taken; with --run also what the same service does when it is called on this machine, by the program that calls it there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from helpers.cloud import lambda_local, lambda_zip
from helpers.cloud.lambda_packages import CannotPackage, Target
from helpers.cloud.lambda_zip import Package, megabytes
from helpers.export import registry
from helpers.export.predictors import load_predictor
from helpers.serving.serve_command import CannotServe, ensure_exported

SMALL = 1_000_000  # bytes; what is smaller is printed as one line


def main(chosen: argparse.Namespace) -> int:
    """Build, print, and where it is asked for call; returns the exit code."""
    try:
        ensure_exported(chosen.model, *filter(None, [chosen.backend]))
        package = lambda_zip.build(chosen.model, chosen.to, Target.on_lambda(chosen.arch), chosen.backend)
    except (CannotPackage, CannotServe) as error:
        print(f"lambda: {error}", file=sys.stderr, flush=True)
        return 2
    print("\n".join(told(package)), flush=True)
    if chosen.run:
        try:
            print(called(chosen.model, package), flush=True)
        except (CannotPackage, lambda_local.CallFailed) as error:
            print(f"lambda: {error}", file=sys.stderr, flush=True)
            return 1
    return 0


def told(package: Package) -> list[str]:
    """What the zip holds and where it runs, in lines."""
    large = {name: size for name, size in package.parts.items() if size >= SMALL}
    small = {name: size for name, size in package.parts.items() if size < SMALL}
    lines = [f"{megabytes(size):>12}  {name}" for name, size in large.items()]
    lines += [f"{megabytes(sum(small.values())):>12}  {', '.join(small)}"] if small else []
    whole, tensorflow = package.unzipped, lambda_zip.tensorflow_bytes()
    return [
        *lines,
        f"{megabytes(whole):>12}  unpacked, of the {megabytes(lambda_zip.MOST_UNZIPPED)} that Lambda takes",
        f"{megabytes(tensorflow):>12}  TensorFlow and Keras would have taken, with all that they need",
        *([] if package.compiled else [_uncompiled(package.target)]),
        f"{registry.shown(package.path)}: {megabytes(package.zipped)} for {package.target} "
        f"(runtime {package.target.runtime}, handler {lambda_zip.HANDLER})",
    ]


def called(model: Path, package: Package) -> str:
    """What a start and an answer take here, in a sentence; the zip is made anew for this machine where it must be."""
    request = example_event(model, package.backend)
    with tempfile.TemporaryDirectory() as folder:
        here = Target.here()
        if package.target != here:
            package = lambda_zip.build(model, Path(folder) / package.path.name, here, package.backend)
        found = lambda_local.measure(package, request)
    return (
        f"called on this machine ({here}): first answer after {statistics.median(found.cold):.2f} s (median of "
        f"{len(found.cold)} starts), then {statistics.median(found.warm) * 1000:.2f} ms (median of {len(found.warm)}), "
        f"{megabytes(found.memory)} of memory"
    )


def example_event(model: Path, backend: str) -> dict:
    """A POST of one legal row of the model."""
    signature = load_predictor(model, backend).signature
    row = signature.example()
    for name, array in zip(row, getattr(signature.sample(1), "arrays", ()), strict=False):
        if row[name] is None:  # an array that is too long to be shown
            row[name] = (array[0].astype(float).round(1) if array.dtype.kind == "f" else array[0]).tolist()
    headers = {"Content-Type": "application/json"}
    return lambda_local.event("POST", "/predict", json.dumps(row).encode(), headers)


def _uncompiled(target: Target) -> str:
    return (
        f"without compiled code, as there is no Python {target.python} here and none could be downloaded: it starts "
        f"some 0.3 s later; install one, with `uv python install {target.python}` say, and build it again"
    )
