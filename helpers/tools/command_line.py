"""The commands' options: read, checked and explained before anything is imported, installed or announced.

A command line comes in as a list of words; out goes a namespace with every value in its own type, or, on standard error
and with exit code 2, one sentence that says what is wrong. The launcher reads this module before anything is installed,
so it imports the standard library only, and from the project what does likewise.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from helpers import PROJECT, wording
from helpers.batch import paths
from helpers.export import registry, versions
from helpers.export.folder import check_replaceable, is_export
from helpers.serving.addresses import check_names
from helpers.serving.serve_command import free_port
from helpers.tools import option_values as values
from helpers.tools.option_parser import Parser, refuse, wrong

BUILD = PROJECT / "build"
BACKENDS = ("onnx", "litert", "numpy", "keras")  # the keys of `predictors.BACKENDS`, which is not imported for them
LAMBDA_BACKENDS, ARCHITECTURES = BACKENDS[:3], ("x86_64", "arm64")  # those of `lambda_packages`
MOST_BODY = 100  # MB, as much as a batch transform of SageMaker sends
MOST_WORKERS = max(64, 4 * (os.cpu_count() or 1))  # a worker takes 85 MB, and one keeps a core busy
PIXELS = ("0..255", "0..1", "-1..1", "caffe", "torch")  # those of `images`
TAKES = ("row", "array", "image")  # those of `detection`
ACTIONS = ("rollback", "promote")  # of `models`


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options of a command line, with its first word as `.command`; SystemExit: 0 after help, 2 after a sentence.

    `lab` and `test` hand on what they are given, as the list `.options`.
    """
    command, *options = arguments
    if command not in COMMANDS:
        meant = wording.meant(command, COMMANDS)
        refuse("tutorial.py", f"there is no command {command!r}{meant}: the commands are {', '.join(COMMANDS)}")
    chosen = parser_of(command).read(options)
    chosen.command = command
    return chosen


def parser_of(command: str) -> Parser:
    parser = Parser(command)
    COMMANDS[command](parser)
    return parser


# ---- the commands ----


def _setup(cli: Parser) -> None:
    cli.description = "Set up the environment in .venv, as every other command does first where it is missing."
    cli.option("--engine", choices=paths.ENGINES, help="what `score --engine` needs, too, in build/engines")
    cli.option("--backend", choices=paths.MORE, help="beside ONNX Runtime, for a model that it does not run")

    def check(chosen: argparse.Namespace) -> None:
        if chosen.backend and not chosen.engine:
            wrong("--backend goes into the environment of an engine: name that with --engine")

    cli.check = check


def _run(cli: Parser) -> None:
    cli.description = "Execute every notebook, and write them as HTML to build/index.html."
    cli.option("--data", type=values.table, default="sample", help='"sample" (default), "article", or as in `train`')
    _table_options(cli)

    def check(chosen: argparse.Namespace) -> None:
        values.folder(str(BUILD))
        check_replaceable(registry.for_table(chosen.data))

    cli.check = check


def _train(cli: Parser) -> None:
    cli.description = "Train a model on a table with a yes/no question, and export it to models/."
    cli.option("--data", type=values.table, metavar="TABLE", help="a CSV, Excel, Parquet or JSON file, or an address")
    _table_options(cli)
    cli.option("--model", type=registry.new, metavar="NAME", help="a name in models/ (default: that of the table)")
    cli.option("--replace", action="store_true", help="also where the model of another table has that name")
    _beside_option(cli)
    cli.option("--report", type=values.page, metavar="FILE", help="write the figures of notebook 02 to this HTML page")

    def check(chosen: argparse.Namespace) -> None:
        if chosen.data is None:
            wrong("it needs a table: add --data and the file's name")
        _check_named_beside(chosen, "--model", chosen.model, registry.for_table(chosen.data))
        chosen.model = chosen.model or registry.for_table(chosen.data)
        check_replaceable(chosen.model)

    cli.check = check


def _check_named_beside(chosen: argparse.Namespace, option: str, named: Path | None, default: Path) -> None:
    """A model that waits beside another names that: the name of a file may be that of none, and then it answers."""
    if chosen.beside and not named and not is_export(default):
        wrong(
            f"there is no model {registry.word(default)} that this could wait beside: name it with {option} "
            f"({registry.there_are()}), or leave --beside out"
        )


def _beside_option(cli: Parser) -> None:
    cli.option(
        "--beside",
        action="store_true",
        help="leave the model of that name in its place, and keep this one as a version beside it",
    )


def _table_options(cli: Parser) -> None:
    cli.option("--label", type=values.text, default="label", help="the column to predict (default: label)")
    _positive_option(cli)
    cli.option(
        "--display-name",
        type=values.text,
        metavar="TEXT",
        help='what people call a yes, as in "the probability of leaving us" (default: the name of the label)',
    )
    cli.option("--drop", type=values.names, default=(), metavar="A,B", help="columns to leave out")
    cli.option(
        "--as",
        type=values.kind,
        action="append",
        default=[],
        dest="treat_as",
        metavar="COLUMN=KIND",
        help="take a column for a number, yes/no or category, as in --as zip=category; may be repeated",
    )


def _positive_option(cli: Parser) -> None:
    cli.option(
        "--positive",
        type=values.text,
        metavar="VALUE",
        help="the value of the label that counts as yes, or several: a,b",
    )


def _lab(cli: Parser) -> None:
    cli.description = "Open JupyterLab on the first notebook, or on the one that is named."
    cli.usage = f"{cli.prog} [NOTEBOOK] [OPTION ...]"
    cli.epilog = "Options go on to `jupyter lab`, for example --port 8889 or --no-browser."
    cli.hands_on = True

    def check(chosen: argparse.Namespace) -> None:
        for word in filter(names_notebook, chosen.options):
            values.notebook(word)

    cli.check = check


def _serve(cli: Parser) -> None:
    cli.description = (
        "Serve an exported model over HTTP, or several, or a model's file, which is exported to models/ first."
    )
    cli.epilog = (
        "A model that is trained or exported again under its name, or rolled back, is taken up within two seconds by a "
        "running service, with no request lost; a version that was chosen with @ stays. Several models answer at "
        "/NAME/predict each. A canary answers the same callers each time: they are told by the header X-Caller-ID, or "
        "else by their address, which behind a proxy is the proxy's for all, so let the proxy set the header."
    )
    cli.option("file", type=values.served_file, nargs="?", metavar="FILE", help=f"a model of yours: {MODEL_FILES}")
    cli.option(
        "--host",
        type=values.address,
        default="127.0.0.1",
        help="127.0.0.1 (default): this machine only; 0.0.0.0: everyone",
    )
    cli.option("--port", type=values.whole(0, 65_535), default=5000, help="default: 5000; 0 takes one that is free")
    cli.option(
        "--workers",
        type=values.whole(1, MOST_WORKERS),
        default=values.cores(),
        help="processes (default: one per core)",
    )
    cli.option(
        "--model",
        type=registry.choose,
        action="append",
        help="the name of a model in models/, or the path of one (default: games, trained where it is missing); "
        "NAME@VERSION for one of its versions; may be repeated",
    )
    cli.option(
        "--shadow",
        type=values.version,
        action="append",
        default=[],
        metavar="NAME@VERSION",
        help="ask this version, too, off the way of the answer, and show in /metrics how far it differs",
    )
    cli.option(
        "--canary",
        type=values.canary,
        action="append",
        default=[],
        metavar="NAME@VERSION=PERCENT",
        help="let this version answer a part of the callers, as in games@5f2e=10",
    )
    cli.option("--backend", choices=BACKENDS, help="what runs the model (default: onnx where it goes into that)")
    cli.option(
        "--api-key-file", type=values.key_file, metavar="FILE", help="a file with the key that /predict then asks for"
    )
    cli.option(
        "--allow-host",
        type=values.host_name,
        action="append",
        default=[],
        metavar="NAME",
        help="a name, beside localhost, under which a service that listens on this machine only is called",
    )
    cli.option(
        "--allow-origin",
        type=values.origin,
        action="append",
        default=[],
        metavar="ORIGIN",
        help="the origin of a page, as http://localhost:3000, that may read the answers; may be repeated",
    )
    cli.option(
        "--strict",
        action="store_true",
        help="refuse a number outside of its range, which training or --like tells; else a note says so",
    )
    cli.option(
        "--unseen",
        choices=("refuse", "answer"),
        default="refuse",
        help="a text that is none of those known, by training or --like: refuse it (default), or answer it as such",
    )
    cli.option(
        "--max-body",
        type=values.whole(1, MOST_BODY),
        metavar="MB",
        help="the largest request that is read (default: 1, or more where the model takes more)",
    )
    cli.option("--access-log", action="store_true", help="one JSON line per request on standard output")
    _own_model_options(cli)

    def check(chosen: argparse.Namespace) -> None:
        given = [name for name in OWN_MODEL if getattr(chosen, name) not in (None, (), False)]
        if chosen.file is None and given:
            wrong(f"--{given[0]} is for a model's file: name the file, as in serve my_model.keras")
        _check_own_model(chosen)
        _check_models(chosen)
        free_port(chosen.host, chosen.port)

    cli.check = check


def _check_models(chosen: argparse.Namespace) -> None:
    """What concerns the models and versions to be served together."""
    if chosen.file is not None:
        if chosen.model or chosen.shadow or chosen.canary:
            wrong("a model's file is served by itself: export it first to serve it beside a model or a version")
        return
    chosen.models = chosen.model or [registry.Choice(registry.find(str(registry.DEFAULT)))]
    if len(chosen.models) > 1:
        try:
            check_names(choice.directory.name for choice in chosen.models)
        except ValueError as error:
            wrong(str(error))
    for option, beside in (("--shadow", chosen.shadow), ("--canary", [choice for choice, _ in chosen.canary])):
        for choice in beside:
            _check_beside(option, choice, chosen.models)
            if sum(choice.directory == other.directory for other in beside) > 1:
                wrong(f"{option} names two versions of {choice.directory.name}: one is possible")


def _check_beside(option: str, beside: registry.Choice, models: list[registry.Choice]) -> None:
    name = beside.directory.name
    main = next((choice for choice in models if choice.directory == beside.directory), None)
    if main is None:
        wrong(f"{option} {name}@{beside.version} stands beside the model {name}: add --model {name}")
    answers = versions.find(main.directory, main.version) if main.version else versions.versions(main.directory)[0]
    if answers.version == beside.version:
        wrong(f"{option} {name}@{beside.version} is the version that answers already: name another one")
    other = versions.find(beside.directory, beside.version)
    if reason := versions.other_question(answers.card["signature"], other.card["signature"]):
        wrong(f"{option} {name}@{beside.version} cannot stand beside {answers.version}: {reason}")


def _export(cli: Parser) -> None:
    cli.description = "Export a model of yours to models/, with what it takes and answers, as `serve FILE` does."
    cli.option("file", type=values.model_file, metavar="FILE", help=MODEL_FILES)
    _own_model_options(cli)
    _beside_option(cli)

    def check(chosen: argparse.Namespace) -> None:
        _check_named_beside(chosen, "--to", chosen.to, registry.for_table(str(chosen.file)))
        _check_own_model(chosen)

    cli.check = check


OWN_MODEL = ("to", "features", "like", "classes", "label", "pixels", "takes", "weights", "replace")  # of a file only
MODEL_FILES = "a Keras file (.keras, .h5), model.json, the folder of a SavedModel, .onnx or .tflite"


def _own_model_options(cli: Parser) -> None:
    cli.option("--to", type=registry.new, metavar="NAME", help="a name in models/ (default: that of the file)")
    cli.option("--features", type=values.names, default=(), metavar="A,B", help="names of the columns that a row holds")
    cli.option(
        "--like",
        type=values.table_file,
        metavar="TABLE",
        help="a table (CSV, Excel, Parquet, JSON) with these columns: tells ranges, and names where none are given",
    )
    cli.option(
        "--classes",
        type=values.classes,
        default=(),
        metavar="A,B",
        help="names of the classes, or a file with one a line",
    )
    cli.option(
        "--label",
        type=values.text,
        metavar="NAME",
        help="what is predicted (default: its output's name, or the file's)",
    )
    scaled = "how the pixels of a picture are scaled (default: as a layer or the model's name tells, else 0..1)"
    cli.option("--pixels", choices=PIXELS, help=scaled)
    cli.option("--takes", choices=TAKES, help="what the model takes, where that is found wrongly")
    _import_option(cli)
    cli.option("--weights", type=values.weights_file, metavar="FILE", help="of a model.json (default: found beside it)")
    cli.option(
        "--replace", action="store_true", help="also where another model has that name; forgets what was said of it"
    )


def _import_option(cli: Parser) -> None:
    own = "a module with your layers, and with the functions of Lambda layers by the names of these"
    cli.option("--import", type=values.module, dest="imports", metavar="MODULE", help=own)


def _check_own_model(chosen: argparse.Namespace) -> None:
    if chosen.file is not None:
        chosen.to = chosen.to or registry.for_table(str(chosen.file))
        check_replaceable(chosen.to)


def _score(cli: Parser) -> None:
    cli.description = "Score the rows of files with an exported model, millions of them."
    cli.epilog = (
        "Rows that cannot be scored are written to OUTPUT.rejected, each with its line and the reason. "
        "After an interruption the same command goes on where it was. What follows -- goes to the engine: "
        "`--engine spark -- --master spark://host:7077`, `--engine beam -- --runner FlinkRunner`; all its workers "
        "must see the files under the same names. Memory does not grow with the input, but for Excel and for JSON "
        "that is no row in each line."
    )
    cli.option(
        "input",
        nargs="+",
        metavar="INPUT",
        help="CSV, Parquet, Feather, JSON or Excel files, folders, patterns as *.csv",
    )
    cli.option(
        "output",
        type=paths.output_of,
        metavar="OUTPUT",
        help="a .parquet, .csv or .csv.gz file; else a folder of parts",
    )
    _model_option(cli)
    _import_option(cli)
    cli.option("--keep", type=values.names, default=(), metavar="A,B", help="columns that pass through (default: all)")
    cli.option("--threads", type=values.whole(1, MOST_WORKERS), help="how many of them score (default: one per core)")
    cli.option("--strict", action="store_true", help="stop at the first row that cannot be scored")
    cli.option("--engine", choices=paths.ENGINES, help="what scores instead of this process")
    cli.hands_on_rest = True

    def check(chosen: argparse.Namespace) -> None:
        chosen.engine_options = chosen.rest
        if chosen.rest and not chosen.engine:
            wrong(f"{chosen.rest[0]!r} follows --, where an engine's options stand: name it with --engine")
        if chosen.threads and chosen.engine:
            wrong("--threads is for this process alone: an engine's options follow --")
        chosen.threads = chosen.threads or values.cores()
        paths.files_of(chosen.input)

    cli.check = check


def _models(cli: Parser) -> None:
    cli.description = "List the models and their versions, or put another version in its place."
    cli.usage = f"{cli.prog} [rollback NAME [VERSION] | promote NAME [VERSION]]"
    cli.epilog = (
        "`models rollback games` puts the version before the current one back; the same again undoes it. `models "
        "promote games` puts the newest of those in its place that `train --beside` or `export --beside` has made. "
        "VERSION, its first digits, names any that is listed. A running `serve` takes the change up by itself, within"
        " two seconds, unless it was started with NAME@VERSION; a server in a notebook is not listed, and keeps what "
        "its cell loaded. The last three that were replaced are kept, in models/.NAME.versions: a model is gone once "
        "both folders are deleted."
    )
    cli.option("action", nargs="?", choices=ACTIONS, help="what to do; without it, list them")
    cli.option("model", type=registry.choose, nargs="?", metavar="NAME", help="a name in models/, or a path")
    cli.option("version", nargs="?", metavar="VERSION", help="its first digits, as listed")

    def check(chosen: argparse.Namespace) -> None:
        if chosen.action is None:
            return
        if chosen.model is None:
            wrong(f"{chosen.action} needs the name of a model: {registry.there_are()}")
        directory, digits = chosen.model
        if digits and chosen.version:
            wrong("the version is named twice: once is enough")
        chosen.model, chosen.version = directory, versions.chosen(directory, digits or chosen.version, chosen.action)

    cli.check = check


def _gate(cli: Parser) -> None:
    cli.description = "Say whether a version of a model may take the place of the one that answers."
    cli.epilog = (
        "The exit code is 0 where everything holds, 1 where the version is held back. Golden requests are a list in "
        'JSON, as [{"request": {"age": 3}, "at_least": 0.7, "why": "children were saved first"}]; a bound is at_least, '
        "at_most, prediction (the name of a class), or more_than (another request, whose answer is lower). With --data "
        "its AUC is compared with that of the version before it, on the rows that training set aside to test on: it is "
        "held back where the whole 95 % interval of the difference lies below 0. Golden requests that do not hold are "
        "tried with each two features exchanged: where all hold then, the two are named."
    )
    cli.option(
        "--model",
        type=registry.choose,
        default=str(registry.DEFAULT),
        help="NAME@VERSION, or NAME: the newest version beside the current one, or else the current one, which --draft "
        "asks in any case (default: games)",
    )
    cli.option(
        "--golden",
        type=values.golden_requests,
        default=(),
        metavar="FILE",
        help="golden requests, and bounds of their answers",
    )
    _import_option(cli)
    cli.option("--data", type=values.table, metavar="TABLE", help="the table that the model was trained on")
    cli.option("--label", metavar="NAME", help="its column with the right answers (default: what the model predicts)")
    _positive_option(cli)
    cli.option(
        "--draft",
        type=values.draft,
        metavar="FILE",
        help="write golden requests to begin with, from the rows of --data",
    )

    def check(chosen: argparse.Namespace) -> None:
        if not is_export(chosen.model.directory):
            wrong(f"there is no model {chosen.model.directory.name!r}: {registry.there_are()}")
        if chosen.draft and (chosen.golden or not chosen.data):
            wrong(
                "--draft takes the rows of --data TABLE, and no --golden; without a table write a few by hand, as in "
                "data/games-golden.json"
            )
        for option, what in (("label", "a column"), ("positive", "a value")):
            if getattr(chosen, option) and not chosen.data:
                wrong(f"--{option} names {what} of --data TABLE: give that, too")
        if not chosen.golden and not chosen.data:
            wrong("it needs what to hold the model against: --golden FILE, --data TABLE, or both")

    cli.check = check


def _lambda(cli: Parser) -> None:
    cli.description = "Pack an exported model and its service into one zip, which AWS Lambda runs as it is."
    _model_option(cli)
    cli.option("--arch", choices=ARCHITECTURES, default="x86_64", help="Lambda's processor (default: x86_64)")
    cli.option("--backend", choices=LAMBDA_BACKENDS, help="what runs the model (default: the first that it has)")
    cli.option(
        "--to", type=values.zip_file, metavar="FILE", help="the zip to write (default: build/MODEL-lambda-ARCH.zip)"
    )

    cli.option("--run", action="store_true", help="also call it on this machine: time to start, to answer, memory")

    def check(chosen: argparse.Namespace) -> None:
        chosen.to = chosen.to or values.zip_file(str(BUILD / f"{chosen.model.name}-lambda-{chosen.arch}.zip"))

    cli.check = check


def _test(cli: Parser) -> None:
    cli.description = "Pass every test, or those that are named; with --quick those that a commit waits for."
    cli.usage = f"{cli.prog} [FILE ...] [OPTION ...]"
    cli.epilog = "Options go on to pytest, for example -x or -k NAME; `.venv/bin/python -m pytest --help` lists them."
    cli.hands_on = True

    def check(chosen: argparse.Namespace) -> None:
        for word in chosen.options:
            file = word.partition("::")[0]
            if file.endswith(".py") and not word.startswith("-") and not (PROJECT / file).exists():
                raise argparse.ArgumentTypeError(f"there is no file {file} in {PROJECT}")

    cli.check = check


def _bench(cli: Parser) -> None:
    cli.description = "Measure speed, each figure beside its baseline."
    _model_option(cli)
    cli.option("--seconds", type=values.seconds, default=3.0, help="of load in each round (default: 3)")
    cli.option("--rounds", type=values.whole(1, 1000), default=5, help="of each comparison, and starts (default: 5)")
    cli.option("--epochs", type=values.whole(1, 10_000), default=100, help="of training (default: 100)")
    cli.option("--output", type=values.folder, default=str(BUILD), metavar="DIR", help="for figures (default: build)")
    cli.option("--publish", action="store_true", help="write the README's table and picture from this run")
    cli.option("--peers", action="store_true", help="beside FastAPI and Fastify, too, installed into build/peers")
    cli.option(
        "--batches",
        type=values.whole(100_000, 10**9),
        nargs="?",
        const=10_000_000,
        default=0,
        metavar="ROWS",
        help="also score so many rows (10 M) by each engine, beside polars and DuckDB",
    )


def _doctor(cli: Parser) -> None:
    cli.description = "Say why a URL does not answer."
    cli.epilog = (
        "Where it answers, but wrongly: the `notes` of the answer name numbers outside of their range, the last line "
        "of the page names the feature that changed most, `gate --golden` two features that are swapped in the model."
    )
    cli.option("url", type=values.url, metavar="URL", help="for example http://127.0.0.1:5000/predict")
    cli.option("--timeout", type=values.seconds, default=5.0, help="seconds for each step (default: 5)")


def _renew(cli: Parser) -> None:
    cli.description = "Execute notebooks in place, all of them where none is named, and keep their outputs."
    cli.option(
        "notebooks", nargs="*", type=values.notebook, metavar="NOTEBOOK", help="for example notebooks/03_*.ipynb"
    )


def _model_option(cli: Parser) -> None:
    cli.option(
        "--model",
        type=registry.find,
        default=str(registry.DEFAULT),
        help="the name of a model in models/, or the path of one (default: games, trained where it is missing)",
    )


COMMANDS: dict[str, Callable[[Parser], None]] = {
    "run": _run,
    "train": _train,
    "lab": _lab,
    "serve": _serve,
    "score": _score,
    "lambda": _lambda,
    "export": _export,
    "models": _models,
    "gate": _gate,
    "test": _test,
    "bench": _bench,
    "doctor": _doctor,
    "renew": _renew,
    "setup": _setup,
}


def names_notebook(word: str) -> bool:
    """Whether an option of `lab` is a notebook to open."""
    return word.endswith(".ipynb") and not word.startswith("-")
