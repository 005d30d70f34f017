"""Latency and throughput of a URL, measured from processes of its own.

A client in the server's process would share the interpreter lock with it and measure itself. `measure` starts one or
more processes (`load_client`) with keep-alive connections that send request after request, and merges what they saw.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Load:
    """What `clients` connections saw of a URL in `seconds`: latencies in milliseconds, throughput per second.

    `failed` counts answers other than 200 and connections that broke; `latencies` holds every answer's time, sorted.
    """

    clients: int
    seconds: float
    requests: int
    failed: int
    latencies: np.ndarray

    @property
    def per_second(self) -> float:
        """Throughput: good answers per second."""
        return (self.requests - self.failed) / self.seconds

    def percentile(self, percent: float) -> float:
        """The latency in milliseconds that `percent` of the requests stayed below: 50, 95 and 99 are the usual ones."""
        return float(np.percentile(self.latencies, percent)) if len(self.latencies) else float("nan")

    def __str__(self) -> str:
        p50, p95, p99 = (self.percentile(percent) for percent in (50, 95, 99))
        return (
            f"{self.clients:>3} clients: {self.per_second:6,.0f} requests/s, "
            f"p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms, {self.failed} failed"
        )


def measure(
    url: str,
    clients: int = 8,
    seconds: float = 2.0,
    processes: int = 1,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Load:
    """Send requests to `url` over `clients` connections at once for `seconds` from `processes` processes.

    body: sent by POST (as JSON unless `headers` say otherwise); without one, GET. The first fifth of a second is a
    warm-up that is not counted. Raises `ConnectionError` where nobody answers.
    """
    shares = [clients // processes + (i < clients % processes) for i in range(processes)]
    orders = [
        {"url": url, "clients": share, "seconds": seconds, "body": body and body.decode("latin-1"), "headers": headers}
        for share in shares
        if share
    ]
    command = [sys.executable, "-m", "helpers.tools.load_client"]
    children = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in orders]
    try:
        for child, order in zip(children, orders, strict=True):
            child.stdin.write(json.dumps(order))
            child.stdin.close()
        seen = [json.loads(child.stdout.read() or "{}") for child in children]
    finally:
        for child in children:
            child.kill()
            child.wait()
            child.stdout.close()
    for result in seen:
        if "error" in result or not result:
            raise ConnectionError(f"{url} does not answer: {result.get('error', 'the load process died')}")
    latencies = np.sort(np.concatenate([np.array(result["latencies"]) for result in seen]))
    failed = sum(result["failed"] for result in seen)
    taken = max(result["seconds"] for result in seen)
    return Load(clients, taken, len(latencies) + failed, failed, latencies)


def measure_clients(url: str, clients: Iterable[int] = (1, 2, 4, 8, 16, 32, 64), seconds: float = 1.0) -> list[Load]:
    """`measure` for each number of clients in turn."""
    return [measure(url, count, seconds) for count in clients]
