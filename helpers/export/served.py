"""Which services answer from an export right now: a small file for each, in `.NAME.served/` beside it.

A service holds the system's own lock on its entry for as long as it lives, however it ends: an entry whose lock is free
is of a service that is gone, and whoever finds it removes it. Imports the standard library only until it locks.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import urllib.request


CALLED_BY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # what a service listens on, and what this machine asks for it


class Service(NamedTuple):
    """A running `serve`: its process, where it listens, and what each version does that it was told to hold on to."""

    pid: int
    host: str
    port: int
    pinned: Mapping[str, str]

    @property
    def url(self) -> str:
        """Where this machine reaches it."""
        return url_of(self.host, self.port)

    @property
    def held(self) -> str | None:
        """The version that it answers with whatever is put in its place; None where it follows."""
        return next((version for version, role in self.pinned.items() if role == "model"), None)


def url_of(host: str, port: int) -> str:
    """Where this machine reaches what listens on a host and port; every address includes its own."""
    return f"http://{pair(CALLED_BY.get(host, host), port)}"


def pair(host: str, port: int) -> str:
    """Host and port as a URL has them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def ask(url: str, seconds: float) -> bytes:
    """What a service of this machine answers, asked without a proxy; OSError where it does not, or refuses."""
    with open_directly(url, seconds) as answer:
        return answer.read()


def open_directly(request: str | urllib.request.Request, seconds: float):
    """The open answer to a request, which takes no proxy; raises what `urllib.request.urlopen` does."""
    import urllib.request  # an eighth of the time in which a command starts, and few ask a service

    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=seconds)


@contextlib.contextmanager
def recorded(directory: Path, host: str, port: int, pinned: Mapping[str, str] | None = None) -> Iterator[None]:
    """Let it be known, within the block, that this process serves the export in `directory`.

    pinned: versions of it that the service was told to hold on to, and what each does ("model", "shadow", "canary").
    Where the folder beside it cannot be written to, as in a container, the service goes on without being known.
    """
    from filelock import FileLock

    entry = _entries(directory) / f"{os.getpid()}-{port}.json"
    lock = FileLock(entry.with_suffix(".lock"))
    try:
        entry.parent.mkdir(exist_ok=True)
        lock.acquire(blocking=False)
        part = entry.with_suffix(".part")
        part.write_text(json.dumps({"pid": os.getpid(), "host": host, "port": port, "pinned": dict(pinned or {})}))
        os.replace(part, entry)
    except OSError:
        yield
        return
    try:
        yield
    finally:
        _remove(entry)
        lock.release()


def services(directory: Path) -> list[Service]:
    """The services that answer from the export in `directory`, by their ports."""
    from filelock import FileLock, Timeout

    found = []
    for entry in sorted(_entries(directory).glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            lock = FileLock(entry.with_suffix(".lock"))
            try:
                lock.acquire(blocking=False)
            except Timeout:
                found.append(Service(**json.loads(entry.read_text())))
            except OSError:  # another user's lock, which this one may not ask for: whether it lives its process tells
                service = Service(**json.loads(entry.read_text()))
                found += [service] if _is_there(service.pid) else []
            else:
                _remove(entry)
                lock.release()
    return sorted(found, key=lambda service: service.port)


def holder(port: int, directories: Iterable[Path]) -> tuple[Path, Service] | None:
    """The service that has a port, and the export that it answers from, as entries tell whose process there is.

    Asks for no lock, as nothing may be installed yet; so it is for a port that is known to be taken.
    """
    for directory in directories:
        for entry in _entries(directory).glob(f"*-{port}.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                service = Service(**json.loads(entry.read_text()))
                if _is_there(service.pid):
                    return directory, service
    return None


def _is_there(pid: int) -> bool:
    if os.name != "posix":
        return True  # a signal of 0 would end it
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def pinned(directory: Path) -> set[str]:
    """The versions that running services hold on to."""
    return {version for service in services(directory) for version in service.pinned}


def _entries(directory: Path) -> Path:
    directory = directory.resolve()
    return directory.with_name(f".{directory.name}.served")


def _remove(entry: Path) -> None:
    for path in (entry, entry.with_suffix(".part"), entry.with_suffix(".lock")):
        with contextlib.suppress(OSError):
            path.unlink()
    with contextlib.suppress(OSError):
        entry.parent.rmdir()
