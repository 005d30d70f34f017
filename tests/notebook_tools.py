"""Reading, copying and running the notebooks: what the notebook, solution and browser tests share.

In: paths of `.ipynb` files. Out: cells, links and solutions as plain values, and a kernel whose cells run one by one.
"""

import ast
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from helpers import PROJECT

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))

ANSI = re.compile(r"\x1b\[[0-9;]*m")
FENCED = re.compile(r"^(```|~~~).*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
HTML_LINK = re.compile(r"""<(?:a|img|iframe)\b[^>]*?\b(?:href|src)=["']([^"']+)["']""", re.IGNORECASE)
DETAILS = re.compile(r"<details>\s*<summary>(.*?)</summary>(.*?)</details>", re.DOTALL | re.IGNORECASE)
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$", re.MULTILINE)


def read(path: Path) -> NotebookNode:
    """The notebook at `path`, in format 4 and otherwise as it is committed."""
    return nbformat.read(path, as_version=4)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def markdown(notebook: NotebookNode) -> str:
    """Every markdown cell, one after the other."""
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def text_of(output: NotebookNode) -> str:
    """All text in one output: what a stream, an error or any textual representation of a result says."""
    if output.output_type == "stream":
        return output.text
    if output.output_type == "error":
        return ANSI.sub("", "\n".join([output.ename, output.evalue, *output.traceback]))
    return "\n".join(str(value) for kind, value in output.data.items() if not kind.startswith("image/png"))


def all_text(path: Path) -> str:
    """All text in the committed outputs of the notebook at `path`."""
    return "\n".join(text_of(output) for cell in code_cells(read(path)) for output in cell.outputs)


def headings(text: str) -> list[tuple[int, str]]:
    """(level, title) of each Markdown heading outside of code blocks."""
    return [(len(marks), title) for marks, title in HEADING.findall(FENCED.sub("", text))]


def section(notebook: NotebookNode, title: str) -> list[NotebookNode]:
    """The cells from the heading `title` to the next one of its level or a higher one; [] without such a heading."""
    found, level = [], 0
    for cell in notebook.cells:
        here = headings(cell.source) if cell.cell_type == "markdown" else []
        if level and any(depth <= level for depth, _ in here):
            break
        for depth, name in here:
            if name.lower() == title.lower():
                level = depth
        if level:
            found.append(cell)
    return found


@dataclass(frozen=True)
class Folded:
    """One <details> block: its summary ("Hint", "Solution"), its text and the Python in it."""

    summary: str
    text: str

    @property
    def python(self) -> list[str]:
        return PYTHON_BLOCK.findall(self.text)


def folded(notebook: NotebookNode) -> list[Folded]:
    """Each <details> block of the notebook's prose, in order."""
    return [Folded(re.sub(r"<.*?>|[*`]", "", head).strip(), body) for head, body in DETAILS.findall(markdown(notebook))]


def solutions(notebook: NotebookNode) -> list[Folded]:
    return [block for block in folded(notebook) if block.summary.lower().startswith("solution")]


def links(text: str) -> list[str]:
    """Targets of the links and pictures of a Markdown text, in Markdown or HTML, without those shown as code."""
    prose = re.sub(r"`[^`\n]*`", "", FENCED.sub("", text))
    return LINK.findall(prose) + HTML_LINK.findall(prose)


def anchor(title: str) -> str:
    """The fragment that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", re.sub(r"[*`]", "", title).lower()).strip().replace(" ", "-")


def anchors(path: Path) -> set[str]:
    text = markdown(read(path)) if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")
    return {anchor(title) for _, title in headings(text)} | set(re.findall(r"""<a\s+(?:id|name)=["']([^"']+)""", text))


def dead_links(path: Path, text: str) -> list[str]:
    """Links of `text`, standing in the file `path`, to a file, folder or heading that is not there."""
    dead = []
    for link in links(text):
        url = urlparse(link)
        if url.scheme in ("http", "https", "mailto"):
            continue
        target = path.parent / unquote(url.path) if url.path else path
        if url.scheme or not target.exists():
            dead.append(link)
        elif url.fragment and url.fragment.lower() not in {a.lower() for a in anchors(target)}:
            dead.append(link)
    return dead


def python_of(source: str) -> ast.Module | None:
    """The syntax tree of a cell, or None where it is not plain Python."""
    try:
        return ast.parse(source)
    except SyntaxError:
        return None


def shorten_loads(notebook: NotebookNode) -> None:
    """Each load of a service takes a tenth of a second: for a copy that is not asked how much the service bears."""
    for cell in code_cells(notebook):
        cell.source = re.sub(r"\bseconds=0\.\d+", "seconds=0.1", cell.source)


def copy_project(target: Path) -> Path:
    """What the notebooks need, copied to `target` as a fresh clone would hold it: no models, no build, no downloads."""
    target.mkdir(parents=True, exist_ok=True)
    clutter = shutil.ignore_patterns(".ruff_cache", ".ipynb_checkpoints", "article.csv*")
    for name in ("notebooks", "helpers", "data", "tests/data/old_models"):
        shutil.copytree(PROJECT / name, target / name, ignore=clutter)
    for name in ("pyproject.toml", "requirements.lock", "README.md"):
        shutil.copy(PROJECT / name, target / name)
    return target


def environment_in(project: Path, **more: str) -> dict[str, str]:
    """Environment variables under which `import helpers` means the copy in `project`, whatever is installed."""
    return {**os.environ, "PYTHONPATH": str(project), "TF_CPP_MIN_LOG_LEVEL": "3", **more}


class Kernel:
    """A notebook in a kernel of its own, started fresh; to be used in `with`. Cells run when they are asked for."""

    def __init__(self, path: Path, **environment: str):
        self.notebook = read(path)
        project = path.parent.parent
        self._client = NotebookClient(
            self.notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
        )
        self._context = self._client.setup_kernel(env=environment_in(project, **environment))

    def __enter__(self) -> "Kernel":
        self._context.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._context.__exit__(*error)

    @property
    def pid(self) -> int:
        return self._client.km.provisioner.pid

    def run_cell(self, cell: NotebookNode) -> list[NotebookNode]:
        """Executes a cell of the notebook; an error that its tags do not allow raises nbclient's CellExecutionError."""
        return self._client.execute_cell(cell, self.notebook.cells.index(cell)).outputs

    def run(self, source: str) -> str:
        """Executes `source` in the state that the cells have left, and returns all the text it put out."""
        cell = nbformat.v4.new_code_cell(source)
        return "".join(text_of(output) for output in self._client.execute_cell(cell, 0).outputs)


def when_done(cell: NotebookNode) -> str:
    """The source of a notebook's last cell as a reader runs it who is done: it stops the notebook's servers."""
    return re.sub(r"^done = False", "done = True", cell.source)


def servers_stopped(cell: NotebookNode, when_done: bool = False) -> set[str]:
    """Names of the servers that a cell stops in Run All, or else, once the reader has written `done = True`."""
    tree = python_of(cell.source) if cell.cell_type == "code" else None
    statements = list(tree.body) if tree else []
    if when_done:
        asks = bool(statements) and ast.unparse(statements[0]) == "done = False"
        ifs = [each for each in statements if isinstance(each, ast.If) and ast.unparse(each.test).startswith("done")]
        statements = [line for each in ifs for line in each.body] if asks else []
    said = "\n".join(ast.unparse(each) for each in statements if isinstance(each, ast.Expr))
    return {a or b for a, b in re.findall(r"^(?:(\w+)\.stop\(|stop\((\w+)\))", said, re.MULTILINE)}


def servers_started(cell: NotebookNode) -> set[str]:
    """Names of the servers that a cell starts and leaves running. (`with serve(...)` stops by itself.)"""
    tree = python_of(cell.source) if cell.cell_type == "code" else None
    statements, names = list(tree.body) if tree else [], set()
    while statements:
        statement = statements.pop()
        if isinstance(statement, ast.If | ast.Try | ast.With):
            statements += [*statement.body, *getattr(statement, "orelse", [])]
        elif isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call):
            called = statement.value.func
            if isinstance(called, ast.Name) and called.id in ("serve", "start", "make_server", "Traffic"):
                names.update(target.id for target in statement.targets)
    return names
