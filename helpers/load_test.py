"""Latency and throughput of a URL, measured from processes of its own.

A client in the server's process would share the interpreter lock with it and measure itself. `measure` starts one or
more Python processes with keep-alive connections that send request after request, and merges what they saw.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

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
    command = [sys.executable, "-m", "helpers.load_test"]
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


# ---- in the load process ----


def _child(order: dict) -> dict:
    parts = urlsplit(order["url"])
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    body = order["body"].encode("latin-1") if order["body"] else b""
    headers = {
        "Host": parts.netloc,
        **({"Content-Type": "application/json"} if body else {}),
        **(order["headers"] or {}),
    }
    if body:
        headers["Content-Length"] = str(len(body))
    head = f"{'POST' if body else 'GET'} {target} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    request = head.encode("latin-1") + b"\r\n" + body
    address = parts.hostname, parts.port or 80
    try:
        socket.create_connection(address, timeout=5).close()
    except OSError as error:
        return {"error": str(error)}

    begin = time.perf_counter() + 0.2
    end = begin + order["seconds"]
    results: list[tuple[list[float], int]] = []
    threads = [
        threading.Thread(target=lambda: results.append(_client(address, request, begin, end)))
        for _ in range(order["clients"])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "latencies": [round(ms, 4) for latencies, _ in results for ms in latencies],
        "failed": sum(failed for _, failed in results),
        "seconds": time.perf_counter() - begin,
    }


def _client(address, request: bytes, begin: float, end: float) -> tuple[list[float], int]:
    """One connection: request after request until `end`. Latencies in ms of good answers, and the number of others."""
    latencies, failed = [], 0
    connection = None
    while (started := time.perf_counter()) < end:
        try:
            connection = connection or socket.create_connection(address, timeout=30)
            connection.sendall(request)
            status, keep = _answer(connection)
        except (OSError, http.client.HTTPException, ValueError):
            status, keep = 0, False
        if started >= begin:
            if status == 200:
                latencies.append((time.perf_counter() - started) * 1000)
            else:
                failed += 1
        if not keep and connection is not None:
            connection.close()
            connection = None
    if connection is not None:
        connection.close()
    return latencies, failed


def _answer(connection: socket.socket) -> tuple[int, bool]:
    """Read one answer to its end: its status, and whether the connection may be used again.

    Written out instead of `http.client`, whose parsing takes longer than the service's whole answer.
    """
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _receive(connection)
    head = data[:end].lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        raise ValueError("an answer without Content-Length")
    missing = int(head[at + 17 :].partition(b"\r\n")[0]) - (len(data) - end - 4)
    while missing > 0:
        missing -= len(_receive(connection))
    return int(head[9:12]), b"\r\nconnection: close" not in head


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("hung up")
    return data


if __name__ == "__main__":
    print(json.dumps(_child(json.load(sys.stdin))))
