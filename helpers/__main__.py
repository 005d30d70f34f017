"""The commands behind `tutorial.py`: run, lab, serve, test, bench, doctor, renew.

Each imports what it needs when it runs, so that `serve` starts without TensorFlow, pandas or Jupyter.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from helpers import PROJECT

BUILD = PROJECT / "build"


def main(arguments: list[str]) -> int:
    command, options = (arguments[0], arguments[1:]) if arguments else ("", [])
    if command not in COMMANDS:
        print(f"usage: python3 tutorial.py {{{','.join(COMMANDS)}}} [options]", file=sys.stderr)
        return 2
    try:
        return COMMANDS[command](options) or 0
    except KeyboardInterrupt:
        return 130


def run(options: list[str]) -> int:
    """Execute every notebook and write the report."""
    cli = argparse.ArgumentParser(prog="tutorial.py run", description=run.__doc__)
    cli.add_argument(
        "--data", default="sample", help='"sample" (default), "article" (downloaded), or a CSV of your own'
    )
    cli.add_argument("--label", default="label", help="the column to predict (default: label)")
    chosen = cli.parse_args(options)

    from helpers.data.games import load_games
    from helpers.data.tables import DataError
    from helpers.tools import report, runner

    started = time.perf_counter()
    data = chosen.data
    if data not in ("sample", "article") and "://" not in data:
        data = str(Path(data).expanduser().resolve())  # the notebooks run in a folder of their own
    try:
        load_games(data, chosen.label)  # a table that cannot be used is said before any notebook starts
    except DataError as error:
        return failure(error)
    model = PROJECT / "models" / ("games" if data == "sample" else Path(data).stem)
    parameters = {} if data == "sample" else {"DATA": data, "LABEL": chosen.label, "MODEL": str(model)}

    notebooks = {path.stem: runner.read(path) for path in runner.notebook_paths()}
    for notebook in notebooks.values():
        runner.set_parameters(notebook, parameters)
    BUILD.mkdir(exist_ok=True)
    (BUILD / "index.html").unlink(missing_ok=True)  # a page of an earlier run would speak of another model
    try:
        with runner.Progress(notebooks) as progress:
            runner.execute_all(
                notebooks,
                BUILD / "notebooks",
                lambda name: report.write_html(notebooks[name], BUILD / f"{name}.html"),
                progress,
            )
    except runner.NotebookFailed as error:
        return failure(f"{error}\nThe notebooks as far as they came: {BUILD / 'notebooks'}")
    figures = key_figures(model)
    report.write_index(notebooks, figures, chosen.data, BUILD / "index.html")

    summary = [
        *figures,
        ("time", f"{time.perf_counter() - started:.0f} s", ""),
        ("executed notebooks", str(BUILD / "notebooks"), ""),
        ("open this in a browser", str(BUILD / "index.html"), ""),
    ]
    print()
    for what, value, remark in summary:
        print(f"{what:<24}{value} {remark}".rstrip())
    return 0


def key_figures(model: Path) -> list[tuple[str, str, str]]:
    """What the run came to, each as (what, value, remark), read from the model card and asked of a served endpoint."""
    import requests

    from helpers.export.card import read_card
    from helpers.export.predictors import load_predictor
    from helpers.serving.notebook_server import serve as serve_in_thread
    from helpers.serving.services import create_predict_app

    card = read_card(model)
    metrics, parity = card["metrics"], card["parity"]
    low, high = metrics["test_auc_interval"]
    predictor = load_predictor(model)
    request = predictor.signature.example()
    with serve_in_thread(create_predict_app(predictor), port=0) as server:
        answer = requests.get(f"{server.url}/predict", params=request, timeout=10).json()
    (name, value), *others = request.items()
    usual = "at their usual values" if any(dict(others).values()) else "0"
    return [
        ("data rows", f"{metrics['rows']:,}", f"of which {metrics['test_rows']:,} to test on"),
        ("test AUC", f"{metrics['test_auc']:.3f}", f"(95 % interval {low:.3f} to {high:.3f})"),
        ("formats exported", str(len(card["formats"])), f"({', '.join(card['formats'])})"),
        ("largest difference", f"{parity['largest_difference']:.1e}", f"from Keras over {parity['inputs']}"),
        ("served answer", answer["prediction"], f"for {name}={value}" + (f", the others {usual}" if others else "")),
    ]


def lab(options: list[str]) -> int:
    """Open JupyterLab on the first notebook; options go to `jupyter lab`."""
    first = "notebooks/00_start-here.ipynb"
    os.chdir(PROJECT)
    return replace_process("-m", "jupyterlab", "--ServerApp.root_dir", str(PROJECT), first, *options)


def serve(options: list[str]) -> int:
    from helpers.serving.production import main

    return main(options)


def test(options: list[str]) -> int:
    """Pass every test, or with --quick those that a commit waits for; options go to pytest."""
    os.chdir(PROJECT)
    # A file at a time to a worker, in the order that tests/conftest.py gives them: fixtures of a file, and the
    # notebooks in their order, stay together.
    parallel = ["-n", str(min(os.cpu_count() or 1, 4)), "--dist", "loadfile", "--no-loadscope-reorder"]
    return replace_process("-m", "pytest", *parallel, *options)


def bench(options: list[str]) -> int:
    from helpers.tools.bench import main

    return main(options)


def doctor(options: list[str]) -> int:
    from helpers.cloud.doctor import main

    return main(options)


def renew(options: list[str]) -> int:
    """Execute notebooks in place (all of them where none is named); after 04 also renew the README's picture of it."""
    from helpers.tools import readme, runner

    paths = [Path(option) for option in options] or runner.notebook_paths()
    try:
        runner.renew(paths)
        if any(path.stem == "04_serve-predictions" for path in paths):
            readme.take_picture_of_the_page(PROJECT / "models" / "games")
    except (runner.NotebookFailed, OSError) as error:
        return failure(error)
    return 0


COMMANDS = {
    "run": run,
    "lab": lab,
    "serve": serve,
    "test": test,
    "bench": bench,
    "doctor": doctor,
    "renew": renew,
}


def failure(sentence) -> int:
    print(f"tutorial.py: {sentence}", file=sys.stderr)
    return 1


def replace_process(*command: str) -> int:
    """Run another Python program in place of this one, with its own signals and exit code."""
    if os.name == "posix":
        os.execv(sys.executable, [sys.executable, *command])
    import subprocess

    return subprocess.call([sys.executable, *command])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
