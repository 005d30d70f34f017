"""Notebooks are executed with other parameters, in place, and as pages; a failing cell is named."""

import re
import subprocess
import sys

import nbformat
import pytest

from helpers.tools import checkout, report, runner
from helpers.tools.runner import NotebookFailed

DRAW = "import matplotlib.pyplot as plt\nplt.plot([{}])\nplt.show()"


def write_notebook(path, *sources, tags=()):
    cells = [
        nbformat.v4.new_markdown_cell("# Try *this*\n\n**What you'll do:** add [two](02_b.ipynb) numbers.\n\nMore.")
    ]
    cells += [nbformat.v4.new_code_cell(source, metadata={"execution": {"x": "y"}}) for source in sources]
    for index, tag in tags:
        cells[index + 1].metadata["tags"] = [tag]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    return path


def text_of(notebook) -> str:
    return "".join(o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", []))


def test_parameters_replace_those_that_the_tagged_cell_names(tmp_path):
    sources = ('DATA = "sample"\nEPOCHS = 3', "print(DATA, EPOCHS, 'LABEL' in globals())")
    notebook = runner.read(write_notebook(tmp_path / "01_a.ipynb", *sources, tags=[(0, "parameters")]))
    runner.set_parameters(notebook, {"DATA": "mine.csv", "LABEL": "churned"})
    runner.execute(notebook, "01_a")
    assert text_of(notebook) == "mine.csv 3 False\n"


def test_a_notebook_without_such_a_cell_stays_as_it_is(tmp_path):
    notebook = runner.read(write_notebook(tmp_path / "01_a.ipynb", "print(1)"))
    before = nbformat.writes(notebook)
    runner.set_parameters(notebook, {"DATA": "mine.csv"})
    assert nbformat.writes(notebook) == before


def test_a_failing_cell_is_named_and_what_ran_before_it_is_kept(tmp_path):
    notebook = runner.read(write_notebook(tmp_path / "01_a.ipynb", "print('so far')", "int('five')", "print('never')"))
    with pytest.raises(NotebookFailed, match=r"01_a: a cell failed with ValueError: .*'five'"):
        runner.execute(notebook, "01_a")
    assert text_of(notebook) == "so far\n"


def test_renewing_twice_gives_the_same_bytes(tmp_path):
    path = write_notebook(
        tmp_path / "01_a.ipynb", "print('a')\nprint('b', flush=True)\nprint('c')", DRAW.format("1, 2")
    )
    runner.renew([path])
    first = path.read_bytes()
    runner.renew([path])
    assert path.read_bytes() == first
    assert [cell.execution_count for cell in runner.read(path).cells if cell.cell_type == "code"] == [1, 2]
    assert (tmp_path / "images" / "01_a.png").read_bytes().startswith(b"\x89PNG")


def test_a_notebook_is_represented_by_the_figure_tagged_cover_or_its_last(tmp_path):
    path = write_notebook(tmp_path / "01_a.ipynb", DRAW.format("1, 2"), DRAW.format("2, 1"))
    runner.renew([path])
    notebook = runner.read(path)
    last = runner.cover(notebook)
    notebook.cells[1].metadata["tags"] = ["cover"]
    assert runner.cover(notebook) not in (last, None)


def test_a_page_of_a_service_that_is_gone_is_replaced_by_a_sentence(tmp_path):
    source = "from helpers.serving.notebook_server import serve\nfrom helpers.serving.services import create_echo_app\n"
    source += "with serve(create_echo_app(), port=0) as server:\n    display(server.show('/predict?msg=Hello'))"
    notebook = runner.read(write_notebook(tmp_path / "01_a.ipynb", source))
    runner.execute(notebook, "01_a")
    report.write_html(notebook, tmp_path / "01_a.html")
    page = (tmp_path / "01_a.html").read_text()
    assert "shows its page while the notebook runs" in page
    assert "<iframe" not in page
    assert "<iframe" in nbformat.writes(notebook)


def test_writing_a_notebook_leaves_its_neighbours_alone(tmp_path):
    (tmp_path / "01_a.part").write_text("the user's own")
    path = write_notebook(tmp_path / "01_a.ipynb", DRAW.format("1, 2"))
    runner.write(runner.read(path), path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"01_a.ipynb", "01_a.part"}
    assert (tmp_path / "01_a.part").read_text() == "the user's own"


def test_pages_load_nothing_from_elsewhere_and_link_each_other(tmp_path):
    path = write_notebook(tmp_path / "01_a.ipynb", DRAW.format("1, 2"))
    runner.renew([path])
    notebook = runner.read(path)
    report.write_html(notebook, tmp_path / "01_a.html")
    report.write_index({"01_a": notebook}, [("test AUC", "0.8", "<b>")], "mine.csv", tmp_path / "index.html")
    page, index = (tmp_path / "01_a.html").read_text(), (tmp_path / "index.html").read_text()
    for text in (page, index):
        assert not re.search(r"""<(script|link|img|iframe)\b[^>]*\b(src|href)=["'](https?:)?//""", text)
        assert 'src=""' not in text
    assert 'href="02_b.html"' in page
    for expected in (
        '<a href="01_a.html">Try this</a>',
        "<p>Add two numbers.</p>",
        "&lt;b&gt;",
        "data:image/png;base64,",
    ):
        assert expected in index
    assert ("Open in Binder" in index) == bool(checkout.binder_folder())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "--data", "nowhere.csv"], "there is no file"),
        (["run", "--label", "churned"], "has no column 'churned'"),
        (["renew", "nowhere.ipynb"], "nowhere.ipynb"),
    ],
)
def test_what_cannot_be_run_is_said_in_a_sentence(arguments, says, tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "helpers", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert says in result.stderr
    assert "Traceback" not in result.stderr
