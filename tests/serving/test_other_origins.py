"""What a page of another origin can do to a service, seen in a real browser."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import sync_playwright
from service_processes import serving

from helpers.export.predictors import load_predictor
from helpers.serving.notebook_server import serve
from helpers.serving.services import create_predict_app

pytestmark = pytest.mark.slow  # each starts processes, or a model of its own

ARTICLE = {"g1": 1, **{f"g{i}": 0 for i in range(2, 11)}}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
EVIL = "evil.example"  # a name that points to this machine, as far as the browser is told


@pytest.fixture(scope="module")
def browser(chromium):
    with sync_playwright() as playwright:
        flags = [*FLAGS, f"--host-resolver-rules=MAP {EVIL} 127.0.0.1"]
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def elsewhere():
    """The port of a server of pages: an origin of its own. A page at /frame?URL shows URL in a frame."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self):
            framed = self.path.partition("/frame?")[2]
            body = f'<iframe src="{framed}"></iframe>' if framed else "<p>a page</p>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(params=["notebook", "workers"])
def service(request, exported, free_port, elsewhere, tmp_path):
    """Address of a service with a key, whose answers the origin localhost of `elsewhere` may read."""
    origin = f"http://localhost:{elsewhere}"
    if request.param == "notebook":
        app = create_predict_app(load_predictor(exported), api_key="k", allow_origins=[origin])
        with serve(app, port=0) as server:
            yield server.url
    else:
        key = tmp_path / "key"
        key.write_text("k")
        options = ("--workers", "1", "--api-key-file", key, "--allow-origin", origin)
        with serving(exported, free_port, *options) as (_, url):
            yield url


ASK = """async ([url, body, key]) => {
  const headers = {"Content-Type": "application/json", ...(key ? {"X-API-Key": key} : {})};
  try {
    const answer = await fetch(url + "/predict", {method: "POST", headers, body});
    return [answer.status, await answer.json(), answer.headers.get("X-Request-ID")];
  } catch (error) {
    return String(error);
  }
}"""


def test_a_page_of_an_allowed_origin_reads_predictions_and_errors(page, service, elsewhere):
    page.goto(f"http://localhost:{elsewhere}/")
    status, content, request_id = page.evaluate(ASK, [service, json.dumps(ARTICLE), "k"])
    assert status == 200 and content["success"] is True and request_id
    status, content, _ = page.evaluate(ASK, [service, json.dumps({**ARTICLE, "g1": 7}), "k"])
    assert status == 422 and "g1" in content["fields"]
    status, content, _ = page.evaluate(ASK, [service, json.dumps(ARTICLE), None])
    assert status == 401 and "key" in content["error"]


def test_a_page_of_another_origin_reads_nothing(page, service, elsewhere):
    page.goto(f"http://127.0.0.1:{elsewhere}/")
    assert "TypeError" in page.evaluate(ASK, [service, json.dumps(ARTICLE), "k"])


def test_a_name_that_points_here_opens_nothing(page, service):
    foreign = service.replace("127.0.0.1", EVIL)
    assert page.goto(f"{foreign}/openapi.json").status == 403
    status, _, _ = page.evaluate(ASK, [foreign, json.dumps(ARTICLE), "k"])
    assert status == 403


@pytest.mark.parametrize(("name", "shown"), [("localhost", True), (EVIL, False)])
def test_pages_of_this_machine_may_frame_the_service_and_no_others(page, service, elsewhere, name, shown):
    page.goto(f"http://{name}:{elsewhere}/frame?{service}/docs")
    page.wait_for_load_state("networkidle")
    frame = page.frames[1]
    assert (frame.locator("#title").count() == 1) is shown
