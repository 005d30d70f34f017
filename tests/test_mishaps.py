"""What can go wrong on a reader's machine, produced for real in the notebooks' own cells: each ends in a sentence.

A taken port, no network, a package that is missing, a folder that cannot be written.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import notebook_tools as tools
import pytest
from nbclient.exceptions import CellExecutionError


@pytest.fixture
def project(tmp_path) -> Path:
    return tools.copy_project(tmp_path / "tutorial")


def notebook(project: Path, number: str) -> Path:
    return next((project / "notebooks").glob(f"{number}_*.ipynb"))


def run_cells(kernel: tools.Kernel, *ids: str) -> str:
    """Executes cells of the notebook by their ids; returns what they put out."""
    cells = {cell.id: cell for cell in kernel.notebook.cells}
    return "".join(tools.text_of(output) for name in ids for output in kernel.run_cell(cells[name]))


def run_until(kernel: tools.Kernel, last: str) -> None:
    """Executes the notebook's cells from the first to the one with the id `last`."""
    for cell in tools.code_cells(kernel.notebook):
        kernel.run_cell(cell)
        if cell.id == last:
            return


def last_line(failure: pytest.ExceptionInfo) -> str:
    """What stands at the end of the traceback that the reader sees: the kind of the error and its sentence."""
    return tools.ANSI.sub("", f"{failure.value.ename}: {failure.value.evalue}")


@pytest.mark.slow
def test_a_taken_port_is_replaced_and_said(project):
    with socket.socket() as other_program:
        if sys.platform != "win32":
            other_program.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for _ in range(600):  # another test's notebook may have it for a minute; what has it longer is as good as this
            try:
                other_program.bind(("127.0.0.1", 5000))
                other_program.listen()
                break
            except OSError:
                time.sleep(0.2)
        with tools.Kernel(notebook(project, "01")) as kernel:
            said = run_cells(kernel, "imports", "server")
            assert re.search(r"Port 5000 is taken by .*: serving on (\d+) instead\.\nhttp://127\.0\.0\.1:\1\n", said), (
                said
            )
            kernel.run("assert requests.get(f'{server.url}/predict?msg=Hi', timeout=5).json()['response'] == 'Hi'")
            kernel.run("server.stop()")


@pytest.mark.slow
def test_without_the_network_the_articles_data_are_not_to_be_had(project):
    nowhere = "http://127.0.0.1:9"
    path = notebook(project, "02")
    with tools.Kernel(path, https_proxy=nowhere, HTTPS_PROXY=nowhere, no_proxy="") as kernel:
        # without TensorFlow's seconds to import
        kernel.run("from helpers import PROJECT\nfrom helpers.data.games import load_table")
        run_cells(kernel, "parameters")
        kernel.run("DATA = 'article'")
        with pytest.raises(CellExecutionError) as failure:
            run_cells(kernel, "load")
    assert re.match(
        r"DataError: https://\S+ cannot be reached .*check the network, or use the sample", last_line(failure)
    )
    assert [entry.name for entry in (project / "data").glob("*article*")] == []


@pytest.mark.notebooks
def test_without_onnx_runtime_the_service_names_the_package(project, exported, tmp_path):
    shutil.copytree(exported, project / "models" / "games")
    missing = tmp_path / "missing"
    missing.mkdir()
    (missing / "onnxruntime.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'onnxruntime'\", name='onnxruntime')\n"
    )
    search = os.pathsep.join([str(missing), str(project)])
    with tools.Kernel(notebook(project, "09"), PYTHONPATH=search) as kernel:
        with pytest.raises(CellExecutionError) as failure:
            run_until(kernel, "server")
    assert re.match(r"PredictorError: .*'onnx'.*pip install onnxruntime", last_line(failure)), last_line(failure)


@pytest.fixture
def read_only(tmp_path) -> Path:
    """A folder in which nothing can be made, not even by the superuser, as whom CI may run."""
    if sys.platform == "linux":
        return Path("/proc")
    folder = tmp_path / "read-only"
    folder.mkdir()
    folder.chmod(0o500)
    return folder


@pytest.mark.notebooks
def test_a_folder_that_cannot_be_written_is_named(project, exported, read_only):
    shutil.copytree(exported, project / "models" / "games")
    with tools.Kernel(notebook(project, "03")) as kernel:
        run_until(kernel, "load")
        kernel.run(f"MODEL = {str(read_only / 'games')!r}")
        with pytest.raises(CellExecutionError) as failure:
            run_cells(kernel, "export")
    assert re.match(
        r"ArtifactError: the model cannot be written to games/.*make (the folder|.*/) writable", last_line(failure)
    ), last_line(failure)


@pytest.mark.parametrize("number", ["02", "03", "04", "05", "07", "08", "09", "10"])
def test_the_models_folder_is_the_project_s_own_wherever_the_kernel_was_started(project, number, tmp_path):
    """As papermill starts it in the folder in which it was typed, and VS Code in the one that it has opened."""
    notebook_ = tools.read(notebook(project, number))
    cells = {cell.id: cell.source for cell in notebook_.cells}
    imports = "from helpers import PROJECT"
    assert imports in "".join(cells.values())
    code = f"{imports}\nOPTIONS = None\n{cells['parameters']}\nprint(MODEL)"
    command = [sys.executable, "-c", code]
    how = {"cwd": tmp_path, "env": tools.environment_in(project), "capture_output": True, "text": True}
    done = subprocess.run(command, check=True, **how)
    assert Path(done.stdout.strip()) == project / "models" / "games"
