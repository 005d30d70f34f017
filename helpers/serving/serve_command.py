"""`tutorial.py serve`: what stands around the workers of `production`, from the options to the exit code.

Checked options come in. The model is exported first where that is allowed and needed, "Serving ..." is printed when the
first worker answers, and whatever keeps it from answering is one sentence and exit code 2. Imports the standard library
only until it serves, as the launcher takes its checks from here before anything is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import functools
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from helpers import BYPASS_PROXY, PROJECT, PROXY
from helpers.export import registry, served
from helpers.export.errors import ArtifactError
from helpers.export.folder import card_of
from helpers.export.kept import is_kept
from helpers.export.registry import Choice
from helpers.serving import access_log
from helpers.serving.callers import Callers, is_loopback
from helpers.serving.framing import HEADER_BYTES
from helpers.serving.stand_in import starting
from helpers.serving.supervisor import CannotServe
from helpers.wording import listed, quoted, text_in

# Of the "bad ports" of the Fetch standard those that need no rights to listen on, and that Chromium refuses, too.
NOT_FOR_BROWSERS = {1719, 1720, 1723, 2049, 3659, 4045, 5060, 5061, 6000, 6566, *range(6665, 6670), 6697, 10080}

REFUSED = 2  # exit code of a command that has said why it does nothing

if TYPE_CHECKING:
    from helpers.serving.production import Served


def main(chosen: argparse.Namespace, remark: str = "") -> int:
    """Serve until SIGTERM or Ctrl+C; returns the exit code. remark: on the address, a line behind "Serving ..."."""
    try:
        key = read_key(chosen.api_key_file) if chosen.api_key_file else None
        listener = listen(chosen.host, chosen.port)
    except CannotServe as error:
        return _failure(error)
    with listener, access_log.to_stdout(chosen.access_log) as log:
        return _serve(chosen, key, listener, log, remark)


def _serve(
    chosen: argparse.Namespace, key: str | None, listener: socket.socket, log: TextIO | None, remark: str
) -> int:
    hosts = tuple(chosen.allow_host) if is_loopback(chosen.host) else None
    callers = Callers(hosts, chosen.allow_origin)
    try:
        with starting(listener, callers, log) as answered:
            if chosen.file is not None:
                export_own(chosen)
                chosen.models = [Choice(chosen.to)]
            models = _served(chosen)
            for choice in filter(None, (choice for each in models for choice in (each.main, each.shadow, each.canary))):
                ensure_exported(choice.folder, *filter(None, [chosen.backend]))
                _check_files(choice.folder)
            cards = [card_of(each.main.folder) or {} for each in models]
            models = tuple(
                replace(each, signature=card.get("signature")) for each, card in zip(models, cards, strict=True)
            )
    except (CannotServe, ArtifactError) as error:
        return _failure(error)

    from helpers.serving import production

    port = listener.getsockname()[1]
    options = production.Options(
        models,
        chosen.backend,
        key,
        hosts,
        tuple(chosen.allow_origin),
        chosen.strict,
        chosen.unseen,
        chosen.max_body * 2**20 if chosen.max_body else None,
        (chosen.imports, chosen.file.parent if chosen.file else Path.cwd()) if chosen.imports else None,
    )
    load = functools.partial(production.worker_app, options)
    announce = functools.partial(_announce, chosen, models, port, remark)
    with contextlib.ExitStack() as stack:
        for each in models:
            stack.enter_context(served.recorded(each.main.directory, chosen.host, port, each.pinned))
        names = [each.name for each in models]
        return production.supervise(listener, chosen.workers, load, announce, callers, names, log, answered)


def _served(chosen: argparse.Namespace) -> tuple[Served, ...]:
    """The models that the options name, each with the versions that they put beside it."""
    from helpers.serving.production import Served

    shadows = {choice.directory: choice for choice in chosen.shadow}
    canaries = {choice.directory: (choice, share) for choice, share in chosen.canary}
    return tuple(
        Served(choice.directory.name, choice, shadows.get(choice.directory), *canaries.get(choice.directory, ()))
        for choice in chosen.models
    )


def _failure(sentence) -> int:
    if str(sentence):  # else the process that was to export has said why
        print(f"serve: {sentence}", file=sys.stderr, flush=True)
    return REFUSED


# ---- what the options name ----


def read_key(path: Path) -> str:
    """The API key in a file; `CannotServe` where there is none."""
    try:
        key = text_in(path, HEADER_BYTES).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CannotServe(f"the API key file {path} cannot be read ({error})") from error
    if not key:
        raise CannotServe(f"the API key file {path} is empty: write the key into it")
    if not (key.isascii() and key.isprintable()):
        raise CannotServe(f"the key in {path} holds characters that a header cannot carry: use those of ASCII")
    return key


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on an address, on a port that is free where `port` is 0; `CannotServe` where that fails."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        known = (registry.MODELS / name for name in registry.names())
        if error.errno == errno.EADDRINUSE and (there := served.holder(port, known)):
            raise CannotServe(
                f"cannot listen on {served.pair(host, port)}: `serve` answers there with {registry.shown(there[0])} "
                f"already (process {there[1].pid}, which takes up a newer one by itself); end that, or try another "
                "--port (0 takes one that is free)"
            ) from error
        if error.errno == errno.EADDRNOTAVAIL:
            raise CannotServe(
                f"cannot listen on {host}, which is no address of this machine: try another --host, 0.0.0.0 for all"
            ) from error
        raise CannotServe(
            f"cannot listen on {served.pair(host, port)} ({error.strerror.partition(' (while')[0]}): "
            "try another --port (0 takes one that is free) or --host"
        ) from error


def free_port(host: str, port: int) -> int:
    """`port` where an address can listen on it, one that is free where it is 0; `CannotServe` where that fails."""
    with listen(host, port) as probe:
        return probe.getsockname()[1]


def ensure_exported(model: Path, *backends: str) -> None:
    """Export where the folder lacks a file for one of `backends`: notebook 02, for one, leaves the Keras file alone.

    None is named: that for ONNX Runtime, where there is a Keras file to make it of. Happens in a process of its own, so
    that this one never holds TensorFlow, and ends with this one. The model of the sample is trained first where there
    is none. Raises `CannotServe` where it fails.
    """
    from helpers.export.card import read_card
    from helpers.export.errors import PredictorError
    from helpers.export.folder import is_export
    from helpers.export.predictors import BACKENDS

    if is_export(model):
        try:
            card = read_card(model)
        except PredictorError as error:
            raise CannotServe(error) from error
        known = {*card["files"], *(entry["file"] for entry in card.get("not_exported", {}).values())}
        missing = sorted({BACKENDS[backend].file for backend in backends or ("onnx",)} - known)
        has_keras = BACKENDS["keras"].file in card["files"]
        if not missing or not (backends or has_keras):
            return
        if not has_keras:
            raise CannotServe(
                f"{registry.shown(model)} holds {', '.join(sorted(card['files']))} alone, of which no "
                f"{', '.join(missing)} can be made: leave --backend out"
            )
        if is_kept(model):
            version = model.name.rpartition("-")[2]
            raise CannotServe(
                f"the version {version} was exported without {', '.join(missing)}: name another --backend"
            )
        print(f"{registry.shown(model)} has no {', '.join(missing)} yet: exporting it (some seconds).", flush=True)
    else:
        others = _others([model])
        print(
            f"{registry.shown(model)} is not there yet: training it on the sample and exporting it (half a minute)."
            + (f" Other models here: {others}." if others else ""),
            flush=True,
        )
    command = [sys.executable, "-m", "helpers.export.pipeline", str(model.resolve())]
    code, reason = _in_a_process(command, cwd=PROJECT, stdout=subprocess.PIPE)
    if code:
        raise CannotServe(reason or f"the model could not be exported to {model}, see above")


def _in_a_process(command: list[str], **options) -> tuple[int, str]:
    """Run a command that ends with this process; its exit code, and what it wrote where that goes to a pipe."""
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    process = None
    try:
        process = subprocess.Popen(command, text=True, **options)
        said = (process.communicate()[0] or "").strip()
    finally:
        signal.signal(signal.SIGTERM, previous)
        if process and process.poll() is None:
            process.kill()
            process.wait()
    return process.returncode, said


def export_own(chosen: argparse.Namespace) -> None:
    """Export the model's file that is named, in a process of its own, which prints what it finds. `CannotServe`."""
    command = [sys.executable, "-m", "helpers.tools.export_command", str(chosen.file), "--to", str(chosen.to)]
    for name in ("like", "label", "pixels", "takes", "weights"):
        command += [f"--{name}={getattr(chosen, name)}"] if getattr(chosen, name) else []
    command += [f"--features={','.join(chosen.features)}"] if chosen.features else []
    command += [f"--classes={','.join(chosen.classes)}"] if chosen.classes else []
    command += [f"--import={chosen.imports}"] if chosen.imports else []
    command += ["--replace"] if chosen.replace else []
    code = _in_a_process(command, cwd=None)[0]
    if code:
        raise CannotServe("" if code == REFUSED else f"{chosen.file.name} is not served, see above")


def _check_files(model: Path) -> None:
    """`CannotServe` where a file in the folder is not the one that its card describes.

    A Keras file that somebody put in the place of the exported one would else be passed over for the ONNX file of the
    model before it.
    """
    from helpers.export.card import read_artifact, read_card
    from helpers.export.errors import PredictorError

    try:
        card = read_card(model)
        for file in card["files"]:
            if (model / file).exists():  # a service needs no more than the card and one artifact
                read_artifact(model, file, card)
    except PredictorError as error:
        raise CannotServe(error) from error


def _others(models: list[Path]) -> str:
    """The models that could be served as well, as options to copy."""
    names = [name for name in registry.names() if registry.MODELS / name not in models]
    return listed((f"--model {quoted(name)}" for name in names), 6)


# ---- what is said ----


def _announce(chosen: argparse.Namespace, models: tuple[Served, ...], port: int, remark: str) -> None:
    workers = f"{chosen.workers} worker{'s' if chosen.workers > 1 else ''}"
    names, others = ", ".join(str(each.main) for each in models), _others([each.main.directory for each in models])
    lines = [f"Serving {names} on {served.url_of(chosen.host, port)} with {workers}. Ctrl+C stops it."]
    lines += [remark] if remark else []
    for each in models:
        lines += [f"{each.canary} answers {100 * each.share:g} % of the callers."] if each.canary else []
        lines += [f"{each.shadow} is asked, too: /metrics shows how far it differs."] if each.shadow else []
    if not is_loopback(chosen.host):
        key = "with the API key" if chosen.api_key_file else "without a key"
        lines.append(f"Listening on {chosen.host}: whoever reaches port {port} can ask it, {key}.")
    if port in NOT_FOR_BROWSERS:
        lines.append(f"Browsers and JavaScript's fetch open nothing on port {port}: for them take another --port.")
    if PROXY:
        lines.append(f"{PROXY} would send curl or Python to a proxy: in its terminal type `{BYPASS_PROXY}` first.")
    if others:
        lines.append(f"Other models here: {others}.")
    with contextlib.suppress(OSError):  # nobody reads it, or its disk is full: what is asked is answered all the same
        print("\n".join(lines), flush=True)
