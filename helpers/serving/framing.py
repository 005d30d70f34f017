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
_FIRST_LINE = re.compile(rb"(%b) +([!-~\x80-\xff]+)(?: +HTTP/([0-9]\.[0-9]))?" % _NAME.pattern)
_WHOLE_ADDRESS = re.compile(rb"https?://((?:[0-9A-Za-z._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?)([/?].*)?", re.IGNORECASE)
_SLASHES = re.compile(rb"\A/{2,}")
_HEADER = re.compile(rb"(%b):([^\x00-\x08\x0a-\x1f\x7f]*)" % _NAME.pattern)
_SIZE = re.compile(rb"0*([0-9A-Fa-f]{1,16})(?:;[\t -~]+)?\r\n")
_SIZE_SO_FAR = re.compile(rb"[0-9A-Fa-f]*(?:;[\t -~]*)?\r?")
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_LOOK_BYTES = 1024  # of the line before a chunk, while its end is not here

NO_REQUEST = (
    "this is no well-formed request of HTTP 1.1: its first line is like GET /predict?a=1 HTTP/1.1, "
    "with a blank in an address written as %20"
)
NO_ADDRESS = "the address of a request begins with a slash, or is a whole one like http://localhost/predict"
NO_FRAGMENT = "the address holds a #, at which it ends for a client: write %23 where it is part of a value"
NO_HEADER = "a header is not of the form Name: value, on a line of its own that ends in CR LF"
NO_LENGTH = "Content-Length is not one number of bytes"
NO_CHUNKS = "the body is not in well-formed chunks: each is its size in hexadecimal, CR LF, so many bytes, CR LF"
TWO_LENGTHS = "Transfer-Encoding does not go with Content-Length, nor with HTTP/1.0"
OTHER_CODING = "no Transfer-Encoding but chunked is understood"
OTHER_VERSION = "this service speaks HTTP 1.1, and 1.0"
NO_PROXY = "this service is no proxy: it does not take CONNECT"
NO_METHOD = "there is no such method: send GET or POST"
ALLOW = ("Allow", "GET, HEAD, OPTIONS, POST")  # goes with 405 (RFC 9110, 15.5.6)
TWO_HOSTS = "a request has one Host"
LONG_ADDRESS = f"the address is longer than {HEADER_BYTES:,} bytes: send the features in the body"
LARGE_HEADERS = f"the headers are larger than {HEADER_BYTES:,} bytes: send fewer or shorter ones, cookies for one"
MANY_HEADERS = f"the request has more than {HEADERS} headers: send fewer"
CUT_SHORT = "the request ended before its last byte"


def too_large(limit: int) -> str:
    """What is said of a body that is longer than `limit` bytes."""
    return f"the body is larger than the {limit:,} bytes that this service takes: send less at once"


def escaped(address: bytes) -> bytes:
    """An address with its letters beyond ASCII percent-encoded: curl, for one, sends them as typed."""
    return address if address.isascii() else _BEYOND_ASCII.sub(lambda byte: b"%%%02X" % ord(byte[0]), address)


class Malformed(ValueError):
    """Bytes that are no request; `status` is what to answer, such as "400 Bad Request", the message says why."""

    def __init__(self, message: str, status: str = "400 Bad Request"):
        super().__init__(message)
        self.status = status


def origin_form(method: bytes, address: bytes) -> tuple[bytes, bytes | None]:
    """The path and query that a request asks for, and the host that its address names; None where it names none.

    A client that takes a service for a proxy sends a whole address, whose host counts instead of the `Host` header
    (RFC 9112, 3.2.2). Raises `Malformed`.
    """
    if b"#" in address:
        raise Malformed(NO_FRAGMENT)
    if address.startswith(b"/") or (address == b"*" and method == b"OPTIONS"):
        return address, None
    found = _WHOLE_ADDRESS.fullmatch(address)
    if found is None:
        raise Malformed(NO_ADDRESS)
    host, path = found.groups(b"")
    if not path and method == b"OPTIONS":
        return b"*", host
    return path if path.startswith(b"/") else b"/" + path, host


class Arrival:
    """How much of the next request has arrived in `buffer`, to which the connection appends what it receives."""

    def __init__(self, buffer: bytearray, max_body_bytes: int = BODY_BYTES):
        self.buffer, self.max_body_bytes = buffer, max_body_bytes
        self.expects_word = False  # the client waits for "100 Continue" before it sends the body
        self._looked = 0  # bytes of the head whose lines have been looked at
        self._body_at = -1  # where the body begins; -1 before the headers are whole
        self._length = 0
        self._body: bytearray | None = None  # what the chunks so far hold
        self._trailer_bytes = -1  # of the lines after the last chunk; -1 before it is here
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
                self._look_at_lines()
                return len(self.buffer) > HEADER_BYTES
            self._read_head(end)
        if self._body is not None:
            return self._read_chunks() and self._read_trailers()
        return len(self.buffer) - self._body_at >= self._length

    def _look_at_lines(self) -> None:
        """Refuse at once what will not become a request, whose client would wait for an answer until it is late."""
        while (end := self.buffer.find(b"\n", self._looked)) >= 0:
            if self.buffer.find(b"\r", self._looked, end) != end - 1:
                raise Malformed(NO_HEADER if self._looked else NO_REQUEST)
            if not self._looked:
                _read_first_line(bytes(self.buffer[: end - 1]))
            self._looked = end + 1
        if self.buffer.find(b"\r", self._looked, len(self.buffer) - 1) >= 0:  # a last one may be that of CR LF
            raise Malformed(NO_HEADER if self._looked else NO_REQUEST)

    def _read_head(self, end: int) -> None:
        lines = bytes(self.buffer[:end]).split(b"\r\n")
        if len(lines) - 1 > HEADERS:
            raise Malformed(MANY_HEADERS, "431 Request Header Fields Too Large")
        method, address, version = _read_first_line(lines[0])
        path, host = origin_form(method, address)
        fields: dict[bytes, bytes] = {}
        for name, value in map(_read_header, lines[1:]):
            if name in fields:
                if name == b"host":
                    raise Malformed(TWO_HOSTS)
                fields[name] += b", " + value
            elif b"_" not in name:  # "Content_Length" would pass for "Content-Length" in WSGI's environ
                fields[name] = value
        length = fields.get(b"content-length")
        codings, expects = fields.pop(b"transfer-encoding", None), fields.pop(b"expect", b"")
        if codings is not None:
            if length is not None or version == b"1.0":
                raise Malformed(TWO_LENGTHS)
            if codings.lower() != b"chunked":
                raise Malformed(OTHER_CODING, "501 Not Implemented")
            self._body = bytearray()
        elif length is not None:
            self._length = self._read_length(length)
            fields[b"content-length"] = b"%d" % self._length
        if host is not None:
            fields[b"host"] = host
        if b"close" in map(bytes.strip, fields.get(b"connection", b"").lower().split(b",")):
            fields[b"connection"] = b"close"  # cheroot knows it by itself only, and in small letters
        self.expects_word = expects.lower() == b"100-continue" and version == b"1.1"
        self._body_at = end + 4
        self._head = [b"%b %b HTTP/%b" % (method, _SLASHES.sub(b"/", path), version)]
        self._head += [b"%b: %b" % field for field in fields.items()]
        if self._body is None:
            self._replace_head(self._body_at)

    def _read_length(self, said: bytes) -> int:
        if not said.isdigit():
            raise Malformed(NO_LENGTH)
        digits = said.lstrip(b"0") or b"0"
        self._check(int(digits[:19]))
        return int(digits)

    def _read_chunks(self) -> bool:
        """Move what has arrived of the chunks into `_body`; True when the last one is here."""
        if self._trailer_bytes >= 0:
            return True
        buffer, at = self.buffer, self._body_at
        while (end := buffer.find(b"\n", at, at + HEADER_BYTES) + 1) > 0:
            size = _SIZE.fullmatch(buffer, at, end)
            if size is None:
                raise Malformed(NO_CHUNKS)
            count = int(size[1], 16)
            self._check(len(self._body) + count)
            if count == 0:
                at, self._trailer_bytes = end, 0
                break
            if len(buffer) < end + count + 2:
                if buffer[end + count : end + count + 1] not in (b"", b"\r"):
                    raise Malformed(NO_CHUNKS)
                break
            if buffer[end + count : end + count + 2] != b"\r\n":
                raise Malformed(NO_CHUNKS)
            self._body += memoryview(buffer)[end : end + count]
            at = end + count + 2
        else:
            if len(buffer) - at >= HEADER_BYTES:
                raise Malformed(LARGE_HEADERS, "431 Request Header Fields Too Large")
            if not _SIZE_SO_FAR.fullmatch(buffer, at, at + _LOOK_BYTES):
                raise Malformed(NO_CHUNKS)
        del buffer[self._body_at : at]
        return self._trailer_bytes >= 0

    def _read_trailers(self) -> bool:
        """Drop what has arrived of the lines after the last chunk; True when their end is here."""
        buffer, at, line = self.buffer, self._body_at, b""
        while line != b"\r\n" and (end := buffer.find(b"\n", at, at + HEADER_BYTES) + 1) > 0:
            line, at = bytes(buffer[at:end]), end
            if not line.endswith(b"\r\n"):
                raise Malformed(NO_HEADER)
            if line != b"\r\n" and _read_header(line[:-2])[0] in (b"content-length", b"transfer-encoding"):
                raise Malformed(TWO_LENGTHS)
            self._trailer_bytes += len(line)
            if self._trailer_bytes > HEADER_BYTES:
                break
        if self._trailer_bytes > HEADER_BYTES or (line != b"\r\n" and len(buffer) - at > HEADER_BYTES):
            raise Malformed(LARGE_HEADERS, "431 Request Header Fields Too Large")
        del buffer[self._body_at : at]
        if line != b"\r\n":
            return False
        self._head.append(b"Content-Length: %d" % len(self._body))
        buffer[self._body_at : self._body_at] = self._body
        self._length, self._body = len(self._body), None
        self._replace_head(self._body_at)
        return True

    def _replace_head(self, end: int) -> None:
        head = b"\r\n".join(self._head) + b"\r\n\r\n"
        self.buffer[:end] = head
        self._body_at = len(head)

    def _check(self, length: int) -> None:
        if length > self.max_body_bytes:
            raise Malformed(too_large(self.max_body_bytes), "413 Content Too Large")


def _read_first_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    """The method, address and version that the first line of a request says."""
    said = _FIRST_LINE.fullmatch(line)
    if said is None or (said[3] is None and not said[2].startswith(b"/")):  # of HTTP 0.9, which had no version to say
        raise Malformed(NO_REQUEST)
    if said[1] == b"CONNECT":
        raise Malformed(NO_PROXY, "405 Method Not Allowed")
    if said[3] not in (b"1.0", b"1.1"):
        raise Malformed(OTHER_VERSION, "505 HTTP Version Not Supported")
    return said[1], escaped(said[2]), said[3]


def _read_header(line: bytes) -> tuple[bytes, bytes]:
    """The name of a header, in small letters, and its value."""
    said = _HEADER.fullmatch(line)
    if said is None:
        raise Malformed(NO_HEADER)
    return said[1].lower(), said[2].strip(b" \t")
