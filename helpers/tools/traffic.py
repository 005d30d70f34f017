"""Steady traffic for a service that is being changed: who asked, when, what came back, and from which version.

Requests come in, and go out one after the other under the names of many callers; each answer is kept as an `Answer`.
`lead_to` turns the traffic to another service, as a load balancer does, and ends the one before it.
"""

from __future__ import annotations

import atexit
import itertools
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import requests

from helpers import PROJECT
from helpers.serving.callers import CALLER

PATIENCE = 30.0  # seconds for which answers are waited for


class Answer(NamedTuple):
    """One request: seconds since the first service was there, the status of HTTP (0: no answer), the version ("")."""

    seconds: float
    status: int
    version: str
    caller: str


class Service:
    """`tutorial.py serve` with these options, in a process of its own on a free port: `.url`, `.stop()`.

    It ends with this process. RuntimeError with its own sentence where it does not serve.
    """

    def __init__(self, *options: str):
        command = [sys.executable, "-m", "helpers", "serve", "--port", "0", "--workers", "1", *options]
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self._process = subprocess.Popen(command, cwd=PROJECT, **output)
        # a kernel that is shut down ends its processes first, and is killed itself while one that has ended is unseen
        self._seen_off = threading.Thread(target=self._process.wait, name="service-watch", daemon=True)
        self._seen_off.start()
        atexit.register(self.stop)
        said = ""
        while not (found := re.search(r"^Serving .* on (http://\S+) with", said, re.MULTILINE)):
            line = self._process.stdout.readline()
            if not line:
                self.stop()
                raise RuntimeError(said.strip() or "the service did not start")
            said += line
        self.url = found[1]

    def stop(self) -> None:
        """End it; requests that are under way are answered first. Safe to call twice."""
        atexit.unregister(self.stop)
        self._process.terminate()
        self._seen_off.join()
        self._process.stdout.close()


class Traffic:
    """Asks the service that it was led to for one row after the other, at most `per_second`, until `stop()`.

    rows: requests as `/predict` takes them. callers: how many names take turns in the header `X-Caller-ID`.
    `answers` holds an `Answer` for each request so far.
    """

    def __init__(self, rows: Sequence[dict], callers: int = 200, per_second: float = 200):
        self.answers: list[Answer] = []
        self._rows, self._pause = itertools.cycle(rows), 1 / per_second
        self._callers = itertools.cycle([f"caller-{number}" for number in range(callers)])
        self._service: Service | None = None
        self._resting = False
        self._turning, self._came, self._end = threading.Lock(), threading.Condition(), threading.Event()
        self._began = time.perf_counter()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self._thread.start()

    def lead_to(self, service: Service) -> float:
        """Send every further request to `service`, and end the one before it once it has answered its last.

        Returns when that was, in seconds since the first service was there.
        """
        with self._turning:
            before, self._service, self._resting = self._service, service, False
            self._began = self._began if before else time.perf_counter()
            turned = self._now()
        if before is not None:
            before.stop()
        return turned

    def rest(self) -> None:
        """Ask nothing more until `lead_to`; the service goes on."""
        with self._turning:
            self._resting = True

    @property
    def url(self) -> str:
        return self._service.url

    def next(self, count: int) -> list[Answer]:
        """The next `count` answers, once they are there; where the traffic rests it goes on."""
        at = len(self.answers)
        with self._turning:
            self._resting = False
        self._wait(lambda: len(self.answers) >= at + count)
        return self.answers[at : at + count]

    def until(self, version: str, in_a_row: int = 100) -> float:
        """Wait until `in_a_row` answers were all from this version; returns when the first of them was asked for."""
        self._wait(lambda: {answer.version for answer in self.answers[-in_a_row:]} == {version})
        these = itertools.takewhile(lambda answer: answer.version == version, reversed(self.answers))
        return [answer.seconds for answer in these][-1]

    def stop(self) -> None:
        """End the traffic, then the service. Safe to call twice."""
        self._end.set()
        self._thread.join()
        if self._service is not None:
            self._service.stop()

    def _now(self) -> float:
        return time.perf_counter() - self._began

    def _wait(self, condition) -> None:
        with self._came:
            if not self._came.wait_for(condition, 0 if self._end.is_set() else PATIENCE):
                why = "the traffic is stopped" if self._end.is_set() else f"{PATIENCE:.0f} s are over"
                last = self.answers[-1] if self.answers else "none"
                raise TimeoutError(f"{why}, and the last answer is {last}: restart the kernel and run all cells")

    def _run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False  # no proxy stands before this machine
            due = time.perf_counter()
            while not self._end.wait(max(0.0, due - time.perf_counter())):
                due = max(due + self._pause, time.perf_counter())  # what was late is not made up for
                with self._turning:
                    if self._service is not None and not self._resting:
                        self._ask(session)

    def _ask(self, session: requests.Session) -> None:
        caller, at = next(self._callers), self._now()
        try:
            got = session.post(f"{self.url}/predict", json=next(self._rows), headers={CALLER: caller}, timeout=10)
            status, version = got.status_code, got.headers.get("X-Model-Version", "")
        except requests.RequestException:
            status, version = 0, ""
        with self._came:
            self.answers.append(Answer(at, status, version, caller))
            self._came.notify_all()
