"""Why a URL does not answer, in one line, and what to do: `python3 tutorial.py doctor URL`.

In: a URL as it stands in the browser. Out: a `Diagnosis`, found by going the way of a request: resolve the name,
connect, speak TLS where the URL says so, ask for `/health/ready`, ask for the URL itself. The first step that fails is
the diagnosis. Where a proxy serves it under a path of its own, as at `/model/predict`, it is found there.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import re
import socket
import ssl
import sys
import time
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, quote, urlsplit

from helpers import BYPASS_PROXY, PROXY, proxy_for, wording
from helpers.cloud import imds
from helpers.export import registry, served
from helpers.export.served import CALLED_BY
from helpers.serving.callers import is_loopback

TIMEOUT = 5.0  # seconds for each step; a machine that is there answers within one
BODY_BYTES = 65_536  # as much of an answer as is read
PRIVATE = [ipaddress.ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16")]
DEFAULT_PORTS = (80, 443)  # of http and https
MODELS = "models"  # in what a service of several models answers at /health/ready
SERVICE = "keras-flask-tutorial"  # the systemd unit's name on the instance

CASES = {
    "ok": "answers well",
    "bad_url": "not an http:// or https:// URL",
    "name": "the name does not resolve",
    "private_address": "no answer from an address that exists only inside its network",
    "timeout": "no answer: a firewall (on EC2 the security group) drops what is sent",
    "unreachable": "no route from here",
    "refused": "the machine is there, nothing listens on the port",
    "loopback_only": "the service listens on 127.0.0.1 only",
    "silent": "accepts the connection, sends nothing",
    "closed": "accepts the connection and closes it",
    "not_http": "something else than HTTP",
    "tls_to_plain_port": "https:// where the port speaks http://",
    "plain_to_tls_port": "http:// where the port speaks https://",
    "certificate": "the certificate is not trusted",
    "airplay": "AirPlay of macOS has the port",
    "other_service": "answers, but is another service",
    "not_ready": "the service runs, its model does not answer yet",
    "wrong_path": "the service has no such path",
    "wrong_method": "the path is there, but not for GET",
    "api_key": "the service wants its key",
    "bad_request": "the service refuses the parameters",
    "failing": "the service answers with an error of its own",
}


@dataclass(frozen=True)
class Diagnosis:
    """`case` is a key of `CASES`, `sentence` says what is wrong and what to do; `latency_ms` only of a good answer."""

    url: str
    case: str
    sentence: str
    latency_ms: float | None = None

    @property
    def ok(self) -> bool:
        return self.case == "ok"

    def __str__(self) -> str:
        return self.sentence


def main(url: str, timeout: float = TIMEOUT) -> int:
    """Print the diagnosis of a URL; 0 when it answers well, 1 when not."""
    found = diagnose(url, timeout)
    print(found, file=sys.stdout if found.ok else sys.stderr)
    return 0 if found.ok else 1


def check_url(url: str) -> str | None:
    """What is wrong with `url` as it is written, or None."""
    try:
        _parse(url)
    except _Finding as finding:
        return str(finding)
    return None


def diagnose(url: str, timeout: float = TIMEOUT) -> Diagnosis:
    """Go the way of a request to `url`; each step may take `timeout` seconds. Never raises for what it finds."""
    try:
        target = _parse(url)
        return _service(url, target, timeout)
    except _Finding as finding:
        return Diagnosis(url, finding.case, str(finding))


class _Finding(Exception):
    """The step that fails; the message is the diagnosis."""

    def __init__(self, case: str, sentence: str):
        super().__init__(sentence)
        self.case = case


@dataclass(frozen=True)
class _Answer:
    status: int
    server: str
    location: str
    body: bytes
    ms: float

    @property
    def json(self) -> dict:
        """The decoded body, or {} where it is no JSON object."""
        with contextlib.suppress(ValueError, RecursionError):
            content = json.loads(self.body)
            if isinstance(content, dict):
                return content
        return {}


# ---- the URL and the name ----


@dataclass(frozen=True)
class _Target:
    scheme: str
    host: str
    port: int
    path: str
    query: str
    prefix: str = ""  # of the path, under which a proxy has the service

    @property
    def home(self) -> str:
        """Where the service's own paths begin."""
        return self.base + self.prefix

    @property
    def within(self) -> str:
        """The path as the service has it, behind the prefix."""
        return self.path.removeprefix(self.prefix) or "/"

    @property
    def prefixes(self) -> list[str]:
        """What may be a prefix: the path and each folder of it, the longest first, five at most."""
        parts = self.path.strip("/").split("/")
        return ["/" + "/".join(parts[:count]) for count in range(len(parts), 0, -1) if parts[0]][:5]

    @property
    def base(self) -> str:
        return f"{self.scheme}://{served.pair(self.host, self.port)}"

    @property
    def resource(self) -> str:
        return self.path + (f"?{self.query}" if self.query else "")

    def spoken(self, scheme: str) -> str:
        return f"{scheme}{self.base.removeprefix(self.scheme)}{self.resource}"


def _parse(url: str) -> _Target:
    text = re.sub(r"^:?(?=\d{1,5}$)", "127.0.0.1:", url.strip())  # a port alone is one of this machine
    text = re.sub(r"^(https?):/(?!/)", r"\1://", text)
    text = text if "://" in text else f"http://{text}"
    try:
        parts: SplitResult = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise _Finding(
            "bad_url", f"{url!r} is no URL ({error}): write it like http://203.0.113.7:5000/predict"
        ) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise _Finding("bad_url", f"{url!r} is no http URL: write it like http://203.0.113.7:5000/predict")
    port = port or DEFAULT_PORTS[parts.scheme == "https"]
    host = CALLED_BY.get(parts.hostname, parts.hostname)
    return _Target(parts.scheme, host, port, quote(parts.path or "/", "/%:@+,;=~-"), quote(parts.query, "=&%+,:/"))


def _resolve(target: _Target) -> list[tuple]:
    """(family, socket address) of each address of the host, IPv4 first, as services listen there more often."""
    host = target.host
    try:
        found = socket.getaddrinfo(host, target.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        if getattr(error, "errno", None) == socket.EAI_AGAIN:
            remedy = "no name server answered; check this machine's network, or use the IP address"
        elif host.endswith(".internal"):
            remedy = "that is the instance's private name; use its public address"
        else:
            remedy = "check the spelling, and whether the instance still runs: a stopped one loses its name and address"
        if proxy := proxy_for(target.scheme, host):
            remedy += f". {proxy} sends programs to a proxy, which may know the name; the doctor asks without one"
        raise _Finding("name", f"the name {host} does not resolve: {remedy}.") from None
    return sorted({(family, address) for family, _, _, _, address in found}, key=lambda each: each[0] != socket.AF_INET)


# ---- the connection ----


def _connect(target: _Target, timeout: float) -> socket.socket:
    failures = []
    for family, address in _resolve(target)[:4]:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        try:
            sock.connect(address)
            return sock
        except OSError as error:
            sock.close()
            failures.append((error, address[0]))
    error, address = failures[0]
    if isinstance(error, ConnectionRefusedError):
        raise _refused(target, address)
    private = _is_private(address)
    if private and not _is_here(address):
        raise _Finding(
            "private_address",
            f"{address} does not answer: it is a private address, which only machines of the same network reach; "
            "use the instance's public address (the EC2 console shows it as Public IPv4).",
        )
    if isinstance(error, TimeoutError):
        raise _Finding(
            "timeout",
            f"{address} port {target.port} does not answer within {timeout:g} s: add an inbound rule for port "
            f"{target.port} from your address to the instance's security group, and check that the instance runs.",
        )
    raise _Finding(
        "unreachable", f"{address} cannot be reached from here ({error.strerror}): check this machine's network."
    )


def _refused(target: _Target, address: str) -> _Finding:
    """Refused by this machine, whose sockets can be looked at, or by another one."""
    port = target.port
    if not (_is_here(address) or address == imds.public_address_or_none(timeout=0.3)):
        return _Finding(
            "refused",
            f"{address} is there, but refuses port {port}: the service is down, or listens on 127.0.0.1 only; on that "
            f"machine run `sudo systemctl status {SERVICE}` and `python3 tutorial.py doctor http://{address}:{port}`.",
        )
    listening = _listeners(port)
    if not listening and port in DEFAULT_PORTS:
        return _Finding(
            "refused",
            f"nothing listens on port {port} of this machine, which a URL without a port means: write the service's "
            f"into it, as in {target.scheme}://{target.host}:5000.",
        )
    if not listening and (elsewhere := _running()):
        return _Finding("refused", f"nothing listens on port {port} of this machine: `serve` answers at {elsewhere}.")
    if not listening:
        return _Finding(
            "refused",
            f"nothing listens on port {port} of this machine: start the service (`python3 tutorial.py serve`, "
            f"on the instance `sudo systemctl start {SERVICE}`).",
        )
    where = " and ".join(sorted(listening))
    if address in CALLED_BY.values():  # not for more than this machine would it be started anew
        there = min(listening)
        other = replace(target, host=CALLED_BY.get(there, there)).spoken(target.scheme)
        says = f"the service on port {port} listens on {where}, not on {address}: use {other}"
        return _Finding("loopback_only", says)
    return _Finding(
        "loopback_only",
        f"the service on port {port} listens on {where} only, so {address} is refused: "
        "start it with --host 0.0.0.0 (in a notebook `serve(app, host='0.0.0.0')`).",
    )


def _running() -> str:
    """Where the services of this project run that were started by `serve`, as the end of a sentence."""
    found = [service.url for name in registry.names() for service in served.services(registry.MODELS / name)]
    return wording.listed(dict.fromkeys(found))


def _is_private(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    return any(ip in net for net in PRIVATE) if ip.version == 4 else ip.is_link_local or ip.is_private


def _is_here(address: str) -> bool:
    """Is it an address of this machine? Only such a one can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError:
            return False
    return True


def _listeners(port: int) -> set[str]:
    """The addresses that something on this machine listens on at `port`."""
    import psutil

    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:  # macOS shows them to the administrator only: try the one that matters
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return {"127.0.0.1"}
        return set()
    return {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN and each.laddr.port == port}


# ---- the conversation ----


def _ask(target: _Target, resource: str, timeout: float) -> _Answer:
    """GET `resource` in the scheme of the target; a `_Finding` where no HTTP answer comes."""
    started = time.perf_counter()
    sock = _connect(target, timeout)
    try:
        if target.scheme == "https":
            sock = _speak_tls(sock, target, timeout)
        return _exchange(sock, target, resource, started, timeout)
    except TimeoutError:
        raise _not_plain(target, timeout) or _Finding(
            "silent",
            f"{target.base} accepts the connection but sends nothing within {timeout:g} s: the service hangs or is "
            f"overloaded; restart it (on the instance `sudo systemctl restart {SERVICE}`).",
        ) from None
    except http.client.HTTPException as error:
        if isinstance(error, http.client.RemoteDisconnected):
            raise _not_plain(target, timeout) or _closed(target) from None
        said = re.sub(r"[^ -~]", "?", str(error))[:40]
        raise _not_plain(target, timeout) or _Finding(
            "not_http", f"{target.base} is no web service (it says {said!r}): check the port number, 5000 as a rule."
        ) from None
    except OSError:
        raise _not_plain(target, timeout) or _closed(target) from None
    finally:
        sock.close()


def _exchange(sock: socket.socket, target: _Target, resource: str, started: float, timeout: float) -> _Answer:
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.sock = sock
    connection.request("GET", resource, headers={"Connection": "close", "User-Agent": "tutorial-doctor"})
    with connection.getresponse() as response:
        body = b""
        # a time limit for all of the body: one byte a second would never run into the socket's own
        while len(body) < BODY_BYTES and time.perf_counter() - started < 2 * timeout and (more := response.read1(8192)):
            body += more
        ms = (time.perf_counter() - started) * 1000
        headers = response.headers
        return _Answer(response.status, headers.get("Server", ""), headers.get("Location", ""), body, ms)


def _speak_tls(sock: socket.socket, target: _Target, timeout: float) -> ssl.SSLSocket:
    try:
        return ssl.create_default_context().wrap_socket(sock, server_hostname=target.host)
    except ssl.SSLCertVerificationError as error:
        why = error.verify_message
        raise _Finding(
            "certificate",
            f"the certificate of {target.base} is not trusted ({why}): if you made it yourself, compare its "
            "fingerprint and let the browser go on; otherwise do not send it anything.",
        ) from None
    except OSError:  # all of TLS's errors, a reset and a time-out: what does the port speak?
        if _answers_plainly(target, timeout):
            raise _Finding(
                "tls_to_plain_port",
                f"port {target.port} speaks plain HTTP, the URL says https: use {target.spoken('http')}",
            ) from None
        raise


def _answers_plainly(target: _Target, timeout: float) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException), _connect(target, timeout) as sock:
        _exchange(sock, target, "/health/ready", time.perf_counter(), timeout)
        return True
    return False


def _not_plain(target: _Target, timeout: float) -> _Finding | None:
    """The finding that a port which did not answer plain HTTP speaks TLS; None where it does not."""
    if target.scheme == "https":
        return None
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent: only whether it speaks TLS
    with contextlib.suppress(OSError), _connect(target, timeout) as sock, context.wrap_socket(sock):
        return _Finding(
            "plain_to_tls_port", f"port {target.port} speaks TLS, the URL says http: use {target.spoken('https')}"
        )
    return None


def _closed(target: _Target) -> _Finding:
    return _Finding(
        "closed",
        f"{target.base} accepts the connection and closes it without an answer: the service crashed on the request, "
        f"or a proxy has nothing behind it; see its log (on the instance `sudo journalctl -u {SERVICE}`).",
    )


# ---- the service ----


def _is_ours(ready: _Answer) -> bool:
    """Whether that is what the service answers at `/health/ready`."""
    said = ready.json
    if ready.status == 503:
        return said.get("success") is False
    return ready.status == 200 and said.get("success") is True and ("model" in said or MODELS in said)


def _find(target: _Target, timeout: float) -> tuple[_Target, _Answer]:
    """The target with the prefix under which the service answers, if it does under any, and its word on readiness."""
    first = _ask(target, "/health/ready", timeout)
    if not _is_ours(first) or MODELS in first.json:  # of several each is ready under a prefix of its own
        for prefix in target.prefixes:
            ready = _ask(target, f"{prefix}/health/ready", timeout)
            if _is_ours(ready):
                return replace(target, prefix=prefix), ready
    return target, first


def _service(url: str, target: _Target, timeout: float) -> Diagnosis:
    target, ready = _find(target, timeout)
    if ready.server.startswith("AirTunes"):
        raise _Finding(
            "airplay",
            f"AirPlay of macOS has port {target.port} and answers {ready.status}: turn AirPlay Receiver off (System "
            "Settings > General > AirDrop & Handoff), or serve on another port.",
        )
    if not _is_ours(ready):
        if ready.status == 400 and b"HTTPS" in ready.body and (finding := _not_plain(target, timeout)):
            raise finding  # nginx and others say so in plain HTTP
        if ready.status == 403 and "--allow-host" in str(ready.json.get("error")):
            own = replace(target, host="127.0.0.1").spoken(target.scheme)
            raise _Finding(
                "bad_request",
                f"the service runs, but does not answer to the name {target.host}: use {own}, or start it with "
                f"--allow-host {target.host} (in Python allow_hosts).",
            )
        return _echo(url, target, timeout) or _another(target, ready, timeout)
    if ready.status == 503:
        said = ready.json.get("error")
        raise _Finding("not_ready", f"the service runs, but is not ready: {said}. Try again in some seconds.")
    answer = ready if target.resource == "/" else _ask(target, target.resource, timeout)
    problem = answer.json.get("error", f"status {answer.status}")
    if answer.status == 422 and not target.query and target.within == "/predict":
        wanted = list(answer.json.get("fields", {}))
        hint = f"; /predict itself wants the features: {', '.join(wanted[:3])}{', ...' if wanted[3:] else ''}"
        if "POST" in problem:  # its model takes no row of features
            hint = f"; /predict is asked by POST ({problem})"
        return _well(url, target, answer, hint)
    if answer.status == 404:
        names = list(ready.json.get(MODELS, {}))
        use = " or ".join(f"{target.home}/{name}/predict" for name in names[:3]) or f"{target.home}/predict"
        raise _Finding("wrong_path", f"the service runs, but has no path {target.path}: use {use}")
    if answer.status == 405:
        raise _Finding("wrong_method", f"the service has {target.path}, but not for GET: send it a POST.")
    if answer.status == 401:
        raise _Finding("api_key", f"the service runs and is ready: {problem}.")
    if answer.status >= 500:
        raise _Finding("failing", f"the service runs, but answers {answer.status}: {problem}.")
    if answer.status >= 400:
        raise _Finding("bad_request", f"the service runs and is ready, but refuses this request: {problem}.")
    return _well(url, target, answer, _key_wanted(target, ready, timeout))


def _key_wanted(target: _Target, ready: _Answer, timeout: float) -> str:
    """That predictions take a key, where the path asked does not, as a hint; "" where none is wanted."""
    model = next((f"/{name}" for name in ready.json.get(MODELS, {})), "")
    asked = "" if target.within == "/predict" else _ask(target, f"{target.prefix}{model}/predict", timeout)
    return f"; its predictions want a key ({asked.json.get('error', '')})" if asked and asked.status == 401 else ""


def _well(url: str, target: _Target, answer: _Answer, hint: str = "") -> Diagnosis:
    if is_loopback(target.host):
        listening = _listeners(target.port)
        if listening and all(map(is_loopback, listening)):
            hint += f"; it listens on {' and '.join(sorted(listening))}, so other machines cannot call it"
        hint += f"; {PROXY} would send curl or Python to a proxy: type `{BYPASS_PROXY}` first" if PROXY else ""
    elif proxy := proxy_for(target.scheme, target.host):
        hint += f"; {proxy} sends curl or Python to a proxy, where the doctor asks without one"
    return Diagnosis(url, "ok", f"{target.home} answers well, in {answer.ms:.1f} ms{hint}.", answer.ms)


def _echo(url: str, target: _Target, timeout: float) -> Diagnosis | None:
    """The echo service of notebook 01 has no model that could be ready: it is known by its echo."""
    for prefix in ["", *target.prefixes]:
        answer = _ask(target, f"{prefix}/predict?msg=doctor", timeout)
        if answer.status == 200 and answer.json.get("response") == "doctor":
            target = replace(target, prefix=prefix)
            break
    else:
        return None
    return _well(url, target, answer, "; it is the echo service, which has no model")


def _another(target: _Target, answer: _Answer, timeout: float) -> Diagnosis:
    title = re.search(rb"<title>\s*([^<]{1,60}?)\s*</title>", answer.body, re.IGNORECASE)
    names = [answer.server, title[1].decode("utf-8", "replace") if title else ""]
    name = ", ".join(re.sub(r"[^ -~]", "?", each)[:60] for each in names if each) or "without a name"
    if answer.server.startswith("Tornado") and "version" in _ask(target, "/api", timeout).json:
        raise _Finding(
            "other_service", f"{target.base} is a Jupyter server: the predictions are on another port, 5000 as a rule."
        )
    if 300 <= answer.status < 400:
        name += f", which sends on to {answer.location}"
    raise _Finding(
        "other_service",
        f"{target.base} answers, but is another service ({name}): check the port number, and what listens there.",
    )
