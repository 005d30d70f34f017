"""Is this machine ready for the notebooks? Asked by notebook 00.

In: the project's folder with its `requirements.lock`. Out: a Report, one line for each check: what was found, how it
stands ("ok", "note" or "mend"), and for every line that is not ok what to do.
"""

from __future__ import annotations

import html
import os
import secrets
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from textwrap import fill

from packaging.requirements import Requirement

from helpers import BYPASS_PROXY, PROJECT, PROXY
from helpers.export.keras_settings import WANTED, foreign_settings

GIB = 1024**3  # bytes
NEEDED_PYTHON = (3, 11)
NEEDED_MEMORY = 2 * GIB  # the hungriest notebook, 03 with TensorFlow and every format, stays under it
NEEDED_DISK = 1 * GIB  # models, build/ and what TensorFlow writes on the way
NAMES_SHOWN = 4  # of packages that differ from the lock

OK, NOTE, MEND = "ok", "note", "mend"
WIDTHS = ("white-space:nowrap", "min-width:13em", "white-space:nowrap", "white-space:normal")  # of the table's columns
MARKS = {OK: "✓", NOTE: "•", MEND: "✗"}


@dataclass(frozen=True)
class Check:
    """One line of the report; `remedy` is empty exactly where `status` is "ok"."""

    name: str
    found: str
    status: str = OK  # "ok", "note" (the notebooks run, with a difference) or "mend" (something will fail)
    remedy: str = ""


class Report(list[Check]):
    """Checks as a table: HTML in a notebook, plain text elsewhere."""

    @property
    def ready(self) -> bool:
        """True where nothing has to be mended."""
        return all(check.status != MEND for check in self)

    def __repr__(self) -> str:
        lines = []
        for check in self:
            lines.append(f"{MARKS[check.status]} {check.name:<9} {check.found}")
            if check.remedy:
                lines.append(fill(check.remedy, 100, initial_indent=" " * 12, subsequent_indent=" " * 12))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        def row(tag: str, cells: tuple[str, ...]) -> str:
            styles = [f"text-align:left; vertical-align:top; {width}" for width in WIDTHS]
            columns = zip(styles, map(html.escape, cells), strict=True)
            return "<tr>" + "".join(f'<{tag} style="{style}">{cell}</{tag}>' for style, cell in columns) + "</tr>"

        rows = [row("td", (c.name, c.found, f"{MARKS[c.status]} {c.status}", c.remedy)) for c in self]
        head = row("th", ("check", "found", "status", "what to do"))
        return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def check_environment(project: Path = PROJECT, port: int = 5000, browser_seconds: float = 3.0) -> Report:
    """Every check, in the order of what breaks first; `browser_seconds`: how long to wait for the reader's browser."""
    return Report(
        [
            check_python(),
            check_packages(project / "requirements.lock"),
            check_keras(),
            check_folder(project),
            check_disk(project),
            check_memory(),
            check_curl(),
            check_port(port),
            check_browser(browser_seconds),
        ]
    )


def check_python(running: tuple[int, ...] = sys.version_info[:3]) -> Check:
    found = ".".join(map(str, running))
    if running >= NEEDED_PYTHON:
        return Check("Python", found)
    return Check("Python", found, MEND, "Install Python 3.11 or newer, then start with `python3 tutorial.py lab`.")


def check_packages(lock: str | Path) -> Check:
    """The installed packages against the exact versions of the lock, as far as they are meant for this system."""
    wanted = read_lock(Path(lock))
    missing, other = [], []
    for name, pinned in wanted.items():
        try:
            installed = version(name)
        except PackageNotFoundError:
            missing.append(name)
        else:
            if installed != pinned:
                other.append(f"{name} {installed} (lock: {pinned})")
    remedy = "Start JupyterLab with `python3 tutorial.py lab`, or run `python -m pip install -r requirements.lock`"
    if missing:
        return Check("packages", f"{_some(missing)} missing", MEND, f"{remedy}.")
    if other:
        found = f"{_some(other)} differ from requirements.lock"
        return Check("packages", found, NOTE, f"{remedy} where an output differs from the one you read.")
    return Check("packages", f"all {len(wanted)} as in requirements.lock")


def read_lock(lock: Path) -> dict[str, str]:
    """{package: version} of the lines `package==version ; marker` whose marker fits this system."""
    wanted = {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        entry = line.split("#", 1)[0].strip()
        if entry:
            requirement = Requirement(entry)
            if requirement.marker is None or requirement.marker.evaluate():
                wanted[requirement.name] = str(requirement.specifier).removeprefix("==")
    return wanted


def check_keras() -> Check:
    """The settings that Keras reads when it is imported: does it run on TensorFlow, and compute as the notebooks do?"""
    foreign = foreign_settings()
    if not foreign:
        return Check("Keras", f"runs on {WANTED['backend']}, in {WANTED['floatx']}")
    remedy = "; ".join(setting.remedy for setting in foreign)
    return Check("Keras", "; ".join(setting.found for setting in foreign), MEND, f"{remedy[0].upper()}{remedy[1:]}.")


def check_folder(project: Path) -> Check:
    """Can the notebooks write their models? Tried with a real file."""
    try:
        with tempfile.TemporaryFile(dir=project) as probe:
            probe.write(b"a model")
    except OSError as error:
        remedy = "Copy the project to a folder of your own and open it there: notebooks 02 to 04 write models into it."
        return Check("folder", f"not writable ({error.strerror or error})", MEND, remedy)
    return Check("folder", "writable")


def check_disk(project: Path, needed: int = NEEDED_DISK) -> Check:
    free = shutil.disk_usage(project).free
    found = f"{free / GIB:,.1f} GiB free"
    if free >= needed:
        return Check("disk", found)
    return Check("disk", found, MEND, f"Make room: the models and pages need {needed / GIB:,.0f} GiB.")


def check_memory(needed: int = NEEDED_MEMORY) -> Check:
    """Memory that is left now; where a Jupyter hub (Binder) sets a limit, that limit."""
    import psutil

    left = min(psutil.virtual_memory().available, int(os.environ.get("MEM_LIMIT") or sys.maxsize))
    found = f"{left / GIB:,.1f} GiB available"
    if left >= needed:
        return Check("memory", found)
    remedy = (
        f"Close other programs and other notebooks' kernels: TensorFlow in 02 and 03 needs {needed / GIB:,.0f} GiB."
    )
    return Check("memory", found, NOTE, remedy)


def check_curl(path: str | None = None, proxy: str = PROXY) -> Check:
    """Is `curl` there, and does it call this machine itself? `path`: where to look, as in the variable PATH.

    proxy: the variable that names a proxy for calls to this machine, too. Those of this project do not take it.
    """
    if shutil.which("curl", path=path):
        if not proxy:
            return Check("curl", "installed")
        remedy = f"The notebooks call this machine without the proxy. In a terminal say so first: `{BYPASS_PROXY}`."
        return Check("curl", f"installed, but {proxy} sends it to a proxy", NOTE, remedy)
    remedy = "Install curl (`sudo apt install curl`, `brew install curl`): 01 and 04 call the services with it."
    return Check("curl", "not found", MEND, remedy)


def check_port(port: int = 5000) -> Check:
    """Can the services of the notebooks listen where the text says?"""
    name = f"port {port}"
    with socket.socket() as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port just given back counts as free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            remedy = (
                "Go on: the notebooks then take a free port and print it. To have this one, end that program "
                "(on a Mac often AirPlay: System Settings > General > AirDrop & Handoff > AirPlay Receiver)."
            )
            return Check(name, "taken by another program", NOTE, remedy)
    return Check(name, "free")


def check_browser(seconds: float = 3.0, show: Callable[[str], None] | None = None) -> Check:
    """Can the browser that shows this notebook reach a server in its kernel?

    A small server is started for the time of the check, and the page is asked to call it on both roads: directly at
    127.0.0.1 (the kernel runs on the reader's own machine), and through Jupyter's address and jupyter-server-proxy
    (it runs elsewhere: Binder, EC2). `show` displays HTML; without it, the notebook's own display does.
    """
    if show is None and not _in_a_notebook():
        return Check("browser", "not asked", NOTE, "Run this check in a notebook: here there is no page to ask from.")
    token, roads = secrets.token_hex(8), {"direct": threading.Event(), "proxy": threading.Event()}

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            for road, arrived in roads.items():
                if self.path == f"/{token}/{road}":
                    arrived.set()
            self.send_response(204)
            self.end_headers()

        def log_message(self, format, *args):
            """Silent: a thread's lines would land in whichever cell runs."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        watching = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        watching.start()
        (show or _display)(_CALL_BOTH_ROADS.format(port=server.server_port, token=token))
        direct = roads["direct"].wait(seconds)
        proxy = roads["proxy"].wait(1.0 if direct else 0.1)
        server.shutdown()
        watching.join()
    if show is None:
        _clear_display()
    if direct or proxy:
        ways = {"at 127.0.0.1": direct, "through Jupyter's proxy": proxy}
        return Check("browser", "reaches the kernel " + " and ".join(way for way, works in ways.items() if works))
    remedy = (
        "This is as it should be where no browser shows the notebook (in a test, say). If you are reading this in "
        "JupyterLab, choose Trust Notebook in its menu and run this cell again; until then call the services with curl "
        "and requests instead of opening their pages."
    )
    return Check("browser", f"did not reach the kernel within {seconds:g} s", NOTE, remedy)


_CALL_BOTH_ROADS = """<script>
(() => {{
  const jupyter = document.getElementById("jupyter-config-data");
  const base = (jupyter && JSON.parse(jupyter.textContent).baseUrl) || "/";
  fetch("http://127.0.0.1:{port}/{token}/direct", {{mode: "no-cors"}}).catch(() => {{}});
  fetch(base + "proxy/{port}/{token}/proxy").catch(() => {{}});
}})();
</script>"""


def _in_a_notebook() -> bool:
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


def _display(page: str) -> None:
    from IPython.display import HTML, display

    display(HTML(page))


def _clear_display() -> None:
    from IPython.display import clear_output

    clear_output(wait=True)


def _some(names: list[str]) -> str:
    """The first names and how many more there are."""
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
