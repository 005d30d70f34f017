"""Under which part of an address each of several models is called. Imports the standard library only, as the launcher
checks this before anything is installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

RESERVED = {"health", "metrics", "static"}  # what the service itself answers under
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]*", re.ASCII)


def check_names(names: Iterable[str]) -> None:
    """ValueError where several models cannot be called by these names, each under its own."""
    seen = set()
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"/{name} is no address: beside others a model is named in letters a-z, digits and -._~ only, so "
                "serve it alone, or make it again under such a name (`train --model NAME`, `export --to NAME`)"
            )
        if name in RESERVED:
            raise ValueError(f"/{name} is the service's own: beside others a model needs another name")
        if name in seen:
            raise ValueError(
                f"two models would answer at /{name}: give one of them another name, or serve it by itself"
            )
        seen.add(name)
