"""Requests that repeat the one before them: taken for such only where a parser finds the same, and answered alike."""

import json
import re
import socket
from urllib.parse import urlencode

import httptools
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from service_processes import serving

from helpers.serving.repeated import Repeated
from helpers.serving.serve_command import free_port

ARTICLE = {"g1": 1, **{f"g{i}": 0 for i in range(2, 11)}}
OTHER = ARTICLE | {"g1": 0, "g2": 1}
HEADERS = b"Host: localhost\r\nX-Caller: somebody\r\nContent-Type: application/json\r\n"


def get(query: bytes, headers: bytes = HEADERS) -> bytes:
    return b"GET /predict?" + query + b" HTTP/1.1\r\n" + headers + b"\r\n"


def post(body: bytes, headers: bytes = HEADERS) -> bytes:
    return b"POST /predict HTTP/1.1\r\nContent-Length: %d\r\n" % len(body) + headers + b"\r\n" + body


class Parsed:
    """What httptools finds in one whole request, or that it is none: `complete` counts the messages in `data`."""

    def __init__(self, data: bytes):
        self.url, self.headers, self.body, self.complete = b"", [], b"", 0
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(data)
        self.method, self.version, self.keep = parser.get_method(), parser.get_http_version(), False
        self.keep = parser.should_keep_alive()

    def on_url(self, url):
        self.url += url

    def on_header(self, name, value):
        self.headers.append((name, b"" if name.lower() == b"content-length" else value))

    def on_body(self, body):
        self.body += body

    def on_message_complete(self):
        self.complete += 1

    def said(self):
        return self.complete, self.method, self.version, self.keep, self.headers


QUERY, BODY = urlencode(ARTICLE).encode(), json.dumps(ARTICLE).encode()
PIECES = [
    b"",
    b" ",
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"#",
    b"?",
    b"&g1=2",
    b"%20",
    b"\xe9",
    b"0",
    b"9",
    b"\r\n\r\n",
    b"\t",
]
PIECES += [b"Content-Length: 3\r\n", b"Connection: close\r\n", b" HTTP/1.0", b"X: y\r\n", b"{", b'"']


@pytest.mark.parametrize("first", [get(QUERY), post(BODY)], ids=["GET", "POST"])
@settings(max_examples=400, deadline=None)
@given(
    follower=st.sampled_from([get(QUERY), get(urlencode(OTHER).encode()), post(BODY), post(b'{"g1": 1}'), post(b"")]),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), st.sampled_from(PIECES)), max_size=3),
)
@example(follower=get(QUERY), edits=[])
@example(follower=post(BODY), edits=[])
def test_what_is_taken_for_a_repetition_is_one_to_the_parser_too(first, follower, edits):
    data = follower
    for place, removed, put in edits:
        at = int(place * len(data))
        data = data[:at] + put + data[at + removed :]
    repeated = Repeated.of(first, b"/predict")
    asked = repeated.asked(data)
    if asked is None:
        assert edits or follower[:4] != first[:4], "the plainest repetition was not seen"
        return
    found, before = Parsed(data), Parsed(first)
    assert found.said() == before.said()
    query, body = (b"", asked) if repeated.body_follows else (asked, b"")
    assert (found.url.partition(b"?")[0], found.url.partition(b"?")[2], found.body) == (b"/predict", query, body)


@pytest.mark.parametrize(
    "request_",
    [
        get(QUERY)[:-2],
        get(QUERY) + b"x",
        get(QUERY) * 2,
        get(QUERY).replace(b"GET ", b"GET  "),
        get(QUERY).replace(b"GET", b"PUT"),
        get(QUERY).replace(b"HTTP/1.1", b"HTTP/1.0"),
        get(QUERY).replace(b"GET /", b"GET http://localhost/"),
        get(QUERY).replace(b"predict", b"predicts"),
        get(QUERY + b"#part"),
        post(BODY)[:-1],
        post(BODY) + b"\r\n",
        post(BODY).replace(b"predict", b"predict?g1=1"),
    ],
)
def test_nothing_stays_of_a_request_that_is_not_whole_alone_and_plain(request_):
    assert Repeated.of(request_, b"/predict") is None


@pytest.fixture(scope="module")
def port(exported):
    number = free_port("127.0.0.1", 0)
    with serving(exported, number, "--workers", "1"):
        yield number


def answers(port: int, *requests: bytes) -> list[tuple[bytes, set[bytes], bytes]]:
    """The answers to requests that are sent one after the other on one connection: status, headers and body."""
    found = []
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client, client.makefile("rb") as stream:
        for each in requests:
            client.sendall(each)
            status = stream.readline()
            headers = set(iter(stream.readline, b"\r\n"))
            own = {header for header in headers if re.match(rb"(date|x-request-id):", header, re.IGNORECASE)}
            length = next(int(h.split(b":")[1]) for h in headers if h.lower().startswith(b"content-length"))
            found.append((status, headers - own, stream.read(length)))
    return found


CLOSE = HEADERS + b"Connection: close\r\n"
ORIGIN = HEADERS + b"Origin: http://elsewhere.example\r\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "first",
    [get(QUERY), post(BODY), post(QUERY, HEADERS.replace(b"application/json", b"application/x-www-form-urlencoded"))],
)
def test_it_is_answered_as_on_a_connection_of_its_own(port, first):
    followers = [
        get(urlencode(OTHER).encode()),
        get(QUERY + b"&g1=1"),
        get(QUERY.replace(b"g1=1", b"g1=2")),
        get(b""),
        get(QUERY, HEADERS.replace(b"localhost", b"elsewhere.example")),
        get(QUERY, ORIGIN),
        get(QUERY).replace(b"GET", b"PUT"),
        get(QUERY).replace(b"predict", b"nothing"),
        post(json.dumps(OTHER).encode()),
        post(json.dumps(OTHER | {"g3": True, "g4": 1.0}).encode()),
        post(json.dumps([OTHER, ARTICLE]).encode()),
        post(b"{"),
        post(b""),
        post(b'{"g1": 1, ' + BODY[1:]),
        get(QUERY, CLOSE),
    ]
    alone = [answers(port, each)[0] for each in [first, *followers]]
    assert answers(port, first, *followers) == alone
    for own, each in zip(alone[1:], followers, strict=True):
        assert answers(port, first, first, each) == [alone[0], alone[0], own]
