"""A text of any length, plain or packed, in UTF-8, in pieces that end where a line ends, from any line on.

What the lines hold is the business of `csv_lines` and `json_lines`.
"""

from __future__ import annotations

import codecs
import functools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from helpers.batch.sources import Block, Decoded, Position, Source, readable
from helpers.data.raw_tables import DataError
from helpers.data.reading import unpacked

TEXT_BYTES = 2 * 1024**2  # of a text that are decoded at a time
PIECE_BYTES = 32 * 1024**2  # of a text, at least
HEAD_BYTES = 256 * 1024  # of a text from which is told how it is written
LONGEST_BLOCK = 2 * TEXT_BYTES  # beyond it a quotation mark that is never closed is taken for a character
QUOTES_TRIED = 8  # places to cut a text at, before more of it is read


@dataclass(frozen=True)
class Lines:
    """The lines of a file from `first_line` on, after which a header ends.

    quoted: whether a text in quotation marks may hold lines' ends. escapes: whether marks within such a text have a
    backslash before them; they are doubled then.
    """

    path: Path
    newline: bytes
    encoding: str = "utf-8"
    first_line: int = 1
    quoted: bool = True
    escapes: bool = False

    @property
    def start(self) -> Position:
        return 0, self.first_line

    def source(
        self, key: tuple, schema: pa.Schema, decode: Callable[[bytes, int], Decoded], commas: frozenset[str]
    ) -> Source:
        """The lines as rows. decode(content, line): those of a piece of text that begins with a line."""

        def blocks(start: Position, end: int | None = None) -> Iterator[Block]:
            for piece, before, after in self.pieces(start, end):
                yield Block(functools.partial(decode, piece, before), after)

        read = readable(self.path, blocks)
        return Source(self.path, key, schema, None, "line", self.start, read, self.cuts, commas=commas)

    def pieces(self, start: Position, end: int | None = None) -> Iterator[tuple[bytes, int, Position]]:
        """The text from `start` in pieces of whole lines: the line that each begins with, and the position after it."""
        for piece, before, after in self._pieces(start, end):
            if before >= self.first_line and piece.strip():
                yield piece, before, after

    def cuts(self) -> Iterator[Position]:
        """The positions at which the text can be cut into pieces, each of `PIECE_BYTES` at least."""
        last = 0
        for _, _, after in self._pieces((0, 1), None) if self._can_seek() else ():
            if after[0] - last >= PIECE_BYTES:
                last = after[0]
                yield after

    def _pieces(self, start: Position, end: int | None) -> Iterator[tuple[bytes, int, Position]]:
        with stream_of(self.path) as stream:
            at, line = 0, 1
            if start[0] and self._can_seek():
                at, line = start
                stream.seek(at)
            limit = None if end is None else end - at
            text = _as_utf8(stream, self.encoding, limit)
            text = _with_doubled_marks(text) if self.escapes else text
            for content in whole_lines(text, self.newline, str(self.path), self.quoted):
                for piece in _without_header(content, line, self.first_line, self.newline):
                    at += len(piece)
                    before, line = line, line + piece.count(self.newline)
                    if at > start[0]:
                        yield piece, before, (at, line)

    def _can_seek(self) -> bool:
        """Whether places in the text are places in the file: a packed text can only be read from its beginning."""
        return self.encoding == "utf-8" and not is_packed(self.path)


def stream_of(path: Path) -> BinaryIO:
    """The content of a file as a stream, unpacked where it is compressed."""
    return _unpacked(path) or path.open("rb")


def is_packed(path: Path) -> bool:
    opened = _unpacked(path)
    if opened:
        opened.close()
    return opened is not None


def _unpacked(path: Path) -> BinaryIO | None:
    with path.open("rb") as file:
        begins = file.read(8)
    return unpacked(path, begins, str(path))[0]


def head_of(path: Path) -> tuple[bytes, bytes]:
    """The first whole lines of a text, and what ends them."""
    with stream_of(path) as stream:
        head = stream.read(HEAD_BYTES)
    newline = b"\n" if b"\n" in head else b"\r"
    if len(head) == HEAD_BYTES:
        end = len(next(whole_lines([head], newline, str(path))))
        width = 4 if head.startswith(codecs.BOM_UTF32_LE) else 2 if b"\0" in head else 1  # bytes of a line's end
        head = head[: math.ceil(end / width) * width]
    return head, newline


def whole_lines(pieces: Iterable[bytes], newline: bytes, name: str, quoted: bool = True) -> Iterator[bytes]:
    """A text in pieces that end where a line ends, and no quotation is open."""
    rest = b""
    for piece in pieces:
        rest += piece
        end = rest.rfind(newline) + 1
        for _ in range(QUOTES_TRIED if quoted else 0):
            if rest.count(b'"', 0, end) % 2 == 0:
                break
            end = rest.rfind(newline, 0, rest.rfind(b'"', 0, end)) + 1  # before the line that opens the quotation
        else:
            end = 0 if quoted else end
        if not end and len(rest) >= LONGEST_BLOCK:
            end = rest.rfind(newline) + 1
            if not end:
                raise DataError(
                    f"a line of {name} is longer than {LONGEST_BLOCK // 1024**2} MB: it is no table of lines"
                )
        if end:
            yield rest[:end]
            rest = rest[end:]
    if rest:
        yield rest


def _as_utf8(stream: BinaryIO, encoding: str, limit: int | None = None) -> Iterator[bytes]:
    """A text in pieces, in UTF-8, up to `limit` bytes. What turns out later to be no UTF-8 is seen to in decoding."""
    decoder = codecs.getincrementaldecoder(encoding)() if encoding != "utf-8" else None
    left = math.inf if limit is None else limit
    while piece := stream.read(min(TEXT_BYTES, left)):
        left -= len(piece)
        yield decoder.decode(piece).encode() if decoder else piece
    if decoder:
        yield decoder.decode(b"", final=True).encode()


def _with_doubled_marks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """A text in whose quotations a mark is doubled where it had a backslash before it, with every byte at its place."""
    held = b""
    for piece in pieces:
        text = held + piece
        held = text[len(text.removesuffix(b"\\")) :]  # the mark may begin the next piece
        yield text.removesuffix(b"\\").replace(b'\\"', b'""')
    yield held


def _without_header(content: bytes, line: int, first_line: int, newline: bytes) -> list[bytes]:
    """A piece of text that begins with `line`, cut in two before the line of the first row where that is within."""
    end = 0
    for _ in range(line, first_line):
        found = content.find(newline, end)
        end = len(content) if found < 0 else found + 1
    return [piece for piece in (content[:end], content[end:]) if piece]
