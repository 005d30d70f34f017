"""The learner's view: every notebook in a real JupyterLab in a real browser, and the service's own pages.

One JupyterLab in one page of one Chromium serves all notebooks. Each is opened, those with something to touch are run
from the Run menu, and read as the page shows them; pictures of what was seen land in `build/screenshots/`.
"""

import json
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlparse

import notebook_tools as tools
import numpy as np
import psutil
import pytest
from nbformat import NotebookNode
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect, sync_playwright

from helpers import PROJECT
from helpers.data import images
from helpers.data.games import SAMPLE
from helpers.data.input_kinds import Array, Image, Text
from helpers.data.inputs import InputSignature
from helpers.data.outputs import Output
from helpers.data.signature import Feature, Signature
from helpers.export.predictors import load_predictor
from helpers.serving import serve_command
from helpers.serving.canary import Canary
from helpers.serving.notebook_server import ServerHandle, serve
from helpers.serving.services import create_predict_app
from helpers.tools import runner

SCREENSHOTS = PROJECT / "build" / "screenshots"
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
--disable-component-update --disable-sync"
DESKTOP, LAPTOP, PHONE = {"width": 1600, "height": 1000}, {"width": 1280, "height": 720}, {"width": 390, "height": 844}
LIGHT, DARK = "JupyterLab Light", "JupyterLab Dark"
RUN_SECONDS = 150  # a notebook, on a machine that has other things to do
TALLEST = 16_000  # pixels: Chromium cuts pictures off at 16,384

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("chromium")]  # before anything is started for a page


# The browser and what it must not see


@pytest.fixture(scope="module")
def browser(chromium) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS.split())
        yield browser
        browser.close()


@contextmanager
def without_history(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport=DESKTOP)
    context.set_default_timeout(30_000)
    yield context
    context.close()


@pytest.fixture
def context(browser) -> Iterator[BrowserContext]:
    with without_history(browser) as context:
        yield context


class Complaints:
    """What a page complains of and whom it calls: errors in the console, failed scripts, requests to other hosts."""

    def __init__(self, page: Page):
        self.found: list[str] = []
        page.on("console", lambda message: self._add(self._is_wrong(message), self._said(message)))
        page.on("pageerror", lambda error: self._add(True, f"script: {error}"))
        page.on("request", lambda request: self._add(self._is_foreign(request.url), f"calls {request.url}"))

    def _add(self, wrong: bool, what: str) -> None:
        if wrong:
            self.found.append(what)

    @staticmethod
    def _is_wrong(message: ConsoleMessage) -> bool:
        # At times JupyterLab has a text on the page before it has found the text's pictures, which come a moment later.
        too_early = urlparse(message.location["url"]).path.startswith("/images/")
        return message.type == "error" and not too_early

    @staticmethod
    def _said(message: ConsoleMessage) -> str:
        return f"console: {message.text} ({message.location['url']})"

    @staticmethod
    def _is_foreign(url: str) -> bool:
        return re.match(r"(data|blob|about):|(https?|wss?)://(127\.0\.0\.1|localhost)[:/]", url) is None


# JupyterLab


class Lab:
    """A JupyterLab on a copy of the project, with a port, a token and settings of its own."""

    def __init__(self, folder: Path):
        self.project = tools.copy_project(folder / "tutorial")
        shorten(self.project / "notebooks")
        self._fresh_kernel: str | None = None
        self.port = serve_command.free_port("127.0.0.1", 0)
        self._log = open(folder / "jupyterlab.log", "w")
        own = {
            f"{name}_DIR": str(folder / name.lower())
            for name in (
                "JUPYTER_CONFIG",
                "JUPYTER_DATA",
                "JUPYTER_RUNTIME",
                "JUPYTERLAB_SETTINGS",
                "JUPYTERLAB_WORKSPACES",
            )
        }
        settings = folder / "jupyterlab_settings" / "@jupyterlab"
        write_json(
            settings / "notebook-extension" / "tracker.jupyterlab-settings",
            {"windowingMode": "none", "scrollPastEnd": False},
        )
        write_json(
            settings / "apputils-extension" / "notification.jupyterlab-settings",
            {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
        )
        options = [
            "--no-browser",
            "--allow-root",
            "--expose-app-in-browser",
            f"--ServerApp.root_dir={self.project}",
            f"--ServerApp.port={self.port}",
            "--ServerApp.port_retries=0",
            "--IdentityProvider.token=learner",
            "--LabApp.news_url=None",
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            cwd=self.project,
            env=tools.environment_in(self.project, IPYTHONDIR=str(folder / "ipython"), **own),
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._wait_until_it_answers()

    def _call(self, method: str, path: str) -> bytes:
        url = f"http://127.0.0.1:{self.port}/api/{path}?token=learner"
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=20) as answer:
            return answer.read()

    def _wait_until_it_answers(self) -> None:
        end = time.monotonic() + 60
        while True:
            try:
                self._call("GET", "status")
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError("JupyterLab did not start:\n" + Path(self._log.name).read_text()) from None
                time.sleep(0.1)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/lab?token=learner&reset"

    def fresh_kernel(self) -> str:
        """The one kernel, by its id, of all the notebooks in which nothing is run."""
        if not self._fresh_kernel:
            self._fresh_kernel = json.loads(self._call("POST", "kernels"))["id"]
        return self._fresh_kernel

    def end_kernels(self) -> None:
        """Ends the kernels of the notebooks that were run so far: each with TensorFlow takes up to 1 GB."""
        for kernel in json.loads(self._call("GET", "kernels")):
            if kernel["id"] != self._fresh_kernel:
                self._call("DELETE", f"kernels/{kernel['id']}")

    def listening(self) -> set[int]:
        """The ports on which the server and its kernels listen."""
        process = psutil.Process(self._process.pid)
        sockets = [s for each in [process, *process.children(recursive=True)] for s in each.net_connections("tcp")]
        return {each.laddr.port for each in sockets if each.status == psutil.CONN_LISTEN}

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._log.close()


def shorten(notebooks: Path) -> None:
    """A tenth of the epochs, as a reader sets them, and short loads; `test_notebooks.py` has both at full length."""
    training, serving = (next(notebooks.glob(f"{number}_*")) for number in ("02", "04"))
    notebook = tools.read(training)
    runner.set_parameters(notebook, {"EPOCHS": 10, "DATA": str(SAMPLE)})  # as a file, of which 02 promises nothing
    runner.write(notebook, training)
    notebook = tools.read(serving)
    tools.shorten_loads(notebook)
    runner.write(notebook, serving)


def write_json(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def lab(chromium, tmp_path_factory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    yield lab
    lab.stop()


CURRENT = "const panel = window.jupyterapp?.shell.currentWidget, content = panel?.content;"
CODE_CELLS = f"{CURRENT} const cells = content.widgets.filter(cell => cell.model.type === 'code');"


@pytest.fixture(scope="module")
def desk(browser, lab) -> Iterator[Page]:
    """The page with JupyterLab, loaded once: a notebook after the other is opened in it."""
    with without_history(browser) as context:
        page = context.new_page()
        page.goto(lab.url)
        page.wait_for_function("() => window.jupyterapp?.restored.then(() => true)", timeout=60_000)
        yield page


class OpenNotebook:
    """One notebook in JupyterLab, as a reader's hands and eyes have it; what was open before it is closed."""

    def __init__(self, page: Page, lab: Lab, name: str, to_run: bool):
        self.page, self.lab = page, lab
        self.complaints = Complaints(page)
        page.evaluate("() => [...jupyterapp.shell.widgets('main')].forEach(widget => widget.dispose())")
        lab.end_kernels()
        kernel = {} if to_run else {"kernel": {"id": lab.fresh_kernel()}}
        self.command("docmanager:open", path=f"notebooks/{name}", factory="Notebook", **kernel)
        page.wait_for_function(
            f"""name => {{ {CURRENT}
                const context = panel?.context;
                if (!context?.isReady || !context.path.endsWith(name)) return false;
                const session = context.sessionContext;
                return session.isReady && session.session?.kernel?.status === 'idle'; }}""",
            arg=name,
            timeout=60_000,
        )

    def command(self, name: str, **arguments: object) -> None:
        # What a command gives back stays in the page: a widget is at times too large to be handed over.
        self.page.evaluate(
            "async ([name, args]) => { await jupyterapp.commands.execute(name, args); }", [name, arguments]
        )

    def run_all(self, restart: bool = False) -> None:
        """Removes the outputs, chooses Run All Cells or Restart Kernel and Run All Cells in the menu Run, and waits.

        It ends with the last cell, or with the first error for which its cell is not tagged.
        """
        self.command("notebook:clear-all-cell-outputs")
        self.page.wait_for_function(
            f"() => {{ {CODE_CELLS} return cells.every(cell => cell.model.executionCount === null); }}"
        )
        self.page.click(".lm-MenuBar-itemLabel:text-is('Run')")
        if restart:
            self.page.click("[data-command='runmenu:restart-and-run-all']")
            self.page.click(".jp-Dialog .jp-mod-accept")
        else:
            self.page.click("[data-command='runmenu:run-all']")
        self.page.wait_for_function(
            f"""() => {{ {CODE_CELLS}
                const tags = cell => cell.model.getMetadata('tags') ?? [];
                const failed = cell => cell.model.outputs.toJSON().some(output => output.output_type === 'error');
                return cells.every(cell => cell.model.executionCount !== null && cell.model.executionState === 'idle')
                    || cells.some(cell => failed(cell) && !tags(cell).includes('raises-exception')); }}""",
            timeout=RUN_SECONDS * 1000,
            polling=200,  # milliseconds; else at each frame, and all outputs are copied for it 60 times a second
        )
        expect(self.page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']")).to_be_attached()

    def output(self, name: str) -> Locator:
        """The output area of the cell with the id `name`."""
        self.page.evaluate(
            f"() => {{ {CURRENT} content.widgets.forEach(c => {{ c.node.dataset.id = c.model.id; }}); }}"
        )
        return self.page.locator(f".jp-Cell[data-id='{name}'] .jp-Cell-outputArea")

    def run_again(self, *names: str) -> None:
        """Runs cells once more, by their ids, one after the other."""
        for name in names:
            self.page.evaluate(
                f"""async name => {{ {CURRENT}
                    content.deselectAll();
                    content.activeCellIndex = content.widgets.findIndex(cell => cell.model.id === name);
                    await jupyterapp.commands.execute('notebook:run-cell'); }}""",
                name,
            )

    def stop_servers(self) -> None:
        """What a reader does who is done: writes `True` into the last cell, and runs it."""
        self.page.evaluate(
            f"""() => {{ {CURRENT}
                const model = content.widgets.find(cell => cell.model.id === 'stop').model.sharedModel;
                model.setSource(model.getSource().replace('done = False', 'done = True')); }}"""
        )
        self.run_again("stop")

    def outputs(self) -> dict[str, list[dict]]:
        """{cell id: outputs, as JupyterLab holds them}"""
        return self.page.evaluate(
            f"""() => {{ {CODE_CELLS}
                return Object.fromEntries(cells.map(cell => [cell.model.id, cell.model.outputs.toJSON()])); }}"""
        )

    def take_pictures(self, name: str) -> None:
        """The whole notebook: at desktop width in the light theme, at laptop width in the dark one."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        for size, theme, words in ((DESKTOP, LIGHT, "desktop-light"), (LAPTOP, DARK, "laptop-dark")):
            self.page.set_viewport_size(size)  # first: to draw a page as tall as its notebook anew takes long
            self.command("apputils:change-theme", theme=theme)
            self.page.wait_for_selector(f"body[data-jp-theme-name='{theme}']", state="attached")
            self.page.wait_for_function(f"() => {{ {CURRENT} return content.outerNode.clientHeight < innerHeight; }}")
            hidden = self.page.evaluate(
                f"""() => {{ {CURRENT}
                    return content.outerNode.scrollHeight - content.outerNode.clientHeight; }}"""
            )
            self.page.set_viewport_size({**size, "height": min(size["height"] + hidden, TALLEST)})
            self.page.evaluate(f"() => {{ {CURRENT} content.outerNode.scrollTop = 0; }}")
            self.page.wait_for_timeout(300)  # until the frames inside are drawn at their new width
            self.page.screenshot(path=SCREENSHOTS / f"{name}-{words}.png")
        self.page.set_viewport_size(DESKTOP)
        self.command("apputils:change-theme", theme=LIGHT)


@pytest.mark.parametrize("path", tools.NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_in_jupyterlab(path, desk, lab):
    """What a reader may touch is run here, from the menu; the others are looked at as they are opened, outputs and all.

    (Those outputs are a fresh run's: nbval compares them.)
    """
    look, put_down = HANDS_ON.get(path.name[:2], (None, None))
    opened = OpenNotebook(desk, lab, path.name, to_run=look is not None)
    if look:
        opened.run_all()
    committed = tools.read(path)
    shown = opened.outputs()
    for cell in tools.code_cells(committed):
        errors = [output["evalue"] for output in shown[cell.id] if output["output_type"] == "error"]
        assert bool(errors) == ("raises-exception" in tools.tags(cell)), f"{cell.id}: {errors}"
    check_figures(opened, committed)
    if look:
        look(opened)
    opened.take_pictures(path.stem)
    assert opened.complaints.found == []
    if put_down:
        put_down(opened)


def check_figures(opened: OpenNotebook, committed: NotebookNode) -> None:
    """Every picture of the committed outputs is there again, is drawn and not cut off; so are those of the text."""
    outputs = [output for cell in tools.code_cells(committed) for output in cell.outputs]
    figures = opened.page.locator(".jp-RenderedImage img")
    assert figures.count() >= sum("image/png" in output.get("data", {}) for output in outputs)
    sizes = figures.evaluate_all("all => all.map(one => [one.complete && one.naturalWidth, one.clientWidth])")
    assert all(drawn > 100 and shown > 100 for drawn, shown in sizes), sizes
    for picture in opened.page.locator(".jp-RenderedMarkdown img").all():  # those of the text
        expect(picture).to_have_js_property("complete", True)
        assert picture.evaluate("one => one.naturalWidth") > 0, picture.get_attribute("src")


# Hands on: what each notebook offers to touch, first with everything running, then with its server stopped.


def the_report_is_about_this_browser(opened: OpenNotebook) -> None:
    report = opened.output("report").locator("tr")
    assert report.count() == 10
    roads = "reaches the kernel at 127.0.0.1 and through Jupyter's proxy"
    expect(report.filter(has_text="browser")).to_contain_text(roads)


def the_echo_stands_in_the_notebook(opened: OpenNotebook) -> None:
    opened.run_again("server", "browser")
    url = opened.output("server").inner_text().strip().splitlines()[-1]
    assert urlparse(url).port in opened.lab.listening()
    expect(opened.output("browser").frame_locator("iframe").locator("body")).to_contain_text("HelloWorld!")


def the_slider_moves_the_counts_and_the_point(opened: OpenNotebook) -> None:
    widgets = opened.output("slider")
    counts, picture = widgets.locator(".widget-label").last, widgets.locator("img")
    for key in ("End", "Home"):  # at a threshold of 1 nobody is called, at 0 everybody
        said, drawn = counts.inner_text(), picture.get_attribute("src")
        widgets.get_by_role("slider").press(key)
        expect(counts).not_to_have_text(said)
        expect(picture).not_to_have_attribute("src", drawn)
    shown = opened.output("train").locator("img")
    assert shown.count() == 1  # of the curves that grew while it trained, one figure is left


def the_page_and_the_panel_ask_the_live_endpoint(opened: OpenNotebook) -> None:
    with socket.socket() as holder:  # of the usual port, so that the server gets one that no other test will ask for
        with suppress(OSError):
            holder.bind(("127.0.0.1", 5000))
        opened.run_again("server", "page", "panel")
    page = opened.output("page").frame_locator("iframe")
    expect(page.locator("#status")).to_contain_text("answered in")
    before = page.locator("#probability").inner_text()
    page.get_by_role("switch").nth(1).press("Space")
    expect(page.locator("#probability")).not_to_have_text(before)
    expect(page.locator("#curl")).to_contain_text("G2=1")

    panel = opened.output("panel")
    before = panel.locator("b").inner_text()
    assert before == f"{float(before):.4f}"
    panel.get_by_role("button", name="G2", exact=True).click()
    expect(panel.locator("b")).not_to_have_text(before)
    expect(panel.locator("code")).to_contain_text("G1=1.0&G2=1.0&G3=0.0")
    expect(panel).to_contain_text(re.compile(r"in \d+\.\d ms"))


def a_stopped_server_is_said_to_be_stopped(opened: OpenNotebook) -> None:
    opened.stop_servers()
    panel = opened.output("panel")
    expect(panel).to_contain_text("The server is stopped")
    page = opened.output("page").frame_locator("iframe")
    page.get_by_role("switch").nth(2).click()  # JupyterLab may take the focus of keys to the next cell meanwhile
    expect(page.locator("#status")).to_contain_text("does not answer")
    opened.run_again("server")
    panel.get_by_role("button", name="G3", exact=True).click()
    expect(panel.locator("code")).to_contain_text("G3=1.0")
    opened.stop_servers()


def it_is_restarted_twice_with_its_servers_running(opened: OpenNotebook) -> None:
    """Run All leaves the servers to the reader; a restart, like the kernel's end, leaves none of them."""
    before = opened.lab.listening()
    for _ in range(2):
        opened.run_all(restart=True)
        url = opened.output("server").inner_text().strip().splitlines()[-1]  # any other line tells of a taken port
        assert urlparse(url).port in opened.lab.listening()
        assert len(opened.lab.listening()) == len(before)
    opened.lab.end_kernels()
    assert opened.lab.listening() == {opened.lab.port}


def a_picture_gets_its_bars(opened: OpenNotebook) -> None:
    with socket.socket() as holder:  # as above
        with suppress(OSError):
            holder.bind(("127.0.0.1", 5000))
        opened.run_again("server", "page")
    page = opened.output("page").frame_locator("iframe")
    expect(page.locator("#status")).to_have_text("choose a picture")
    figure = PROJECT / "notebooks" / "images" / "00_start-here.png"
    page.locator("input[type=file]").set_input_files(figure)
    expect(page.locator("#status")).to_contain_text("answered in")
    expect(page.locator(".classes .bar")).to_have_count(10)
    expect(page.locator("#curl")).to_contain_text(f"image=@{figure.name}")


def the_server_is_stopped(opened: OpenNotebook) -> None:
    opened.stop_servers()
    expect(opened.output("stop")).to_contain_text("stopped")


HANDS_ON = {
    "00": (the_report_is_about_this_browser, None),
    "01": (the_echo_stands_in_the_notebook, it_is_restarted_twice_with_its_servers_running),
    "02": (the_slider_moves_the_counts_and_the_point, None),
    "04": (the_page_and_the_panel_ask_the_live_endpoint, a_stopped_server_is_said_to_be_stopped),
    "06": (a_picture_gets_its_bars, the_server_is_stopped),
}


# The service's own pages


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Path:
    """An exported model of features of every kind: what a reader's own table may look like."""
    from helpers.export.artifacts import export_model
    from helpers.model.training import build_classifier

    features = (
        Feature("member", "binary", 0, 1, 0),
        Feature("age", "real", 18, 99, 40),
        Feature("income", "real", -1000, 250_000.5, 31_400),
        Feature("Körpergröße in cm", "real", 150, 201, 171, missing=True),
        Feature("gender", "binary", default="male", values=("female", "male")),
        Feature("smoker", "binary", default="no", values=("no", "yes")),
        Feature("berth", "category", default="2nd", values=("1st", "2nd", "deck crew"), missing=True),
    )
    folder = tmp_path_factory.mktemp("mixed")
    signature = Signature(features, "churn", "yes")
    metrics = {"data": "mine.csv", "rows": 200, "test_rows": 40, "test_auc": 0.8, "test_auc_interval": [0.7, 0.9]}
    model = build_classifier(signature.width, signature.sample(500))
    export_model(model, folder, signature=signature, metrics=metrics, formats=("keras", "onnx"))
    return folder


@pytest.fixture
def service(exported) -> Iterator[ServerHandle]:
    with serve(create_predict_app(load_predictor(exported)), port=0) as handle:
        yield handle


@pytest.fixture
def page(context) -> Page:
    return context.new_page()


class Answering:
    """A model that is a function of the rows."""

    version = "one"

    def __init__(self, signature: Signature | InputSignature, answer):
        self.signature, self.answer = signature, answer

    def __call__(self, rows):
        return self.answer(rows)


def answered(page: Page) -> str:
    """The probability on the page, once the request for it has been answered."""
    expect(page.locator("#status")).to_contain_text("answered in")
    return page.locator("#probability").inner_text()


def test_the_page_is_used_by_keyboard_alone(page, service):
    complaints = Complaints(page)
    page.goto(service.url)
    first = answered(page)
    page.keyboard.press("Tab")  # to the first feature's switch, which the example has on
    expect(page.get_by_role("switch").first).to_be_focused()
    expect(page.get_by_role("switch").first).to_be_checked()
    page.keyboard.press("Space")
    expect(page.get_by_role("switch").first).not_to_be_checked()
    expect(page.locator("#probability")).not_to_have_text(first)
    for _ in range(9 + 1 + 1):  # the other switches, the curl line, the button
        page.keyboard.press("Tab")
    expect(page.locator("#copy")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the link to the description
    page.wait_for_url("**/docs")
    assert complaints.found == []


def test_the_curl_line_on_the_page_is_the_request_just_made(page, service):
    page.goto(service.url)
    page.get_by_role("switch").nth(4).press("Space")
    expect(page.locator("#curl")).to_contain_text("G5=1")
    line = shlex.split(page.locator("#curl").inner_text())
    answer = subprocess.run([*line, "--silent"], capture_output=True, text=True, check=True).stdout
    expect(page.locator("#probability")).to_have_text(f"{json.loads(answer)['probability']:.4f}")


@pytest.mark.parametrize("path", ["", "docs"], ids=["page", "docs"])
@pytest.mark.parametrize("size", [PHONE, LAPTOP], ids=["phone", "laptop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_fit_every_width_and_theme(browser, service, path, size, scheme):
    context = browser.new_context(viewport=size, color_scheme=scheme)
    page = context.new_page()
    complaints = Complaints(page)
    page.goto(f"{service.url}/{path}")
    expect(page.locator(".operation").first if path else page.locator("#status")).not_to_be_empty()
    wider_than_the_window = page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"service-{path or 'page'}-{size['width']}-{scheme}.png", full_page=True)
    context.close()
    assert wider_than_the_window <= 0
    assert complaints.found == []


def test_a_wrong_value_is_marked_at_its_control_and_mended_there(page, mixed):
    with serve(create_predict_app(load_predictor(mixed)), port=0) as service:
        page.goto(service.url)
        right = answered(page)
        age = page.get_by_role("spinbutton", name="age")
        for wrong in ("1e99", ""):
            age.fill(wrong)
            expect(age).to_have_attribute("aria-invalid", "true")
            expect(page.locator("#status")).to_contain_text("age")
            expect(page.locator("#probability")).to_have_text("–")
            expect(page.get_by_role("spinbutton", name="income")).to_have_attribute("aria-invalid", "false")
        age.fill("40")
        expect(age).to_have_attribute("aria-invalid", "false")
        assert answered(page) == right


def test_each_kind_of_feature_has_its_control_and_opens_on_somebody_who_could_exist(page, mixed):
    with serve(create_predict_app(load_predictor(mixed)), port=0) as service:
        page.goto(service.url)
        before = answered(page)
        expect(page.get_by_role("heading", level=1)).to_have_text("Probability of churn = yes")
        expect(page.locator("footer")).to_contain_text(
            "test AUC 0.800 (95 % interval 0.700 to 0.900) on 40 of 200 rows"
        )
        berth, gender = page.get_by_role("combobox", name="berth"), page.get_by_role("combobox", name="gender")
        expect(berth).to_have_value("2nd")
        expect(gender).to_have_value("male")
        expect(page.get_by_role("switch", name="smoker")).not_to_be_checked()
        expect(page.get_by_role("spinbutton", name="Körpergröße in cm")).to_have_value("171")
        assert berth.locator("option").all_inner_texts() == ["1st", "2nd", "deck crew", "not known"]
        berth.select_option("deck crew")
        page.get_by_role("switch", name="smoker").press("Space")
        expect(page.locator("#probability")).not_to_have_text(before)
        expect(page.locator("#curl")).to_contain_text("berth=deck+crew")
        expect(page.locator("#curl")).to_contain_text("smoker=yes")
        page.screenshot(path=SCREENSHOTS / "own-table.png", full_page=True)


def test_a_number_may_be_left_empty_where_it_may_be_missing_and_lie_outside_with_a_note(page, mixed):
    with serve(create_predict_app(load_predictor(mixed)), port=0) as service:
        page.goto(service.url)
        answered(page)
        page.get_by_role("spinbutton", name="Körpergröße in cm").fill("")
        page.get_by_role("combobox", name="berth").select_option("not known")
        answered(page)
        page.get_by_role("spinbutton", name="age").fill("17")
        expect(page.locator("#status")).to_contain_text(
            "age: 17 is outside of 18 to 99, which the model was trained on"
        )
        answered(page)


def test_names_do_not_break_inside_a_word(page, mixed):
    with serve(create_predict_app(load_predictor(mixed)), port=0) as service:
        page.set_viewport_size(PHONE)
        page.goto(service.url)
        answered(page)
        name = page.locator(".name", has_text="Körpergröße")
        alone = name.evaluate(
            "e => { const s = document.createElement('span'); s.textContent = 'Körpergröße'; document.body.append(s);"
            " const w = s.getBoundingClientRect().width; s.remove(); return w; }"
        )
        assert name.bounding_box()["width"] >= alone
        ranges = page.locator(".feature.real .usual").evaluate_all("found => found.map((e) => e.offsetWidth)")
        assert max(ranges) < 144  # no more than their words take: the rest of the line is the name's


@pytest.mark.parametrize("size", [PHONE, LAPTOP], ids=["phone", "laptop"])
def test_a_switch_alone_is_as_wide_as_its_neighbours_and_none_breaks_its_name(page, mixed, size):
    predictor = load_predictor(mixed)
    member, age, *between, smoker, berth = predictor.signature.features
    member, smoker = replace(member, name="SeniorCitizen"), replace(smoker, name="PaperlessBilling")
    page.set_viewport_size(size)
    for features, alone in (
        ((member, age, *between, smoker, berth), True),
        ((age, *between, berth, member, smoker), False),
    ):
        predictor.signature = replace(predictor.signature, features=features)
        with serve(create_predict_app(predictor), port=0) as service:
            page.goto(service.url)
            answered(page)
            names = page.locator(".feature.binary .name").evaluate_all(
                "found => found.map((e) => e.getClientRects().length)"
            )
            heights = page.locator(".feature.binary").evaluate_all("found => found.map((e) => e.offsetHeight)")
            widths = page.locator(".feature").evaluate_all("found => found.map((e) => e.offsetWidth)")
            usual = page.locator(".feature.menu").first.bounding_box()["height"]
            assert names == [1, 1] and max(heights) <= usual + 1, heights  # one line of text each
            assert (len(set(widths)) == 1) == (alone or size == PHONE), widths


def test_what_is_no_number_yet_is_not_taken_for_nothing(page, mixed):
    with serve(create_predict_app(load_predictor(mixed)), port=0) as service:
        page.goto(service.url)
        answered(page)
        height = page.get_by_role("spinbutton", name="Körpergröße in cm")  # may be missing
        height.fill("")
        answered(page)
        height.press_sequentially("1e")
        expect(page.locator("#status")).to_have_text("Körpergröße in cm: this is not a number yet")
        expect(height).to_have_attribute("aria-invalid", "true")
        height.press_sequentially("2")
        answered(page)


def test_a_key_is_asked_for_where_it_is_typed_and_left_out_of_the_curl_lines(page, mixed):
    with serve(create_predict_app(load_predictor(mixed), api_key="open sesame"), port=0) as service:
        page.goto(service.url)
        expect(page.locator("#status")).to_have_text("Type the service's API key below.")
        page.get_by_label("API key").fill("open")
        expect(page.locator("#status")).to_have_text("This is not the service's API key.")
        page.get_by_label("API key").fill("open sesame")
        answered(page)
        expect(page.locator("#curl")).to_contain_text("curl -H 'X-API-Key: YOUR-KEY' ")
        line = page.locator("#curl").inner_text().replace("YOUR-KEY", "open sesame")
        answer = subprocess.run([*shlex.split(line), "--silent"], capture_output=True, text=True, check=True).stdout
        assert json.loads(answer)["success"]
        page.goto(f"{service.url}/docs")
        expect(page.locator(".operation").first).to_be_visible()
        for line in page.locator(".curl pre").all_inner_texts():
            words = [*shlex.split(line.replace("YOUR-KEY", "open sesame")), "--silent", "--fail"]
            subprocess.run(words, capture_output=True, check=True)


def test_a_slider_moves_its_number_and_the_probability(page, mixed):
    with serve(create_predict_app(load_predictor(mixed)), port=0) as service:
        page.goto(service.url)
        before = answered(page)
        page.get_by_role("slider", name="age").press("End")
        expect(page.get_by_role("spinbutton", name="age")).to_have_value("99")
        expect(page.locator("#probability")).not_to_have_text(before)


def test_a_slider_tells_the_steps_of_a_narrow_range_apart_whose_ends_fit_a_phone(page):
    low, high = 1_700_000_000.123456, 1_700_003_600.123456
    signature = Signature((Feature("since", "real", low, high, low), Feature("share", "real", 1e-17 / 3, 2 / 3, 0.5)))
    with serve(create_predict_app(Answering(signature, lambda rows: rows[:, 1])), port=0) as service:
        page.set_viewport_size({"width": 360, "height": 800})
        page.goto(service.url)
        answered(page)
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        slider = page.get_by_role("slider", name="since")
        seen = set()
        for _ in range(5):
            slider.press("ArrowRight")
            value = float(page.get_by_role("spinbutton", name="since").input_value())
            assert low < value <= high
            seen.add(value)
        assert len(seen) == 5


def test_the_page_of_many_features_asks_for_a_row_that_no_address_holds(page):
    signature = Signature(tuple(Feature(f"the answer to question {number:04d}", "real", 0, 9) for number in range(600)))
    with serve(create_predict_app(Answering(signature, lambda rows: rows[:, -1])), port=0) as service:
        page.goto(service.url)
        answered(page)
        page.get_by_role("spinbutton").last.fill("0.25")
        expect(page.locator("#probability")).to_have_text("0.2500")
        words = [*shlex.split(page.locator("#curl").inner_text()), "--silent"]
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert json.loads(said)["probability"] == 0.25


def test_the_page_of_several_inputs_sends_them_as_typed_and_its_line_is_one_that_curl_takes(page, tmp_path):
    inputs = Array("id", (1,), "int64"), Text("words"), Array("ids", (2,), "int64"), Image("photo", (8, 8, 3))
    outputs = (
        Output("odd", "number"),
        Output("told; kind", "classes", ("no", "yes")),
        Output("odd ones", "array", shape=(2,)),
    )

    def answer(rows):
        one, words, two, _ = rows.arrays
        is_told = (words == "@told; type=x").astype(np.float32)
        return (one % 2).astype(np.float32), np.hstack([1 - is_told, is_told]), (two % 2).astype(np.float32)

    picture = tmp_path / 'a; "b", c.png'
    picture.write_bytes(images.example(8, 8))
    with serve(create_predict_app(Answering(InputSignature(inputs, outputs=outputs), answer)), port=0) as service:
        page.set_viewport_size({"width": 360, "height": 800})
        page.goto(service.url)
        page.get_by_label("photo").set_input_files(picture)
        page.get_by_role("spinbutton", name="id").fill(str(2**53 + 1))
        page.get_by_role("textbox", name="words").fill("@told; type=x")
        page.get_by_role("textbox", name="ids").fill(f"[{2**53 + 1}, 2]")
        expect(page.locator("#probability")).to_have_text("odd: 1.0, told; kind: yes, odd ones: 1, 0")
        assert page.locator(".output").all_inner_texts() == ["told; kind", "odd ones"]
        over = "e => e.getBoundingClientRect().right > e.closest('.feature').getBoundingClientRect().right"
        assert not any(page.locator(".feature *").evaluate_all(f"found => found.map({over})"))
        words = [*shlex.split(page.locator("#curl").inner_text()), "--silent"]
        said = subprocess.run(words, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert json.loads(said)["outputs"]["odd"]["value"] == 1
    assert json.loads(said)["outputs"]["told; kind"]["prediction"] == "yes"


def test_the_page_says_that_the_service_has_stopped_and_recovers(page, exported, free_port):
    app = create_predict_app(load_predictor(exported))
    with serve(app, port=free_port) as service:
        page.goto(service.url)
        answered(page)
    page.get_by_role("switch").nth(3).press("Space")
    expect(page.locator("#status")).to_contain_text("does not answer")
    expect(page.locator("#probability")).to_have_text("–")
    with serve(app, port=free_port):
        page.get_by_role("switch").nth(3).press("Space")
        answered(page)


@pytest.mark.parametrize("has_canary", [False, True])
def test_the_description_sends_its_own_examples(page, exported, has_canary):
    model, other = load_predictor(exported), load_predictor(exported)
    other.version = "another"
    app = create_predict_app(model, canary=Canary(other, 0.5) if has_canary else None)
    with serve(app, port=0) as service:
        sends_its_own_examples(page, service)


def sends_its_own_examples(page, service):
    complaints = Complaints(page)
    page.goto(f"{service.url}/docs")
    operations = page.locator(".operation")
    expect(operations.first).to_be_visible()
    for number in range(operations.count()):
        operations.nth(number).get_by_role("button", name="Send").press("Enter")
        expect(operations.nth(number).locator("pre").last).to_contain_text(re.compile(r"^200\n"))
    titles = " ".join(operations.locator("h2").all_inner_texts())
    assert all(path in titles for path in ("/predict", "/health/ready", "/metrics")), titles
    expect(operations.last.locator(".curl pre")).to_have_text(f"curl '{service.url}/'")
    assert complaints.found == []


def test_the_description_says_that_the_service_has_stopped(page, exported):
    with serve(create_predict_app(load_predictor(exported)), port=0) as service:
        page.goto(f"{service.url}/docs")
        expect(page.locator(".operation").first).to_be_visible()
    page.get_by_role("button", name="Send").first.click()
    expect(page.locator(".operation pre").nth(1)).to_contain_text("does not answer")
