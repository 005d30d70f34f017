"""From a file to an endpoint by the two commands of the README: `train`, then the line with which it ends."""

import json
import re
import shlex
import subprocess
import sys
import time
from dataclasses import replace

import notebook_tools as tools
import numpy as np
import pandas as pd
import psutil
import pytest
import requests
from watching import CAN_WATCH, Seen, watched

from helpers import PROJECT
from helpers.data.tables import load_table
from helpers.tools.train_command import in_place_of

pytestmark = pytest.mark.slow
ROWS = 200
WIDE = {"COLUMNS": "160"}  # workers of pytest have 80 columns, in which the report would wrap


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project, and beside it a table as Excel writes it in Europe."""
    project = tools.copy_project(tmp_path_factory.mktemp("clone") / "tutorial")
    random = np.random.default_rng(0)
    plan, age = random.choice(["basic", "plus", "pro"], ROWS), random.integers(18, 80, ROWS)
    stays = (plan == "pro") * 2 + (age > 45) + random.normal(0, 0.5, ROWS) > 1.2
    table = pd.DataFrame(
        {
            "customer": [f"C-{i:05}" for i in range(ROWS)],
            "plan": plan,
            "age": age,
            "größe": np.where(random.random(ROWS) < 0.2, np.nan, random.normal(170, 10, ROWS).round(1)),
            "country": "NO",
            "left": np.where(stays, np.nan, 1 + np.arange(ROWS) % 7),
            "stays": np.where(stays, "ja", "nein"),
        }
    )
    table.to_csv(project.parent / "customers.csv", sep=";", decimal=",", index=False, encoding="cp1252")
    return project


def typed(project, *options: str, command: str = "train") -> list[str]:
    return [sys.executable, "-m", "helpers", command, "--data", str(project.parent / "customers.csv"), *options]


def train(project, *options: str, command: str = "train") -> subprocess.CompletedProcess:
    environment = tools.environment_in(project, **WIDE)
    run = {"cwd": project, "env": environment, "capture_output": True, "text": True}
    return subprocess.run(typed(project, *options, command=command), check=False, **run)


@pytest.fixture(scope="module")
def watched_run(project) -> tuple[subprocess.CompletedProcess, Seen | None]:
    """The command's run, and what it called and left, where somebody can see it."""
    report = str(project.parent / "figures.html")
    options = ("--label", "stays", "--positive", "ja", "--display-name", "staying", "--report", report)
    if CAN_WATCH:
        return watched(project.parent, typed(project, *options), project, **WIDE)
    return train(project, *options), None


@pytest.fixture(scope="module")
def trained(watched_run):
    return watched_run[0]


@pytest.mark.skipif(not CAN_WATCH, reason="needs Linux with strace, which sees each call")
def test_it_calls_nobody_and_leaves_nothing_at_home(watched_run):
    done, seen = watched_run
    assert done.returncode == 0, done.stderr
    assert seen.called_outside == set() and seen.left_unlisted == set()


def test_it_says_what_was_read_and_what_each_column_became(trained):
    assert trained.returncode == 0, trained.stderr
    for sentence in (
        "read as cp1252, as it is not UTF-8",
        "columns are separated by ';'",
        "numbers are written with a decimal comma",
        "200 rows",
    ):
        assert sentence in trained.stdout
    became = {line.split()[0]: line for line in trained.stdout.splitlines() if len(line.split()) > 4}
    assert "left out" in became["customer"] and "an identifier" in became["customer"]
    assert "left out" in became["country"] and "constant" in became["country"]
    assert "category" in became["plan"] and "basic, plus, pro" in became["plan"]
    assert "number" in became["größe"] and "and whether it is missing" in became["größe"]
    assert "ja is positive" in became["stays"]
    assert "left alone predicts stays (AUC 1.000): would you know it beforehand? If not, --drop left." in trained.stdout


def test_it_ends_with_the_auc_and_the_line_that_serves_the_model(trained):
    auc = float(re.search(r"test AUC (\d\.\d+) \(95 % interval", trained.stdout)[1])
    assert auc > 0.7
    assert "only" in trained.stdout and "of the test rows have the rarer answer" in trained.stdout
    assert trained.stdout.splitlines()[-1].endswith("serve --model customers")


def test_the_figures_are_one_page_that_loads_nothing(project, trained):
    page = (project.parent / "figures.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 5
    assert len(re.findall('<img alt="[^"]{6,}"', page)) == 5, "a figure says in words what it shows"
    assert re.search(r"\. Only \d+ of the test rows have the rarer answer, so [^<]* bring more rows\.<", page)
    assert "The probability of staying" in page and not re.search(r"""(src|href)=["']https?:""", page)


def test_that_line_serves_it_in_the_tables_own_words(project, trained, free_port):
    line = trained.stdout.splitlines()[-1].removeprefix("serve it: ")
    words = [*shlex.split(line)[2:], "--port", str(free_port), "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "helpers", *words],
        cwd=project,
        env=tools.environment_in(project),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline().startswith("Serving models/customers on http://127.0.0.1:")
        url = f"http://127.0.0.1:{free_port}/predict"
        page = requests.get(url.removesuffix("predict"), headers={"Accept": "text/html"}, timeout=10).text
        assert "Probability of <em>staying</em>" in page
        answer = requests.get(url, params={"Plan": "pro", "age": 60, "größe": "", "left": ""}, timeout=10)
        assert answer.json()["success"], answer.text
        refused = requests.get(url, params={"plan": "prro", "age": "60"}, timeout=10).json()
        assert refused["fields"] == {"plan": "must be one of basic, plus, pro; did you mean pro?"}
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        process.wait(timeout=20)
        deadline = time.monotonic() + 5
        while any(member.is_running() for member in family) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(member.is_running() for member in family)


def test_the_model_of_another_table_is_not_replaced_unless_that_is_said(project, trained):
    card = project / "models" / "customers" / "card.json"
    before = card.read_bytes()
    refused = train(project, "--label", "plan", "--positive", "pro")
    assert refused.returncode == 2
    assert "models/customers holds another model (it predicts staying from plan, age" in refused.stderr
    whole_route = train(project, "--label", "plan", "--positive", "pro", command="run")
    assert whole_route.returncode == 2 and "run: models/customers holds another model (" in whole_route.stderr
    assert whole_route.stderr.endswith("): give the table's file another name, by which its model goes\n")
    shouted = replace(load_table(project.parent / "customers.csv", "stays"), positive="JA.")
    assert in_place_of(card.parent, shouted, "").positive == "ja"  # the same question, in another spelling
    turned = train(project, "--label", "stays", "--positive", "nein")
    assert turned.returncode == 2 and "say --positive ja for the same question" in turned.stderr
    assert card.read_bytes() == before
    full = project.parent / "no room.html"
    full.symlink_to("/dev/full")
    again = train(project, "--label", "stays", "--positive", "ja", "--report", str(full))  # more rows, perhaps
    assert json.loads(card.read_text())["signature"]["display_name"] == "staying"
    assert "called 'staying' as before (--display-name calls it otherwise)" in again.stdout
    assert again.returncode == 1 and "Traceback" not in again.stderr  # written last, as the model is what was asked for
    assert "no room.html cannot be written (No space left on device), the model is there" in again.stderr
    assert again.stdout.splitlines()[-1].endswith("serve --model customers")


def test_the_readme_names_these_commands():
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert "python3 tutorial.py train --data titanic.csv --label survived" in readme
    assert "python3 tutorial.py serve --model titanic" in readme
