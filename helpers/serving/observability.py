"""What an operator sees of a service: a request id on every answer, metrics, and a log line per request if asked for.

A layer around a WSGI application, the same around the echo and the predictions. It reads the request's path and the
answer's status and changes nothing else. It also turns an error that the application did not catch into JSON.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess, values
from prometheus_client.core import GaugeMetricFamily

from helpers.serving import OF_ITSELF, log
from helpers.serving.access_log import own_id, write_line
from helpers.serving.callers import body_for, json_refusal
from helpers.serving.drift import Drift

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_DIFFERENCES = (1e-6, 1e-4, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
ANY_NAME = "{name}"  # in a path that is counted, of a model that callers may call as they like
_NAMED = re.compile(r"(?<=\A/v1/models/)[^/:]+")
_FILES = ("counter", "histogram", "gauge_max")  # prometheus_client's, one of each for a process
_FOLDER = "prediction-metrics."  # what the names of the folders of counts begin with
_place: tuple[Path, int] | None = None  # the folder in which this process counts with others, and its number there
_FILE_BYTES = 1024 * 1024  # prometheus_client's own size; all labels that can occur take a fraction of it


@contextlib.contextmanager
def shared_counts(processes: int) -> Iterator[Path | None]:
    """A folder in which `processes` processes count together, or None, said in the log, where there is no place for it.

    Each of them calls `count_as` before it makes its `Metrics`. Those that services have left which were killed go.
    """
    folder = held = place = None
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{_FOLDER}"))
        held = _hold(folder)
        folder = folder.rename(folder.with_name(folder.name[1:]))  # held, it is not taken for one that was left
        _remove_what_was_left(folder.parent)
        if shutil.disk_usage(folder).free < 2 * processes * len(_FILES) * _FILE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        place = folder
    except OSError as error:
        log.warning("no folder for shared metrics (%s): /metrics tells of one worker only", error.strerror or error)
    try:
        yield place
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)


def _hold(folder: Path) -> int | None:
    """Take the system's own lock on a folder, which ends with the process and those that it has forked, however.

    Returns the open folder, None where another process holds it, or the system has no such lock (Windows).
    """
    if fcntl is None:
        return None
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(opened)
        return None
    return opened


def _remove_what_was_left(place: Path) -> None:
    for folder in place.glob(f"{_FOLDER}*"):
        with contextlib.suppress(OSError):  # another user's
            if (held := _hold(folder)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(held)


def count_as(number: int, folder: Path | None) -> None:
    """Let the metrics of this process, made from now on, be those of process `number` in `folder`.

    The process that takes the place of a dead one goes on with its counts. The files get their whole size here: were
    the disk to run full under a file that is mapped into memory, the next count would end the process by a signal.
    Where there is no place any more, this process counts for itself.
    """
    if folder is not None:
        try:
            for kind in _FILES:
                path = folder / f"{kind}_{number}.db"
                if kind.startswith("gauge"):
                    path.unlink(missing_ok=True)  # what the dead process said of its model is no longer so
                if not path.exists() or path.stat().st_size < _FILE_BYTES:
                    path.write_bytes(bytes(_FILE_BYTES))
        except OSError as error:
            says = "worker %d counts for itself: %s is not writable (%s)"
            log.warning(says, number, folder, error.strerror, extra=OF_ITSELF)
            folder = None
    global _place  # noqa: PLW0603  # as what prometheus_client keeps is of the process, too
    _place = None if folder is None else (folder, number)
    if folder is None:
        os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
        values.ValueClass = values.MutexValue
    else:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        values.ValueClass = values.MultiProcessValue(lambda: number)


class Metrics:
    """The Prometheus metrics of one application; of several processes together where these have called `count_as`.

    several: whether it serves several models, each of which has its name as a label then.
    """

    def __init__(self, several: bool = False):
        self.registry = CollectorRegistry()
        self.several = several
        self.requests = self._made(Counter, "http_requests", "Requests answered", ["method", "path", "code"])
        self.seconds = self._made(Histogram, "http_request_seconds", "Time to an answer", ["path"], buckets=_SECONDS)
        self.errors = self._made(Counter, "http_errors", "Requests answered with an error", ["kind"])
        what = "1 for the model that answers"
        self.model = self._made(Gauge, "model_info", what, ["version", "backend"], multiprocess_mode="max")
        self.swaps = self._made(Counter, "model_swaps", "Attempts to replace the model while serving", ["result"])
        self.place = _place
        self._drifts = _DriftCollector(several)
        self.registry.register(self._drifts)

    def _made(self, kind: type, name: str, what: str, labels: list[str], **more):
        labels = ["model", *labels] if self.several else labels
        return kind(name, what, labels, registry=self.registry, **more)

    def of(self, metric, model: str, *labels: str):
        """A metric of one of several models, by its labels; where there is one model, it has no label of its own."""
        return metric.labels(model, *labels) if self.several else metric.labels(*labels)

    def watch(self, model: str, drift: Callable[[], Drift | None]) -> None:
        """Tell of the drift of a model's requests; drift(): what counts them now, None where nothing does."""
        self._drifts.watched.append((model, drift))

    def fold(self) -> None:
        """Count what waits to be counted, so that another process sees it; for a server to call now and then."""
        for _, drift_now in self._drifts.watched:
            if drift := drift_now():
                drift.fold()

    def version(self, model: str, version: Callable[[], str]) -> Callable[[str, float], None]:
        """What counts a prediction of a version, by the code of its answer and its seconds; for a canary."""
        requests, seconds = self._by_version

        @functools.lru_cache(64)
        def counters(now: str, code: str) -> tuple[Callable, Callable]:
            return self.of(requests, model, now, code).inc, self.of(seconds, model, now).observe

        def count(code: str, took: float) -> None:
            inc, observe = counters(version(), code)
            inc()
            observe(took)

        return count

    @functools.cached_property
    def _by_version(self) -> tuple[Counter, Histogram]:
        return (
            self._made(Counter, "model_requests", "Predictions asked of a version", ["version", "code"]),
            self._made(Histogram, "model_seconds", "Time of a version to an answer", ["version"], buckets=_SECONDS),
        )

    def shadow(self, model: str, version: str) -> dict:
        """The metrics of the comparison with a shadow, by short names."""
        return {name: self.of(metric, model, version) for name, metric in self._of_shadows.items()}

    @functools.cached_property
    def _of_shadows(self) -> dict:
        label, largest = ["shadow"], "Largest absolute difference between an answer and the shadow's"
        return {
            "difference": self._made(Histogram, "shadow_difference", largest, label, buckets=_DIFFERENCES),
            "disagreements": self._made(Counter, "shadow_disagreements", "Answers that differ by more than 0.1", label),
            "errors": self._made(Counter, "shadow_errors", "Requests that the shadow did not answer", label),
            "dropped": self._made(Counter, "shadow_dropped", "Requests that were not asked, for lack of time", label),
        }

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        registry = self.registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)
            registry.register(self._drifts)
        return generate_latest(registry)


class _DriftCollector:
    """What the last hour's requests look like beside the training's rows, worked out when somebody asks."""

    def __init__(self, several: bool):
        self.several = several
        self.watched: list[tuple[str, Callable[[], Drift | None]]] = []

    def describe(self) -> list:
        return []  # without it the registry would ask for everything once, to know the names

    def collect(self) -> Iterator[GaugeMetricFamily]:
        first = ["model"] if self.several else []
        what = "Population stability index of the last hour's requests against the training"
        rows = GaugeMetricFamily(
            "model_watched_rows", "Rows of the last hour that were counted", labels=[*first, "version"]
        )
        scores = GaugeMetricFamily("model_score_psi", f"{what}: the scores", labels=[*first, "version"])
        features = GaugeMetricFamily("model_feature_psi", f"{what}: a feature", labels=[*first, "version", "feature"])
        for model, drift_now in self.watched:
            if (drift := drift_now()) is None:
                continue
            report, labels = drift.report(), [*([model] if self.several else []), drift.model.version]
            rows.add_metric(labels, report.rows)
            if report.score is not None:
                scores.add_metric(labels, report.score)
            for name, index in report.features.items():
                features.add_metric([*labels, name], index)
        yield from (rows, scores, features) if self.watched else ()


class Observed:
    """A WSGI application that gives each request an id, counts and times it, and writes the access log.

    paths: the paths counted by name, each with the name of the model that it belongs to; any other is counted as
        "other", so that a scanner cannot fill the memory. `ANY_NAME` in one stands for what a caller names there.
    access_log: a text stream for one JSON line per request; the query string stays out of it, as it holds the data.
    version: the version of the model, for `X-Model-Version`; where the application puts another one into the environ as
        "model.version", because the model was replaced meanwhile, that one is said.

    A server that answers without calling the application takes the id from `identify` and reports with `note`.
    """

    def __init__(
        self,
        app: Callable,
        metrics: Metrics | None,
        paths: Mapping[str, str],
        access_log: TextIO | None = None,
        version: Callable[[], str] | None = None,
    ):
        self.app = app
        self.metrics = metrics
        self.paths = paths
        self.access_log = access_log
        self.version = version
        self._ids = itertools.count()
        self._process = ""
        self._counted: dict[tuple[str, str, str], tuple[Callable, Callable]] = {}

    def __call__(self, environ: dict, start_response: Callable) -> Iterable[bytes]:
        begin = time.perf_counter()
        request_id = environ["request.id"] = self.identify(environ.get("HTTP_X_REQUEST_ID"))
        code = "500"

        def respond(status, headers, *exc_info):
            nonlocal code
            code = status[:3]
            headers.append(("X-Request-ID", request_id))
            if version := environ.get("model.version") or (self.version and self.version()):
                headers.append(("X-Model-Version", version))
            return start_response(status, headers, *exc_info)

        try:
            return self.app(environ, respond)
        except Exception:
            log.exception("request %s failed outside of the application", request_id)
            self.metrics.of(self.metrics.errors, "", "internal").inc()
            headers, body = json_refusal(f"internal error, logged as {request_id}")
            respond("500 INTERNAL SERVER ERROR", headers)
            return body_for(environ, body)
        finally:
            seconds = time.perf_counter() - begin
            client, path = environ.get("REMOTE_ADDR", ""), environ.get("PATH_INFO", "")
            self.note(environ["REQUEST_METHOD"], path, code, seconds, request_id, client)

    def begin(self) -> None:
        """Open the files of the counts, if any, now: at the first request there may be no descriptor for them."""
        if self.metrics.place is not None:
            self._counters("GET", next(iter(self.paths)), "200")

    def identify(self, given: str | None) -> str:
        """The caller's `X-Request-ID`, or one made of a random part of this process and a count."""
        if own := own_id(given):
            return own
        if not self._process:
            self._process = secrets.token_hex(4)
        return f"{self._process}-{next(self._ids)}"

    def note(self, method: str, path: str, code: str, seconds: float, request_id: str, client: str) -> None:
        """Count one answered request, and write its line."""
        count, observe = self._counted.get((method, path, code)) or self._counters(method, path, code)
        count()
        observe(seconds)
        if self.access_log is not None:
            write_line(self.access_log, method, path, code, seconds, request_id, client)

    def _counters(self, method: str, path: str, code: str) -> tuple[Callable, Callable]:
        """The two metrics of this kind of request, looked up by their labels only once."""
        known = next((each for each in (path, _NAMED.sub(ANY_NAME, path)) if each in self.paths), "other")
        verb = method if method in ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH") else "other"
        metrics, model = self.metrics, self.paths.get(known, "")
        count = metrics.of(metrics.requests, model, verb, known, code).inc
        counters = count, metrics.of(metrics.seconds, model, known).observe
        if known == path and verb == method:
            self._counted[method, path, code] = counters
        return counters
