"""Shared code of the tutorial notebooks: one room per stage of the route, one module per concept.

A room imports from the rooms below it only: tools, cloud, batch, serving, export, figures, model, data. Whatever a
command, a notebook or a test of this project runs imports this first, so what holds for all of them stands here.
"""

import atexit
import gc
import io
import os
import sys
from pathlib import Path

#: Root of the repository: the folder that holds `notebooks/`, `data/` and `models/`.
PROJECT = Path(__file__).resolve().parent.parent

# ONNX Runtime 1.32 reads this when it is imported, in this process or one that it starts. Without it, it writes a
# device id and a database to the user's cache folder, for the telemetry that it can send to its maker.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# Keras and what works with it make a million objects that all stay. By its default Python looks for garbage among them
# a thousand times while they are made and once more at the end: a third of what a command takes to start and to end.
gc.set_threshold(10_000)
atexit.register(gc.freeze)


def _let_every_text_out() -> None:
    """Whatever there is to say, no stream is a reason to end.

    A stream that was closed before the start (`2>&-`) leads nowhere: the next file to be opened would take its number,
    and get what libraries write to their standard error. And what the encoding of the output has no sign for, of a
    table in another language or a file's name that is no UTF-8, is told by its escape, as on standard error.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            stream = open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8")
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)
    if isinstance(sys.stdout, io.TextIOWrapper):  # Jupyter's is none
        sys.stdout.reconfigure(errors="backslashreplace")


_let_every_text_out()

PROXIES = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
PROXIED = "KERAS_FLASK_TUTORIAL_PROXY"


def _call_this_machine_directly() -> str:
    """No call to this machine takes a proxy, neither of this process (requests, urllib) nor of one it starts (curl).

    Returns the variable that names a proxy where nothing had exempted this machine: terminals have it still. A small
    letter variable goes before its capitals, so both are set. `PROXIED` tells the processes that this one starts.
    """
    named = next((name for name in PROXIES if os.environ.get(name)), "")
    exempt = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    missing = set(THIS_MACHINE) - set(exempt.replace(" ", "").split(","))
    if not named or exempt.strip() == "*" or not missing:
        return os.environ.get(PROXIED, "")
    hosts = ",".join([*filter(None, [exempt]), *sorted(missing)])
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = hosts
    os.environ[PROXIED] = named
    return named


def proxy_for(scheme: str, host: str) -> str:
    """The variable that sends what asks `host` by "http" or "https" to a proxy, or ""."""
    import urllib.request  # an eighth of the time in which a command starts

    if urllib.request.proxy_bypass(host):
        return ""
    names = (f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY")
    return next((name for name in names if os.environ.get(name)), "")


#: The variable that sends calls to this machine through a proxy wherever this project is not imported; "" for none.
PROXY = _call_this_machine_directly()
#: What to type into a terminal, where `PROXY` names a variable, before curl calls this machine from there.
BYPASS_PROXY = f"export NO_PROXY={','.join(THIS_MACHINE)}"
