"""The commands' options: read, checked and explained before anything is imported, installed or announced.

A command line comes in as a list of words; out goes a namespace with every value in its own type, or, on standard error
and with exit code 2, one sentence that says what is wrong. The launcher reads this module before anything is installed,
so it imports the standard library only, and from the project what does likewise.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import re
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from helpers import PROJECT, wording
from helpers.batch import paths
from helpers.batch.paths import CannotScore
from helpers.export import registry, versions
from helpers.export.errors import ArtifactError
from helpers.export.file_kinds import kind_of
from helpers.export.folder import check_replaceable, is_export
from helpers.serving import golden
from helpers.serving.addresses import check_names
from helpers.serving.callers import Callers
from helpers.serving.golden import CannotGate
from helpers.serving.serve_command import CannotServe, free_port, read_key

BUILD = PROJECT / "build"
BACKENDS = ("onnx", "litert", "numpy", "keras")  # the keys of `predictors.BACKENDS`, which is not imported for them
LAMBDA_BACKENDS, ARCHITECTURES = BACKENDS[:3], ("x86_64", "arm64")  # those of `lambda_packages`
MOST_BODY = 100  # MB, as much as a batch transform of SageMaker sends
MOST_WORKERS = max(64, 4 * (os.cpu_count() or 1))  # a worker takes 85 MB, and one keeps a core busy
MOST_SECONDS = 3600
PIXELS = ("0..255", "0..1", "-1..1", "caffe", "torch")  # those of `images`
TAKES = ("row", "array", "image")  # those of `detection`
ACTIONS = ("rollback", "promote")  # of `models`
ALSO_CALLED = {  # what is called otherwise by another command, or by other tools
    "--to": ("--model",),
    "--name": ("--model", "--to"),
    "--model": ("--to",),
    "--output": ("--to", "--model", "--report"),
    "--target": ("--label",),
    "--table": ("--data", "--like"),
    "--file": ("--data",),
    "--exclude": ("--drop",),
    "--type": ("--as",),
    "--columns": ("--features",),
    "--bind": ("--host",),
    "--key": ("--api-key-file",),
    "--api-key": ("--api-key-file",),
    "--version": ("--model",),
}
KINDS = ("number", "yes/no", "category")  # those of `columns`, which is not imported for them


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


def parser_of(command: str) -> _Parser:
    parser = _Parser(command)
    COMMANDS[command](parser)
    return parser


def refuse(who: str, sentence: str) -> NoReturn:
    """End with exit code 2 and a sentence."""
    print(f"{who}: {sentence}", file=sys.stderr, flush=True)
    sys.exit(2)


class _Parser(argparse.ArgumentParser):
    """argparse, but an error is one sentence without the usage, and no option is guessed from its first letters."""

    hands_on = False  # whether what it does not know belongs to another program
    hands_on_rest = False  # whether what follows `--` does, as the list `.rest`
    check: Callable[[argparse.Namespace], None] | None = None  # what concerns more than one option

    def __init__(self, command: str):
        super().__init__(f"python3 tutorial.py {command}", allow_abbrev=False)
        self.command = command
        self.names: list[str] = ["--help"]

    def option(self, name: str, type: Callable | None = None, **settings) -> None:
        self.add_argument(name, **settings, **({"type": _saying(type)} if type else {}))
        self.names += [name] if name.startswith("-") else []

    def error(self, message: str) -> NoReturn:
        refuse(self.command, self._in_words(message.removeprefix("argument ")))

    def _in_words(self, message: str) -> str:
        """What argparse says, with what to do about it."""
        if chosen := re.fullmatch(r"(.*): invalid choice: '(.*)' \(choose from (.*)\)", message, re.DOTALL):
            which, word, known = chosen[1], chosen[2], chosen[3].replace("'", "").split(", ")
            at = "" if which == "action" else f"{which}: "
            return f"{at}{word!r} is none of {', '.join(known)}{wording.meant(word, known)}"
        if message.endswith(": expected one argument"):
            return f"{message.partition(':')[0]} needs a value: see {self.prog} --help"
        if message.startswith("the following arguments are required: "):
            names = message.partition(": ")[2].split(", ")
            helps = {action.metavar: action.help for action in self._get_positional_actions()}
            return "it needs " + ", and ".join(f"{name}, {helps[name]}" for name in names)
        return message

    def read(self, options: list[str]) -> argparse.Namespace:
        if self.hands_on:
            if {"-h", "--help"} & set(options):
                self.print_help()
                self.exit()
            chosen = argparse.Namespace(options=options)
        else:
            rest = []
            if self.hands_on_rest and "--" in options:
                at = options.index("--")
                options, rest = options[:at], options[at + 1 :]
            for word in options:  # before what follows it is taken for something else
                if word.startswith("--") and word.partition("=")[0] not in (*self.names, "--"):
                    self.error(self._unknown(word))
            chosen, unknown = self.parse_known_args(options)
            if unknown:
                self.error(self._unknown(unknown[0], options))
            if self.hands_on_rest:
                chosen.rest = rest
        try:
            if self.check:
                self.check(chosen)
        except (argparse.ArgumentTypeError, *SENTENCES) as error:
            self.error(str(error))
        return chosen

    def _unknown(self, word: str, options: Sequence[str] = ()) -> str:
        if word.startswith("-"):
            name = word.partition("=")[0]
            other = next((each for each in ALSO_CALLED.get(name, ()) if each in self.names), "")
            meant = wording.meant(other or name, self.names)
            return f"there is no option {name}{meant}: the options are {', '.join(self.names)}"
        likely = ("--data", "--model") if Path(word).suffix else ("--model", "--data")
        names = [name for name in likely if name in self.names]
        for name, given, apart in zip(options, options[1:], options[2:], strict=False):
            action = self._option_string_actions.get(name)
            if apart == word and action and action.metavar == "A,B":
                together = wording.quoted(f"{given.rstrip(',')},{word}")
                return f"{word!r} stands apart: {name} takes names with commas and no blanks between, as in {together}"
        hint = f"did you mean {wording.line(names[0], word)}?" if names else f"see {self.prog} --help"
        return f"{word!r} is none of its options: {hint}"


# ---- the commands ----


def _setup(cli: _Parser) -> None:
    cli.description = "Set up the environment in .venv, as every other command does first where it is missing."
    cli.option("--engine", choices=paths.ENGINES, help="what `score --engine` needs, too, in build/engines")


def _run(cli: _Parser) -> None:
    cli.description = "Execute every notebook, and write them as HTML to build/index.html."
    cli.option("--data", type=_table, default="sample", help='"sample" (default), "article", or as in `train`')
    _table_options(cli)

    def check(chosen: argparse.Namespace) -> None:
        _folder(str(BUILD))
        check_replaceable(registry.for_table(chosen.data))

    cli.check = check


def _train(cli: _Parser) -> None:
    cli.description = "Train a model on a table with a yes/no question, and export it to models/."
    cli.option("--data", type=_table, metavar="TABLE", help="a CSV, Excel, Parquet or JSON file, or an address")
    _table_options(cli)
    cli.option("--model", type=registry.new, metavar="NAME", help="a name in models/ (default: that of the table)")
    cli.option("--replace", action="store_true", help="also where the model of another table has that name")
    _beside_option(cli)
    cli.option("--report", type=_page, metavar="FILE", help="write the figures of notebook 02 to this HTML page")

    def check(chosen: argparse.Namespace) -> None:
        if chosen.data is None:
            _wrong("it needs a table: add --data and the file's name")
        _check_named_beside(chosen, "--model", chosen.model, registry.for_table(chosen.data))
        chosen.model = chosen.model or registry.for_table(chosen.data)
        check_replaceable(chosen.model)

    cli.check = check


def _check_named_beside(chosen: argparse.Namespace, option: str, named: Path | None, default: Path) -> None:
    """A model that waits beside another names that: the name of a file may be that of none, and then it answers."""
    if chosen.beside and not named and not is_export(default):
        _wrong(
            f"there is no model {registry.word(default)} that this could wait beside: name it with {option} "
            f"({registry.there_are()}), or leave --beside out"
        )


def _beside_option(cli: _Parser) -> None:
    cli.option(
        "--beside",
        action="store_true",
        help="leave the model of that name in its place, and keep this one as a version beside it",
    )


def _table_options(cli: _Parser) -> None:
    cli.option("--label", type=_text, default="label", help="the column to predict (default: label)")
    _positive_option(cli)
    cli.option(
        "--display-name",
        type=_text,
        metavar="TEXT",
        help='what people call a yes, as in "the probability of leaving us" (default: the name of the label)',
    )
    cli.option("--drop", type=_names, default=(), metavar="A,B", help="columns to leave out")
    cli.option(
        "--as",
        type=_kind,
        action="append",
        default=[],
        dest="treat_as",
        metavar="COLUMN=KIND",
        help="take a column for a number, yes/no or category, as in --as zip=category; may be repeated",
    )


def _positive_option(cli: _Parser) -> None:
    cli.option("--positive", type=_text, metavar="VALUE", help="the value of the label that counts as yes")


def _lab(cli: _Parser) -> None:
    cli.description = "Open JupyterLab on the first notebook, or on the one that is named."
    cli.usage = f"{cli.prog} [NOTEBOOK] [OPTION ...]"
    cli.epilog = "Options go on to `jupyter lab`, for example --port 8889 or --no-browser."
    cli.hands_on = True

    def check(chosen: argparse.Namespace) -> None:
        for word in filter(names_notebook, chosen.options):
            _notebook(word)

    cli.check = check


def _serve(cli: _Parser) -> None:
    cli.description = (
        "Serve an exported model over HTTP, or several, or a model's file, which is exported to models/ first."
    )
    cli.epilog = (
        "A model that is trained or exported again under its name, or rolled back, is taken up within two seconds by a "
        "running service, with no request lost; a version that was chosen with @ stays. Several models answer at "
        "/NAME/predict each. A canary answers the same callers each time: they are told by the header X-Caller-ID, or "
        "else by their address, which behind a proxy is the proxy's for all, so let the proxy set the header."
    )
    cli.option("file", type=_served_file, nargs="?", metavar="FILE", help=f"a model of yours: {MODEL_FILES}")
    cli.option(
        "--host", type=_address, default="127.0.0.1", help="127.0.0.1 (default): this machine only; 0.0.0.0: everyone"
    )
    cli.option("--port", type=_whole(0, 65_535), default=5000, help="default: 5000; 0 takes one that is free")
    cli.option("--workers", type=_whole(1, MOST_WORKERS), default=_cores(), help="processes (default: one per core)")
    cli.option(
        "--model",
        type=registry.choose,
        action="append",
        help="the name of a model in models/, or the path of one (default: games, trained where it is missing); "
        "NAME@VERSION for one of its versions; may be repeated",
    )
    cli.option(
        "--shadow",
        type=_version,
        action="append",
        default=[],
        metavar="NAME@VERSION",
        help="ask this version, too, off the way of the answer, and show in /metrics how far it differs",
    )
    cli.option(
        "--canary",
        type=_canary,
        action="append",
        default=[],
        metavar="NAME@VERSION=PERCENT",
        help="let this version answer a part of the callers, as in games@5f2e=10",
    )
    cli.option("--backend", choices=BACKENDS, help="what runs the model (default: onnx where it goes into that)")
    cli.option("--api-key-file", type=_key_file, metavar="FILE", help="a file with the key that /predict then asks for")
    cli.option(
        "--allow-host",
        type=_host_name,
        action="append",
        default=[],
        metavar="NAME",
        help="a name, beside localhost, under which a service that listens on this machine only is called",
    )
    cli.option(
        "--allow-origin",
        type=_origin,
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
        type=_whole(1, MOST_BODY),
        metavar="MB",
        help="the largest request that is read (default: 1, or more where the model takes more)",
    )
    cli.option("--access-log", action="store_true", help="one JSON line per request on standard output")
    _own_model_options(cli)

    def check(chosen: argparse.Namespace) -> None:
        given = [name for name in OWN_MODEL if getattr(chosen, name.replace("-", "_")) not in (None, (), False)]
        if chosen.file is None and given:
            option = {"imports": "import"}.get(given[0], given[0])
            _wrong(f"--{option} is for a model's file: name the file, as in serve my_model.keras")
        _check_own_model(chosen)
        _check_models(chosen)
        free_port(chosen.host, chosen.port)

    cli.check = check


def _check_models(chosen: argparse.Namespace) -> None:
    """What concerns the models and versions to be served together."""
    if chosen.file is not None:
        if chosen.model or chosen.shadow or chosen.canary:
            _wrong("a model's file is served by itself: export it first to serve it beside a model or a version")
        return
    chosen.models = chosen.model or [registry.Choice(registry.find(str(registry.DEFAULT)))]
    if len(chosen.models) > 1:
        try:
            check_names(choice.directory.name for choice in chosen.models)
        except ValueError as error:
            _wrong(str(error))
    for option, beside in (("--shadow", chosen.shadow), ("--canary", [choice for choice, _ in chosen.canary])):
        for choice in beside:
            _check_beside(option, choice, chosen.models)
            if sum(choice.directory == other.directory for other in beside) > 1:
                _wrong(f"{option} names two versions of {choice.directory.name}: one is possible")


def _check_beside(option: str, beside: registry.Choice, models: list[registry.Choice]) -> None:
    name = beside.directory.name
    main = next((choice for choice in models if choice.directory == beside.directory), None)
    if main is None:
        _wrong(f"{option} {name}@{beside.version} stands beside the model {name}: add --model {name}")
    answers = versions.find(main.directory, main.version) if main.version else versions.versions(main.directory)[0]
    if answers.version == beside.version:
        _wrong(f"{option} {name}@{beside.version} is the version that answers already: name another one")
    other = versions.find(beside.directory, beside.version)
    if reason := versions.other_question(answers.card["signature"], other.card["signature"]):
        _wrong(f"{option} {name}@{beside.version} cannot stand beside {answers.version}: {reason}")


def _export(cli: _Parser) -> None:
    cli.description = "Export a model of yours to models/, with what it takes and answers, as `serve FILE` does."
    cli.option("file", type=_model_file, metavar="FILE", help=MODEL_FILES)
    _own_model_options(cli)
    _beside_option(cli)

    def check(chosen: argparse.Namespace) -> None:
        _check_named_beside(chosen, "--to", chosen.to, registry.for_table(str(chosen.file)))
        _check_own_model(chosen)

    cli.check = check


OWN_MODEL = ("to", "features", "like", "classes", "label", "pixels", "takes", "imports", "weights", "replace")
MODEL_FILES = "a Keras file (.keras, .h5), model.json, the folder of a SavedModel, .onnx or .tflite"


def _own_model_options(cli: _Parser) -> None:
    cli.option("--to", type=registry.new, metavar="NAME", help="a name in models/ (default: that of the file)")
    cli.option("--features", type=_names, default=(), metavar="A,B", help="names of the columns that a row holds")
    cli.option(
        "--like",
        type=_table_file,
        metavar="TABLE",
        help="a table (CSV, Excel, Parquet, JSON) with these columns: tells ranges, and names where none are given",
    )
    cli.option(
        "--classes", type=_classes, default=(), metavar="A,B", help="names of the classes, or a file with one a line"
    )
    cli.option("--label", type=_text, metavar="NAME", help="what is predicted (default: the file's name)")
    scaled = "how the pixels of a picture are scaled (default: as a layer or the model's name tells, else 0..1)"
    cli.option("--pixels", choices=PIXELS, help=scaled)
    cli.option("--takes", choices=TAKES, help="what the model takes, where that is found wrongly")
    own = "a module with your layers, and with the functions of Lambda layers by the names of these"
    cli.option("--import", type=_module, dest="imports", metavar="MODULE", help=own)
    cli.option("--weights", type=_weights_file, metavar="FILE", help="of a model.json (default: found beside it)")
    cli.option(
        "--replace", action="store_true", help="also where another model has that name; forgets what was said of it"
    )


def _check_own_model(chosen: argparse.Namespace) -> None:
    if chosen.file is not None:
        chosen.to = chosen.to or registry.for_table(str(chosen.file))
        check_replaceable(chosen.to)


def _score(cli: _Parser) -> None:
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
    cli.option("--keep", type=_names, default=(), metavar="A,B", help="columns that pass through (default: all)")
    cli.option("--threads", type=_whole(1, MOST_WORKERS), help="how many of them score (default: one per core)")
    cli.option("--strict", action="store_true", help="stop at the first row that cannot be scored")
    cli.option("--engine", choices=paths.ENGINES, help="what scores instead of this process")
    cli.hands_on_rest = True

    def check(chosen: argparse.Namespace) -> None:
        chosen.engine_options = chosen.rest
        if chosen.rest and not chosen.engine:
            _wrong(f"{chosen.rest[0]!r} follows --, where an engine's options stand: name it with --engine")
        if chosen.threads and chosen.engine:
            _wrong("--threads is for this process alone: an engine's options follow --")
        chosen.threads = chosen.threads or _cores()
        paths.files_of(chosen.input)

    cli.check = check


def _models(cli: _Parser) -> None:
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
            _wrong(f"{chosen.action} needs the name of a model: {registry.there_are()}")
        directory, digits = chosen.model
        if digits and chosen.version:
            _wrong("the version is named twice: once is enough")
        chosen.model, chosen.version = directory, versions.chosen(directory, digits or chosen.version, chosen.action)

    cli.check = check


def _gate(cli: _Parser) -> None:
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
        "--golden", type=_golden, default=(), metavar="FILE", help="golden requests, and bounds of their answers"
    )
    cli.option("--data", type=_table, metavar="TABLE", help="the table that the model was trained on")
    cli.option("--label", metavar="NAME", help="its column with the right answers (default: what the model predicts)")
    _positive_option(cli)
    cli.option(
        "--draft", type=_draft, metavar="FILE", help="write golden requests to begin with, from the rows of --data"
    )

    def check(chosen: argparse.Namespace) -> None:
        if not is_export(chosen.model.directory):
            _wrong(f"there is no model {chosen.model.directory.name!r}: {registry.there_are()}")
        if chosen.draft and (chosen.golden or not chosen.data):
            _wrong(
                "--draft takes the rows of --data TABLE, and no --golden; without a table write a few by hand, as in "
                "data/games-golden.json"
            )
        for option, what in (("label", "a column"), ("positive", "a value")):
            if getattr(chosen, option) and not chosen.data:
                _wrong(f"--{option} names {what} of --data TABLE: give that, too")
        if not chosen.golden and not chosen.data:
            _wrong("it needs what to hold the model against: --golden FILE, --data TABLE, or both")

    cli.check = check


def _lambda(cli: _Parser) -> None:
    cli.description = "Pack an exported model and its service into one zip, which AWS Lambda runs as it is."
    _model_option(cli)
    cli.option("--arch", choices=ARCHITECTURES, default="x86_64", help="Lambda's processor (default: x86_64)")
    cli.option("--backend", choices=LAMBDA_BACKENDS, help="what runs the model (default: the first that it has)")
    cli.option("--to", type=_zip, metavar="FILE", help="the zip to write (default: build/MODEL-lambda-ARCH.zip)")

    cli.option("--run", action="store_true", help="also call it on this machine: time to start, to answer, memory")

    def check(chosen: argparse.Namespace) -> None:
        chosen.to = chosen.to or _zip(str(BUILD / f"{chosen.model.name}-lambda-{chosen.arch}.zip"))

    cli.check = check


def _test(cli: _Parser) -> None:
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


def _bench(cli: _Parser) -> None:
    cli.description = "Measure speed, each figure beside its baseline."
    _model_option(cli)
    cli.option("--seconds", type=_seconds, default=3.0, help="of load in each round (default: 3)")
    cli.option("--rounds", type=_whole(1, 1000), default=5, help="of each comparison, and starts (default: 5)")
    cli.option("--epochs", type=_whole(1, 10_000), default=100, help="of training (default: 100)")
    cli.option("--output", type=_folder, default=str(BUILD), metavar="DIR", help="for figures (default: build)")
    cli.option("--publish", action="store_true", help="write the README's table and picture from this run")
    cli.option("--peers", action="store_true", help="beside FastAPI and Fastify, too, installed into build/peers")
    cli.option(
        "--batches",
        type=_whole(100_000, 10**9),
        nargs="?",
        const=10_000_000,
        default=0,
        metavar="ROWS",
        help="also score so many rows (10 M) by each engine, beside polars and DuckDB",
    )


def _doctor(cli: _Parser) -> None:
    cli.description = "Say why a URL does not answer."
    cli.epilog = (
        "Where it answers, but wrongly: the `notes` of the answer name numbers outside of their range, the last line "
        "of the page names the feature that changed most, `gate --golden` two features that are swapped in the model."
    )
    cli.option("url", type=_url, metavar="URL", help="for example http://127.0.0.1:5000/predict")
    cli.option("--timeout", type=_seconds, default=5.0, help="seconds for each step (default: 5)")


def _renew(cli: _Parser) -> None:
    cli.description = "Execute notebooks in place, all of them where none is named, and keep their outputs."
    cli.option("notebooks", nargs="*", type=_notebook, metavar="NOTEBOOK", help="for example notebooks/03_*.ipynb")


def _model_option(cli: _Parser) -> None:
    cli.option(
        "--model",
        type=registry.find,
        default=str(registry.DEFAULT),
        help="the name of a model in models/, or the path of one (default: games, trained where it is missing)",
    )


COMMANDS: dict[str, Callable[[_Parser], None]] = {
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


# ---- values ----
# Each takes a word and returns the value; an error says in one sentence what is wrong with it.

SENTENCES = (ArtifactError, CannotGate, CannotScore, CannotServe, OSError)


def _saying(parse: Callable[[str], object]) -> Callable[[str], object]:
    """`parse` with its errors as argparse wants them."""

    def say(word: str):
        try:
            return parse(word)
        except SENTENCES as error:
            _wrong(str(error))

    return say


def _wrong(sentence: str) -> NoReturn:
    raise argparse.ArgumentTypeError(sentence)


def _text(word: str) -> str:
    return word if word.strip() else _wrong("give it a value")


def _names(word: str) -> tuple[str, ...]:
    """Names with commas between them; one that holds a comma itself stands in quotation marks."""
    names = next(csv.reader([_text(word)], skipinitialspace=True), [])
    return tuple(name.strip() for name in names if name.strip())


def _kind(word: str) -> tuple[str, str]:
    name, equals, kind = word.rpartition("=")
    if not equals or not name or kind not in KINDS:
        _wrong(f"{word!r} is not like zip=category: the kinds are {', '.join(KINDS)}")
    return name, kind


def _model_file(word: str) -> Path:
    """The file of a model, or the folder of a SavedModel."""
    path = Path(os.path.expanduser(_text(word)))
    if path.is_dir():
        if is_export(path):
            _wrong(f"{word} is a model that was exported already: serve it with {wording.line('--model', word)}")
        kind_of(path.resolve())
        return path.resolve()
    file = _on_disk(word, "a model's file (.keras, .h5, .onnx, .tflite)").resolve()
    sentence = "" if file.suffix.lower() == ".json" else registry.no_model(Path(word))  # model.to_json() writes one
    return _wrong(sentence) if sentence else file


def _served_file(word: str) -> Path:
    """A model's file, told by its being there; any other word was meant as the name of a model."""
    path = Path(os.path.expanduser(_text(word)))
    if not path.suffix and not path.is_file() and (not path.is_dir() or is_export(path)):
        _wrong(f"{word!r} is none of its options: did you mean {wording.line('--model', word)}?")
    return _model_file(word)


def _weights_file(word: str) -> Path:
    return _on_disk(word, "a file of weights").resolve()


def _table_file(word: str) -> str:
    file = str(_readable(word, "a table").resolve())
    return _wrong(sentence) if (sentence := registry.no_table(Path(word))) else file


def _classes(word: str) -> tuple[str, ...]:
    """Names in a list, or the lines of a file; Teachable Machine writes a number before each."""
    path = Path(os.path.expanduser(_text(word)))
    if not path.is_file():
        if path.suffix == ".txt":
            _wrong(wording.no_file(word))
        return _names(word)
    try:
        lines = [line.strip() for line in wording.text_in(path).splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        _wrong(f"{word} cannot be read ({error})")
    numbered = [line.partition(" ") for line in lines]
    if all(number == str(i) and name for i, (number, _, name) in enumerate(numbered)):
        lines = [name.strip() for _, _, name in numbered]
    if len(set(lines)) < 2:
        _wrong(f"{word} does not hold the names of classes, one in each line")
    return tuple(lines)


def _module(word: str) -> str:
    name = word.removesuffix(".py")
    return name if all(part.isidentifier() for part in name.split(".")) else _wrong(f"{word!r} is no name of a module")


def _written(word: str, what: str, *endings: str) -> Path:
    """A file that is to be written, which ends as one of its kind does."""
    path = Path(os.path.expanduser(_text(word))).absolute()
    if path.suffix.lower() not in endings:
        _wrong(f"{word} is not the name of a {what}: let it end in {endings[0]}")
    _folder(str(path.parent))
    return path


def _page(word: str) -> Path:
    return _written(word, "page", ".html", ".htm")


def _golden(word: str) -> tuple[golden.Golden, ...]:
    return golden.read(_readable(word, "a file of golden requests"))


def _draft(word: str) -> Path:
    path = _written(word, "file of golden requests", ".json")
    return _wrong(f"{word} is there already: name another file") if path.exists() else path


def _zip(word: str) -> Path:
    path = _written(word, "zip", ".zip")
    return _wrong(f"{word} is a folder") if path.is_dir() else path


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(word: str) -> int:
        try:
            value = int(word)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            _wrong(f"{word!r} is not a whole number from {low} to {high}")
        return value

    return parse


def _seconds(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    return value if 0 < value <= MOST_SECONDS else _wrong(f"{word!r} is not a number of seconds up to {MOST_SECONDS}")


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def _address(word: str) -> str:
    """A host as the address to listen on: IPv4 where a name has both."""
    name = word.strip().removeprefix("[").removesuffix("]")  # as in a URL
    try:
        found = socket.getaddrinfo(_text(name), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        _wrong(f"{word!r} is no address of this machine, as 127.0.0.1, localhost or 0.0.0.0 are")
    return min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0]


def _version(word: str) -> registry.Choice:
    choice = registry.choose(word)
    return choice if choice.version else _wrong(f"{word} is a model: name one of its versions, as in {word}@5f2e")


def _canary(word: str) -> tuple[registry.Choice, float]:
    """A version, and the share of the callers that it answers."""
    name, equals, percent = word.rpartition("=")
    try:
        share = float(percent) / 100
    except ValueError:
        share = math.nan
    if not equals or not 0 < share < 1:
        _wrong(f"{word!r} is not like games@5f2e=10, which lets that version answer 10 % of the callers")
    return _version(name), share


def _host_name(word: str) -> str:
    return _of_callers(word, hosts=[word])


def _origin(word: str) -> str:
    return _of_callers(word, origins=[word])


def _of_callers(word: str, **rule: list[str]) -> str:
    """A word that `Callers` takes as the one rule."""
    try:
        Callers(**rule)
    except ValueError as error:
        _wrong(str(error))
    return word


def _readable(word: str, what: str) -> Path:
    path = Path(os.path.expanduser(_text(word)))
    try:
        if path.is_dir():
            _wrong(f"{word} is a folder, not {what}")
        if not path.exists():
            _wrong(wording.no_file(word))
        if not os.access(path, os.R_OK):
            _wrong(f"{word} cannot be read: you have no right to")
        if path.is_file() and not path.stat().st_size:
            _wrong(f"{word} is empty: give {what}")
    except OSError as error:
        _wrong(f"{word} cannot be read: {error.strerror}")
    return path


def _on_disk(word: str, what: str) -> Path:
    """The same where a pipe would not do, as it is read more than once."""
    path = _readable(word, what)
    if not path.is_file():
        _wrong(f"{word} is a device or a pipe, not a file on the disk")
    return path


def _key_file(word: str) -> Path:
    path = _readable(word, "a file with a key")
    if path.is_file():  # a pipe, as <(command) makes one, can be read only once
        read_key(path)
    return path


def _table(word: str) -> str:
    if word in ("sample", "article"):
        return word
    if "://" in word:
        scheme, host = urlsplit(word)[:2]
        return word if scheme in ("http", "https") and host else _wrong(f"{word} is no http address")
    return _table_file(word)  # the notebooks run in a folder of their own


def _notebook(word: str) -> Path:
    path = _readable(word, "a notebook")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content["cells"], list) and content["nbformat"] >= 4:
            return path
    except (OSError, ValueError, LookupError, TypeError):
        pass
    _wrong(f"{word} is not a notebook")


def _folder(word: str) -> Path:
    """A folder to write to, which need not be there yet."""
    path = Path(os.path.expanduser(_text(word))).absolute()
    there = next(folder for folder in (path, *path.parents) if os.path.lexists(folder))
    if not there.is_dir():
        _wrong(f"{there} is a file, not a folder")
    return path if os.access(there, os.W_OK) else _wrong(f"{there} cannot be written to: you have no right to")


def _url(word: str) -> str:
    from helpers.cloud.doctor import check_url

    problem = check_url(word)
    return _wrong(problem) if problem else word
