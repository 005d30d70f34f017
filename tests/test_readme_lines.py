"""What the README shows is done, in its order, by somebody who has its files: each line of its code, for real."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import notebook_tools as tools
import numpy as np
import pandas as pd
import psutil
import pytest
import requests
from playwright.sync_api import sync_playwright

from helpers import PROJECT
from helpers.export.predictors import load_predictor
from helpers.export.versions import versions

sys.path.append(str(PROJECT / "tests" / "serving"))
from service_processes import is_ready, until

README = (PROJECT / "README.md").read_text(encoding="utf-8")
CODE = re.compile(r"^(?: {4}| {6})(?=\S)(.+)$", re.MULTILINE)

PROBABILITY = r'"probability":\s*0\.\d+'

ELSEWHERE = {  # the beginning of a line -> where it is executed instead
    "python3 tutorial.py run": "what CI runs has the notebooks side by side in tests/tools/test_runner.py",
    "python3 tutorial.py test": "it is this",
    "python3 tutorial.py lambda": "tests/cloud/test_lambda_zip.py",
    "podman ": "tests/serving/test_container.py",
    "python3 tutorial.py setup --engine": "tests/batch/test_engines.py installs them so",
    "python3 tutorial.py score players.parquet scores.parquet --model games --engine": "tests/batch/test_engines.py",
    "scored(spark": "tests/batch/test_engines.py",
    "(pipeline |": "tests/batch/test_engines.py",
    "| RunInference(": "tests/batch/test_engines.py",
    ".venv/bin/uv pip compile": "tests/tools/test_checkout.py holds the lock to pyproject.toml",
}


def passengers(rows: int = 300) -> pd.DataFrame:
    """Made up, in the columns that the README speaks of."""
    random = np.random.default_rng(4)
    gender, berth = random.choice(["female", "male"], rows), random.choice(["1st", "2nd", "3rd"], rows)
    logit = 2.5 * (gender == "female") + 1.0 * (berth == "1st") - 1.5 + random.normal(0, 1, rows)
    return pd.DataFrame(
        {
            "gender": gender,
            "class": berth,
            "age": random.integers(1, 80, rows),
            "embarked": random.choice(["Southampton", "Cherbourg", "Queenstown"], rows),
            "fare": random.uniform(3, 90, rows).round(2),
            "sibsp": random.integers(0, 4, rows),
            "parch": random.integers(0, 3, rows),
            "survived": np.where(logit > 0, "yes", "no"),
        }
    )


def flowers() -> "keras.Model":  # noqa: F821
    """A classifier of three flowers, of weights drawn at random."""
    import keras

    keras.utils.set_random_seed(0)
    layers = [keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(3, "softmax")]
    return keras.Sequential(layers)


class Reader:
    """Somebody in a fresh copy of the project who types what the README shows; its port 5000 is a free one here."""

    def __init__(self, project: Path, port: int):
        self.project, self.port = project, port
        self.left = CODE.findall(README)  # what nobody has typed yet

    def take(self, begins: str) -> str:
        """The next line that begins so, without its comment."""
        line = next((line for line in self.left if line.startswith(begins)), None)
        assert line, f"the README shows no line {begins!r} (any more, or here)"
        self.left.remove(line)
        return re.sub(r"  +# .*", "", line)

    def block(self, begins: str, lines: int) -> str:
        """Lines that follow one another, from the next one that begins so."""
        first = next(i for i, line in enumerate(self.left) if line.startswith(begins))
        taken, self.left[first : first + lines] = self.left[first : first + lines], []
        return "\n".join(taken).replace(":5000", f":{self.port}")

    def words(self, line: str) -> list[str]:
        return [sys.executable, "-m", "helpers", *line.removeprefix("python3 tutorial.py").split()]

    def shell(self, line: str) -> str:
        """What a line in the shell puts out; it must succeed."""
        line = line.replace(":5000", f":{self.port}").replace("python3 tutorial.py", f"{sys.executable} -m helpers")
        line = line.replace("python3 -c", f"{sys.executable} -c")
        return self._run(line, shell=True)

    def python(self, source: str) -> str:
        return self._run([sys.executable, "-c", source])

    def _run(self, command: str | list[str], **how) -> str:
        how |= {"cwd": self.project, "env": self.environment, "capture_output": True, "text": True}
        done = subprocess.run(command, check=False, **how)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        return tools.environment_in(self.project)

    @contextmanager
    def serving(self, line: str) -> Iterator[str]:
        """The service that a line starts, with its URL."""
        command = [*self.words(line), "--port", str(self.port)]
        log = open(self.project / "serve.log", "w+")
        process = subprocess.Popen(
            command, cwd=self.project, env=self.environment, stdout=log, stderr=subprocess.STDOUT
        )
        url = f"http://127.0.0.1:{self.port}"
        try:
            until(lambda: is_ready(url) or process.poll() is not None, 120)
            assert process.poll() is None, (self.project / "serve.log").read_text()
            yield url
        finally:
            family = [process, *psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
            process.terminate()
            process.wait(20)
            log.close()
            assert not [member for member in family[1:] if member.is_running()]


@contextmanager
def page_of(chromium: str):
    """An empty page in a real browser, whose origin is a port of its own on localhost."""

    class Empty(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Empty) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(f"http://localhost:{server.server_port}/")
        yield page
        browser.close()
        server.shutdown()


@pytest.fixture
def reader(tmp_path, exported, free_port) -> Reader:
    project = tools.copy_project(tmp_path / "tutorial")
    shutil.copytree(exported, project / "models" / "games")
    passengers().to_csv(project / "titanic.csv", index=False)
    return Reader(project, free_port)


def current(reader: Reader, name: str) -> str:
    """The version of a model that answers now."""
    return versions(reader.project / "models" / name)[0].version


def train_again(folder: Path) -> None:
    """Another model of the same table takes the place of the one in `folder`."""
    from helpers.export.artifacts import export_model
    from helpers.model.training import build_classifier

    signature = load_predictor(folder).signature
    export_model(build_classifier(signature.width, seed=5), folder, signature, formats=("keras", "onnx"))


def give_it_to_others(reader: Reader, chromium: str) -> None:
    reader.shell(reader.take("python3 -c"))
    key = (reader.project / "key.txt").read_text().strip()
    line = reader.take("python3 tutorial.py serve")
    origin = int(re.search(r"http://localhost:(\d+)", line)[1])
    with page_of(chromium) as page:
        here = page.url.rstrip("/")
        with reader.serving(line.replace(f"http://localhost:{origin}", here)) as url:
            assert requests.get(f"{url}/predict", timeout=10).status_code == 401
            assert re.search(PROBABILITY, reader.shell(reader.take("curl")))
            assert len(json.loads(reader.python(reader.block("import requests", 5)).replace("'", '"'))) == 2
            script = reader.block("const row", 4).replace("console.log", "return ")
            assert 0 < page.evaluate(f"async key => {{ {script} }}", key) < 1
            formula = reader.block("= Json.Document", 1)
            asked = re.search(r'Web\.Contents\("([^"]+)", \[Headers = \[#"([^"]+)"', formula)
            assert requests.get(asked[1], headers={asked[2]: key}, timeout=10).ok


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="the README's lines are those of a POSIX shell")
def test_each_line_does_what_the_readme_says(reader, chromium):
    with reader.serving("python3 tutorial.py serve"):
        assert re.search(PROBABILITY, reader.shell(reader.take("curl")))

    # Your own table
    assert "serve --model titanic" in reader.shell(reader.take("python3 tutorial.py train"))
    with reader.serving(reader.take("python3 tutorial.py serve")):
        assert re.search(PROBABILITY, reader.shell(reader.take("curl")))

    # Your own model
    flowers().save(reader.project / "my_model.keras")
    with reader.serving(reader.take("python3 tutorial.py serve")) as url:
        answer = requests.post(f"{url}/predict", json={f"x{i}": 1 for i in range(1, 5)}, timeout=10).json()
        assert len(answer["probabilities"]) == 3
    said = reader.shell(reader.take("python3 tutorial.py export") + " --replace")
    assert "a row of 4 features (length, width, depth, mass)" in said
    assert "one of 3 classes (setosa, versicolor, virginica)" in said
    rows = reader.block("from helpers.export.own_model", 4)
    assert "setosa" in reader.python(rows + "\nprint(predictor.signature.outputs)")

    give_it_to_others(reader, chromium)

    # Several models, versions, a way back
    with reader.serving(reader.take("python3 tutorial.py serve")) as url:
        assert requests.get(f"{url}/games/health/ready", timeout=10).ok
        assert requests.get(f"{url}/titanic/health/ready", timeout=10).ok
        assert str(reader.port) in reader.shell(reader.take("python3 tutorial.py models"))
    old = current(reader, "games")
    train_again(reader.project / "models" / "games")
    new = current(reader, "games")
    reader.shell(reader.take("python3 tutorial.py models rollback games"))
    assert current(reader, "games") == old != new
    reader.shell(reader.take("python3 tutorial.py models rollback games").replace("5f2e", new[:5]))
    assert current(reader, "games") == new

    first = current(reader, "titanic")
    passengers(400).to_csv(reader.project / "titanic.csv", index=False)
    reader.shell(reader.take("python3 tutorial.py train"))
    assert current(reader, "titanic") == first
    [beside] = {v.version for v in versions(reader.project / "models" / "titanic")} - {first}
    for option in ("--shadow", "--canary"):
        line = reader.take("python3 tutorial.py serve").replace("5f2e", beside[:4])
        assert option in line
        with reader.serving(line) as url:
            assert requests.post(f"{url}/predict", json=passengers(1).to_dict("records")[0], timeout=10).status_code
    reader.shell(reader.take("python3 tutorial.py models promote").replace("5f2e", beside[:4]))
    assert current(reader, "titanic") == beside
    assert "go through them" in reader.shell(reader.take("python3 tutorial.py gate"))
    assert f"titanic@{beside} may pass: all " in reader.shell(reader.take("python3 tutorial.py gate"))

    # Millions of rows
    players = pd.DataFrame({f"g{i}": np.arange(50) % 2 for i in range(1, 11)})
    players.to_parquet(reader.project / "players.parquet")
    reader.shell(reader.take("python3 tutorial.py score"))
    assert len(pd.read_parquet(reader.project / "scores.parquet")) == 50

    # On SageMaker, Vertex AI and KServe
    with reader.serving("python3 tutorial.py serve --model games"):
        assert 0 < float(reader.shell(reader.take("curl"))) < 1

    # Other ways in
    reader.python(reader.block("from helpers.export.artifacts", 5))
    assert 'name="gender"' in (reader.project / "models" / "titanic-java" / "model.pmml").read_text()

    untried = [line for line in reader.left if not line.startswith(tuple(ELSEWHERE))]
    assert untried == []
