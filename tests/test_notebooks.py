"""Every notebook, executed from a fresh kernel by nbval in strict mode: each committed output against a new one.

The notebooks run in a copy of the project, in reading order, as in a fresh clone: 02 writes the model that 03 to 05
take up. Into that copy go more cells: each one that starts a server nineteen times more, and each that runs a command
of this project, asks for two thousand rows or lets the traffic rest once more; after the last one every folded
solution, as a reader tries it after Run All; then the last one again, as a reader runs it who is done, and a look at
what is left of the servers. Each notebook runs in a pytest of its own, whose report names the cell and shows both
outputs where they differ, with a home folder that was empty at the start and under the eyes of strace, where there is
one: what it calls and what it leaves is one run's as well.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import notebook_tools as tools
import pytest
from nbformat import NotebookNode
from test_notebook_conventions import executed_in_one_clean_run
from watching import CAN_WATCH, Seen, watched

from helpers.__main__ import key_figures

pytestmark = pytest.mark.notebooks

CELL_TIMEOUT = 120  # seconds

# What differs between runs without any fault: the port, where another program has the usual one.
SANITIZE = """\
[a taken port is replaced by a free one, and said]
regex: Port \\d+ is taken by .*: serving on \\d+ instead\\.\\n
replace:

[the number of that port]
regex: (127\\.0\\.0\\.1|localhost):\\d+
replace: \\1:PORT
"""


# Additions to a notebook

REMEMBER = """\
import psutil as _psutil, threading as _threading

def _standing():
    process = _psutil.Process()
    ports = {c.laddr.port for c in process.net_connections("tcp") if c.status == "LISTEN"}
    libraries = ("zmq", "tqdm")  # Jupyter's own, and what watches over progress bars
    threads = {t for t in _threading.enumerate() if not type(t).__module__.startswith(libraries)}
    return ports, threads, set(process.children(recursive=True))

_before = _standing()
"""
NOTHING_LEFT = """\
_left = [after - before for before, after in zip(_before, _standing())]
assert not any(_left), f"ports, threads, processes left behind: {_left}"
"""
ADDED = "added_"
TIMES = 20  # that a reader may run a cell which starts a server
ONCE_MORE = re.compile(r"^(?:print\(|\w+ = | +)?(?:run_score|tutorial|send|traffic\.rest)\(", re.MULTILINE)


def with_additions(notebook: NotebookNode) -> list[str]:
    """Puts the cells described above into `notebook`; returns the id of each code cell, "added_..." for these."""
    servers = [cell for cell in notebook.cells if tools.servers_started(cell)]
    last = tools.code_cells(notebook)[-1]
    for number, solution in enumerate(tools.solutions(notebook), start=1):
        add(notebook, f"solution-{number}", solution.python[0])
    for cell in servers:
        after = notebook.cells[notebook.cells.index(cell) + 1]
        for number in range(2, TIMES + 1):
            add(notebook, f"{cell.id}-{number}", cell.source, before=after)
    for cell in [each for each in tools.code_cells(notebook) if ONCE_MORE.search(each.source)]:
        if cell not in servers and not cell.id.startswith(ADDED):
            add(notebook, f"{cell.id}-again", cell.source, before=notebook.cells[notebook.cells.index(cell) + 1])
    if servers:
        add(notebook, "remember", REMEMBER, before=servers[0])
        add(notebook, "done", tools.when_done(last))
        add(notebook, "nothing-left", NOTHING_LEFT)
    return [cell.id for cell in tools.code_cells(notebook)]


def add(notebook: NotebookNode, what: str, source: str, before: NotebookNode | None = None) -> None:
    """One more code cell, before another or at the end; its output is not compared, its errors are."""
    cell = nbformat.v4.new_code_cell(source, id=f"{ADDED}{what}", metadata={"tags": ["nbval-ignore-output"]})
    cell.execution_count = 1  # nbval refuses to look at a cell that was never executed
    notebook.cells.insert(notebook.cells.index(before) if before else len(notebook.cells), cell)


# nbval's verdict


@dataclass(frozen=True)
class Verdict:
    """What nbval said of a notebook: for each code cell, in order, what was wrong with it, or "" for nothing."""

    cells: tuple[str, ...]
    report: str
    seen: Seen | None = None  # where no strace is, nobody saw

    @property
    def failed(self) -> int:
        return sum(map(bool, self.cells))


def nbval(*paths: Path, watch: bool = False) -> dict[str, Verdict]:
    """{stem: verdict} of notebooks of one project, each executed in a fresh kernel with every output compared."""
    project = paths[0].parent.parent
    results, sanitize = project / "build" / "nbval.xml", project / "build" / "sanitize.cfg"
    results.parent.mkdir(exist_ok=True)
    results.unlink(missing_ok=True)
    sanitize.write_text(SANITIZE)
    options = ["--nbval", "--nbval-current-env", f"--nbval-cell-timeout={CELL_TIMEOUT}", "-p", "nbval.plugin"]
    options += [f"--nbval-sanitize-with={sanitize}", f"--junitxml={results}", "-p", "no:cacheprovider", "--color=no"]
    command = [sys.executable, "-m", "pytest", *options, *map(str, paths)]
    own, seen = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, None
    if watch and CAN_WATCH:
        done, seen = watched(project.parent, command, project, **own)
    else:
        environment = tools.environment_in(project, **own)
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    cases = list(ElementTree.parse(results).iter("testcase")) if results.exists() else []
    verdicts = {}
    for path in paths:
        mine = [case for case in cases if path.stem in case.get("classname")]
        troubles = ["".join(child.text or child.get("message") for child in case) for case in mine]
        verdicts[path.stem] = Verdict(tuple(troubles), done.stdout + done.stderr, seen)
    return verdicts


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project, shared by the notebooks so that each finds what the one before it left."""
    return tools.copy_project(tmp_path_factory.mktemp("clone") / "tutorial")


@pytest.fixture(scope="module", params=tools.NOTEBOOKS, ids=lambda path: path.stem)
def run(request, project) -> tuple[dict[str, str], Verdict]:
    """One notebook's run: {cell: what was wrong with it}, and nbval's whole verdict."""
    path = project / "notebooks" / request.param.name
    notebook = tools.read(path)
    names = with_additions(notebook)
    nbformat.write(notebook, path)
    verdict = nbval(path, watch=True)[path.stem]
    assert len(verdict.cells) == len(names), verdict.report
    return dict(zip(names, verdict.cells, strict=True)), verdict


def test_outputs_are_those_of_a_fresh_run(run):
    cells, verdict = run
    wrong = [name for name, trouble in cells.items() if trouble and not name.startswith(ADDED)]
    assert not wrong, f"{wrong}\n{verdict.report}"


def test_every_solution_works_after_run_all(run):
    cells, _ = run
    solutions = {name: trouble for name, trouble in cells.items() if name.startswith(f"{ADDED}solution")}
    assert solutions, "no solution was executed"
    assert not any(solutions.values()), "\n".join(solutions.values())


def test_servers_started_twenty_times_leave_nothing_behind(run):
    cells, verdict = run
    added = [name for name in cells if name.startswith(ADDED) and "solution" not in name]
    assert not any(cells[name] for name in added), verdict.report


@pytest.mark.skipif(not CAN_WATCH, reason="needs Linux with strace, which sees each call")
def test_it_calls_nobody_and_leaves_nothing_at_home(run):
    _, verdict = run
    assert verdict.seen.called_outside == set() and verdict.seen.left_unlisted == set()


def test_the_cells_that_start_servers_are_recognized():
    """A notebook whose last cell stops servers has a cell for each of them that starts it, and that is run again."""
    for path in tools.NOTEBOOKS:
        notebook = tools.read(path)
        stopped = tools.servers_stopped(tools.code_cells(notebook)[-1], when_done=True)
        assert set().union(*map(tools.servers_started, notebook.cells)) == stopped, path.name
        starting = [cell.id for cell in notebook.cells if tools.servers_started(cell)]
        names = with_additions(notebook)
        assert [f"{ADDED}{name}-{TIMES}" for name in starting] == [name for name in names if name.endswith(f"-{TIMES}")]


def test_the_notebooks_write_nothing_beside_models_and_build(project):
    """Runs after the notebooks: whatever they leave lies where git ignores it."""
    kept = {"notebooks", "helpers", "data", "tests", "pyproject.toml", "requirements.lock", "README.md"}
    assert {entry.name for entry in project.iterdir()} - kept <= {"models", "build"}
    assert {entry.name for entry in (project / "notebooks").glob("*.*")} == {
        "ruff.toml",
        *(path.name for path in tools.NOTEBOOKS),
    }


def test_what_the_command_run_sums_up_is_what_the_notebooks_show(project):
    """Runs after the notebooks, on the model that they have just trained.

    The committed outputs may come from another kind of processor, on which training ends with slightly other weights.
    """
    figures = {what: value for what, value, _ in key_figures(project / "models" / "games")}
    shown = {path.name[:2]: tools.all_text(path) for path in tools.NOTEBOOKS}
    probability = re.search(r"'probability': ([\d.]+)", shown["04"])[1]
    assert float(figures["served answer"]) == pytest.approx(float(probability), abs=0.01)
    auc = re.search(r"^test AUC ([\d.]+)", shown["02"], re.MULTILINE)[1]
    assert float(figures["test AUC"]) == pytest.approx(float(auc), abs=0.01)


# The proof that these tests can fail: a notebook with the outputs of a run just made, and what tampering does to it.


def change_an_output(cells: list[NotebookNode]) -> None:
    cells[0].outputs[0].text = "rows: 22906\n"


def change_the_code(cells: list[NotebookNode]) -> None:
    cells[0].source = "no_such_name"
    cells[1].source = cells[1].source.replace(", 4)", ", 3)")
    cells[2].source = "int('5')"  # the error that the reader is to see no longer comes


def remove_outputs(cells: list[NotebookNode]) -> None:
    for cell in cells:
        cell.outputs = []


def strip(cells: list[NotebookNode]) -> None:
    for cell in cells:
        cell.update(outputs=[], execution_count=None)


CHANGES = [change_an_output, change_the_code, remove_outputs, strip]


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    """A project with one notebook of three cells, just executed."""
    path = tmp_path_factory.mktemp("proof") / "notebooks" / "clean.ipynb"
    path.parent.mkdir()
    code = nbformat.v4.new_code_cell
    cells = [
        code("rows = 22_905\nprint('rows:', rows)"),
        code("{'g1': 1, 'share': round(1 / 3, 4)}"),
        code("int('five')", metadata={"tags": ["raises-exception"]}),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    with tools.Kernel(path) as kernel:
        for cell in kernel.notebook.cells:
            kernel.run_cell(cell)
    nbformat.write(kernel.notebook, path)
    return path


@pytest.fixture(scope="module")
def verdicts(clean) -> dict[str, Verdict]:
    """nbval's verdict on the clean notebook and on it after each change, by the name of the change."""
    paths = [clean]
    for change in CHANGES:
        notebook = tools.read(clean)
        change(notebook.cells)
        paths.append(clean.with_name(f"{change.__name__}.ipynb"))
        nbformat.write(notebook, paths[-1])
    return nbval(*paths)


def test_an_untouched_notebook_passes(verdicts):
    assert verdicts["clean"].cells == ("", "", ""), verdicts["clean"].report


def test_a_changed_output_fails_and_the_report_shows_both(verdicts):
    verdict = verdicts["change_an_output"]
    assert verdict.failed == 1
    assert "22906" in verdict.cells[0] and "22905" in verdict.cells[0]


def test_changed_code_fails_against_the_old_outputs(verdicts):
    assert verdicts["change_the_code"].failed == 3


def test_removed_outputs_fail_in_every_cell(verdicts):
    assert verdicts["remove_outputs"].failed == 3


def test_a_stripped_notebook_fails(clean, verdicts):
    """nbval compares nothing in a cell that was never executed, so the convention on execution counts must catch it."""
    assert verdicts["strip"].cells == ("", "", "")  # this is the hole ...
    assert executed_in_one_clean_run(tools.read(clean.with_name("strip.ipynb")))  # ... and this its lid
    assert not executed_in_one_clean_run(tools.read(clean))
