"""A Lambda function called on this machine: its zip unpacked, its runtime fed by a Runtime API on loopback.

The program that runs the function is Lambda's own for Python (`awslambdaric`; elsewhere than on Linux the same loop in
the standard library). It sees the zip, the standard library and the variables that Lambda sets, nothing of this
environment. A request goes in as an event, as a function URL makes one; the handler's answer comes out.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

from helpers.cloud.lambda_packages import closure, installed_files
from helpers.cloud.lambda_zip import HANDLER, Package, Target
from helpers.serving.lambda_limits import MOST_BYTES

SECONDS = 30.0  # that a function may take to start, or to answer
MEMORY_MB = 512
RUNTIME = "awslambdaric" if sys.platform == "linux" else ""  # "" is the stand-in
_STAND_IN = Path(__file__).parent / "aws" / "bootstrap.py"
_TEXT = ("text/", "application/json", "application/javascript", "application/xml", "application/x-www-form-urlencoded")


class CallFailed(RuntimeError):
    """The function did not start, or did not answer; the message holds the reason that its runtime gave."""


def event(method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> dict:
    """A request as Lambda hands it on from a function URL (payload format 2.0).

    url: path and query string as they are sent, encoded. A body that is no text goes as base64, as with Lambda.
    """
    path, _, query = url.partition("?")
    headers = {name.lower(): value for name, value in (headers or {}).items()}
    cookies = headers.pop("cookie", "")
    host = "example.lambda-url.us-east-1.on.aws"
    http = {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "-"}
    found = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"host": host, "x-forwarded-proto": "https", "x-forwarded-port": "443", **headers},
        "requestContext": {"http": http, "stage": "$default", "domainName": host, "requestId": str(uuid.uuid4())},
        "isBase64Encoded": False,
    }
    if cookies:
        found["cookies"] = [cookie.strip() for cookie in cookies.split(";")]
    if body is not None:
        text = None
        with contextlib.suppress(UnicodeDecodeError):
            text = body.decode() if headers.get("content-type", "").startswith(_TEXT) else None
        found["headers"]["content-length"] = str(len(body))
        found["body"] = base64.b64encode(body).decode() if text is None else text
        found["isBase64Encoded"] = text is None
    return found


def body_of(answer: dict) -> bytes:
    """The bytes that a handler's answer makes a function URL send."""
    text = answer.get("body") or ""
    return base64.b64decode(text) if answer.get("isBase64Encoded") else text.encode()


class Function:
    """A function that runs here: `function(event)` is its answer, a dict. To be used in `with`, which starts it.

    environment: more variables, as a function's configuration has them. python, prefix: another interpreter, and
    words before the command, to run it as another user, for instance. folder: where the zip and the runtime are
    unpacked already (`unpacked`), for a second start.
    """

    def __init__(
        self,
        package: Package,
        environment: dict[str, str] | None = None,
        *,
        python: str = sys.executable,
        prefix: tuple[str, ...] = (),
        runtime: str = RUNTIME,
        folder: Path | None = None,
    ):
        self.package, self.environment, self.folder = package, environment or {}, folder
        self.python, self.prefix, self.runtime = python, prefix, runtime
        self.started = 0.0  # on the clock of `time.perf_counter`
        self.log = ""  # what the function printed, once it has ended
        self._events: queue.Queue[dict | None] = queue.Queue()
        self._answers: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._end = contextlib.ExitStack()

    def __enter__(self) -> Function:
        with contextlib.ExitStack() as made:
            folder = self.folder or made.enter_context(unpacked(self.package, self.runtime))
            task, layer = folder / "task", folder / "runtime"
            program = ["-m", self.runtime] if self.runtime else [str(layer / _STAND_IN.name)]
            server = _runtime_api(self._events, self._answers)
            made.callback(server.server_close)
            made.callback(server.shutdown)
            made.callback(self._events.put, None)  # to the request that waits for one
            variables = self._variables(task, layer, f"127.0.0.1:{server.server_port}")
            self._output = made.enter_context(tempfile.TemporaryFile())
            self.started = time.perf_counter()
            self._process = subprocess.Popen(
                [*self.prefix, self.python, "-S", *program, HANDLER],
                cwd=task,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
            )
            made.callback(self._stop)
            self._end = made.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.close()

    def __call__(self, request: dict) -> dict:
        """The handler's answer to an event; `CallFailed` where it raises, ends or takes longer than `SECONDS`.

        The same where Lambda would refuse the event, or the answer, for its size.
        """
        _check_size(json.dumps(request, ensure_ascii=False).encode(), "event")
        self._events.put(request)
        end = time.monotonic() + SECONDS
        while True:
            try:
                kind, content = self._answers.get(timeout=0.5)
                break
            except queue.Empty:
                if self._process.poll() is not None or time.monotonic() > end:
                    self._stop()
                    raise CallFailed(f"the function did not answer: {self.log.strip()[-2000:]}") from None
        _check_size(content, "answer")
        answer = json.loads(content or b"{}")
        if kind != "response":
            raise CallFailed(f"{answer.get('errorType')}: {answer.get('errorMessage')}")
        return answer

    def get(self, url: str) -> dict:
        """The JSON of the answer to a GET."""
        return json.loads(body_of(self(event("GET", url))))

    @property
    def memory(self) -> int:
        """Bytes of memory that the function has taken at most; what it takes now where the system does not tell."""
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
            return int(status.partition("VmHWM:")[2].split()[0]) * 1024
        return psutil.Process(self._process.pid).memory_info().rss

    def _stop(self) -> None:
        self._process.kill()
        self._process.wait()
        if not self._output.closed:
            self._output.seek(0)
            self.log = self._output.read().decode(errors="replace")

    def _variables(self, task: Path, layer: Path, api: str) -> dict[str, str]:
        """The variables that Lambda sets, and no others: not even a home folder."""
        name = self.package.path.stem
        return {
            "AWS_LAMBDA_RUNTIME_API": api,
            "_HANDLER": HANDLER,
            "LAMBDA_TASK_ROOT": str(task),
            "LAMBDA_RUNTIME_DIR": str(layer),
            "PYTHONPATH": os.pathsep.join((str(task), str(layer))),
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{self.package.target.runtime}",
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(MEMORY_MB),
            "AWS_REGION": "us-east-1",
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            **({"SYSTEMROOT": os.environ["SYSTEMROOT"]} if "SYSTEMROOT" in os.environ else {}),
            **self.environment,
        }


def _check_size(content: bytes, what: str) -> None:
    if len(content) > MOST_BYTES:
        raise CallFailed(f"Lambda takes no {what} of {len(content):,} bytes: {MOST_BYTES:,} at most")


@dataclass(frozen=True)
class Measured:
    """Seconds from the start of the process to its first answer, one for each start; of the calls after it; bytes."""

    cold: list[float]
    warm: list[float]
    memory: int


def measure(package: Package, request: dict, starts: int = 5, calls: int = 500) -> Measured:
    """Start the function `starts` times, and ask it `calls` times once it runs; `CallFailed` where it refuses."""
    cold, warm, memory = [], [], 0
    with unpacked(package) as folder:
        for start in range(starts):
            with Function(package, folder=folder) as function:
                answer = function(request)
                cold.append(time.perf_counter() - function.started)
                if answer.get("statusCode") != http.HTTPStatus.OK:
                    raise CallFailed(f"the function refused the request: {body_of(answer).decode().strip()}")
                for _ in range(calls if start == starts - 1 else 0):
                    begin = time.perf_counter()
                    function(request)
                    warm.append(time.perf_counter() - begin)
                memory = max(memory, function.memory)
    return Measured(cold, warm, memory)


@contextlib.contextmanager
def unpacked(package: Package, runtime: str = RUNTIME) -> Iterator[Path]:
    """A folder that everyone may read, with the zip in `task/`, as Lambda has it in /var/task, and in `runtime/` the
    packages of the runtime alone, as in /var/runtime.
    """
    with tempfile.TemporaryDirectory(prefix="lambda-") as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        with zipfile.ZipFile(package.path) as archive:
            archive.extractall(folder / "task")
        found = {_STAND_IN.name: _STAND_IN}
        for name in closure((runtime,), Target.here()) if runtime else ():
            found |= installed_files(metadata.distribution(name))
        for name, path in found.items():
            (folder / "runtime" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / "runtime" / name)
        yield folder


def _runtime_api(events: queue.Queue, answers: queue.Queue) -> http.server.ThreadingHTTPServer:
    """Lambda's Runtime API on a free port of loopback, in a thread: it hands out `events` and collects `answers`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm, wbufsize = True, -1  # else each answer waits 40 ms for the caller's acknowledgement
        log_message: Callable = staticmethod(lambda *_: None)

        def handle(self):
            with contextlib.suppress(ConnectionError):  # the function was stopped
                super().handle()

        def do_GET(self):
            request = events.get()
            if request is None:  # the function is being stopped
                self.close_connection = True
                return
            deadline = int((time.time() + SECONDS) * 1000)
            self._send(
                200,
                json.dumps(request).encode(),
                {
                    "Lambda-Runtime-Aws-Request-Id": str(uuid.uuid4()),
                    "Lambda-Runtime-Deadline-Ms": str(deadline),
                    "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:123456789012:function:here",
                },
            )

        def do_POST(self):
            content = self.rfile.read(int(self.headers["Content-Length"] or 0))
            self._send(202, b"{}", {})
            answers.put((self.path.rsplit("/", 1)[-1], content))

        def _send(self, code: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(code)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            self.wfile.flush()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server
