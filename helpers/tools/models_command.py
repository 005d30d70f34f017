"""`tutorial.py models`: which models and versions there are, and another version in the place of the current one.

Checked options come in; a table goes out, with what each version reports of itself, and which of them a running
`serve` says that it answers with. A server in a notebook holds the model that its cell loaded, and no folder says so.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from helpers.export import registry, served, versions
from helpers.export.card import measured
from helpers.export.errors import ArtifactError
from helpers.export.versions import Version

SECONDS = 2  # for which a service is asked what it answers with


def main(chosen: argparse.Namespace) -> int:
    """List, roll back or promote; returns the exit code."""
    if chosen.action is None:
        print(listing())
        return 0
    put = {"rollback": versions.rollback, "promote": versions.promote}[chosen.action]
    there = versions.versions(chosen.model)
    answering = [(each, _answering(each.url, chosen.model.name)) for each in served.services(chosen.model)]
    try:
        now = put(chosen.model, chosen.version.version)
    except ArtifactError as error:
        print(f"models: {error}", file=sys.stderr)
        return 1
    name = registry.shown(chosen.model)
    print(f"{name} is {now.version} of {_time(now)} now, in the place of {there[0].version} of {_time(there[0])}")
    if reason := versions.other_question(there[0].card["signature"], now.card["signature"]):
        print(f"it cannot answer the callers of the one before: {reason}")
    for service, version in answering:
        its = next((each for each in there if each.version == version), there[0])
        print(f"{service.url} {_becomes(service, its, now)}")
    if gone := registry.no_longer_kept(chosen.model, there):
        print(gone)
    print(f"back again: {registry.line('models', 'rollback', registry.word(chosen.model))}")
    return 0


def _becomes(service: served.Service, its: Version, now: Version) -> str:
    """What becomes of a running service that answers with the version `its` when another one is put in place."""
    if service.held:
        return f"goes on with {service.held}, which it was started with"
    if its.version == now.version:  # it could not take up the one that was there, which is asked otherwise
        return "answers with it already"
    reason = versions.other_question(its.card["signature"], now.card["signature"])
    return f"goes on with {its.version}, as {reason}: start it again" if reason else "takes it up by itself"


def listing() -> str:
    """A line for each version of each model in `models/`."""
    rows = []
    for name in registry.names():
        directory = registry.MODELS / name
        uses = _uses(directory)
        for place, version in enumerate(versions.versions(directory)):
            rows.append(["" if place else name, *_described(version), "; ".join(uses.get(version.version, ()))])
    if not rows:
        return f"there is no model: {registry.there_are()}"
    header = ["model", "version", "", "exported (UTC)", "reports", "size", "served by `serve`"]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in (header, *rows)]
    return "\n".join(line.rstrip() for line in lines)


def _described(version: Version) -> list[str]:
    size = sum(entry["bytes"] for entry in version.card["files"].values())
    return [version.version, version.place, _time(version), _reported(measured(version.card)), _bytes(size)]


def _reported(metrics: dict) -> str:
    """The AUC, or else the first number that the model's card holds of how good it is."""
    if "test_auc" in metrics:
        return f"AUC {metrics['test_auc']:.3f}"
    numbers = [(key, value) for key, value in metrics.items() if isinstance(value, float)]
    return f"{numbers[0][0]} {numbers[0][1]:.3g}" if numbers else "-"


def _bytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.0f} kB"


def _time(version: Version) -> str:
    return str(version.card.get("created", "?"))[:16].replace("T", " ")


def _uses(directory: Path) -> dict[str, list[str]]:
    """For each version the services that use it now: those that answer with it, as they say themselves, and others."""
    uses: dict[str, list[str]] = {}
    for service in served.services(directory):
        where = f"{service.url} (process {service.pid})"
        answering = _answering(service.url, directory.name)
        if answering is None:
            uses.setdefault(versions.versions(directory)[0].version, []).append(f"{where}, which does not answer")
        else:
            uses.setdefault(answering, []).append(where)
        for version, role in service.pinned.items():
            if role != "model" and version != answering:  # a canary that was promoted is none any more
                uses.setdefault(version, []).append(f"{role} of {where}")
    return uses


def _answering(url: str, name: str) -> str | None:
    """The version with which the service at `url` answers for the model `name`, asked of it."""
    try:
        said = json.loads(served.ask(f"{url}/health/ready", SECONDS))
    except (OSError, ValueError):
        return None
    return said.get("models", {}).get(name) or said.get("model")
