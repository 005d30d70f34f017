"""Where a request ends in the bytes of a connection (RFC 9112), and whether they are one at all.

Everything that makes the end of a request doubtful is refused: two readers of such bytes, a proxy and a server, could
see different requests in them. A body in chunks is put together here, so that whoever reads the request afterwards sees
one with a `Content-Length`.
"""

from __future__ import annotations

import re

HEADER_BYTES = 16 * 1024
HEADERS = 100
BODY_BYTES = 64 * 1024 * 1024  # of a request to an application that sets no limit of its own

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NAME_BYTES = frozenset(byte for byte in range(128) if _NAME.fullmatch(bytes([byte]))) | {ord("\r")}
_SLASHES = re.compile(rb" /{2,}")
_VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_LINE_BYTES = 1024  # of the line before a chunk

NO_REQUEST = "this is no well-formed request of HTTP 1.1"
OTHER_VERSION = "this service speaks HTTP 1.1, and 1.0"
NO_PROXY = "this service is no proxy: it does not take CONNECT"
TWO_HOSTS = "a request has one Host"
LONG_ADDRESS = f"the address is longer than {HEADER_BYTES:,} bytes: send the features in the body"
LARGE_HEADERS = f"the headers are larger than {HEADER_BYTES:,} bytes: send fewer or shorter ones, cookies for one"
MANY_HEADERS = f"the request has more than {HEADERS} headers: send fewer"
CUT_SHORT = "the request ended before its last byte"


def too_large(limit: int) -> str:
    """What is said of a body that is longer than `limit` bytes."""
    return f"the body is larger than the {limit:,} bytes that this service takes: send less at once"


def escaped(line: bytes) -> bytes:
    """The first line of a request with its letters beyond ASCII percent-encoded: curl, for one, sends them as typed."""
    return line if line.isascii() else _BEYOND_ASCII.sub(lambda byte: b"%%%02X" % ord(byte[0]), line)


class Malformed(ValueError):
    """Bytes that are no request; `status` is what to answer, such as "400 Bad Request", the message says why."""

    def __init__(self, message: str, status: str = "400 Bad Request"):
        super().__init__(message)
        self.status = status


class Arrival:
    """How much of the next request has arrived in `buffer`, to which the connection appends what it receives."""

    def __init__(self, buffer: bytearray, max_body_bytes: int = BODY_BYTES):
        self.buffer, self.max_body_bytes = buffer, max_body_bytes
        self.expects_word = False  # the client waits for "100 Continue" before it sends the body
        self._body_at = -1  # where the body begins; -1 before the headers are whole
        self._length = 0
        self._body: bytearray | None = None  # what the chunks so far hold
        self._head: list[bytes] = []

    def is_whole(self) -> bool:
        """Whether a whole request is at the beginning of the buffer. Raises `Malformed`.

        Headers that have grown beyond `HEADER_BYTES` count as whole: the server's own reading refuses them.
        """
        if self._body_at < 0:
            while self.buffer.startswith(b"\r\n"):  # after the body of the request before (RFC 9112, 2.2)
                del self.buffer[:2]
            if self.buffer and self.buffer[0] not in _NAME_BYTES:  # as of TLS, which would wait for an answer
                raise Malformed(NO_REQUEST)
            end = self.buffer.find(b"\r\n\r\n", 0, HEADER_BYTES)
            if end < 0:
                if b"\n\n" in self.buffer:
                    raise Malformed("the lines of a request end in CR LF, not in LF alone")
                return len(self.buffer) > HEADER_BYTES
            self._read_head(end)
        if self._body is not None:
            return self._read_chunks()
        return len(self.buffer) - self._body_at >= self._length

    def _read_head(self, end: int) -> None:
        lines = bytes(self.buffer[:end]).split(b"\r\n")
        found: dict[bytes, list[bytes]] = {
            name: [] for name in (b"content-length", b"transfer-encoding", b"expect", b"host")
        }
        self._head = [_SLASHES.sub(b" /", escaped(lines[0]), count=1)]
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            if not (colon and _NAME.fullmatch(name) and _VALUE.fullmatch(value)):
                raise Malformed("a header is not of the form Name: value")
            kept = found.get(name.lower())
            if kept is not None:
                kept.append(value.strip(b" \t"))
            if name.lower() not in (b"transfer-encoding", b"expect") and b"_" not in name:
                self._head.append(line)  # "Content_Length" would pass for "Content-Length" in WSGI's environ
        lengths, codings, expects, hosts = found.values()
        if len(hosts) > 1:
            raise Malformed(TWO_HOSTS)
        if codings:
            if lengths or lines[0].endswith(b" HTTP/1.0"):
                raise Malformed("Transfer-Encoding does not go with Content-Length, nor with HTTP/1.0")
            if [coding.lower() for coding in codings] != [b"chunked"]:
                raise Malformed("no Transfer-Encoding but chunked is understood", "501 Not Implemented")
            self._body = bytearray()
        elif lengths:
            if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
                raise Malformed("Content-Length is not one number of bytes")
            self._length = int(lengths[0])
            self._check(self._length)
        self.expects_word = [expect.lower() for expect in expects] == [b"100-continue"]
        self._body_at = end + 4
        if (len(self._head) < len(lines) or self._head[0] != lines[0]) and not codings:
            self._replace_head(self._body_at)

    def _read_chunks(self) -> bool:
        """Move what has arrived of the chunks into `_body`; True when the last one is here."""
        buffer, at = self.buffer, self._body_at
        whole = False
        while (end := buffer.find(b"\r\n", at, at + _LINE_BYTES)) >= 0:
            size = _SIZE.fullmatch(buffer, at, end)
            if size is None:
                raise Malformed("a chunk of the body has no legal size")
            count = int(size[1], 16)
            self._check(len(self._body) + count)
            data = end + 2
            if count == 0:
                whole, at = self._trailers(data, at)
                break
            if len(buffer) < data + count + 2:
                break
            if buffer[data + count : data + count + 2] != b"\r\n":
                raise Malformed("a chunk of the body is longer than its size")
            self._body += memoryview(buffer)[data : data + count]
            at = data + count + 2
        else:
            if len(buffer) - at >= _LINE_BYTES:
                raise Malformed("a chunk of the body has no legal size")
        del buffer[self._body_at : at]
        if whole:
            self._head.append(b"Content-Length: %d" % len(self._body))
            buffer[self._body_at : self._body_at] = self._body
            self._length, self._body = len(self._body), None
            self._replace_head(self._body_at)
        return whole

    def _trailers(self, begin: int, at: int) -> tuple[bool, int]:
        """Whether the lines after the last chunk are here, and where they end; they are dropped."""
        if self.buffer[begin : begin + 2] == b"\r\n":
            return True, begin + 2
        end = self.buffer.find(b"\r\n\r\n", begin, begin + HEADER_BYTES)
        if end >= 0:
            return True, end + 4
        if len(self.buffer) - begin > HEADER_BYTES:
            raise Malformed("what follows the last chunk is too long")
        return False, at

    def _replace_head(self, end: int) -> None:
        head = b"\r\n".join(self._head) + b"\r\n\r\n"
        self.buffer[:end] = head
        self._body_at = len(head)

    def _check(self, length: int) -> None:
        if length > self.max_body_bytes:
            raise Malformed(too_large(self.max_body_bytes), "413 Content Too Large")
