"""The server inside a notebook: there when `serve` returns, gone when it is stopped, and never blocked."""

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

import psutil
import pytest
import requests
from flask import Flask, request

from helpers import PROJECT
from helpers.serving import waiting_room
from helpers.serving.notebook_server import serve
from helpers.serving.services import create_echo_app


def say(text: str):
    """A WSGI application that answers with `text`."""

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
        return [text.encode()]

    return app


def sockets_of_this_process() -> int:
    """Listening sockets; closed connections linger in the kernel and are not counted."""
    return sum(c.status == psutil.CONN_LISTEN for c in psutil.Process().net_connections("tcp"))


def descriptors() -> int:
    process = psutil.Process()
    return process.num_handles() if os.name == "nt" else process.num_fds()


def test_it_answers_as_soon_as_serve_returns():
    with serve(say("here"), port=0) as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert requests.get(server.url).text == "here"


def test_it_listens_on_this_machine_only_unless_told_otherwise(capsys):
    with serve(say("x"), port=0) as server:
        listening = [c.laddr for c in psutil.Process().net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        assert ("127.0.0.1", server.port) in listening and capsys.readouterr().out == ""
    with serve(say("x"), host="0.0.0.0", port=0) as server:
        assert requests.get(server.url).text == "x"
        assert str(server.port) in capsys.readouterr().out  # says what it opens


@pytest.mark.slow
def test_200_starts_and_stops_leave_no_thread_socket_or_descriptor():
    app = create_echo_app()
    for _ in range(3):  # what is set up once
        with serve(app, port=0) as server:
            requests.get(f"{server.url}/predict?msg=1")
    gc.collect()
    before = threading.active_count(), sockets_of_this_process(), descriptors()
    for _ in range(200):
        with serve(app, port=0) as server, socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"GET /predict?msg=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
    gc.collect()
    after = threading.active_count(), sockets_of_this_process(), descriptors()
    assert all(now <= then for now, then in zip(after, before, strict=True)), (before, after)


def test_running_the_cell_again_replaces_the_server_on_its_port(free_port, capsys):
    for text in ("first", "second", "third"):
        server = serve(say(text), port=free_port)
        assert server.port == free_port
        assert requests.get(server.url).text == text
    server.stop()
    assert capsys.readouterr().out == ""
    with pytest.raises(requests.ConnectionError):
        requests.get(server.url)


def test_a_port_taken_by_another_program_is_not_an_error(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with serve(say("here"), port=taken) as server:
            assert server.port != taken and requests.get(server.url).text == "here"
        said = capsys.readouterr().out
    assert str(taken) in said and "another program" in said and str(server.port) in said


def test_a_request_that_does_not_arrive_in_time_is_told_so(monkeypatch):
    monkeypatch.setattr(waiting_room, "REQUEST_SECONDS", 0.2)
    with serve(create_echo_app(), port=0) as server, socket.create_connection(("127.0.0.1", server.port), 10) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        got = b"".join(iter(lambda: client.recv(65536), b""))
    assert got.startswith(b"HTTP/1.1 408") and b"did not arrive within 0.2 seconds" in got


@pytest.mark.parametrize(("name", "told"), [("AirTunes/675.4.1", "AirPlay"), ("nginx", "nginx")])
def test_it_says_who_has_the_port(capsys, name, told):
    class Occupant(BaseHTTPRequestHandler):
        server_version, sys_version = name, ""

        def do_GET(self):
            self.send_error(403)

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Occupant) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        with serve(say("here"), port=other.server_port):
            pass
        other.shutdown()
    assert told in capsys.readouterr().out


def test_an_impossible_address_is_an_error_that_says_what_to_try():
    with pytest.raises(OSError, match="port=0"):
        serve(say("x"), host="192.0.2.1", port=5000)
    for port in (70_000, -1, "5000"):
        with pytest.raises(ValueError, match=f"port is {port!r}: give a whole number from 0 to 65535"):
            serve(say("x"), port=port)


def test_stop_lets_a_request_in_flight_finish():
    arrived = threading.Event()

    def slow(environ, start_response):
        arrived.set()
        time.sleep(0.5)
        return say("done")(environ, start_response)

    server = serve(slow, port=0)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(requests.get, server.url)
        arrived.wait(5)
        server.stop()
        assert answer.result().text == "done"


def test_stop_does_not_wait_for_a_request_beyond_its_time_limit():
    arrived, release = threading.Event(), threading.Event()

    def stuck(environ, start_response):
        arrived.set()
        release.wait(30)
        return say("late")(environ, start_response)

    server = serve(stuck, port=0)
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        arrived.wait(5)
        stopper = threading.Thread(target=server.stop, kwargs={"timeout": 0.3})
        stopper.start()
        stopper.join(5)
        assert not stopper.is_alive()
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", server.port), timeout=1)
    release.set()


def test_stop_may_be_called_twice_and_from_another_thread():
    server = serve(say("x"), port=0)
    threads = [threading.Thread(target=server.stop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    server.stop()
    assert "stopped" in repr(server)


def python(code: str) -> subprocess.Popen:
    """A process like a kernel: it serves, prints the port, and goes on with `code`."""
    start = "from helpers.serving.notebook_server import serve\nfrom helpers.serving.services import create_echo_app\n"
    start += "server = serve(create_echo_app(), port=0)\nprint(server.port, flush=True)\n"
    return subprocess.Popen([sys.executable, "-c", start + code], stdout=subprocess.PIPE, text=True, cwd=PROJECT)


def test_the_end_of_the_interpreter_is_the_end_of_the_server():
    with python("") as process:
        port = int(process.stdout.readline())
        assert process.wait(10) == 0
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_kernel_leaves_its_port_free():
    with python("import time; time.sleep(60)") as process:
        port = int(process.stdout.readline())
        requests.get(f"http://127.0.0.1:{port}/predict?msg=1")
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    with serve(say("again"), port=port) as server:
        assert server.port == port and requests.get(server.url).text == "again"


# ---- nothing blocks it ----


def open_slow(port: int, count: int, first: bytes) -> list[socket.socket]:
    """`count` connections that have sent the beginning of a request and keep the rest."""
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    for connection in connections:
        connection.sendall(first)
    return connections


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"GET /predict?msg=1 HTTP/1.1\r\nHost: localhost\r\nX-Sl",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
    ],
    ids=["silent", "half a header", "half a body", "half a chunk"],
)
def test_a_normal_client_is_answered_beside_500_slow_ones(first):
    with serve(create_echo_app(), port=0) as server:
        slow = open_slow(server.port, 500, first)
        threads = threading.active_count()
        try:
            for _ in range(5):
                answer = requests.get(f"{server.url}/predict", params={"msg": "Hello"}, timeout=5)
                assert answer.json()["response"] == "Hello"
            assert threading.active_count() == threads  # they wait without a thread each
        finally:
            for connection in slow:
                connection.close()


def test_a_request_that_arrives_byte_by_byte_is_answered():
    body = b'{"msg": "Hi"}'
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with serve(create_echo_app(), port=0) as server, socket.create_connection(("127.0.0.1", server.port)) as client:
        for byte in head % len(body) + body:
            client.sendall(bytes([byte]))
        got = b""
        while b"}" not in got:
            got += client.recv(4096)
        assert b'"response":"Hi"' in got


def test_requests_sent_one_after_the_other_without_waiting_are_all_answered():
    text = b"".join(b"GET /predict?msg=%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % i for i in range(20))
    with serve(create_echo_app(), port=0) as server, socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(text)
        got = b""
        while got.count(b"success") < 20:
            got += client.recv(65536)
    order = [got.index(b'"response":"%d"' % i) for i in range(20)]
    assert order == sorted(order)


def test_a_crowd_to_which_somebody_comes_all_the_time_holds_up_nobody():
    """The server took connections as long as there was one more, and whoever was there already waited."""
    came, most = 0, 20_000

    def another_comes():
        nonlocal came
        came += 1
        socket.create_connection(("127.0.0.1", server.port)).close()

    with serve(create_echo_app(), port=0) as server:
        seat = server._server.process_conn

        def seat_one_while_another_comes(connection):
            if came < most:
                another_comes()
            seat(connection)

        with requests.Session() as session:
            assert session.get(f"{server.url}/predict?msg=Hello", timeout=60).ok
            server._server.process_conn = seat_one_while_another_comes
            another_comes()
            assert session.get(f"{server.url}/predict?msg=Hello", timeout=60).ok
            assert came < most


def test_a_large_body_arrives_whole():
    app = Flask("count")

    @app.post("/")
    def count():
        return str(len(request.get_data()))

    size = 5 * 256 * 1024
    with serve(app, port=0) as server:
        assert requests.post(server.url, data=b"x" * size).text == str(size)
        assert requests.post(server.url, data=(b"y" * 10_000 for _ in range(30))).text == "300000"


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
        b"GET\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ],
    ids=["TLS", "no path", "lower case", "another protocol"],
)
def test_what_is_no_http_is_refused_in_json_and_harms_nobody(nonsense):
    with serve(create_echo_app(), port=0) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(nonsense)
            got = client.recv(4096)
        assert got.startswith((b"HTTP/1.1 4", b"HTTP/1.1 505")) and b'{"success": false, "error": ' in got
        assert requests.get(f"{server.url}/predict?msg=1").status_code == 200


def test_a_client_that_hangs_up_early_harms_nobody():
    with serve(create_echo_app(), port=0) as server:
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(b"GET /predict?msg=1 HTTP/1.1\r\nHost: localhost\r\n\r\n"[: 20 + _])
        assert requests.get(f"{server.url}/predict?msg=1").status_code == 200


def test_an_application_that_fails_does_not_end_the_server():
    def broken(environ, start_response):
        raise RuntimeError("broken")

    with serve(broken, port=0) as server:
        for _ in range(20):
            answer = requests.get(server.url)
            assert answer.status_code == 500 and "broken" not in answer.text and answer.json()["success"] is False


# ---- in the notebook ----


def test_show_is_an_iframe_that_also_knows_jupyters_proxy():
    with serve(say("page"), port=0) as server:
        html = server.show(height=300).data
    assert (
        "<iframe" in html and f'"{server.url}/"' in html and f"proxy/{server.port}/" in html and 'height="300"' in html
    )


TOGETHER = """
import sys
from helpers.serving.notebook_server import serve
from helpers.serving.services import create_echo_app
app = create_echo_app()
print("ready", flush=True)
sys.stdin.readline()
print("at", serve(app, port=int(sys.argv[1])).port, flush=True)
sys.stdin.readline()
"""


def test_programs_that_ask_for_one_port_at_once_all_serve_and_one_of_them_there(free_port):
    command, pipe = [sys.executable, "-c", TOGETHER, str(free_port)], subprocess.PIPE
    programs = [subprocess.Popen(command, cwd=PROJECT, stdin=pipe, stdout=pipe, text=True) for _ in range(6)]
    try:
        assert {program.stdout.readline() for program in programs} == {"ready\n"}
        for program in programs:
            program.stdin.write("\n")
            program.stdin.flush()
        ports = [next(line for line in program.stdout if line.startswith("at ")) for program in programs]
    finally:
        for program in programs:
            program.communicate("\n")
    assert len(set(ports)) == len(programs) and f"at {free_port}\n" in ports
