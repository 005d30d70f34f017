"""Replaces the folder of an export as a whole: a reader finds the old one or the new one, under the same name.

While an export is under way, there stand beside `models/NAME`: `.NAME.lock`, which lets one export at a time into it,
`.NAME.new-XXXXXXXX`, which is being written, and, where the system cannot exchange two folders in one step, for a
moment `.NAME.old-XXXXXXXX`. What a killed process left of these, the next export clears. The export that is replaced
is kept (`kept`), before another one takes its place. Imports the standard library only, as the launcher needs this
module before anything is installed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from helpers.export import served
from helpers.export.errors import ArtifactError
from helpers.export.kept import BEFORE, BESIDE, CARD, is_same_model, keep, kept, prune, remove, version_of

CLUTTER = {".DS_Store", ".ipynb_checkpoints", "Thumbs.db", "desktop.ini"}  # what systems and Jupyter leave anywhere


# ---- reading ----


def read_bytes(directory: Path, file: str, limit: int | None = None) -> bytes:
    """The content of a file of the export in `directory`, also while the folder is being replaced; OSError.

    A pipe or a device, whose content may never end, is no file: OSError. ValueError beyond `limit` bytes.
    """
    for _ in range(3):  # between the look and the reading, the folder may have been exchanged, and the old one removed
        try:
            path = _located(directory) / file
            if not stat.S_ISREG(path.stat().st_mode):  # asked once: between two looks it may be gone
                raise OSError(errno.EINVAL, "it is no file")
            with path.open("rb") as opened:
                size = os.fstat(opened.fileno()).st_size
                if limit is not None and size > limit:
                    raise ValueError(f"has {size:,} bytes")
                return opened.read()
        except FileNotFoundError as error:
            missing = error
    raise missing


def identity(directory: Path) -> tuple:
    """What is another after each export to `directory`, even one of the same card; () where there is no export."""
    located = _located(directory)
    try:
        stats = [path.stat() for path in (located, located / CARD)]
    except OSError:
        return ()
    return tuple((stat.st_ino, stat.st_ctime_ns, stat.st_mtime_ns) for stat in stats)


def is_export(directory: Path) -> bool:
    """Whether `directory` was written by an export of this project: its card is one of ours."""
    return card_of(directory) is not None


def check_replaceable(directory: Path) -> None:
    """Raise `ArtifactError` where an export cannot take the place of `directory`.

    That is where it holds anything that this project did not write, and where there is no right to write beside it.
    """
    beside = next(folder for folder in directory.resolve().parents if folder.exists())
    if not os.access(beside, os.W_OK):
        raise ArtifactError(
            f"the model cannot be written to {directory.name}/: make {beside}/ writable, or name another folder"
        )
    if not directory.is_dir():
        if os.path.lexists(directory):
            raise ArtifactError(f"{directory.name} is a file: give the name of a folder")
        return
    card = card_of(directory)
    ours = {CARD, *(file.partition("/")[0] for file in card["files"])} if card else set()
    foreign = sorted({path.name for path in directory.iterdir()} - CLUTTER - ours)
    if foreign:
        raise ArtifactError(
            f"{directory.name}/ holds other files ({', '.join(foreign[:3])}), which no export of this project wrote: "
            "give the model a folder of its own"
        )


def card_of(directory: Path) -> dict | None:
    """The card of an export of ours, or None; `card.read_card` says what is wrong with one."""
    try:
        card = json.loads(read_bytes(directory, CARD))
        takes = card["signature"].get("features") or card["signature"]["inputs"]
        are_files = all(isinstance(entry, dict) for entry in card["files"].values())
        return card if are_files and takes else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _located(directory: Path) -> Path:
    """`directory`, or what an export that was killed between two renames has put aside in its place."""
    if not directory.exists():
        for aside in _left(directory.resolve(), "old"):
            if (aside / CARD).exists():
                return aside
    return directory


def _left(directory: Path, kind: str) -> list[Path]:
    """The folders `.NAME.KIND-XXXXXXXX` beside `directory`, whose parent need not exist."""
    pattern = re.compile(rf"\.{re.escape(directory.name)}\.{kind}-[0-9a-f]{{8}}")
    with contextlib.suppress(OSError):
        return [path for path in directory.parent.iterdir() if pattern.fullmatch(path.name)]
    return []


# ---- writing ----


@contextlib.contextmanager
def replacing(directory: Path, beside: bool = False) -> Iterator[Path]:
    """An empty folder to write to, which takes the place of `directory` when the block ends without an error.

    What was there before is kept as a version of it. beside: keep what is written as a version instead, and leave what
    is there in its place. Waits where another process is writing to the same `directory`. A block that fails, or a
    process that is killed, leaves what was there before. Raises `ArtifactError` where the folder cannot be written,
    also from within the block, and where `directory` holds anything but an export by then.
    """
    try:
        directory = directory.resolve()
        directory.parent.mkdir(parents=True, exist_ok=True)
        scratch = directory.with_name(f".{directory.name}.new-{secrets.token_hex(4)}")
        with _locked(directory):
            _clear(directory)
            try:
                scratch.mkdir()
                yield scratch
                check_replaceable(directory)
                _put(scratch, directory, beside)
            finally:
                remove(scratch)
    except OSError as error:
        reason = f"the model cannot be written to {directory.name}/ ({error.strerror or error})"
        todo = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "make the folder writable"
        raise ArtifactError(f"{reason}: {todo}, or name another") from error


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    path = directory.with_name(f".{directory.name}.lock")
    path.touch()  # where that fails, FileLock would wait for ever
    lock = FileLock(path)  # the system's own lock: it ends with the process, however that ends
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print(f"Another process is exporting to {directory.name}/: waiting for it.", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes it itself
            path.unlink()  # while it is held: who waits for it notices, and takes a new one
        lock.release()


def _clear(directory: Path) -> None:
    """Put right and remove what exports left that were killed; no other one is under way."""
    put_aside = _left(directory, "old")
    if not directory.exists() and put_aside:
        os.replace(put_aside[0], directory)
    for path in (*_left(directory, "old"), *_left(directory, "new")):
        remove(path)


def _put(scratch: Path, directory: Path, beside: bool) -> None:
    """Put the export in `scratch` in its place, and keep the one that was there."""
    new, old = card_of(scratch), card_of(directory)
    if beside and new and old:
        if version_of(new) != version_of(old):
            keep(scratch, directory, version_of(new), BESIDE)
        new = old
    else:
        # a model that is exported again, in other formats, takes its own place; a version that is put back does not
        is_put_back = bool(new) and version_of(new) in {each.version for each in kept(directory)}
        if old and (is_put_back or not (new and is_same_model(old, new))):
            keep(directory, directory, version_of(old), BEFORE)
        _swap(scratch, directory)
    prune(directory, version_of(new) if new else None, served.pinned(directory))


def _swap(scratch: Path, directory: Path) -> None:
    """Put `scratch` in the place of `directory` and remove what was there; where that fails, it is there again."""
    if not directory.exists():
        os.replace(scratch, directory)
    elif _exchange(scratch, directory):
        remove(scratch)
    else:
        aside = scratch.with_name(scratch.name.replace(".new-", ".old-"))
        os.replace(directory, aside)
        try:
            os.replace(scratch, directory)
        except OSError:
            os.replace(aside, directory)
            raise
        remove(aside)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step, as Linux and macOS can on most file systems; False where that fails."""
    paths = os.fsencode(one), os.fsencode(other)
    try:
        if sys.platform == "linux":
            at_cwd, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of <linux/fs.h>
            return ctypes.CDLL(None).renameat2(at_cwd, paths[0], at_cwd, paths[1], exchange) == 0
        if sys.platform == "darwin":
            swap = 2  # RENAME_SWAP of <sys/stdio.h>
            return ctypes.CDLL(None).renamex_np(*paths, swap) == 0
    except AttributeError:  # a C library without the call
        pass
    return False
