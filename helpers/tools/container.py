"""What the container runs: `tutorial.py serve` as it holds there, on every address, for the model in one folder.

In come the words of `docker run IMAGE [serve] --strict`, of which `serve` may be left out; `serve` is run with them
after the settings that are right in a container, so that each word can overrule its setting.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from helpers.export import registry, served
from helpers.export.card import image_for, not_run
from helpers.export.errors import ArtifactError
from helpers.export.folder import card_of
from helpers.export.kept import CARD
from helpers.serving import serve_command
from helpers.tools import command_line, option_parser

MODEL = "/opt/ml/model"  # baked into the image or mounted; SageMaker puts a model there
# Under these names platforms say where they will ask, and how much at once; 25 MB is what SageMaker's endpoints send.
PORT = os.environ.get("AIP_HTTP_PORT") or os.environ.get("PORT") or "8080"
MAX_BODY = os.environ.get("SAGEMAKER_MAX_PAYLOAD_IN_MB") or os.environ.get("MAX_BODY_MB") or "25"
INSIDE = "This address is the container's own: outside, ask the one that --publish names, as in --publish 5000:8080."
WORKERS = os.environ.get("WORKERS", "2")  # not one per core: a container sees all those of its machine


def main(words: list[str]) -> int:
    """Serve until SIGTERM; returns the exit code."""
    if words[:1] == ["--health"]:
        return health(*words[1:])
    if words[:1] == ["--take-in"]:  # what the Containerfile asks as it puts a model in
        return take_in(check_model(["--model", MODEL]))
    words = words[1:] if words[:1] == ["serve"] else words
    options = ["--host", "0.0.0.0", "--port", PORT, "--workers", WORKERS, "--model", MODEL]
    options += ["--max-body", MAX_BODY, *words]
    if not {"-h", "--help"} & set(words):
        options += check_model(options)
    return serve_command.main(command_line.parse(["serve", *options]), INSIDE)


def check_model(options: list[str]) -> list[str]:
    """SystemExit 2 with a sentence where there is no model that runs here; `serve` would advise to train or export one.

    Returns the options that the model needs.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--model", nargs="?", const=MODEL)
    parser.add_argument("--backend", nargs="?")
    chosen = parser.parse_known_args(options)[0]
    model = chosen.model
    try:
        folder = registry.find(model)
    except registry.UnknownModel:
        who = f" that user {os.getuid()} can read" if os.path.exists(model) else ""
        option_parser.refuse(
            "serve",
            f"{model} holds no exported model{who}: mount the folder of one there, "
            f"as in --volume ./models/games:{MODEL}:ro",
        )
    here = runnable()
    card = {"formats": [*here], **(card_of(folder) or {})}
    if sentence := not_run(card, here, f"build the image with --build-arg BACKEND={image_for(card['formats'])}"):
        option_parser.refuse("serve", f"{model} {sentence}")
    runs = next(here[name] for name in here if name in card["formats"])
    return [] if chosen.backend or runs == "onnx" else ["--backend", runs]


def runnable() -> dict[str, str]:
    """The formats of models for which this image holds what runs them, and that, the best of them first."""
    from helpers.export.predictors import BACKEND_OF, BACKENDS

    return {
        name: backend for name, backend in BACKEND_OF.items() if find_spec(BACKENDS[backend].package.replace("-", "_"))
    }


def take_in(options: list[str]) -> int:
    """0 where the model answers a row, and SystemExit 2 with a sentence where it does not.

    The files that nothing here reads are left out. options: those that the model needs.
    """
    from helpers.export.predictors import BACKENDS, load_predictor

    try:
        load_predictor(MODEL, *options[1:]).close()
    except ArtifactError as error:
        option_parser.refuse("serve", str(error))
    read = {CARD, *(BACKENDS[backend].file for backend in runnable().values())}
    for path in Path(MODEL).iterdir():
        if path.name not in read:
            (shutil.rmtree if path.is_dir() else Path.unlink)(path)
    return 0


def health(path: str = "/health/ready") -> int:
    """0 where the service in this container answers that it is ready, or what else `path` asks, else 1."""
    try:
        served.ask(f"http://127.0.0.1:{PORT}{path}", seconds=4)
    except OSError as error:
        print(f"{path}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
