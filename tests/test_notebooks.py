"""Every notebook, executed from a fresh kernel by nbval in strict mode: each committed output against a new one.

The notebooks run in a copy of the project, in reading order, as in a fresh clone: 02 writes the model that 03 to 05
take up. Each runs in a pytest of its own, whose report names the cell and shows both outputs where they differ.
"""

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


@dataclass(frozen=True)
class Verdict:
    """What nbval said of a notebook."""

    cells: int
    passed: int
    report: str


def nbval(*paths: Path) -> dict[str, Verdict]:
    """{stem: verdict} of notebooks of one project, each executed in a fresh kernel with every output compared."""
    project = paths[0].parent.parent
    results, sanitize = project / "build" / "nbval.xml", project / "build" / "sanitize.cfg"
    results.parent.mkdir(exist_ok=True)
    results.unlink(missing_ok=True)
    sanitize.write_text(SANITIZE)
    options = ["--nbval", "--nbval-current-env", f"--nbval-cell-timeout={CELL_TIMEOUT}", "-p", "nbval.plugin"]
    options += [f"--nbval-sanitize-with={sanitize}", f"--junitxml={results}", "-p", "no:cacheprovider", "--color=no"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *map(str, paths)],
        cwd=project,
        env=tools.environment_in(project, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    cases = list(ElementTree.parse(results).iter("testcase")) if results.exists() else []
    verdicts = {}
    for path in paths:
        cells = [case for case in cases if path.stem in case.get("classname")]
        passed = [case for case in cells if len(case) == 0]  # no <failure>, <error> or <skipped> inside
        verdicts[path.stem] = Verdict(len(cells), len(passed), done.stdout + done.stderr)
    return verdicts


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project, shared by the notebooks so that each finds what the one before it left."""
    return tools.copy_project(tmp_path_factory.mktemp("clone") / "tutorial")


@pytest.mark.parametrize("path", tools.NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_those_of_a_fresh_run(path, project):
    with tools.notebook_ports():
        verdict = nbval(project / "notebooks" / path.name)[path.stem]
    assert verdict.cells == len(tools.code_cells(tools.read(path))), verdict.report
    assert verdict.passed == verdict.cells, verdict.report


def test_the_notebooks_write_nothing_beside_models_and_build(project):
    """Runs after the notebooks: whatever they leave lies where git ignores it."""
    kept = {"notebooks", "helpers", "data", "pyproject.toml", "requirements.lock", "README.md"}
    assert {entry.name for entry in project.iterdir()} - kept <= {"models", "build"}
    assert {entry.name for entry in (project / "notebooks").glob("*.*")} == {path.name for path in tools.NOTEBOOKS}


# The proof that these tests can fail: a notebook with the outputs of a run just made, and what tampering does to it.


def change_an_output(cells: list[NotebookNode]) -> None:
    cells[0].outputs[0].text = "rows: 22906\n"


def change_the_code(cells: list[NotebookNode]) -> None:
    cells[1].source = cells[1].source.replace(", 4)", ", 3)")


def mend_what_shall_fail(cells: list[NotebookNode]) -> None:
    cells[2].source = "int('5')"


def break_a_cell(cells: list[NotebookNode]) -> None:
    cells[1].source = "no_such_name"


def remove_outputs(cells: list[NotebookNode]) -> None:
    for cell in cells:
        cell.outputs = []


def strip(cells: list[NotebookNode]) -> None:
    for cell in cells:
        cell.update(outputs=[], execution_count=None)


CHANGES = [change_an_output, change_the_code, mend_what_shall_fail, break_a_cell, remove_outputs, strip]


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


def failed(verdict: Verdict) -> int:
    assert verdict.cells == 3
    return verdict.cells - verdict.passed


def test_an_untouched_notebook_passes(verdicts):
    assert failed(verdicts["clean"]) == 0, verdicts["clean"].report


def test_a_changed_output_fails_and_the_report_shows_both(verdicts):
    verdict = verdicts["change_an_output"]
    assert failed(verdict) == 1
    assert "22906" in verdict.report and "22905" in verdict.report


@pytest.mark.parametrize("change", ["change_the_code", "mend_what_shall_fail", "break_a_cell"])
def test_changed_code_fails_against_the_old_output(verdicts, change):
    assert failed(verdicts[change]) == 1


def test_removed_outputs_fail_in_every_cell(verdicts):
    assert failed(verdicts["remove_outputs"]) == 3


def test_a_stripped_notebook_fails(clean, verdicts):
    """nbval compares nothing in a cell that was never executed, so the convention on execution counts must catch it."""
    assert failed(verdicts["strip"]) == 0  # this is the hole ...
    assert executed_in_one_clean_run(tools.read(clean.with_name("strip.ipynb")))  # ... and this its lid
    assert not executed_in_one_clean_run(tools.read(clean))
