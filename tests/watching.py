"""What a program calls and leaves behind: its system calls under strace, and the files in a fresh home folder.

In: a command. Out: the addresses that it connected or sent to, and the files that it left.
"""

import ipaddress
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import notebook_tools as tools

CAN_WATCH = sys.platform == "linux" and shutil.which("strace") is not None

ADDRESS = re.compile(
    r'sin6?_port=htons\((?P<port>\d+)\).*?(?:inet_addr\(|inet_pton\(AF_INET6, )"(?P<host>[^"]+)"', re.ASCII
)
NAME_SERVICE = 53  # the port of DNS, on this machine as well: a resolver passes on what it is asked
IN_HOME = (  # each file that may be there: settings and caches of a library, of nobody's use elsewhere
    ".keras/keras.json",
    ".cache/matplotlib/",
    ".config/matplotlib/",
    ".ipython/",
    ".local/share/jupyter/runtime/",
    ".npm/_logs/",  # jupyter-lsp asks npm where it keeps its packages
)


@dataclass(frozen=True)
class Seen:
    """What one program did: where it connected to or sent, and the files in its home folder afterwards."""

    called: set[str]  # host:port
    left: set[str]

    @property
    def called_outside(self) -> set[str]:
        return {address for address in self.called if not _is_here(*address.rsplit(":", 1))}

    @property
    def left_unlisted(self) -> set[str]:
        return {file for file in self.left if not file.startswith(IN_HOME)}


def _is_here(host: str, port: str) -> bool:
    return ipaddress.ip_address(host).is_loopback and int(port) != NAME_SERVICE


def watched(
    folder: Path, command: list[str], cwd: Path, **environment: str
) -> tuple[subprocess.CompletedProcess[str], Seen]:
    """Run `command` with the home folder `folder/home`, and look. Whoever calls twice finds the same home again."""
    home, trace = folder / "home", folder / "trace"
    home.mkdir(exist_ok=True)
    own = {"HOME": str(home), "ORT_DISABLE_TELEMETRY": "0", "MPLCONFIGDIR": "", **environment}
    kept = {
        name: value
        for name, value in tools.environment_in(cwd, **own).items()
        if not name.startswith(("XDG_", "JUPYTER", "IPYTHON")) and name != "CI" and value  # CI turns telemetry off, too
    }
    tracer = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(trace)]
    for _ in range(2):
        done = subprocess.run(
            [*tracer, *command], cwd=cwd, env=kept, capture_output=True, text=True, check=False, timeout=600
        )
        if "strace: ptrace(" not in done.stderr:  # strace itself gives up, rarely, where a thread dies under its hands
            break
    called = {f"{found['host']}:{found['port']}" for found in ADDRESS.finditer(trace.read_text(errors="replace"))}
    return done, Seen(called, {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()})
