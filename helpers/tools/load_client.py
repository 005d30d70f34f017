"""The load process of `load_test`: asks one URL over several connections, and tells what it saw.

An order comes in as JSON on standard input, the latencies in milliseconds go out as JSON on standard output. Nothing
but the standard library is imported, so that the process is ready at once.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from urllib.parse import urlsplit


def run(order: dict) -> dict:
    """`url`, `clients`, `seconds`, `body`, `headers` -> `latencies`, `failed`, `seconds`, or `error`."""
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
    """One connection: request after request until `end`, and one that counts at least, however slow the machine is.

    Latencies in ms of good answers, and the number of others.
    """
    latencies, failed = [], 0
    connection = None
    while (started := time.perf_counter()) < end or not (latencies or failed):
        try:
            connection = connection or socket.create_connection(address, timeout=30)
            connection.sendall(request)
            status, keep = _answer(connection)
        except (OSError, ValueError):
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
    print(json.dumps(run(json.load(sys.stdin))))
