"""Notebooks are executed with other parameters, in place, and as pages; a failing cell is named."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import nbformat
import psutil
import pytest

from helpers import PROJECT
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


def test_parameters_arrive_as_they_were_given(tmp_path):
    notebook = runner.read(write_notebook(tmp_path / "01_a.ipynb", "OPTIONS = {}", "OPTIONS", tags=[(0, "parameters")]))
    options = {"drop": ("Größe", "zip code"), "treat_as": {"it's": "yes/no"}, "positive": "ja"}
    runner.set_parameters(notebook, {"OPTIONS": options})
    space = {}
    exec("\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code"), space)
    assert space["OPTIONS"] == options | {"drop": ["Größe", "zip code"]}


def test_a_notebook_without_such_a_cell_stays_as_it_is(tmp_path):
    notebook = runner.read(write_notebook(tmp_path / "01_a.ipynb", "print(1)"))
    before = nbformat.writes(notebook)
    runner.set_parameters(notebook, {"DATA": "mine.csv"})
    assert nbformat.writes(notebook) == before


def test_the_text_speaks_of_the_sample_or_of_another_table(tmp_path):
    path = write_notebook(tmp_path / "01_a.ipynb", "print(1)")
    mark = '<span class="sample">'
    text = f"# Look\n\n{mark}Players\nplay.</span> Rate {mark}players</span><!--other: rows-->."
    wanted = {True: "# Look\n\nPlayers\nplay. Rate players.", False: "# Look\n\n Rate rows."}
    for sample, spoken in wanted.items():
        notebook = runner.read(path)
        notebook.cells[0].source = text
        runner.speak_of(notebook, sample)
        assert notebook.cells[0].source == spoken


def test_pages_of_another_table_do_not_speak_of_the_sample():
    spoken_of = (
        r"[Oo]n the sample|--model games|models/games|\bplayers?\b|1,024|ten games|ten features|Mira|\bthe offer|"
        r"\bbuyers?\b|\bg1="
    )
    for path in runner.notebook_paths():
        notebook = runner.read(path)
        runner.speak_of(notebook, sample=False)
        text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        found = re.findall(rf".*(?:{spoken_of}).*", text)
        assert not found, (path.name, found)


def test_command_lines_of_another_table_name_its_model_and_its_request(tmp_path):
    notebook = runner.read(runner.NOTEBOOKS / "04_serve-predictions.ipynb")
    runner.speak_of(notebook, False, "leaving", {"Name's end": "a b", "age": 3, "class": "2nd"})
    [curl] = [cell.source for cell in notebook.cells if cell.get("id") == "about-curl"]
    by_address, by_body = map(shlex.split, curl.split("```")[1].replace("\\\n", " ").strip().splitlines())
    assert by_address[1] == "http://127.0.0.1:5000/predict?Name%27s+end=a+b&age=3&class=2nd"
    assert by_body[by_body.index("-d") + 1] == '{"Name\'s end": "a b", "age": 3, ...}'
    notebook = runner.read(runner.NOTEBOOKS / "07_scale-out.ipynb")
    runner.speak_of(notebook, False, "leaving", {"age": 3})
    assert any("lambda --model leaving --arch" in cell.source for cell in notebook.cells)


@pytest.mark.slow
def test_a_failing_cell_is_named_and_what_ran_before_it_is_kept(tmp_path):
    notebook = runner.read(write_notebook(tmp_path / "01_a.ipynb", "print('so far')", "int('five')", "print('never')"))
    with pytest.raises(NotebookFailed, match=r"01_a: a cell failed with ValueError: .*'five'"):
        runner.execute(notebook, "01_a")
    assert text_of(notebook) == "so far\n"


# Several at once


@pytest.fixture
def together(tmp_path, monkeypatch):
    """Executes notebooks of one cell each, {name: source}, together; returns {name: text} of those written."""

    def execute(sources: dict[str, str], takes_up: dict[str, tuple[str, ...]]) -> dict[str, str]:
        monkeypatch.setattr(runner, "TAKES_UP", takes_up)
        monkeypatch.setattr(runner, "NOTEBOOKS", tmp_path)  # where the kernels work
        notebooks = {
            name: runner.read(write_notebook(tmp_path / f"{name}.ipynb", source)) for name, source in sources.items()
        }
        with runner.Progress(notebooks) as progress:
            runner.execute_all(notebooks, tmp_path / "out", lambda name: (tmp_path / f"{name}.html").touch(), progress)
        return {name: text_of(runner.read(tmp_path / "out" / f"{name}.ipynb")) for name in notebooks}

    return execute


MEET = """\
from pathlib import Path
Path("{here}").touch()
while not Path("{there}").exists():
    pass
print("met")"""
ALONE = """\
from pathlib import Path
from time import sleep
def serve(app):
    Path("the port").touch(exist_ok=False)
    sleep(0.5)
    Path("the port").unlink()
{start}
print("served")"""


@pytest.mark.slow
def test_two_that_do_not_need_each_other_run_side_by_side(together, tmp_path):
    sources = {"00_a": MEET.format(here="a", there="b"), "01_b": MEET.format(here="b", there="a")}
    assert together(sources, {"00_a": (), "01_b": ()}) == {"00_a": "met\n", "01_b": "met\n"}
    assert (tmp_path / "00_a.html").exists() and (tmp_path / "01_b.html").exists()


@pytest.mark.slow
def test_one_runs_after_those_whose_files_it_takes_up(together):
    write, read = "open('model', 'w').write('a model'); print()", "print(open('model').read())"
    takes_up = {"00_reads": ("01_writes",), "01_writes": ()}
    assert together({"00_reads": read, "01_writes": write}, takes_up)["00_reads"] == "a model\n"


@pytest.mark.slow
def test_two_that_serve_on_the_usual_port_take_turns(together):
    sources = {"00_a": ALONE.format(start="serve('a')"), "01_b": ALONE.format(start="serve('b')")}
    assert set(together(sources, {"00_a": (), "01_b": ()}).values()) == {"served\n"}


@pytest.mark.slow
def test_where_one_fails_the_other_is_stopped_and_none_is_started(together, tmp_path):
    sources = {
        "00_fails": "from pathlib import Path\nwhile not Path('runs').exists():\n    pass\nint('five')",
        "01_runs": "print('so far', flush=True)\nopen('runs', 'w').close()\nwhile True:\n    pass",
        "02_waits": "print('never')",
    }
    with pytest.raises(NotebookFailed, match="00_fails: a cell failed with ValueError"):
        together(sources, {"00_fails": (), "01_runs": ()})
    assert text_of(runner.read(tmp_path / "out" / "01_runs.ipynb")) == "so far\n"
    assert not (tmp_path / "out" / "02_waits.ipynb").exists()
    assert not any("ipykernel_launcher" in " ".join(child.cmdline()) for child in psutil.Process().children())


FAILS_WHERE_ANOTHER_STARTS = """\
import os
import psutil
from pathlib import Path
def kernels():
    return {child.pid for child in psutil.Process(os.getppid()).children()}
before = kernels()
Path("watched").touch()
while not kernels() - before:
    pass
int("five")"""


@pytest.mark.slow
def test_a_kernel_that_starts_where_another_notebook_fails_says_nothing(tmp_path):
    write_notebook(tmp_path / "00_ends.ipynb", "import os\nwhile not os.path.exists('watched'):\n    pass")
    write_notebook(tmp_path / "01_fails.ipynb", FAILS_WHERE_ANOTHER_STARTS)
    write_notebook(tmp_path / "02_starts.ipynb", "while True:\n    pass")
    program = f"""\
import sys
from pathlib import Path
from helpers.tools import runner
here = runner.NOTEBOOKS = Path({str(tmp_path)!r})
runner.TAKES_UP = {{"00_ends": (), "01_fails": (), "02_starts": ("00_ends",)}}
notebooks = {{name: runner.read(here / f"{{name}}.ipynb") for name in runner.TAKES_UP}}
try:
    runner.execute_all(notebooks, here / "out", print)
except runner.NotebookFailed as error:
    sys.exit(str(error))"""
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert re.fullmatch("01_fails: a cell failed with ValueError: .*\n", done.stderr), done.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGINT is what Ctrl-C sends on POSIX systems")
@pytest.mark.parametrize(
    ("call", "at_work"),
    [('runner.execute_all(notebooks, Path("out"), print)', 2), ("runner.renew(runner.notebook_paths())", 1)],
)
def test_ctrl_c_ends_every_kernel(tmp_path, call, at_work):
    for name in ("00_a", "01_b"):
        write_notebook(tmp_path / f"{name}.ipynb", f"open('{name} runs', 'w').close()\nwhile True:\n    pass")
    program = f"""if True:
        import signal
        from pathlib import Path
        from helpers.tools import runner
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background of a shell hands on none
        runner.NOTEBOOKS, runner.TAKES_UP = Path(), {{"00_a": (), "01_b": ()}}
        notebooks = {{path.stem: runner.read(path) for path in runner.notebook_paths()}}
        {call}
    """
    output = {"stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    running = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, **output)
    kernels = []
    try:
        while not all((tmp_path / f"{name} runs").exists() for name in ("00_a", "01_b")[:at_work]):
            assert running.poll() is None, running.stderr.read()
            time.sleep(0.05)
        kernels = psutil.Process(running.pid).children()
        assert len(kernels) == at_work
        os.killpg(running.pid, signal.SIGINT)  # a terminal sends it to the kernels, too
        _, said = running.communicate(timeout=60)
        assert said.strip().endswith("KeyboardInterrupt")
        assert not any(kernel.is_running() for kernel in kernels)
    finally:  # else they would compute for ever
        for process in (running, *kernels):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.mark.slow
def test_a_kernel_that_does_not_start_says_why(tmp_path):
    """As where the reader's folder holds a module by the name of one that the kernel wants."""
    write_notebook(tmp_path / "00_a.ipynb", "1")
    (tmp_path / "zmq").mkdir()
    (tmp_path / "zmq" / "__init__.py").write_text("raise ImportError('this is not the zmq that is looked for')\n")
    runner_of = f"""if True:
        from pathlib import Path
        from helpers.tools import runner
        import os
        runner.NOTEBOOKS = Path({str(tmp_path)!r})
        os.environ["PYTHONPATH"] = {str(tmp_path)!r}
        try:
            runner.execute(runner.read(Path({str(tmp_path)!r}, "00_a.ipynb")), "00_a")
        except runner.NotebookFailed as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", runner_of], cwd=PROJECT, capture_output=True, text=True, check=True)
    reason = "ImportError: this is not the zmq that is looked for"
    assert (done.stdout, done.stderr) == (
        f"00_a: its kernel did not start ({reason}): mend that, then try again\n",
        "",
    )


def test_each_notebook_says_whose_files_it_takes_up():
    """One that says nothing waits for all before it, which is right and slow."""
    names = [path.stem for path in runner.notebook_paths()]
    assert list(runner.TAKES_UP) == names
    for name, needed in runner.predecessors(names).items():
        assert needed <= set(names[: names.index(name)]), name
    assert runner.predecessors([*names, "99_new"])["99_new"] == set(names)


def test_those_that_take_up_the_model_wait_for_the_one_that_writes_it():
    """Else each would train one, into the same folder."""
    notebooks = {path.stem: runner.read(path) for path in runner.notebook_paths()}
    before = runner.predecessors(list(notebooks))
    for name, notebook in notebooks.items():
        if any("ensure_export(" in notebook.cells[index].source for index in runner.code_cells(notebook)):
            assert before[name], name


def test_the_longest_chain_goes_first():
    before = {"a": set(), "b": set(), "c": {"b"}, "d": {"c", "a"}}
    assert [runner.chain_length(name, before) for name in "abcd"] == [2, 3, 2, 1]


@pytest.mark.parametrize(
    ("source", "serves"),
    [("server = serve(app)", True), ("serve(app, port=0)", False), ("print('observe(1)')", False), ("serve()", True)],
)
def test_a_notebook_that_serves_on_the_usual_port_is_recognized(tmp_path, source, serves):
    notebook = runner.read(write_notebook(tmp_path / "01_a.ipynb", source))
    assert runner.serves_on_the_usual_port(notebook) == serves


# In place, and as pages


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_notebook_is_represented_by_the_figure_tagged_cover_or_its_last(tmp_path):
    path = write_notebook(tmp_path / "01_a.ipynb", DRAW.format("1, 2"), DRAW.format("2, 1"))
    runner.renew([path])
    notebook = runner.read(path)
    last = runner.cover(notebook)
    notebook.cells[1].metadata["tags"] = ["cover"]
    assert runner.cover(notebook) not in (last, None)


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_widget_is_replaced_by_a_sentence_where_no_kernel_runs_it(tmp_path):
    path = write_notebook(tmp_path / "01_a.ipynb", "from ipywidgets import IntSlider, VBox\nVBox([IntSlider()])")
    notebook = runner.read(path)
    runner.execute(notebook, "01_a")
    report.write_html(notebook, tmp_path / "01_a.html")
    page = (tmp_path / "01_a.html").read_text()
    assert "Controls appear here while the notebook runs" in page and "VBox(children" not in page
    assert "VBox(children" in nbformat.writes(notebook)
    runner.renew([path])
    assert "VBox(children" not in path.read_text() and "Controls appear here" in path.read_text()


def test_writing_a_notebook_leaves_its_neighbours_alone(tmp_path):
    (tmp_path / "01_a.part").write_text("the user's own")
    path = write_notebook(tmp_path / "01_a.ipynb", DRAW.format("1, 2"))
    runner.write(runner.read(path), path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"01_a.ipynb", "01_a.part"}
    assert (tmp_path / "01_a.part").read_text() == "the user's own"


@pytest.mark.slow
def test_pages_load_nothing_from_elsewhere_and_link_each_other(tmp_path):
    path = write_notebook(tmp_path / "01_a.ipynb", DRAW.format("1, 2"))
    runner.renew([path])
    notebook = runner.read(path)
    notebook.cells.append(nbformat.v4.new_markdown_cell("[![its picture](images/01_a.png)](02_b.ipynb)"))
    report.write_html(notebook, tmp_path / "01_a.html")
    report.show_covers({"01_a": notebook}, tmp_path)
    report.write_index({"01_a": notebook}, [("test AUC", "0.8", "<b>")], "mine.csv", tmp_path / "index.html")
    page, index = (tmp_path / "01_a.html").read_text(), (tmp_path / "index.html").read_text()
    for text in (page, index):
        assert not re.search(r"""<(script|link|img|iframe)\b[^>]*\b(src|href)=["'](https?:)?//""", text)
        assert all(source.startswith("data:") for source in re.findall(r'<img\b[^>]*\bsrc="([^"]*)"', text))
    assert 'href="02_b.html"' in page
    for expected in (
        '<a href="01_a.html">Try this</a>',
        "<p>Add two numbers.</p>",
        "&lt;b&gt;",
        "data:image/png;base64,",
    ):
        assert expected in index
    assert ("Open in Binder" in index) == bool(checkout.binder_folder())
