"""The parts of one table in a folder, as Spark and Dask write them.

Imports the standard library only, as the launcher needs this module before anything is installed.
"""

from __future__ import annotations

from pathlib import Path


def parquet_parts(folder: Path) -> list[Path]:
    """The files of a folder that holds nothing but Parquet, by their names; none where it is no such folder."""
    parts: list[Path] = []
    for path in folder.rglob("*") if folder.is_dir() else ():
        if path.is_dir() or is_hidden(path.relative_to(folder)):
            continue
        if path.suffix.lower() != ".parquet":
            return []
        parts.append(path)
    return sorted(parts)


def is_hidden(path: Path) -> bool:
    """What Spark and others lay beside their parts: `_SUCCESS`, `.part-0.crc`."""
    return any(part.startswith((".", "_")) for part in path.parts)
