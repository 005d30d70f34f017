"""The instance's script on a machine with systemd, in a container that boots: the units are started for real.

The machine is this one's /usr beneath a root folder of its own, without a network. What the script would download is
lent to it: the repository, the environment and a model.
"""

import hashlib
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest
from containers import PYTHON, Podman, add
from test_user_data import SERVICE, folder_of_its_own, repository, wait_until

from helpers.cloud.user_data import user_data

SYSTEMD = Path("/lib/systemd/systemd")
IMAGE = "localhost/machine:latest"
STATE = "/var/lib/keras-flask-tutorial"
JUPYTER = "keras-flask-jupyter.service"
ASK = "http://127.0.0.1:5000/predict?g1=1&" + "&".join(f"g{i}=0" for i in range(2, 11))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux" or not SYSTEMD.exists(), reason="needs Linux with systemd"),
    pytest.mark.skipif(not Path("/bin").is_symlink(), reason="needs a Linux that has its programs in /usr"),
]


def write_machine(archive: Path) -> None:
    """The root folder of a machine before its first start, whose /usr is lent: a tar file of some kilobytes."""
    users = "root:x:0:0:root:/root:/bin/bash\nmessagebus:x:100:100::/:/usr/sbin/nologin\n"
    folders = ("etc", "proc", "sys", "dev", "run", "root", "tmp", "var/tmp", "var/log/journal", "usr", "opt", "srv")
    with tarfile.open(archive, "w") as tar:
        for folder in folders:
            add(tar, folder, tarfile.DIRTYPE, 0o1777 if folder.endswith("tmp") else 0o755)
        for link in ("bin", "sbin", "lib", "lib64"):
            add(tar, link, tarfile.SYMTYPE, linkname=f"usr/{link}")
        add(tar, "etc/passwd", content=users)
        add(tar, "etc/group", content="root:x:0:\nmessagebus:x:100:\n")
        add(tar, "etc/machine-id", content=f"{'0123456789abcdef' * 2}\n")
        add(tar, "etc/gitconfig", content="[safe]\n\tdirectory = *\n")  # the repository is another user's
        for name in ("pam.d", "security", "login.defs", "nsswitch.conf", "ssl/openssl.cnf"):
            if (file := Path("/etc", name)).exists():
                tar.add(file, f"etc/{name}")


class Instance:
    """A machine that has booted, and the script that is run on it."""

    def __init__(self, podman: Podman, container: str, script: str):
        self.podman, self.container, self.script = podman, container, script

    def run(self, *command: str, check: bool = False, **options) -> subprocess.CompletedProcess:
        words = ["--interactive"] if "input" in options else []
        return self.podman("exec", *words, self.container, *command, check=check, **options)

    def wait_until_up(self) -> None:
        wait_until(lambda: self.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"), 60)

    def show(self, name: str, unit: str = SERVICE) -> str:
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).stdout.strip()

    def is_ready(self) -> bool:
        return self.run("curl", "-fsS", "http://127.0.0.1:5000/health/ready").returncode == 0

    def predict(self, *options: str) -> str:
        return self.run("curl", "-sS", *options, ASK).stdout

    def predict_with_key(self) -> str:
        return self.predict("-H", "X-API-Key: " + self.run("cat", f"{STATE}/api-key").stdout.strip())

    def journal(self) -> str:
        return self.run("journalctl", "--unit", SERVICE, "--output=cat", "--no-pager").stdout


@pytest.fixture(scope="module")
def instance(podman, exported):
    """An instance on which the script has run, as cloud-init runs it at the first start."""
    with folder_of_its_own() as folder:
        write_machine(folder / "machine.tar")
        podman("import", folder / "machine.tar", IMAGE)
        commit = repository(folder / "repository")
        with tarfile.open(folder / "model.tar.gz", "w:gz") as tar:
            tar.add(exported, ".")
        checksum = hashlib.sha256((folder / "model.tar.gz").read_bytes()).hexdigest()
        script = user_data(
            "file:///srv/repository",
            commit,
            venv="/opt/lent",
            model_url="file:///srv/model.tar.gz",
            model_sha256=checksum,
            api_key="yes",
        )
        lent = {
            "/usr": "/usr",
            sys.base_prefix: "/opt/python",
            sysconfig.get_path("purelib"): f"/opt/lent/lib/python{PYTHON}/site-packages",
            str(folder): "/srv",
        }
        options = ["--systemd=always", "--network=none", "--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined"]
        options += [f"--volume={here}:{there}:ro" for here, there in lent.items()]
        with podman.running(IMAGE, str(SYSTEMD), options=tuple(options)) as container:
            machine = Instance(podman, container, script)
            machine.wait_until_up()
            machine.run("ldconfig", "/opt/python/lib", check=True)
            machine.run(f"/opt/python/bin/python{PYTHON}", "-m", "venv", "--without-pip", "/opt/lent", check=True)
            machine.first = machine.run("bash", input=script)
            assert machine.first.returncode == 0, machine.first.stdout + machine.first.stderr + machine.journal()
            yield machine


def test_the_script_turns_it_into_the_endpoint(instance):
    assert "user-data: ready: the service answers on port 5000" in instance.first.stdout
    assert instance.show("ActiveState") == "active" and instance.show("UnitFileState") == "enabled"
    assert instance.is_ready()
    assert '"success":true' in instance.predict_with_key()
    assert "X-API-Key" in instance.predict()


def test_systemd_keeps_the_service_from_what_it_does_not_need(instance):
    pid = instance.show("MainPID")
    status = instance.run("cat", f"/proc/{pid}/status").stdout
    assert "CapBnd:\t0000000000000000" in status and "NoNewPrivs:\t1" in status
    user = instance.run("id", "--user", "tutorial").stdout.strip()
    assert f"Uid:\t{user}\t" in status
    mounts = instance.run("cat", f"/proc/{pid}/mountinfo").stdout
    assert [line.split()[5].split(",")[0] for line in mounts.splitlines() if line.split()[4] == "/"] == ["ro"]


def test_the_journal_shows_the_log_and_no_key(instance):
    key = instance.run("cat", f"{STATE}/api-key").stdout.strip()
    assert "Serving models/games on http://127.0.0.1:5000" in instance.journal()
    assert len(key) == 64 and key not in instance.run("journalctl", "--no-pager").stdout


def test_jupyter_asks_for_its_token_on_127_0_0_1(instance):
    ask = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:8888/api/contents")
    wait_until(lambda: instance.run(*ask).stdout == "403", 60)
    assert instance.show("ActiveState", JUPYTER) == "active"


def test_run_again_the_script_does_no_harm(instance):
    answer = instance.predict_with_key()
    again = instance.run("bash", input=instance.script)
    assert again.returncode == 0, again.stdout + again.stderr
    assert instance.predict_with_key() == answer


def test_a_service_that_is_killed_is_started_again(instance):
    before = instance.show("MainPID")
    instance.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", SERVICE, check=True)
    wait_until(lambda: instance.show("MainPID") not in (before, "0") and instance.is_ready())
    assert instance.show("NRestarts") == "1"
    assert '"success":true' in instance.predict_with_key()


def test_after_a_reboot_it_answers_again_by_the_same_key(instance):
    key = instance.run("cat", f"{STATE}/api-key").stdout
    answer = instance.predict_with_key()
    instance.podman("restart", "--time=30", instance.container)
    instance.wait_until_up()
    wait_until(instance.is_ready)
    assert instance.run("cat", f"{STATE}/api-key").stdout == key
    assert instance.predict_with_key() == answer
    assert instance.journal().count("Serving models/games") == 1  # podman keeps a journal in memory, until the reboot


def test_stopped_it_ends_well(instance):
    instance.run("systemctl", "stop", SERVICE, check=True)
    assert (instance.show("ActiveState"), instance.show("Result")) == ("inactive", "success")
