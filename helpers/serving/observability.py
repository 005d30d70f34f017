"""What an operator sees of a service: a request id on every answer, metrics, and a log line per request if asked for.

A layer around a WSGI application, the same around the echo and the predictions. It reads the request's path and the
answer's status and changes nothing else. It also turns an error that the application did not catch into JSON.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

log = logging.getLogger("helpers.serving.services")

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_OWN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)  # a caller's own id, as long as it cannot forge a log line


class Metrics:
    """The Prometheus metrics of one application; under several processes, of all of them together.

    Where the environment variable PROMETHEUS_MULTIPROC_DIR is set before this module is imported, each process counts
    in a file of its own in that directory, and whichever answers `GET /metrics` adds them up.
    """

    def __init__(self):
        self.registry = CollectorRegistry()
        own = {"registry": self.registry}
        self.requests = Counter("http_requests", "Requests answered", ["method", "path", "code"], **own)
        self.seconds = Histogram("http_request_seconds", "Time to an answer", ["path"], buckets=_SECONDS, **own)
        self.errors = Counter("http_errors", "Requests answered with an error", ["kind"], **own)
        self.model = Gauge(
            "model_info", "1 for the model that answers", ["version", "backend"], multiprocess_mode="livemax", **own
        )
        self.swaps = Counter("model_swaps", "Attempts to replace the model while serving", ["result"], **own)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        registry = self.registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)
        return generate_latest(registry)


class Observed:
    """A WSGI application that gives each request an id, counts and times it, and writes the access log.

    paths: the paths counted by name; any other is counted as "other", so that a scanner cannot fill the memory.
    access_log: a text stream for one JSON line per request; the query string stays out of it, as it holds the data.
    """

    def __init__(self, app: Callable, metrics: Metrics, paths: Iterable[str], access_log: TextIO | None = None):
        self.app = app
        self.metrics = metrics
        self.paths = frozenset(paths)
        self.access_log = access_log
        self._ids = itertools.count()
        self._process = ""
        self._counted: dict[tuple[str, str, str], tuple[Callable, Callable]] = {}

    def __call__(self, environ: dict, start_response: Callable) -> Iterable[bytes]:
        begin = time.perf_counter()
        request_id = environ["request.id"] = self._request_id(environ)
        code = "500"

        def respond(status, headers, *exc_info):
            nonlocal code
            code = status[:3]
            headers.append(("X-Request-ID", request_id))
            return start_response(status, headers, *exc_info)

        try:
            return self.app(environ, respond)
        except Exception:
            log.exception("request %s failed outside of the application", request_id)
            self.metrics.errors.labels("internal").inc()
            body = json.dumps({"success": False, "error": f"internal error, logged as {request_id}"}).encode()
            respond(
                "500 INTERNAL SERVER ERROR", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
            )
            return [body]
        finally:
            seconds = time.perf_counter() - begin
            count, observe = self._counters(environ["REQUEST_METHOD"], environ.get("PATH_INFO", ""), code)
            count()
            observe(seconds)
            if self.access_log is not None:
                self._write_line(environ, request_id, code, seconds)

    def _request_id(self, environ: dict) -> str:
        """The caller's `X-Request-ID`, or one made of a random part of this process and a count."""
        given = environ.get("HTTP_X_REQUEST_ID")
        if given and _OWN_ID.fullmatch(given):
            return given
        if not self._process:
            self._process = secrets.token_hex(4)
        return f"{self._process}-{next(self._ids)}"

    def _counters(self, method: str, path: str, code: str) -> tuple[Callable, Callable]:
        """The two metrics of this kind of request, looked up by their labels only once."""
        try:
            return self._counted[method, path, code]
        except KeyError:
            known = path if path in self.paths else "other"
            verb = method if method in ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH") else "other"
            counters = self.metrics.requests.labels(verb, known, code).inc, self.metrics.seconds.labels(known).observe
            if known == path and verb == method:
                self._counted[method, path, code] = counters
            return counters

    def _write_line(self, environ: dict, request_id: str, code: str, seconds: float) -> None:
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "id": request_id,
            "client": environ.get("REMOTE_ADDR", ""),
            "method": environ["REQUEST_METHOD"],
            "path": environ.get("PATH_INFO", ""),
            "status": int(code),
            "ms": round(seconds * 1000, 3),
        }
        self.access_log.write(json.dumps(line) + "\n")
        self.access_log.flush()
