"""A file that is there whole or not at all, whatever interrupts its writing, and whoever writes it at the same time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def becoming(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """A new, empty file beside `path`, in whose place it is put once the block is done; a block that fails leaves none.

    mode: the rights to it, less those that the process's umask takes away. Raises OSError where the folder takes no
    file, before the block begins.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)  # of a process that had this number and was killed
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
