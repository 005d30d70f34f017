"""What every notebook and page of this project keeps to; CONTRIBUTING.md says it in words.

Each convention is a function from a notebook to the list of its offences, so that the same function that finds nothing
in our notebooks is shown to find something in a notebook that breaks it.
"""

import ast
import copy
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import nbformat
import notebook_tools as tools
import pytest
from nbformat import NotebookNode

from helpers import PROJECT

FILE_NAME = re.compile(r"^\d\d_[a-z0-9]+(-[a-z0-9]+)+\.ipynb$")
WIDEST_OUTPUT = 107  # characters
READABLE_ID = re.compile(r"^(?![0-9a-f]{8}$)[a-z][a-z0-9]*([-_][a-z0-9]+)*$")
BANNED = {
    "sys.path": "install the package instead",
    "time.sleep": "ask the server whether it is ready",
    "%%writefile": "put the module into helpers/",
    "os.system": "use subprocess.run with capture_output=True, which nbval can compare",
    "get_ipython": "plain Python, which runs everywhere",
    "plt.": "figures are drawn in helpers/figures",
}
SECRETS = {
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)(?!IOSFODNN7EXAMPLE)[0-9A-Z]{16}\b"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a token": re.compile(r"\b(?:ghp_|github_pat_|xox[abp]-)\w{10,}|[?&]token=[0-9a-f]{16,}"),
}
HOMES_OF_SERVERS = r"(?!ubuntu\b|ec2-user\b|jovyan\b)"  # as EC2's and Binder's images have them: nobody's own machine
MACHINE_PATHS = re.compile(rf"/root/|/home/{HOMES_OF_SERVERS}\w+|/Users/\w+|[A-Z]:\\Users\\|/tmp/|/var/folders/")


# The conventions: a notebook in, its offences out.


def title_and_promises(notebook: NotebookNode) -> list[str]:
    first = notebook.cells[0]
    found = [] if first.cell_type == "markdown" and first.source.startswith("# ") else ["cell 1 has no title"]
    plain = first.source.replace("’", "'")
    found += [
        f"cell 1 lacks **{promise}**"
        for promise in ("What you'll do", "What you'll learn", "What you'll need")
        if promise not in plain
    ]
    titles = [title for level, title in tools.headings(tools.markdown(notebook)) if level == 1]
    return found + ([f"more than one title: {titles}"] if len(titles) > 1 else [])


def executed_in_one_clean_run(notebook: NotebookNode) -> list[str]:
    counts = [cell.execution_count for cell in tools.code_cells(notebook)]
    wanted = list(range(1, len(counts) + 1))
    return [] if counts and counts == wanted else [f"execution counts are {counts}; one clean run gives 1, 2, 3, ..."]


def format_and_kernel(notebook: NotebookNode) -> list[str]:
    found = []
    if (notebook.nbformat, notebook.nbformat_minor) < (4, 5):
        found.append("the format is older than 4.5, which has cell ids")
    kernel = notebook.metadata.get("kernelspec", {})
    if kernel.get("name") != "python3":
        found.append(f"kernelspec is {dict(kernel)}, not python3")
    ids = [cell.get("id", "") for cell in notebook.cells]
    found += [f"cell id {name!r} tells nothing; give it a readable one" for name in ids if not READABLE_ID.match(name)]
    return found + [f"cell id {name!r} occurs twice" for name in set(ids) if ids.count(name) > 1]


def errors_are_on_purpose(notebook: NotebookNode) -> list[str]:
    found = []
    for cell in tools.code_cells(notebook):
        failed = any(output.output_type == "error" for output in cell.outputs)
        tagged = "raises-exception" in tools.tags(cell)
        if failed and not tagged:
            found.append(f"{cell.id}: shows an error without the tag raises-exception")
        if tagged and not failed:
            found.append(f"{cell.id}: is tagged raises-exception and shows no error")
        if tagged and "nbval-ignore-output" in tools.tags(cell):
            found.append(f"{cell.id}: with nbval-ignore-output, nobody would notice if the error no longer came")
    return found


def every_cell_is_executed_by_nbval(notebook: NotebookNode) -> list[str]:
    found = []
    for cell in tools.code_cells(notebook):
        if "nbval-skip" in tools.tags(cell) or re.search(r"#\s*(NBVAL_|PYTEST_VALIDATE)", cell.source):
            found.append(f"{cell.id}: takes itself out of the test; use the tag nbval-ignore-output and an assert")
        if not cell.source.strip():
            found.append(f"{cell.id}: is empty")
    return found


def cells_are_short(notebook: NotebookNode) -> list[str]:
    lengths = {cell.id: len(cell.source.splitlines()) for cell in tools.code_cells(notebook)}
    found = [f"{name}: {lines} lines of code, at most 20" for name, lines in lengths.items() if lines > 20]
    if lengths and statistics.median(lengths.values()) > 7:
        found.append(f"half of the code cells have more than 7 lines: {lengths}")
    return found


def code_fits_the_screen(notebook: NotebookNode) -> list[str]:
    """What a cell shows beside JupyterLab's file browser on a screen 1280 wide; ruff.toml has the same number."""
    blocks = {cell.id: cell.source for cell in tools.code_cells(notebook)}
    blocks["fenced code"] = "\n".join(match[0] for match in tools.FENCED.finditer(tools.markdown(notebook)))
    return [
        f"{name}: {len(line)} characters, at most 100: {line}"
        for name, code in blocks.items()
        for line in code.splitlines()
        if len(line) > 100
    ]


def prose_before_code(notebook: NotebookNode) -> list[str]:
    found = []
    for before, cell in zip([None, *notebook.cells], notebook.cells, strict=False):
        if cell.cell_type != "code":
            continue
        prose = before.source if before is not None and before.cell_type == "markdown" else ""
        prose = tools.HEADING.sub("", tools.FENCED.sub("", prose))
        if not re.search(r"\w+\W+\w+\W+\w+.*[.:?!]", prose, re.DOTALL):
            found.append(f"{cell.id}: no sentence before it says what it does and why")
    return found


def nothing_banned(notebook: NotebookNode) -> list[str]:
    found = []
    for cell in tools.code_cells(notebook):
        found += [f"{cell.id}: {word} is banned: {why}" for word, why in BANNED.items() if word in cell.source]
        for line in cell.source.splitlines():
            if re.match(r"\s*[!%]", line):
                found.append(f"{cell.id}: {line.strip()!r} is for IPython only: use Python")
    return found


def imports_and_versions_in_setup(notebook: NotebookNode) -> list[str]:
    setup = [cell for cell in tools.section(notebook, "Setup") if cell.cell_type == "code"]
    if not setup:
        return ["no section '## Setup' with code"]
    found = []
    if not any("version" in cell.source.lower() and "nbval-ignore-output" in tools.tags(cell) for cell in setup):
        found.append("no cell of Setup prints the versions under the tag nbval-ignore-output")
    inside = {cell.id for cell in setup}
    for cell in tools.code_cells(notebook):
        tree = tools.python_of(cell.source)
        if cell.id in inside or "raises-exception" in tools.tags(cell) or tree is None:
            continue
        if any(isinstance(node, ast.Import | ast.ImportFrom) for node in tree.body):
            found.append(f"{cell.id}: imports belong into Setup")
    return found


def recap_then_exercises(notebook: NotebookNode) -> list[str]:
    titles = [title.lower() for level, title in tools.headings(tools.markdown(notebook)) if level == 2]
    if "recap" not in titles or "exercises" not in titles or titles.index("recap") > titles.index("exercises"):
        return [f"the sections end with {titles[-3:]}; they end with Recap, then Exercises"]
    found = []
    recap = "\n".join(cell.source for cell in tools.section(notebook, "Recap") if cell.cell_type == "markdown")
    if len(re.findall(r"^[-*] ", recap, re.MULTILINE)) < 2:
        found.append("the recap has no bullets")
    return found


def exercises_have_hint_and_solution(notebook: NotebookNode) -> list[str]:
    found = []
    blocks = tools.folded(notebook)
    hints = [block for block in blocks if block.summary.lower().startswith("hint")]
    solved = tools.solutions(notebook)
    if not 1 <= len(solved) <= 3 or len(hints) != len(solved):
        found.append(f"{len(hints)} hints and {len(solved)} solutions; one to three exercises with one of each")
    for number, block in enumerate(solved, start=1):
        if len(block.python) != 1 or tools.python_of(block.python[0]) is None:
            found.append(f"solution {number} is not one complete ```python block")
    for block in blocks:
        if not block.text.startswith("\n\n"):
            found.append(f"no empty line after <summary>{block.summary}</summary>: GitHub would show Markdown as text")
    return found


def servers_are_stopped_when_the_reader_is_done(notebook: NotebookNode) -> list[str]:
    """The last cell stops them, but not in Run All, which would take them away from the exercises."""
    started = set().union(*map(tools.servers_started, notebook.cells))
    last = tools.code_cells(notebook)[-1]
    missing = started - tools.servers_stopped(last, when_done=True)
    found = [f"the last code cell {last.id!r} does not stop {name!r} if `done`" for name in sorted(missing)]
    too_early = {cell.id: started & tools.servers_stopped(cell) for cell in notebook.cells}
    return found + [f"{name}: Run All stops {sorted(stopped)}" for name, stopped in too_early.items() if stopped]


def outputs_fit_a_page(notebook: NotebookNode) -> list[str]:
    found = []
    for cell in tools.code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stderr":
                found.append(f"{cell.id}: writes to stderr: {output.text[:80]!r}")
            if output.output_type == "stream" and len(output.text.splitlines()) > 60:
                found.append(f"{cell.id}: prints {len(output.text.splitlines())} lines, which nobody reads")
    size = len(nbformat.writes(notebook))
    return found + ([f"{size:,} bytes: GitHub does not render large notebooks"] if size > 1_500_000 else [])


def nothing_of_this_machine(notebook: NotebookNode) -> list[str]:
    here = [str(PROJECT), str(Path.home()), tempfile.gettempdir()]
    found = []
    for cell in notebook.cells:
        texts = [cell.source, *(tools.text_of(output) for output in cell.get("outputs", []))]
        for text in texts:
            paths = [path for path in here if len(path) > 4 and path in text] or MACHINE_PATHS.findall(text)
            found += [f"{cell.id}: holds a path of a machine: {paths[0]}"] if paths else []
            found += [f"{cell.id}: holds {what}" for what, pattern in SECRETS.items() if pattern.search(text)]
    return found


def solutions_hold_their_prose(notebook: NotebookNode) -> list[str]:
    """What a solution says of its output, its code asserts, so that the sentence and the numbers cannot part.

    Where a number decides what is true, the code prints the sentence that the numbers choose.
    """
    return [
        f"solution {number} says what its code does not assert"
        for number, block in enumerate(tools.solutions(notebook), start=1)
        if re.search(r"\w", tools.FENCED.sub("", block.text)) and not _asserts(block.python)
    ]


def _asserts(blocks: list[str]) -> bool:
    trees = filter(None, map(tools.python_of, blocks))
    return any(isinstance(node, ast.Assert) for tree in trees for node in ast.walk(tree))


def printed_lines_fit_the_screen(notebook: NotebookNode) -> list[str]:
    """A longer line breaks in the middle of a word on a screen 1280 wide."""
    return [
        f"{cell.id}: prints {len(line)} characters, at most {WIDEST_OUTPUT}: {line}"
        for cell in tools.code_cells(notebook)
        for output in cell.outputs
        if output.output_type == "stream"
        for line in output.text.splitlines()
        if len(line) > WIDEST_OUTPUT
    ]


CONVENTIONS: list[Callable[[NotebookNode], list[str]]] = [
    title_and_promises,
    executed_in_one_clean_run,
    format_and_kernel,
    errors_are_on_purpose,
    every_cell_is_executed_by_nbval,
    cells_are_short,
    code_fits_the_screen,
    prose_before_code,
    nothing_banned,
    imports_and_versions_in_setup,
    recap_then_exercises,
    exercises_have_hint_and_solution,
    servers_are_stopped_when_the_reader_is_done,
    outputs_fit_a_page,
    printed_lines_fit_the_screen,
    solutions_hold_their_prose,
    nothing_of_this_machine,
]


@pytest.mark.parametrize("path", tools.NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.parametrize("convention", CONVENTIONS, ids=lambda convention: convention.__name__)
def test_notebooks_keep_to(convention, path):
    offences = convention(tools.read(path))
    assert not offences, f"{path.name}:\n  " + "\n  ".join(offences)


# The proof: one good notebook in which no convention finds anything, and for each offence the change that makes it.


KERNELSPEC = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
DETAILS = "<details><summary>{}</summary>\n\n{}\n\n</details>"
EXERCISES = "## Exercises\n\n" + DETAILS.format("Hint", "Look.") + DETAILS.format("Solution", "```python\n1\n```")
PROMISES = "**What you'll do:** try.\n\n**What you'll learn:** it.\n\n**What you'll need:** time."


def good_notebook() -> NotebookNode:
    """A notebook of five code cells that keeps to everything; the server's address is all that it shows."""
    md, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    cells = [
        md("# Try it\n\n" + PROMISES, id="title"),
        md("## Setup\n\nAll imports stand here.", id="setup"),
        code("import flask", id="imports"),
        md("These versions made the outputs below.", id="about-versions"),
        code("print(flask.__version__)", id="versions", metadata={"tags": ["nbval-ignore-output"]}),
        md("## Serve\n\nOne call starts the service.", id="about-server"),
        code("server = serve(app)", id="server"),
        md("The article's code fails, on purpose.", id="about-failure"),
        code("app.old()", id="failure", metadata={"tags": ["raises-exception"]}),
        md("Stop the server when you are done.", id="about-stop"),
        code("done = False\nif done:\n    server.stop()", id="stop"),
        md("## Recap\n\n- one\n- two", id="recap"),
        md(EXERCISES, id="exercises"),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNELSPEC})
    for count, cell in enumerate(tools.code_cells(notebook), start=1):
        cell.execution_count = count
    at(notebook, "server").outputs = [nbformat.v4.new_output("stream", text="http://127.0.0.1:5000\n")]
    at(notebook, "failure").outputs = [nbformat.v4.new_output("error", ename="AttributeError", evalue="old")]
    return notebook


def at(notebook: NotebookNode, name: str) -> NotebookNode:
    return next(cell for cell in notebook.cells if cell.id == name)


def edit(name: str, old: str, new: str) -> Callable[[NotebookNode], None]:
    """The change that replaces `old` by `new` in the source of the cell `name`."""

    def change(notebook: NotebookNode) -> None:
        cell = at(notebook, name)
        assert old in cell.source
        cell.source = cell.source.replace(old, new)

    return change


def set_source(name: str, source: str) -> Callable[[NotebookNode], None]:
    return lambda notebook: at(notebook, name).update(source=source)


def set_output(name: str, *outputs: NotebookNode) -> Callable[[NotebookNode], None]:
    def change(notebook: NotebookNode) -> None:
        at(notebook, name).outputs = list(outputs)

    return change


def printed(text: str, name: str = "stdout") -> NotebookNode:
    return nbformat.v4.new_output("stream", name=name, text=text)


def strip(notebook: NotebookNode) -> None:
    for cell in tools.code_cells(notebook):
        cell.execution_count, cell.outputs = None, []


def tag(name: str, *new: str) -> Callable[[NotebookNode], None]:
    return lambda notebook: at(notebook, name).metadata.update(tags=list(new))


def drop(name: str) -> Callable[[NotebookNode], None]:
    return lambda notebook: notebook.cells.remove(at(notebook, name))


OFFENCES = [
    (title_and_promises, edit("title", "# Try it", "Try it"), "no title"),
    (title_and_promises, edit("title", "What you'll need", "Needs"), "What you'll need"),
    (title_and_promises, edit("recap", "## Recap", "# Recap"), "more than one title"),
    (executed_in_one_clean_run, strip, "[None, None"),
    (executed_in_one_clean_run, lambda nb: at(nb, "stop").update(execution_count=17), "17"),
    (format_and_kernel, lambda nb: nb.update(nbformat_minor=4), "4.5"),
    (format_and_kernel, lambda nb: nb.metadata.kernelspec.update(name="my-venv"), "my-venv"),
    (format_and_kernel, lambda nb: at(nb, "stop").update(id="3f2a9c1d"), "3f2a9c1d"),
    (format_and_kernel, lambda nb: at(nb, "stop").update(id="server"), "twice"),
    (errors_are_on_purpose, tag("failure"), "without the tag"),
    (errors_are_on_purpose, set_output("failure"), "shows no error"),
    (errors_are_on_purpose, tag("failure", "raises-exception", "nbval-ignore-output"), "nobody would notice"),
    (every_cell_is_executed_by_nbval, tag("stop", "nbval-skip"), "takes itself out"),
    (every_cell_is_executed_by_nbval, edit("stop", "server.stop()", "# NBVAL_IGNORE_OUTPUT"), "takes itself out"),
    (every_cell_is_executed_by_nbval, set_source("stop", ""), "is empty"),
    (cells_are_short, set_source("stop", "pass\n" * 21), "21 lines"),
    (code_fits_the_screen, edit("stop", "server.stop()", f"server.stop()  # {'x' * 80}"), "101 characters"),
    (code_fits_the_screen, edit("recap", "## Recap", f"## Recap\n\n```\n{'x' * 101}\n```\n"), "101 characters"),
    (prose_before_code, drop("about-stop"), "stop: no sentence"),
    (prose_before_code, edit("about-server", "\n\nOne call starts the service.", ""), "server: no sentence"),
    (nothing_banned, edit("stop", "server", "import sys; sys.path.append('..')"), "sys.path"),
    (nothing_banned, edit("stop", "server.stop()", "time.sleep(1)"), "time.sleep"),
    (nothing_banned, edit("stop", "server.stop()", "%%writefile app.py"), "%%writefile"),
    (nothing_banned, edit("stop", "server.stop()", "!curl 127.0.0.1"), "!curl"),
    (imports_and_versions_in_setup, edit("setup", "## Setup", "## Start"), "no section"),
    (imports_and_versions_in_setup, tag("versions"), "prints the versions"),
    (imports_and_versions_in_setup, set_source("stop", "import os\nserver.stop()"), "stop: imports"),
    (recap_then_exercises, drop("recap"), "Recap, then Exercises"),
    (recap_then_exercises, edit("recap", "- one\n- two", "one and two"), "no bullets"),
    (exercises_have_hint_and_solution, edit("exercises", "Hint", "Answer"), "0 hints"),
    (exercises_have_hint_and_solution, edit("exercises", "```python\n1", "```python\nif"), "solution 1"),
    (exercises_have_hint_and_solution, edit("exercises", "</summary>\n\n", "</summary>\n"), "no empty line"),
    (servers_are_stopped_when_the_reader_is_done, edit("stop", "server.stop()", "print()"), "does not stop 'server'"),
    (servers_are_stopped_when_the_reader_is_done, edit("stop", "= False", "= True"), "does not stop 'server'"),
    (servers_are_stopped_when_the_reader_is_done, set_source("stop", "server.stop()"), "Run All stops"),
    (servers_are_stopped_when_the_reader_is_done, set_source("versions", "server.stop()"), "versions: Run All stops"),
    (outputs_fit_a_page, set_output("stop", printed("Warning: deprecated\n", "stderr")), "stderr"),
    (outputs_fit_a_page, set_output("stop", printed("line\n" * 61)), "61 lines"),
    (outputs_fit_a_page, set_output("stop", printed("x" * 1_600_000)), "bytes"),
    (printed_lines_fit_the_screen, set_output("stop", printed("x" * 108 + "\n")), "108 characters"),
    (
        solutions_hold_their_prose,
        edit("exercises", "```python\n1\n```", "```python\n1\n```\n\nIt is more."),
        "solution 1",
    ),
    (nothing_of_this_machine, set_output("stop", printed(f"saved in {PROJECT}/models\n")), "path of a machine"),
    (nothing_of_this_machine, set_output("stop", printed("/home/alice/project\n")), "path of a machine"),
    (nothing_of_this_machine, set_output("stop", printed("AKIA" + "Q" * 16)), "an AWS access key"),
    (nothing_of_this_machine, edit("stop", "server", "# http://localhost:8888/lab?token=" + "0a" * 12), "a token"),
]


@pytest.mark.parametrize("convention", CONVENTIONS, ids=lambda convention: convention.__name__)
def test_a_good_notebook_passes(convention):
    assert convention(good_notebook()) == []


@pytest.mark.parametrize(
    ("convention", "change", "message"),
    OFFENCES,
    ids=lambda value: getattr(value, "__name__", None) if not isinstance(value, str) else value,
)
def test_an_offence_is_found(convention, change, message):
    notebook = copy.deepcopy(good_notebook())
    change(notebook)
    assert any(message in offence for offence in convention(notebook)), convention(notebook)


def test_every_convention_is_shown_to_find_its_offence():
    assert {convention for convention, _, _ in OFFENCES} == set(CONVENTIONS)


# Around the notebooks: their names, the links between the pages, ruff.


def test_there_are_notebooks_and_each_has_a_number_of_its_own():
    names = [path.name for path in tools.NOTEBOOKS]
    assert names[0].startswith("00_"), "no first notebook found"
    assert [name for name in names if not FILE_NAME.match(name)] == []
    assert len({name[:2] for name in names}) == len(names)


PAGES = [*sorted(PROJECT.glob("*.md")), *sorted(PROJECT.glob("data/*.md")), *tools.NOTEBOOKS]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_and_pictures_lead_somewhere(path):
    text = tools.markdown(tools.read(path)) if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")
    assert tools.dead_links(path, text) == []


def test_a_dead_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    (tmp_path / "there is.md").write_text("## One Heading, *two* `words`\n")
    page.write_text(
        "[a](there%20is.md) [b](there%20is.md#one-heading-two-words) <img src='gone.png'>\n"
        "[c](there%20is.md#no-such) ![d](missing.png) `[e](shown-as-code.md)` [f](https://example.org/)\n"
        "```\n[g](in-a-block.md)\n```\n[h](/absolute.md)\n"
    )
    dead = ["there%20is.md#no-such", "missing.png", "/absolute.md", "gone.png"]
    assert tools.dead_links(page, page.read_text()) == dead


def test_each_notebook_leads_to_the_next_and_the_readme_to_all():
    readme = tools.links((PROJECT / "README.md").read_text(encoding="utf-8"))
    for path, following in zip(tools.NOTEBOOKS, tools.NOTEBOOKS[1:], strict=False):
        end = [cell.source for cell in tools.read(path).cells if cell.cell_type == "markdown"][-1]
        assert following.name in tools.links(end), f"{path.name} does not end with a link to {following.name}"
    assert [path.name for path in tools.NOTEBOOKS if f"notebooks/{path.name}" not in readme] == []


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]], ids=["lint", "format"])
def test_ruff_finds_nothing_in_code_and_notebooks(arguments):
    ruff = [sys.executable, "-m", "ruff", *arguments, "--no-cache", "helpers", "tests", "notebooks", "tutorial.py"]
    done = subprocess.run(ruff, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
