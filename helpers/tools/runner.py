"""Executes the notebooks: with a progress bar, with other parameters, in place, side by side.

A notebook comes in as a file and is run in a fresh kernel from its own folder; what goes out is the executed
notebook, also when a cell fails.
"""

from __future__ import annotations

import asyncio
import atexit
import base64
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO
from urllib.parse import urlencode

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode
from tqdm import tqdm

from helpers import PROJECT
from helpers.whole_file import becoming

NOTEBOOKS = PROJECT / "notebooks"
CELL_TIMEOUT = 600  # seconds
KERNELS = 2  # at work at the same time: a third would want a third core, and 1 GB more for TensorFlow
TAKES_UP = {  # whose files a notebook takes up; one that is not named here waits for all before it
    "00_start-here": (),
    "01_echo-with-flask": (),
    "02_train-with-auc-curves": (),
    "03_export-the-model": ("02_train-with-auc-curves",),
    "04_serve-predictions": ("03_export-the-model",),
    "05_run-on-ec2": ("03_export-the-model",),
    "06_serve-your-own-model": (),
    "07_scale-out": ("03_export-the-model",),
    "08_score-in-batches": ("03_export-the-model",),
    "09_watch-it": ("03_export-the-model",),
    "10_replace-it": ("03_export-the-model",),
    "11_train-faster": (),
}
SAMPLE_ONLY = re.compile(r'<span class="sample">(.*?)</span>(?:<!--other: (.*?)-->)?', re.DOTALL)
SAMPLE_MODEL = re.compile(r"(--model |models/)games\b")
SAMPLE_ADDRESS = "g1=1&g2=0&g3=0&g4=0&g5=0&g6=0&g7=0&g8=0&g9=0&g10=0"
SAMPLE_BODY = '{"g1": 1, "g2": 0, ...}'
ANSI = re.compile(r"\x1b\[[0-9;]*m")
WIDGET = "application/vnd.jupyter.widget-view+json"
ON_THE_USUAL_PORT = re.compile(r"(?<!def )\bserve\((?!.*\bport=)")


class NotebookFailed(RuntimeError):
    """A cell failed; the message names notebook and cell and repeats the error's own sentence."""


def notebook_paths() -> list[Path]:
    """The notebooks of the route in reading order."""
    return sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with becoming(path) as part:
        part.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8", newline="\n")


def set_parameters(notebook: NotebookNode, values: dict) -> None:
    """Put `values` after the cell tagged `parameters` (papermill's convention), those that the cell names.

    values: plain ones, as JSON has them. Papermill would write any other as a text, `"('a', 'b')"` for a tuple.
    """
    import logging

    from papermill.parameterize import parameterize_notebook

    logging.getLogger("papermill").setLevel(logging.ERROR)
    source = next((c.source for c in notebook.cells if "parameters" in c.metadata.get("tags", [])), "")
    plain = json.loads(json.dumps(values))
    known = {name: value for name, value in plain.items() if re.search(rf"^{name}\b", source, re.MULTILINE)}
    if known:
        for cell in notebook.cells:
            cell.metadata.setdefault("tags", [])
        notebook.metadata.setdefault("papermill", {})
        notebook.cells = parameterize_notebook(notebook, known).cells


def speak_of(notebook: NotebookNode, sample: bool, model: str = "NAME", request: dict | None = None) -> None:
    """Let the text speak of the sample or of another table.

    What holds for the sample only stands in `<span class="sample">...</span>`, and after it, where there is something
    to say instead, in `<!--other: ...-->`. A reader of the notebook sees neither mark. Command lines that name the
    sample's model, or its request, name instead what `model` is called, and the `request` to it.
    """
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = SAMPLE_ONLY.sub(lambda found: found[1] if sample else found[2] or "", cell.source)
            if not sample:
                cell.source = _of_another_model(cell.source, model, request or {"NAME": "VALUE"})


def _of_another_model(text: str, model: str, request: dict) -> str:
    """A text with the command lines of the sample's model turned into those of another."""
    first = dict(list(request.items())[:2])
    body = json.dumps(first, ensure_ascii=False)[:-1] + (", ...}" if len(request) > len(first) else "}")
    text = SAMPLE_MODEL.sub(lambda found: found[1] + model, text)
    text = text.replace(SAMPLE_ADDRESS, urlencode({name: "" if v is None else v for name, v in request.items()}))
    return text.replace(SAMPLE_BODY, body.replace("'", r"'\''"))


class Progress:
    """A bar over the code cells of all `notebooks`, which says where each of those at work is."""

    def __init__(self, notebooks: dict[str, NotebookNode]):
        self._cells = {name: code_cells(notebook) for name, notebook in notebooks.items()}
        self._at_work: dict[str, str] = {}
        total = sum(map(len, self._cells.values()))
        self._bar = tqdm(total=total, unit="cell", bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}]")

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def cell_started(self, name: str, index: int) -> None:
        """The cell at `index` of the notebook `name` has been sent to its kernel."""
        if index in self._cells[name]:
            self._at_work[name] = f"cell {self._cells[name].index(index) + 1} of {len(self._cells[name])}"
            self._bar.set_description_str("; ".join(f"{name}, {cell}" for name, cell in self._at_work.items()))

    def cell_finished(self, name: str, index: int) -> None:
        if index in self._cells[name]:
            self._bar.update()
            if index == self._cells[name][-1]:
                del self._at_work[name]


def execute(notebook: NotebookNode, name: str, progress: Progress | None = None) -> None:
    """Run every cell of `notebook` in a fresh kernel; the outputs land in `notebook`.

    Raises `NotebookFailed` at the first cell that fails without being tagged `raises-exception`.
    """
    execute_all({name: notebook}, None, lambda name: None, progress)


def execute_all(
    notebooks: dict[str, NotebookNode],
    folder: Path | None,
    executed: Callable[[str], None],
    progress: Progress | None = None,
) -> None:
    """Run `notebooks`, `KERNELS` of them at a time, each after those whose files it takes up.

    The services of the notebooks want the same port, so of those that serve on it one is at work at a time. Where
    there is a choice, the notebook with the longest chain of others after it goes first. Each is written to `folder`,
    where one is named, as soon as it has run, also when a cell failed; `executed(name)` is called in a thread while the
    next one runs.
    Raises `NotebookFailed` for the first that fails; those still at work are stopped.
    """
    task = Future()

    async def work():
        task.set_result((asyncio.get_running_loop(), asyncio.current_task()))
        await _execute_all(notebooks, folder, executed, progress)

    with ThreadPoolExecutor(1) as aside:  # in the main thread nbclient takes Ctrl-C, and ends one kernel only
        try:
            aside.submit(asyncio.run, work()).result()
        except KeyboardInterrupt:
            loop, running = task.result()
            loop.call_soon_threadsafe(running.cancel)
            raise


async def _execute_all(
    notebooks: dict[str, NotebookNode], folder: Path | None, executed: Callable[[str], None], progress: Progress | None
) -> None:
    before = predecessors(list(notebooks))
    waiting = sorted(notebooks, key=lambda name: -chain_length(name, before))
    serving = {name for name, notebook in notebooks.items() if serves_on_the_usual_port(notebook)}
    at_work: dict[asyncio.Task, str] = {}
    started = {name: asyncio.Event() for name in notebooks}  # its kernel, or it has ended
    done: set[str] = set()
    pages: list[asyncio.Future] = []

    async def execute_and_write(name: str) -> None:
        client = _client(notebooks[name], name, progress, started[name].set)
        try:
            with TemporaryFile() as said, _failure_named(name, said):
                await client.async_execute(stderr=said)
        finally:
            atexit.unregister(client._cleanup_kernel)  # which nbclient leaves there for a kernel that did not start
            started[name].set()
            if folder:
                write(notebooks[name], folder / f"{name}.ipynb")

    def may_start(name: str) -> bool:
        return before[name] <= done and not (name in serving and serving & set(at_work.values()))

    try:
        while waiting or at_work:
            while len(at_work) < KERNELS and (name := next(filter(may_start, waiting), None)):
                waiting.remove(name)
                at_work[asyncio.create_task(execute_and_write(name))] = name
            finished, _ = await asyncio.wait(at_work, return_when=asyncio.FIRST_COMPLETED)
            for task in finished:
                await task  # raises what it has raised
                name = at_work.pop(task)
                done.add(name)
                pages.append(asyncio.ensure_future(asyncio.to_thread(executed, name)))
        await asyncio.gather(*pages)
    finally:
        if at_work:  # nbclient's watch over a kernel complains when it is stopped; nobody waits for that task
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        # A kernel that is ended while it starts leaves a stack trace, and another when nbclient clears up after it.
        await asyncio.gather(*(started[name].wait() for name in at_work.values()))
        for task in at_work:
            task.cancel()
        await asyncio.gather(*at_work, *pages, return_exceptions=True)


def predecessors(names: list[str]) -> dict[str, set[str]]:
    """{notebook: those of `names` that must have run before it}; names in reading order."""
    return {name: set(TAKES_UP.get(name, names[:place])) & set(names) for place, name in enumerate(names)}


def chain_length(name: str, before: dict[str, set[str]]) -> int:
    """How many notebooks at most run one after the other from `name` on, itself included."""
    return 1 + max((chain_length(other, before) for other in before if name in before[other]), default=0)


def serves_on_the_usual_port(notebook: NotebookNode) -> bool:
    """Whether a cell calls `serve` without naming another port."""
    return any(ON_THE_USUAL_PORT.search(notebook.cells[index].source) for index in code_cells(notebook))


def _client(
    notebook: NotebookNode, name: str, progress: Progress | None, started: Callable[[], None] = lambda: None
) -> NotebookClient:
    """What runs the cells of `notebook`, and tells `progress` of each; `started()` is called once its kernel is."""
    hooks = {"on_notebook_start": lambda notebook: started()}
    if progress is not None:
        hooks["on_cell_start"] = lambda cell, cell_index: progress.cell_started(name, cell_index)
        hooks["on_cell_complete"] = lambda cell, cell_index: progress.cell_finished(name, cell_index)
    return NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(NOTEBOOKS)}},
        record_timing=False,
        store_widget_state=False,
        # no warning about unencrypted TCP within this machine, no traceback of a kernel that is stopped in a cell
        extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
        **hooks,
    )


@contextmanager
def _failure_named(name: str, said: IO[bytes]) -> Iterator[None]:
    """What ends the execution of the notebook `name` becomes `NotebookFailed`.

    said: what its kernel wrote to its own standard error: why it cannot start, or a trace of its being ended.
    """
    try:
        yield
    except CellExecutionError as error:
        sentence = ANSI.sub("", error.evalue) or error.ename
        raise NotebookFailed(f"{name}: a cell failed with {error.ename}: {sentence}") from None
    except DeadKernelError:
        raise NotebookFailed(f"{name}: its kernel ended while a cell ran: free some memory, then try again") from None
    except RuntimeError as error:  # as nbclient tells of a kernel that did not start
        said.seek(0)
        lines = said.read().decode(errors="replace").split("\n")
        reason = next((line.strip() for line in reversed(lines) if line.strip()), str(error))
        raise NotebookFailed(f"{name}: its kernel did not start ({reason}): mend that, then try again") from None


def code_cells(notebook: NotebookNode) -> list[int]:
    """Where the cells stand that have code in them."""
    return [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code" and cell.source.strip()]


def cover(notebook: NotebookNode) -> bytes | None:
    """The figure that stands for a notebook, a PNG: that of the cell tagged `cover`, or else its last one."""
    pictures = [
        ("cover" in cell.metadata.get("tags", []), output.data["image/png"])
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    chosen = [picture for tagged, picture in pictures if tagged] or [picture for _, picture in pictures]
    return base64.b64decode(chosen[-1]) if chosen else None


def renew(paths: list[Path]) -> None:
    """Execute notebooks in place: outputs of one clean run, execution counts 1..N, metadata that stays the same.

    The figure that stands for each is also kept in `notebooks/images/`, where the README shows it.
    """
    notebooks = {path: read(path) for path in paths}
    with Progress({path.stem: notebook for path, notebook in notebooks.items()}) as progress:
        for path, notebook in notebooks.items():
            execute(notebook, path.stem, progress)
            notebook.metadata = NotebookNode(
                kernelspec={"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
                language_info={"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
            )
            for cell in notebook.cells:
                tags = cell.metadata.get("tags")
                cell.metadata = NotebookNode(tags=tags) if tags else NotebookNode()
                join_streams(cell)
                tell_of_widgets(cell)
            write(notebook, path)
            if picture := cover(notebook):
                (path.parent / "images").mkdir(exist_ok=True)
                (path.parent / "images" / f"{path.stem}.png").write_bytes(picture)


def tell_of_widgets(cell: NotebookNode) -> None:
    """Put a sentence in the place of each widget: it lives in its kernel, and its text is that of a constructor."""
    for output in cell.get("outputs", []):
        if WIDGET in output.get("data", {}):
            output.data = NotebookNode({"text/plain": "(Controls appear here while the notebook runs.)"})


def join_streams(cell: NotebookNode) -> None:
    """Join consecutive pieces of one stream: where the kernel cuts them is chance, and shows in differences."""
    joined = []
    for output in cell.get("outputs", []):
        last = joined[-1] if joined else None
        if last and output.output_type == "stream" == last.output_type and output.name == last.name:
            last.text += output.text
        else:
            joined.append(output)
    if "outputs" in cell:
        cell.outputs = joined
