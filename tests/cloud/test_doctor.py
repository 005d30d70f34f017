"""Each reason why a URL does not answer, produced for real, and told apart from all the others.

Servers on loopback where that will do; where a network is needed that drops packets, a network namespace of Linux, in
which every other address leads back to the loopback interface, where nothing takes it.
"""

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import requests

from helpers import PROJECT
from helpers.cloud import ec2
from helpers.cloud.account import connect, disconnect
from helpers.cloud.doctor import CASES, diagnose, main
from helpers.data.signature import Feature, Signature
from helpers.serving.notebook_server import serve
from helpers.serving.services import create_echo_app, create_predict_app
from helpers.serving.several import create_models_app

TIMEOUT = 0.7  # seconds; on loopback an answer takes a thousandth of that
EXAMPLE = "g1=1&g2=0"


class Model:
    """The smallest predictor: the mean of the row."""

    signature = Signature((Feature("g1"), Feature("g2")))
    version = "test"

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return rows.mean(axis=1, dtype=np.float32)


class Broken(Model):
    def __call__(self, rows: np.ndarray) -> np.ndarray:
        raise RuntimeError("no weights")


@pytest.fixture
def service():
    with serve(create_predict_app(Model()), port=0) as server:
        yield server


@contextlib.contextmanager
def in_a_thread(server: ThreadingHTTPServer):
    """The address, host:port, of a server that runs in a thread for the time of the block."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield "{}:{}".format(*server.server_address)
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def http_server(status: int, body: bytes = b"", **headers: str):
    """A web server that answers every GET alike; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def version_string(self):
            return headers.get("Server", "Example/1.0")

        def do_GET(self):
            self.send_response(status)
            for name, value in headers.items():
                if name != "Server":
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with in_a_thread(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as address:
        yield f"http://{address}"


@contextlib.contextmanager
def raw_server(greeting: bytes | None, host: str = "127.0.0.1"):
    """Accepts connections, sends `greeting` and closes; with None it keeps them open in silence. Yields the port."""
    held = []
    with socket.create_server((host, 0)) as listener:

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    if greeting is None:
                        held.append(connection)
                        continue
                    connection.sendall(greeting)
                    connection.close()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR) if os.name == "posix" else None
    for connection in held:
        connection.close()


def case_of(url: str) -> str:
    found = diagnose(url, TIMEOUT)
    assert found.case in CASES
    assert "\n" not in found.sentence and len(found.sentence) < 320
    assert found.ok == (found.latency_ms is not None)
    return found.case


# ---- it answers ----


def test_a_service_that_answers_well_is_told_with_its_latency(service):
    found = diagnose(f"{service.url}/predict?{EXAMPLE}")
    assert found.ok
    assert 0 < found.latency_ms < 5000
    assert f"answers well, in {found.latency_ms:.1f} ms" in found.sentence
    assert "other machines cannot call it" in found.sentence  # it listens on 127.0.0.1


def test_the_address_that_a_service_listens_on_is_asked_for_at_this_machine(service):
    port = service.url.rpartition(":")[2]
    found = diagnose(f"http://0.0.0.0:{port}/predict?{EXAMPLE}")
    assert found.ok and found.sentence.startswith(f"http://127.0.0.1:{port} answers well")


def test_a_name_to_which_the_service_does_not_answer_is_told_with_one_to_which_it_does(service):
    port = service.url.rpartition(":")[2]
    found = diagnose(f"http://127.1:{port}/predict?{EXAMPLE}")  # resolves to 127.0.0.1, and is another name for it
    assert found.case == "bad_request" and "--allow-host 127.1" in found.sentence
    assert diagnose(f"http://127.0.0.1:{port}/predict?{EXAMPLE}").ok
    assert f"http://127.0.0.1:{port}/predict?{EXAMPLE}," in found.sentence


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_proxy_that_other_programs_would_ask_is_told_by_whatever_name_this_machine_goes(service, host):
    url = f"http://{host}:{service.url.rpartition(':')[2]}"
    proxied = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    proxied["http_proxy"] = "http://127.0.0.1:9"
    done = subprocess.run(
        [sys.executable, "-m", "helpers", "doctor", url],
        cwd=PROJECT,
        env=proxied,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "answers well" in done.stdout and "http_proxy would send curl or Python to a proxy" in done.stdout


@pytest.mark.parametrize("path", ["", "/", "/predict", "/docs", "/health/ready"])
def test_every_path_of_the_service_is_well(service, path):
    assert case_of(service.url + path) == "ok"


def test_the_scheme_may_be_left_out(service):
    assert case_of(f"127.0.0.1:{service.port}/predict?{EXAMPLE}") == "ok"


def test_the_echo_service_is_well_too():
    with serve(create_echo_app(), port=0) as server:
        found = diagnose(f"{server.url}/predict?msg=Hello", TIMEOUT)
    assert found.ok and "echo" in found.sentence


# ---- it answers, but not as it should ----


def test_a_service_of_several_models_is_known_as_a_whole_and_by_each_of_them():
    with serve(create_models_app({"games": Model(), "churn": Model()}), port=0) as server:
        for path in ("", "/", "/health/ready", "/games", f"/churn/predict?{EXAMPLE}"):
            assert diagnose(f"{server.url}{path}").case == "ok", path
        assert "/predict itself wants the features: g1, g2" in diagnose(f"{server.url}/games/predict").sentence
        for path in ("/predict", "/typo/predict"):
            wrong = diagnose(f"{server.url}{path}")
            assert wrong.case == "wrong_path"
            assert f"use {server.url}/games/predict or {server.url}/churn/predict" in wrong.sentence


def test_a_wrong_path_is_told_with_the_right_one(service):
    found = diagnose(f"{service.url}/predictions", TIMEOUT)
    assert found.case == "wrong_path"
    assert f"{service.url}/predict" in found.sentence


@contextlib.contextmanager
def behind_a_prefix(url: str, prefix: str):
    """A proxy that passes on what is asked for under `prefix` and nothing else; yields its URL without the prefix."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self):
            if not self.path.startswith(f"{prefix}/"):
                self.send_error(404)
                return
            answer = requests.get(url + self.path.removeprefix(prefix), timeout=5)
            self.send_response(answer.status_code)
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, format, *args):
            pass

    with in_a_thread(ThreadingHTTPServer(("127.0.0.1", 0), Proxy)) as address:
        yield f"http://{address}"


@pytest.mark.parametrize("prefix", ["/model", "/team/model"])
def test_a_service_behind_a_proxy_with_a_path_of_its_own_is_found_there(service, prefix):
    with behind_a_prefix(service.url, prefix) as url:
        found = diagnose(f"{url}{prefix}/predict", TIMEOUT)
        assert found.case == "ok" and f"{url}{prefix} answers well" in str(found)
        assert "/predict itself wants the features: g1, g2" in str(found).lower()  # as the model names them
        assert diagnose(f"{url}{prefix}/predict?{EXAMPLE}", TIMEOUT).case == "ok"
        assert diagnose(f"{url}{prefix}/", TIMEOUT).case == "ok"
        assert f"use {url}{prefix}/predict" in str(diagnose(f"{url}{prefix}", TIMEOUT))  # it lies below a slash there
        assert f"use {url}{prefix}/predict" in str(diagnose(f"{url}{prefix}/predicted", TIMEOUT))
        assert diagnose(f"{url}/predict", TIMEOUT).case == "other_service"


def test_a_model_that_is_not_ready_and_the_echo_are_known_behind_a_proxy_too():
    with serve(create_predict_app(Broken()), port=0) as server, behind_a_prefix(server.url, "/model") as url:
        assert diagnose(f"{url}/model/predict", TIMEOUT).case == "not_ready"
    with serve(create_echo_app(), port=0) as server, behind_a_prefix(server.url, "/echo") as url:
        assert diagnose(f"{url}/echo/predict?msg=Hello", TIMEOUT).case == "ok"


def test_refused_parameters_are_told_with_the_service_s_own_words(service):
    found = diagnose(f"{service.url}/predict?g1=7&g2=0", TIMEOUT)
    assert found.case == "bad_request"
    assert "g1" in found.sentence


def test_a_model_that_fails_is_not_ready_with_the_reason_of_the_service():
    with serve(create_predict_app(Broken()), port=0) as server:
        found = diagnose(f"{server.url}/predict?{EXAMPLE}", TIMEOUT)
    assert found.case == "not_ready"
    assert "the model has not answered yet" in found.sentence


def test_a_service_with_a_key_says_where_to_send_it():
    with serve(create_predict_app(Model(), api_key="k" * 32), port=0) as server:
        found = diagnose(f"{server.url}/predict?{EXAMPLE}", TIMEOUT)
        page = diagnose(server.url, TIMEOUT)
    assert found.case == "api_key"
    assert "X-API-Key" in found.sentence
    assert page.ok and "; its predictions want a key (" in page.sentence and "X-API-Key" in page.sentence


def test_of_several_models_with_a_key_the_page_is_not_all_that_is_asked():
    with serve(create_models_app({"a": Model(), "b": Model()}, api_key="k" * 32), port=0) as server:
        assert "; its predictions want a key (" in diagnose(server.url, TIMEOUT).sentence
        assert "; its predictions want a key (" in diagnose(f"{server.url}/b/docs", TIMEOUT).sentence


def test_a_model_that_breaks_later_is_failing():
    class BreaksLater(Model):
        broken = False

        def __call__(self, rows):
            if self.broken:
                raise RuntimeError("worn out")
            return super().__call__(rows)

    model = BreaksLater()
    with serve(create_predict_app(model), port=0) as server:
        model.broken = True
        assert case_of(f"{server.url}/predict?{EXAMPLE}") == "failing"


def test_airplay_is_known_by_its_403_and_its_name():
    with http_server(403, Server="AirTunes/770.8.1") as url:
        found = diagnose(f"{url}/predict", TIMEOUT)
    assert found.case == "airplay"
    assert "AirPlay Receiver" in found.sentence


@pytest.mark.parametrize(
    ("status", "body", "named"),
    [
        (200, b"<html><title>Welcome to nginx!</title></html>", "Welcome to nginx!"),
        (200, b'{"success": true}', "Example/1.0"),
        (200, b"[1, 2]", "Example/1.0"),
        (403, b"", "Example/1.0"),
        (404, b"not here", "Example/1.0"),
        (503, b"<title>Busy</title>", "Busy"),
        (500, b'{"success": false}', "Example/1.0"),
    ],
)
def test_another_service_is_told_with_its_name(status, body, named):
    with http_server(status, body) as url:
        found = diagnose(f"{url}/predict", TIMEOUT)
    assert found.case == "other_service"
    assert named in found.sentence


def test_a_redirect_is_told_with_its_target():
    with http_server(302, Location="https://example.org/login") as url:
        found = diagnose(url, TIMEOUT)
    assert found.case == "other_service" and "https://example.org/login" in found.sentence


def test_jupyter_is_known():
    with http_server(200, b'{"version": "2.21.1"}', Server="TornadoServer/6.5") as url:
        found = diagnose(url, TIMEOUT)
    assert found.case == "other_service" and "Jupyter" in found.sentence


def test_another_service_cannot_write_on_the_terminal():
    with http_server(200, b"<title>\x1b[31mred\x07</title>") as url:
        assert diagnose(url, TIMEOUT).sentence.isprintable()


# ---- TLS ----


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    )
    files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    return folder


@pytest.fixture
def tls_url(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        def finish_request(self, request, address):
            with contextlib.suppress(OSError), context.wrap_socket(request, server_side=True) as tls:
                super().finish_request(tls, address)

        def handle_error(self, *_):
            pass

    with in_a_thread(Server(("127.0.0.1", 0), Handler)) as address:
        yield f"https://{address}"


def test_https_to_a_plain_port_is_told_with_the_url_that_works(service):
    plain = f"{service.url}/predict?{EXAMPLE}"
    found = diagnose(plain.replace("http:", "https:"), TIMEOUT)
    assert found.case == "tls_to_plain_port"
    assert plain in found.sentence
    assert case_of(plain) == "ok"


def test_http_to_a_tls_port_is_told_with_the_url_that_works(tls_url):
    found = diagnose(f"{tls_url}/predict".replace("https:", "http:"), TIMEOUT)
    assert found.case == "plain_to_tls_port"
    assert f"{tls_url}/predict" in found.sentence


def test_a_certificate_made_by_oneself_is_not_trusted(tls_url):
    assert case_of(tls_url) == "certificate"


def test_a_trusted_certificate_lets_through_to_the_service(tls_url, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    assert case_of(tls_url) == "other_service"


# ---- it does not answer ----


def test_a_port_where_nothing_listens_is_refused(free_port):
    found = diagnose(f"http://127.0.0.1:{free_port}/predict", TIMEOUT)
    assert found.case == "refused"
    assert f"nothing listens on port {free_port} of this machine" in found.sentence


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8 on its loopback interface")
def test_a_service_on_127_0_0_1_asked_by_another_address_of_the_machine_is_told(service):
    found = diagnose(f"http://127.0.0.2:{service.port}/predict", TIMEOUT)
    assert found.case == "loopback_only"
    assert "listens on 127.0.0.1 only" in found.sentence and "--host 0.0.0.0" in found.sentence


@pytest.mark.skipif(not socket.has_ipv6, reason="needs ::1")
def test_the_other_loopback_address_is_sent_to_the_one_that_is_listened_on(service):
    found = diagnose(f"http://[::1]:{service.port}/predict", TIMEOUT)
    if found.case != "unreachable":  # where IPv6 is switched off
        assert found.case == "loopback_only"
        assert found.sentence.endswith(f"not on ::1: use http://127.0.0.1:{service.port}/predict")


@pytest.mark.skipif(not socket.has_ipv6, reason="needs ::1")
def test_a_service_on_the_other_loopback_address_is_said_to_be_there():
    try:
        server = serve(create_predict_app(Model()), host="::1", port=0)
    except OSError:
        pytest.skip("IPv6 is switched off")
    with server:
        assert "; it listens on ::1, so other machines cannot call it" in diagnose(server.url, TIMEOUT).sentence
        found = diagnose(f"http://127.0.0.1:{server.port}/predict", TIMEOUT)
    assert found.case == "loopback_only"
    assert found.sentence.endswith(f"not on 127.0.0.1: use http://[::1]:{server.port}/predict")


def test_a_service_that_accepts_and_says_nothing_is_silent():
    with raw_server(None) as port:
        assert case_of(f"http://127.0.0.1:{port}") == "silent"


def test_a_service_that_hangs_up_is_told_from_a_silent_one():
    with raw_server(b"") as port:
        assert case_of(f"http://127.0.0.1:{port}") == "closed"


def test_a_port_that_speaks_something_else_is_told_with_what_it_says():
    with raw_server(b"SSH-2.0-OpenSSH_9.2\r\n") as port:
        found = diagnose(f"http://127.0.0.1:{port}", TIMEOUT)
    assert found.case == "not_http"
    assert "SSH-2.0-OpenSSH_9.2" in found.sentence


def test_a_port_alone_is_one_of_this_machine_and_a_url_without_one_is_told_so():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        for url in (str(port), f":{port}"):
            assert diagnose(url, 0.5).case == diagnose(f"http://127.0.0.1:{port}", 0.5).case != "bad_url"
    for url, port in (("127.0.0.1", 80), ("https://127.0.0.1/predict", 443)):
        found = diagnose(url, TIMEOUT)
        assert (
            found.case != "refused" or f"nothing listens on port {port} of this machine, which a URL" in found.sentence
        )


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://", "http://127.0.0.1:port/", "http://127.0.0.1:99999", ""])
def test_what_is_no_web_url_is_said(url):
    assert case_of(url) == "bad_url"


def test_a_name_that_does_not_exist_is_said_and_the_proxy_that_may_know_it(monkeypatch):
    assert case_of("http://no-such-host.invalid:5000/predict") == "name"
    assert "proxy" not in diagnose("http://no-such-host.invalid:5000/predict").sentence
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    found = diagnose("http://no-such-host.invalid:5000/predict")
    assert found.case == "name" and "http_proxy sends programs to a proxy, which may know the name" in found.sentence


def test_the_private_name_of_an_instance_is_known():
    found = diagnose("http://ip-10-0-0-5.nowhere.compute.internal:5000/", TIMEOUT)
    assert found.case == "name"


# ---- with a network of its own ----


def in_namespace(command: list[str], routes: str = "ip route add default dev lo") -> subprocess.CompletedProcess:
    """Runs `command` where there is no network but the loopback interface and `routes`."""
    if sys.platform != "linux" or not all(map(shutil.which, ("unshare", "ip"))):
        pytest.skip("needs Linux with unshare (util-linux) and ip (iproute2)")
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system does not let a user make a network namespace")
    script = f'other=; ip link set lo up; {routes}\n"$@"; code=$?; [ -z "$other" ] || kill $other; exit $code'
    return subprocess.run(
        ["unshare", "-rn", "sh", "-c", script, "sh", *command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )


def cases_in_namespace(*urls: str, before: str = "", routes: str = "ip route add default dev lo") -> list[str]:
    program = f"import sys\nfrom helpers.cloud.doctor import diagnose\n{before}\n"
    program += f"for url in sys.argv[1:]: print(diagnose(url, {TIMEOUT}).case)"
    done = in_namespace([sys.executable, "-c", program, *urls], routes)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.slow
def test_dropped_packets_to_a_public_address_are_a_security_group_and_to_a_private_one_the_wrong_address():
    urls = ["http://203.0.113.9:5000/", "http://10.1.2.3:5000/", "http://172.31.0.4/", "http://192.168.1.1:5000/"]
    assert cases_in_namespace(*urls) == ["timeout", *["private_address"] * 3]


def test_without_a_network_there_is_no_route():
    assert cases_in_namespace("http://203.0.113.9:5000/", routes="true") == ["unreachable"]


def test_on_the_machine_itself_the_local_sockets_tell_down_from_bound_to_127_0_0_1():
    listen = "import socket; one = socket.create_server(('127.0.0.1', 5000))"
    routes = "ip addr add 203.0.113.9/32 dev lo"
    urls = ["http://203.0.113.9:5000/", "http://203.0.113.9:5001/"]
    assert cases_in_namespace(*urls, before=listen, routes=routes) == ["loopback_only", "refused"]


OTHER_MACHINE = """
unshare -n sleep 60 & other=$!
while [ "$(readlink /proc/$other/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
ip link add v0 type veth peer name v1 netns $other; ip addr add 203.0.113.1/24 dev v0; ip link set v0 up
nsenter -t $other -n sh -c 'ip addr add 203.0.113.9/24 dev v1; ip link set v1 up'
"""


def test_another_machine_that_refuses_is_told_from_this_one_and_from_the_instance_s_own_public_address():
    """203.0.113.9 is another machine, in a second namespace at the end of a cable; it refuses port 5000.

    An instance's public address is on none of its interfaces either, but there the metadata service tells that it is
    the instance's own, so that its own sockets are looked at.
    """
    listen = """
import os, socket
from helpers.cloud import doctor, imds
one = socket.create_server(("127.0.0.1", 5000))
print(doctor.diagnose("http://203.0.113.9:5000/", 2).sentence.split(":")[0].replace(" ", "_"))
stand_in = imds.stand_in({"public-ipv4": "203.0.113.9"})
os.environ[imds.VARIABLE] = stand_in.__enter__()
"""
    said, *cases = cases_in_namespace("http://203.0.113.9:5000/", before=listen, routes=OTHER_MACHINE)
    assert said == "203.0.113.9_is_there,_but_refuses_port_5000"
    assert cases == ["loopback_only"]


@pytest.mark.slow
def test_an_account_tells_the_missing_rule_from_a_service_that_is_down():
    program = f"""
from helpers.cloud import ec2
from helpers.cloud.account import connect
from helpers.cloud.user_data import user_data
account = connect("simulated")
ec2.key_pair(account)
group = ec2.security_group(account, ports=[22])
instance = ec2.launch(account, ec2.Plan(user_data("https://example.org/x.git", "main")))
public = ec2.public_address(account, instance)
private = account.ec2.describe_instances()["Reservations"][0]["Instances"][0]["PrivateIpAddress"]
def show(address):
    found = ec2.diagnose(f"http://{{address}}:5000/", account, {TIMEOUT})
    print(str(found).replace(group, "GROUP").replace(public, "PUBLIC"))
show(public)
show(private)
ec2.open_port(account, group, 5000, ec2.caller_address(account))
show(public)
"""
    done = in_namespace([sys.executable, "-c", program])
    assert done.returncode == 0, done.stderr
    missing, private, dropped = done.stdout.splitlines()
    assert (
        "no inbound rule lets 203.0.113.7 call port 5000" in missing and "open_port(account, 'GROUP', 5000" in missing
    )
    assert "is the private address" in private and "PUBLIC" in private
    assert "does not answer within" in dropped


# ---- waiting, and the command ----


def test_waiting_ends_as_soon_as_the_endpoint_is_ready(service):
    account = connect("simulated")
    try:
        assert ec2.wait_until_ready(account, f"{service.url}/predict?{EXAMPLE}").ok
    finally:
        disconnect()


def test_waiting_in_vain_ends_with_the_doctor_s_line(free_port, capsys):
    account = connect("simulated")
    try:
        with pytest.raises(ec2.AWSError, match="nothing listens on port"):
            ec2.wait_until_ready(account, f"http://127.0.0.1:{free_port}", seconds=0.5)
        assert "waiting: nothing listens" in capsys.readouterr().out
    finally:
        disconnect()


def test_the_command_prints_one_line_and_its_exit_code_tells(service, free_port, capsys):
    assert main(f"{service.url}/predict?{EXAMPLE}") == 0
    assert main(f"http://127.0.0.1:{free_port}/", timeout=1) == 1
    said = capsys.readouterr()
    assert said.out.count("\n") == said.err.count("\n") == 1
    assert "answers well" in said.out and "nothing listens" in said.err
