"""The load test measures what the server did, from processes that are not the server's."""

import threading
import time

import numpy as np
import psutil
import pytest
from service_processes import until

from helpers.serving.notebook_server import serve
from helpers.serving.services import create_echo_app
from helpers.tools.load_test import Load, measure, measure_clients


class Recorder:
    """A WSGI application that waits, answers, and keeps what it was sent."""

    def __init__(self, seconds: float = 0.0, status: str = "200 OK"):
        self.seconds, self.status = seconds, status
        self.seen: list[tuple] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(self.seconds)
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length else b""
        kind = environ.get("CONTENT_TYPE")
        with self.lock:
            self.seen.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"], kind, body))
            self.at_once -= 1
        start_response(self.status, [("Content-Length", "2"), ("Content-Type", "text/plain")])
        return [b"ok"]


def test_every_counted_answer_was_given_by_the_server():
    app = Recorder()
    with serve(app, port=0) as server:
        load = measure(f"{server.url}/path?a=1", clients=4, seconds=0.5)
    assert 0 < load.requests == len(load.latencies) <= len(app.seen)  # the warm-up is served, but not counted
    assert load.failed == 0 and set(app.seen) == {("GET", "/path", "a=1", None, b"")}
    assert load.per_second == pytest.approx(load.requests / load.seconds)
    assert np.all(np.diff(load.latencies) >= 0) and load.percentile(50) <= load.percentile(99)


def test_latencies_are_milliseconds_that_the_client_waited():
    with serve(Recorder(seconds=0.05), port=0) as server:
        load = measure(server.url, clients=2, seconds=0.5)
    assert 50 <= load.percentile(50) < 1000
    assert load.requests <= 2 * (0.6 / 0.05 + 1)


def test_as_many_requests_are_under_way_as_there_are_clients():
    app = Recorder(seconds=0.1)
    with serve(app, port=0, threads=8) as server:
        measure(server.url, clients=3, seconds=0.4)
        assert app.most_at_once == 3
        measure(server.url, clients=5, seconds=0.4, processes=2)
        assert app.most_at_once == 5


def test_a_body_is_posted_as_json():
    app = Recorder()
    with serve(app, port=0) as server:
        measure(server.url, clients=1, seconds=0.2, body=b'{"msg": "Hi"}')
    assert set(app.seen) == {("POST", "/", "", "application/json", b'{"msg": "Hi"}')}


def test_wrong_answers_are_counted_as_failed_and_have_no_latency():
    with serve(Recorder(status="503 Service Unavailable"), port=0) as server:
        load = measure(server.url, clients=2, seconds=0.3)
    assert load.failed == load.requests > 0 and load.per_second == 0 and len(load.latencies) == 0


def test_a_server_that_goes_away_is_counted_as_failed():
    app = Recorder(seconds=0.02)
    server = serve(app, port=0)

    def stop():
        until(lambda: app.seen)  # the process of the clients takes its time to start
        time.sleep(0.6)
        server.stop()

    stopping = threading.Thread(target=stop)
    stopping.start()
    load = measure(server.url, clients=2, seconds=1.0)
    stopping.join()
    assert load.failed > 0 and len(load.latencies) > 0


def test_a_server_slower_than_the_time_to_measure_is_asked_once_by_each_client():
    with serve(Recorder(seconds=0.6), port=0) as server:
        load = measure(server.url, clients=2, seconds=0.1)
    assert load.failed == 0 and len(load.latencies) == load.requests == 2


def test_nobody_at_the_address_is_an_error(free_port):
    with pytest.raises(ConnectionError, match=str(free_port)):
        measure(f"http://127.0.0.1:{free_port}/", clients=1, seconds=0.2)


def test_the_clients_are_not_in_this_process_and_leave_none_behind():
    clients = set()

    def app(environ, start_response):
        port = int(environ["REMOTE_PORT"])
        if port not in clients:  # is the other end of this connection one of our own sockets?
            assert port not in {connection.laddr.port for connection in psutil.Process().net_connections("tcp")}
            clients.add(port)
        start_response("200 OK", [("Content-Length", "0")])
        return []

    threads, children = set(threading.enumerate()), set(psutil.Process().children(recursive=True))
    with serve(app, port=0) as server:
        loads = measure_clients(f"{server.url}/", clients=(1, 3), seconds=0.2)
    assert [load.clients for load in loads] == [1, 3] and len(clients) == 4
    assert all(load.failed == 0 for load in loads)
    until(lambda: set(threading.enumerate()) <= threads)  # a busy machine takes a moment to end one
    assert set(psutil.Process().children(recursive=True)) <= children


def test_a_load_reads_as_a_line():
    load = Load(clients=8, seconds=2.0, requests=4, failed=1, latencies=np.array([1.0, 2.0, 3.0]))
    assert str(load) == "  8 clients:      2 requests/s, p50 2.0 ms, p95 2.9 ms, p99 3.0 ms, 1 failed"


def test_the_echo_survives_a_load_of_64_clients():
    with serve(create_echo_app(), port=0) as server:
        load = measure(f"{server.url}/predict?msg=Hello", clients=64, seconds=0.5)
    assert load.failed == 0 and load.requests > 64
