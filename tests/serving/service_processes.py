"""`tutorial.py serve` as the tests start it: watched, and ended with everything that it has started."""

import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import notebook_tools as tools
import psutil
import requests

from helpers import PROJECT
from helpers.serving.supervisor import STOP_SECONDS


def start(*options: str, project=PROJECT, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "helpers", "serve", *map(str, options)]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=project, env=tools.environment_in(project, **environment), **output)


def until(condition, seconds: float = 20.0):
    """The first true value of `condition()`; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return value


def is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/health/ready", timeout=2).ok
    except requests.RequestException:
        return False


def family(process: subprocess.Popen) -> list[psutil.Process]:
    """The process and everything it has started."""
    try:
        main = psutil.Process(process.pid)
        return [main, *main.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def workers_at_work(process: subprocess.Popen, url: str, count: int) -> list[psutil.Process]:
    """The service's workers, once each of `count` holds a connection: it takes none before its model is loaded."""

    def ask(connections: ExitStack) -> list[psutil.Process] | None:
        connections.enter_context(requests.Session()).get(f"{url}/health/live", timeout=10)
        workers = family(process)[1:]
        held = [{c.status for c in worker.net_connections("tcp")} for worker in workers]
        return workers if len(workers) == count and all("ESTABLISHED" in states for states in held) else None

    with ExitStack() as connections:
        return until(lambda: ask(connections))


def gone(processes: list[psutil.Process]) -> bool:
    return not any(map(_lives, processes))


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended between the two
        return False


@contextmanager
def serving(model, port: int, *options: str):
    """A running service; at the end it is told to stop, and must leave nothing."""
    process = start("--model", model, "--port", port, *options)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: is_ready(url) or process.poll() is not None)
        assert process.poll() is None, process.stdout.read()
        yield process, url
    finally:
        members = family(process)
        process.terminate()
        try:
            process.communicate(timeout=STOP_SECONDS + 5)
        finally:
            left = [member for member in members if not gone([member])]
            for member in left:
                member.kill()
        assert not left
