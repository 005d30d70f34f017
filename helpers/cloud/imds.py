"""What an EC2 instance knows about itself: its metadata service, version 2, and a stand-in for other machines.

Out: texts such as the instance's id and public address. Version 2 hands out a token for a PUT and wants it back with
every question, so that a service tricked into fetching a URL cannot read the instance's credentials.
Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from helpers.export.served import open_directly

ENDPOINT = "http://169.254.169.254"  # the same on every instance, reached from nowhere else
VARIABLE = "AWS_EC2_METADATA_SERVICE_ENDPOINT"  # the AWS SDKs' own name for another endpoint
TOKEN_SECONDS = 60
TTL_HEADER, TOKEN_HEADER = "X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token"


class NotOnEC2(RuntimeError):
    """No metadata service answers: this machine is no EC2 instance, or its metadata service is turned off."""


def metadata(*paths: str, endpoint: str | None = None, timeout: float = 2.0) -> list[str]:
    """The values of these paths under `/latest/meta-data/`, for example "instance-id", "public-ipv4".

    A value that the instance does not have (no public address) is "". `timeout` in seconds, for each question.
    Raises `NotOnEC2`. No proxy is used: the address means this very machine.
    """
    base = (endpoint or os.environ.get(VARIABLE) or ENDPOINT).rstrip("/")

    def ask(path: str, method: str, headers: dict[str, str]) -> str:
        request = urllib.request.Request(f"{base}/latest/{path}", method=method, headers=headers)
        with open_directly(request, timeout) as answer:
            return answer.read(65_536).decode()

    try:
        token = ask("api/token", "PUT", {TTL_HEADER: str(TOKEN_SECONDS)})
        values = []
        for path in paths:
            try:
                values.append(ask(f"meta-data/{path}", "GET", {TOKEN_HEADER: token}).strip())
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    raise
                values.append("")
        return values
    except (OSError, ValueError) as error:
        raise NotOnEC2(
            f"no EC2 metadata service answers at {base} ({error}): run this on an EC2 instance, "
            "and in a container allow a hop limit of 2."
        ) from error


def public_address_or_none(timeout: float = 0.3) -> str | None:
    """The public IPv4 address of the instance that this runs on; None elsewhere."""
    with contextlib.suppress(NotOnEC2):
        return metadata("public-ipv4", timeout=timeout)[0] or None
    return None


@contextlib.contextmanager
def stand_in(values: Mapping[str, str]) -> Iterator[str]:
    """Serve `values` ({"public-ipv4": "203.0.113.7", ...}) as the metadata service does; yields the endpoint.

    It holds the rules of version 2: a token only by PUT with a lifetime, refused where the request was forwarded
    (`X-Forwarded-For`), wanted with every question, and gone when its time is over.
    """
    tokens: dict[str, float] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self):
            seconds = self.headers.get(TTL_HEADER, "")
            if self.path != "/latest/api/token" or not (seconds.isdigit() and 1 <= int(seconds) <= 21_600):
                return self.answer(400)
            if "X-Forwarded-For" in self.headers:
                return self.answer(403)
            token = secrets.token_urlsafe(32)
            tokens[token] = time.monotonic() + int(seconds)
            return self.answer(200, token)

        def do_GET(self):
            if tokens.get(self.headers.get(TOKEN_HEADER, ""), 0) < time.monotonic():
                return self.answer(401)
            value = values.get(self.path.removeprefix("/latest/meta-data/"))
            return self.answer(404) if value is None else self.answer(200, value)

        def answer(self, status: int, text: str = ""):
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            """Silent: a thread's lines would land in whichever cell runs."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            if not sys.is_finalizing():  # the interpreter's end has stopped the thread already: it could not answer
                server.shutdown()
                thread.join()
