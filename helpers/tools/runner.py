"""Executes the notebooks: with a progress bar, with other parameters, in place, as HTML.

A notebook comes in as a file and is run in a fresh kernel from its own folder; what goes out is the executed
notebook, also when a cell fails.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from tqdm import tqdm

from helpers import PROJECT

NOTEBOOKS = PROJECT / "notebooks"
CELL_TIMEOUT = 600  # seconds
ANSI = re.compile(r"\x1b\[[0-9;]*m")


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
    temporary = path.with_name(f".{path.name}.part")  # a name that nobody else gives
    temporary.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8", newline="\n")
    temporary.replace(path)


def set_parameters(notebook: NotebookNode, values: dict) -> None:
    """Put `values` after the cell tagged `parameters` (papermill's convention), those that the cell names."""
    import logging

    from papermill.parameterize import parameterize_notebook

    logging.getLogger("papermill").setLevel(logging.ERROR)
    source = next((c.source for c in notebook.cells if "parameters" in c.metadata.get("tags", [])), "")
    known = {name: value for name, value in values.items() if re.search(rf"^{name}\b", source, re.MULTILINE)}
    if known:
        for cell in notebook.cells:
            cell.metadata.setdefault("tags", [])
        notebook.metadata.setdefault("papermill", {})
        notebook.cells = parameterize_notebook(notebook, known).cells


def execute(notebook: NotebookNode, name: str, progress: tqdm | None = None) -> None:
    """Run every cell of `notebook` in a fresh kernel; the outputs land in `notebook`.

    Raises `NotebookFailed` at the first cell that fails without being tagged `raises-exception`.
    """
    code_cells = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code" and cell.source.strip()]

    def started(cell, cell_index):
        if progress is not None and cell_index in code_cells:
            progress.set_description_str(f"{name}, cell {code_cells.index(cell_index) + 1} of {len(code_cells)}")

    def finished(cell, cell_index):
        if progress is not None and cell_index in code_cells:
            progress.update()

    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(NOTEBOOKS)}},
        record_timing=False,
        store_widget_state=False,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # no warning about unencrypted TCP within this machine
        on_cell_start=started,
        on_cell_complete=finished,
    )
    try:
        client.execute()
    except CellExecutionError as error:
        sentence = ANSI.sub("", error.evalue) or error.ename
        raise NotebookFailed(f"{name}: a cell failed with {error.ename}: {sentence}") from None


def code_cell_count(notebook: NotebookNode) -> int:
    return sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in notebook.cells)


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
    with tqdm(total=sum(map(code_cell_count, notebooks.values())), unit="cell") as progress:
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
            write(notebook, path)
            if picture := cover(notebook):
                (path.parent / "images").mkdir(exist_ok=True)
                (path.parent / "images" / f"{path.stem}.png").write_bytes(picture)


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
