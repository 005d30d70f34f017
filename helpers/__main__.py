"""The commands behind `tutorial.py`, whose options `tools.command_line` has read and checked.

Each imports what it needs when it runs, so that `serve` starts without TensorFlow, pandas or Jupyter.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from helpers import PROJECT
from helpers.export import registry
from helpers.tools import command_line, option_parser
from helpers.tools.command_line import BUILD

ASKS_NOBODY = (  # JupyterLab would look for a newer release and for news whenever its page is opened
    "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
    "--LabApp.news_url=None",
)
NEVER_ASKS = PROJECT / "helpers" / "tools" / "jupyter"  # settings, by which it does not ask whether it may, either


def main(arguments: list[str]) -> int:
    chosen = command_line.parse(arguments or ["--help"])
    try:
        code = COMMANDS[chosen.command](chosen) or 0
        print(end="", flush=True)
        return code
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if error.errno is None:  # not of the system
            raise
        return _refused_by_the_system(chosen.command, error)


def _refused_by_the_system(command: str, error: OSError) -> int:
    """Say what the system refuses a command: a stack trace would tell a person no more. The exit code."""
    if error.filename is None and error.errno in (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python itself would complain at its end
        if error.errno == errno.EPIPE:  # who reads the output has ended, as `head` does when it has its lines
            return 128 + 13
        return failure(command, f"the output could not be written whole: {error.strerror}")
    what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if "temporary directory" in what:
        what += ": name one that can be written to by the variable TMPDIR"
    return failure(command, what)


def run(chosen: Namespace) -> int:
    """Execute every notebook and write the report."""
    from helpers.data.raw_tables import DataError
    from helpers.export.errors import ArtifactError
    from helpers.tools import report, runner, train_command

    started = time.perf_counter()
    data, model = chosen.data, registry.for_table(chosen.data)
    try:  # a table that cannot be used is said before any notebook starts
        table = train_command.load(chosen)
        if data != "sample":
            otherwise = "give the table's file another name, by which its model goes"
            table = train_command.in_place_of(model, table, otherwise)
    except (DataError, ArtifactError) as error:
        option_parser.refuse("run", str(error))
    if data != "sample":
        print(train_command.told(table), flush=True)
    options = {"positive": chosen.positive, "drop": chosen.drop, "treat_as": dict(chosen.treat_as)}
    options["display_name"] = table.display_name
    own = {"DATA": data, "LABEL": chosen.label, "OPTIONS": {k: v for k, v in options.items() if v}, "MODEL": str(model)}
    parameters = {} if data == "sample" else own

    notebooks = {path.stem: runner.read(path) for path in runner.notebook_paths()}
    for notebook in notebooks.values():
        runner.set_parameters(notebook, parameters)
        runner.speak_of(notebook, data == "sample", registry.word(model), table.signature().example())
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
        return failure("run", f"{error}\nThe notebooks as far as they came: {BUILD / 'notebooks'}")
    report.show_covers(notebooks, BUILD)
    figures = key_figures(model)
    report.write_index(notebooks, figures, chosen.data, BUILD / "index.html")

    summary = [
        *figures,
        ("time", f"{time.perf_counter() - started:.0f} s", ""),
        ("executed notebooks", str(BUILD / "notebooks"), ""),
        ("open this in a browser", str(BUILD / "index.html"), ""),
        ("serve the model", registry.serve_command(model), ""),
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


def lab(chosen: Namespace) -> int:
    """Open JupyterLab on the first notebook, or on the one that is named; options go to `jupyter lab`."""
    named = [word for word in chosen.options if command_line.names_notebook(word)]
    notebook = Path(named[0]).absolute() if named else PROJECT / "notebooks" / "00_start-here.ipynb"
    options = [word for word in chosen.options if word not in named]
    os.chdir(PROJECT)
    settings = [str(NEVER_ASKS), *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(settings)
    return replace_process(
        "-m", "jupyterlab", *ASKS_NOBODY, "--ServerApp.root_dir", str(PROJECT), str(notebook), *options
    )


def test(chosen: Namespace) -> int:
    """Pass every test, or with --quick those that a commit waits for; options go to pytest."""
    os.chdir(PROJECT)
    # A file at a time to a worker, in the order that tests/conftest.py gives them: fixtures of a file, and the
    # notebooks in their order, stay together.
    # One worker more than there are cores, up to four: each of them waits at times, for a service or for a page.
    workers = min(os.cpu_count() or 1, 3) + 1
    parallel = ["-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder"]
    return replace_process("-m", "pytest", *parallel, *chosen.options)


def bench(chosen: Namespace) -> int:
    from helpers.tools.bench import main

    return main(
        chosen.model,
        chosen.seconds,
        chosen.rounds,
        chosen.epochs,
        chosen.output,
        chosen.peers,
        chosen.publish,
        chosen.batches,
    )


def doctor(chosen: Namespace) -> int:
    from helpers.cloud.doctor import main

    return main(chosen.url, chosen.timeout)


def renew(chosen: Namespace) -> int:
    """Execute notebooks in place (all of them where none is named); after 04 also renew the README's picture of it."""
    from helpers.tools import readme, runner

    paths = chosen.notebooks or runner.notebook_paths()
    try:
        runner.renew(paths)
        if any(path.stem == "04_serve-predictions" for path in paths):
            readme.take_picture_of_the_page(registry.DEFAULT)
    except (runner.NotebookFailed, OSError) as error:
        return failure("renew", error)
    return 0


def setup(chosen: Namespace) -> int:
    """Install an engine; but for that the launcher has set up the environment, in which this runs."""
    if chosen.engine:
        from helpers.batch import engines
        from helpers.batch.paths import CannotScore

        try:
            print(engines.install(chosen.engine, chosen.backend or ""))
        except CannotScore as error:
            return failure("setup", error)
        return 0
    print(f"The environment is set up in {Path(sys.prefix)}.")
    return 0


def main_of(module: str) -> Callable[[Namespace], int]:
    """A command that is the function `main` of a module, which is imported when it runs."""
    return lambda chosen: importlib.import_module(module).main(chosen)


COMMANDS = {
    "run": run,
    "train": main_of("helpers.tools.train_command"),
    "lab": lab,
    "serve": main_of("helpers.serving.serve_command"),
    "score": main_of("helpers.batch.score_command"),
    "lambda": main_of("helpers.tools.lambda_command"),
    "export": main_of("helpers.tools.export_command"),
    "models": main_of("helpers.tools.models_command"),
    "gate": main_of("helpers.tools.gate_command"),
    "test": test,
    "bench": bench,
    "doctor": doctor,
    "renew": renew,
    "setup": setup,
}


def failure(command: str, sentence) -> int:
    print(f"{command}: {sentence}", file=sys.stderr)
    return 1


def replace_process(*command: str) -> int:
    """Run another Python program in place of this one, with its own signals and exit code."""
    if os.name == "posix":
        os.execv(sys.executable, [sys.executable, *command])
    import subprocess

    return subprocess.call([sys.executable, *command])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
