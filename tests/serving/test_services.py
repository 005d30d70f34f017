"""The services beyond single requests: any input at all, the key, the metrics, the swap of a model, steady memory."""

import io
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import threading

import hypothesis
import jsonschema
import numpy as np
import pytest
import requests
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection
from service_processes import until

from helpers.data.input_kinds import Array, Image, Text
from helpers.data.inputs import InputSignature
from helpers.data.outputs import Output
from helpers.data.signature import Feature, Signature
from helpers.export.errors import PredictorError
from helpers.serving.model_slot import ModelRejected, ModelSlot, Watcher
from helpers.serving.notebook_server import serve
from helpers.serving.observability import shared_counts
from helpers.serving.openapi import describe
from helpers.serving.services import create_echo_app, create_predict_app

ARTICLE = {"g1": 1, **{f"g{i}": 0 for i in range(2, 11)}}
GAMES = Signature(tuple(Feature(f"g{i}") for i in range(1, 11)))
MIXED = Signature(
    (Feature("Mean Radius".lower(), "real", 6.5, 28.0, 13.0), Feature("smoker"), Feature("age", "real", 18, 99, 45)),
    "malignant",
)


class Logistic:
    """A small predictor of our own: the services know no more of a model than this."""

    backend = "own"

    def __init__(self, signature: Signature = GAMES, seed: int = 0, version: str = "one"):
        self.signature, self.version = signature, version
        self.weights = np.random.default_rng(seed).normal(size=signature.n).astype(np.float32)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return (1 / (1 + np.exp(-(rows @ self.weights) / 10))).astype(np.float32)


@pytest.fixture(scope="module")
def service():
    with serve(create_predict_app(Logistic()), port=0) as server:
        yield server.url


# ---- any input ----


@pytest.mark.slow
@pytest.mark.parametrize("signature", [GAMES, MIXED], ids=["binary", "mixed"])
def test_the_service_keeps_to_its_own_openapi(signature):
    """What fits the description is answered as described; what does not is refused as described."""
    seen = set()

    def ask(strategy):
        @given(case=strategy)
        @hypothesis.settings(
            max_examples=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        def check(case):
            takes_bad_rows = (case.query or {}).get("errors") == "rows"  # which are null in the answer
            excluded = [negative_data_rejection] if takes_bad_rows else []
            answer = case.call_and_validate(timeout=10, excluded_checks=excluded)
            seen.add((case.method, case.path, answer.status_code))

        check()

    with serve(create_predict_app(Logistic(signature)), port=0) as server:
        schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
        for operation in (result.ok() for result in schema.get_all_operations()):
            ask(operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
            if operation.path == "/predict":
                ask(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
    paths = describe(signature, "x")["paths"]
    described = {(method.upper(), path) for path in paths for method in paths[path] if path != "/openapi.json"}
    assert {(method, path) for method, path, _ in seen} >= described  # schemathesis leaves the description itself out
    for method in ("GET", "POST"):
        assert {(method, "/predict", 200), (method, "/predict", 422)} <= seen


class Alike:
    """A model that answers every row alike."""

    version = "one"

    def __init__(self, answer: float | list, signature: InputSignature):
        self.answer, self.signature = np.float32(answer), signature

    def __call__(self, rows):
        return np.broadcast_to(self.answer, (len(rows), *self.answer.shape))


@pytest.mark.parametrize("app", [create_echo_app(), create_predict_app(Logistic())], ids=["echo", "predict"])
def test_a_path_that_there_is_not_is_answered_with_those_that_there_are(app):
    client = app.test_client()
    for prefix in ("", "/proxy"):
        error = client.get("/nothing", base_url=f"http://localhost{prefix}/").json["error"]
        paths = re.findall(r" (/[^ ,]*)", error)
        assert paths and all(path.startswith(f"{prefix}/") for path in paths)
        assert all(client.get(path.removeprefix(prefix)).status_code != 404 for path in paths)


def test_a_value_of_several_types_and_an_array_are_described_so_that_clients_can_be_generated():
    """A generator leaves out what has an enum of several types, or an array without `items`, and all that holds it."""
    outputs = (Output(name="map", kind="array"), Output(name="price", kind="number"))
    signature = Signature((Feature("member"), Feature("left", missing=True)), "y", outputs=outputs)
    row = describe(signature, "x")["components"]["schemas"]["Row"]
    for value, fits in {0: True, True: True, "1": True, 2: False, "yes": False, None: False}.items():
        assert jsonschema.Draft202012Validator(row).is_valid({"member": value}) == fits
        assert jsonschema.Draft202012Validator(row).is_valid({"member": 0, "left": value}) == (fits or value is None)

    def look(schema):
        if isinstance(schema, dict):
            assert len(set(map(type, schema.get("enum", [0])))) == 1, schema
            assert schema.get("type") != "array" or "items" in schema, schema
            schema = schema.values()
        if not isinstance(schema, str | int | float | None):
            for each in schema:
                look(each)

    look(describe(signature, "x"))


PICTURE = Image("pixels", (8, 8, 1))
OF_INPUTS = {
    "array": (InputSignature((Array("ids", (2,), "int64"),)), 0.5, [1, 2**53 + 1]),
    "text": (InputSignature((Text("review"),)), 0.5, "a good one"),
    "picture": (
        InputSignature((PICTURE,), outputs=(Output(kind="classes", classes=("cat", "dog")),)),
        [0.25, 0.75],
        PICTURE.example(),
    ),
    "several": (InputSignature((Text("city"), Array("age", (1,)))), 0.5, None),
}


@pytest.mark.parametrize("name", OF_INPUTS)
def test_each_way_to_send_other_inputs_is_described_and_so_is_its_answer(name):
    signature, answer, value = OF_INPUTS[name]
    client = create_predict_app(Alike(answer, signature)).test_client()
    document = client.get("/openapi.json").json
    operations = document["paths"]["/predict"]

    def fits(content, schema) -> bool:
        return jsonschema.Draft202012Validator({**schema, "components": document["components"]}).is_valid(content)

    row = signature.example()
    sent = [row, [row, row], {"instances": [row]}, *([] if value is None else [[value], {"instances": [value, value]}])]
    for body in sent:
        got = client.post("/predict", json=body)
        assert got.status_code == 200, got.text
        takes, answers = operations["post"]["requestBody"], operations["post"]["responses"]["200"]
        assert fits(body, takes["content"]["application/json"]["schema"]), body
        assert fits(got.json, answers["content"]["application/json"]["schema"]), got.text
    if name in ("text", "several"):
        assert [each["name"] for each in operations["get"]["parameters"]] == list(row)
        form = operations["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"]
        assert fits(row, form["schema"])
        for got in (client.get("/predict", query_string=row), client.post("/predict", data=row)):
            assert got.status_code == 200, got.text


def test_a_text_in_a_form_of_parts_is_read_as_utf_8_or_refused():
    client = create_predict_app(Alike(0.5, InputSignature((Text("text"),)))).test_client()

    def sent(content: bytes, kind: bytes = b"text/plain"):
        head = b'--x\r\nContent-Disposition: form-data; name="text"\r\nContent-Type: ' + kind
        body = head + b"\r\n\r\n" + content + b"\r\n--x--\r\n"
        return client.post("/predict", data=body, content_type="multipart/form-data; boundary=x")

    for content in ("café".encode(), "\ufffd".encode()):
        assert sent(content).status_code == 200
    assert sent(b"caf\xe9", b"text/plain; charset=iso-8859-1").status_code == 200  # which says how it is to be read
    got = sent(b"caf\xe9")
    assert (got.status_code, got.json["fields"]) == (422, {"text": "is no text in UTF-8: send it in that encoding"})


values = st.one_of(
    st.sampled_from(
        ["0", "1", "0", "1", "2", "-1", "nan", "inf", "", " ", "1e400", "1_0", "٣", "true", "0x1", "1.0", "+1"]
    ),
    st.text(max_size=8),
    st.floats().map(str),
)
names = st.one_of(st.sampled_from(list(ARTICLE)), st.sampled_from(["G1", "g11", "", "g 1"]), st.text(max_size=6))
any_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from([0, 1])),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=12)),
    max_leaves=30,
)
any_row = st.one_of(
    st.fixed_dictionaries({name: st.one_of(st.sampled_from([0, 1]), values) for name in ARTICLE}),
    st.fixed_dictionaries({name: st.sampled_from([0, 1, True, "1"]) for name in ARTICLE}),
    st.dictionaries(names, values, max_size=12),
)
on_a_socket = hypothesis.settings(
    max_examples=150,
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)


def is_prediction_or_names_the_field(answer: requests.Response, known: set[str]) -> None:
    """The one thing that may come of a request for one prediction, whatever was sent."""
    content = answer.json()
    if answer.status_code == 200:
        assert content["success"] is True and 0 <= content["probability"] <= 1
        assert float(content["prediction"]) == content["probability"]
    else:
        assert answer.status_code == 422 and content["success"] is False
        assert content["fields"] and set(content["fields"]) <= known


@pytest.mark.slow
@on_a_socket
@given(pairs=st.lists(st.tuples(names, values), max_size=14))
def test_every_query_is_a_prediction_or_a_422_that_names_the_field(service, pairs):
    known = set(ARTICLE) | {name for name, _ in pairs}
    is_prediction_or_names_the_field(requests.get(f"{service}/predict", params=pairs), known)
    is_prediction_or_names_the_field(requests.post(f"{service}/predict", data=pairs), known)


@on_a_socket
@given(row=any_row)
def test_query_form_and_json_of_a_row_agree_in_everything(service, row):
    known = set(ARTICLE) | set(row)
    as_text = {name: str(int(v) if isinstance(v, bool) else v) for name, v in row.items()}
    answers = [
        requests.get(f"{service}/predict", params=as_text),
        requests.post(f"{service}/predict", data=as_text),
        requests.post(f"{service}/predict", json=as_text),
    ]
    for answer in answers:
        is_prediction_or_names_the_field(answer, known)
    assert len({(answer.status_code, json.dumps(answer.json(), sort_keys=True)) for answer in answers}) == 1


@on_a_socket
@given(content=any_json)
def test_any_json_at_all_gets_predictions_or_a_422(service, content):
    body = json.dumps(content)
    answer = requests.post(f"{service}/predict", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 422)
    assert answer.json()["success"] is (answer.status_code == 200)


@on_a_socket
@given(body=st.binary(max_size=200), kind=st.sampled_from(["application/json", "application/x-www-form-urlencoded",
       "multipart/form-data; boundary=x", "multipart/form-data", "text/plain", "", "\x7f"]))  # fmt: skip
def test_any_bytes_at_all_get_an_answer_in_json(service, body, kind):
    answer = requests.post(f"{service}/predict", data=body, headers={"Content-Type": kind})
    assert answer.status_code in (200, 400, 413, 415, 422) and answer.json()["success"] is (answer.status_code == 200)


def test_other_features_than_the_games_are_served_as_well():
    model = Logistic(MIXED)
    row = {"mean radius": 13.5, "smoker": 1, "age": 40}
    want = str(model(MIXED.parse(row))[0])
    with serve(create_predict_app(model), port=0) as server:
        for answer in (
            requests.get(f"{server.url}/predict", params=row),
            requests.post(f"{server.url}/predict", json={"AGE": "40", "Smoker": True, "Mean Radius": 13.5}),
            requests.post(f"{server.url}/predict", data=row),
        ):
            assert answer.json()["prediction"] == want
        beyond = requests.get(f"{server.url}/predict", params={**row, "age": 100})
        assert beyond.json()["notes"] == {"age": "100 is outside of 18 to 99, which the model was trained on"}
        assert "mean radius" in requests.get(server.url).text


def test_a_feature_may_be_called_as_the_list_of_rows_is():
    signature = Signature((Feature("instances", "real", 0, 9), Feature("inputs")), "y")
    model = Logistic(signature)
    row = {"instances": 3, "inputs": 1}
    client = create_predict_app(model).test_client()
    alone = client.post("/predict", json=row).get_json()["probability"]
    assert client.post("/predict", json={"instances": [row]}).get_json()["predictions"] == [alone]


# ---- the fast lane ----


def test_the_fast_lane_gives_the_bytes_and_headers_of_the_flask_view():
    fast, flask = create_predict_app(Logistic()), create_predict_app(Logistic())

    @flask.before_request
    def count():  # a hook sends every request through Flask
        hooked.append(1)

    hooked = []
    questions = [ARTICLE, {**ARTICLE, "g3": 1}, {**ARTICLE, "g3": 7}, {}, {**ARTICLE, "G1": 0}]
    with serve(fast, port=0) as one, serve(flask, port=0) as two:
        for question in questions:
            a, b = (requests.get(f"{server.url}/predict", params=question) for server in (one, two))
            assert (a.status_code, a.content) == (b.status_code, b.content)
            assert set(a.headers) == set(b.headers) and a.headers["Content-Type"] == b.headers["Content-Type"]
    assert len(hooked) == len(questions)


# ---- a model that fails ----


class Broken(Logistic):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def __call__(self, rows):
        if isinstance(self.answer, Exception):
            raise self.answer
        return np.full(len(rows), self.answer, dtype=np.float32)


class OfFew(Logistic):
    """A model without an answer to some rows: its numbers overflow, or it looks up what is not in its list."""

    def __call__(self, rows):
        if rows[:, 1].any():
            raise IndexError("indices element out of data bounds, idx=7 must be within the inclusive range [-4,3]")
        return np.where(rows[:, 0] == 1, np.nan, super().__call__(rows)).astype(np.float32)


class OfFewArrays:
    signature = InputSignature((Array("x", (2,)),), "y", (Output("risk"), Output("days", "array", shape=(2,))))

    def __call__(self, batch):
        rows = batch.arrays[0]
        if rows[:, 1].any():
            raise IndexError("indices element out of data bounds, idx=7 must be within the inclusive range [-4,3]")
        found = np.where(rows[:, 0] == 1, np.nan, 0.5).astype(np.float32)
        return found, np.stack([found, found], axis=1)


@pytest.mark.parametrize("model", [OfFew, OfFewArrays])
def test_a_row_of_a_list_without_an_answer_is_named_where_the_others_are_to_be_answered(model):
    def row(first, second):
        values = {"x": [first, second]} if model is OfFewArrays else {**ARTICLE, "g1": first, "g2": second}
        return {"x9": 1} if first is None else values

    rows = [row(0, 0)] * 600 + [row(1, 0), row(0, 0), row(None, 0), row(0, 1), row(0, 0)]
    with serve(create_predict_app(model(), warm_up=False), port=0) as server:
        url = f"{server.url}/predict"
        good = requests.post(url, json=[rows[0]]).json()["predictions"][0]
        found = requests.post(f"{url}?errors=rows", json=rows).json()
        assert found["success"] and found["predictions"] == [good] * 600 + [None, good, None, None, good]
        assert found["errors"]["[600]"].startswith("the model answered with numbers that are not finite")
        assert found["errors"]["[603]"].startswith("the model has no entry for 7")
        assert all(each.startswith(("[600]", "[602]", "[603]")) for each in found["errors"])
        assert requests.post(url, json=rows[:602]).status_code == 500
        assert requests.post(url, json=rows[603:]).status_code == 422


@pytest.mark.parametrize("answer", [RuntimeError("secret detail"), np.nan, np.inf], ids=str)
def test_a_model_failure_is_a_500_whose_cause_is_in_the_log_only(caplog, answer):
    with serve(create_predict_app(Broken(answer)), port=0) as server, caplog.at_level(logging.ERROR):
        for got in (
            requests.get(f"{server.url}/predict", params=ARTICLE),
            requests.post(f"{server.url}/predict", json=[ARTICLE]),
        ):
            content = got.json()
            assert got.status_code == 500 and content["success"] is False
            request_id = got.headers["X-Request-ID"]
            assert request_id in content["error"] and "secret" not in got.text
            assert ("finite" in content["error"]) is (
                not isinstance(answer, Exception)
            )  # whose numbers may be too large
            assert any(request_id in record.getMessage() for record in caplog.records)
        assert requests.get(f"{server.url}/health/live").ok
        assert requests.get(f"{server.url}/health/ready").status_code == 503
    assert ("secret detail" in caplog.text) is isinstance(answer, Exception)


def test_a_service_is_ready_only_when_its_model_has_answered():
    with serve(create_predict_app(Logistic(), warm_up=False), port=0) as server:
        ready = requests.get(f"{server.url}/health/ready")
        assert ready.status_code == 503 and ready.json()["success"] is False
        assert requests.get(f"{server.url}/predict", params=ARTICLE).ok
        assert requests.get(f"{server.url}/health/ready").ok


# ---- the key ----


def test_the_key_is_asked_for_by_predictions_and_metrics_only():
    with serve(create_predict_app(Logistic(), api_key="open sesame"), port=0) as server:
        for path in ("/predict", "/metrics"):
            url = server.url + path
            for headers in ({}, {"X-API-Key": "open"}, {"Authorization": "Bearer x"}, {"Authorization": "open sesame"}):
                answer = requests.get(url, params=ARTICLE, headers=headers)
                assert answer.status_code == 401 and "WWW-Authenticate" in answer.headers
                assert answer.json()["success"] is False and "sesame" not in answer.text
            assert requests.get(url, params=ARTICLE, headers={"X-API-Key": "open sesame"}).ok
            assert requests.get(url, params=ARTICLE, headers={"Authorization": "Bearer open sesame"}).ok
        assert requests.post(f"{server.url}/predict", json=ARTICLE).status_code == 401
        assert requests.post(f"{server.url}/predict", json=ARTICLE, headers={"X-API-Key": "open sesame"}).ok
        for path in ("/health/live", "/health/ready", "/", "/docs", "/openapi.json"):
            assert requests.get(server.url + path).ok
        assert "securitySchemes" in requests.get(f"{server.url}/openapi.json").json()["components"]


# ---- what an operator sees ----


def metric(url: str, line: str) -> float:
    """The value of one line of /metrics; 0 where it is not there."""
    lines = requests.get(f"{url}/metrics").text.splitlines()
    return next((float(found.rpartition(" ")[2]) for found in lines if found.startswith(line + " ")), 0.0)


def test_requests_latency_errors_and_model_are_counted():
    with serve(create_predict_app(Logistic()), port=0) as server:
        for _ in range(3):
            requests.get(f"{server.url}/predict", params=ARTICLE)
        requests.get(f"{server.url}/predict")
        requests.post(f"{server.url}/predict", data=b"{", headers={"Content-Type": "application/json"})
        for i in range(5):
            requests.get(f"{server.url}/scanner/{i}")
        ok = 'http_requests_total{code="200",method="GET",path="/predict"}'
        assert metric(server.url, ok) == 3
        assert metric(server.url, 'http_request_seconds_count{path="/predict"}') == 5
        assert metric(server.url, 'http_errors_total{kind="invalid"}') == 1
        assert metric(server.url, 'http_errors_total{kind="malformed"}') == 1
        assert metric(server.url, 'http_requests_total{code="404",method="GET",path="other"}') == 5
        assert metric(server.url, 'model_info{backend="own",version="one"}') == 1
        assert "scanner" not in requests.get(f"{server.url}/metrics").text


@pytest.mark.skipif(os.name != "posix", reason="Windows has no lock on a folder")
def test_the_counts_of_a_service_that_was_killed_go_and_those_of_another_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "prediction-metrics.left"
    left.mkdir()
    (left / "counter_0.db").write_bytes(bytes(8))
    with shared_counts(1) as first:
        assert [*tmp_path.iterdir()] == [first]
        with shared_counts(1):
            assert first.exists()
    assert [*tmp_path.iterdir()] == []


def test_the_access_log_is_a_json_line_per_request():
    log = io.StringIO()
    with serve(create_echo_app(access_log=log), port=0) as server:
        requests.get(f"{server.url}/predict", params={"msg": "private"}, headers={"X-Request-ID": "a1"})
        requests.get(f"{server.url}/predict")
    first, second = map(json.loads, log.getvalue().splitlines())
    assert first["id"] == "a1" and first["status"] == 200 and first["method"] == "GET" and first["path"] == "/predict"
    assert second["status"] == 422 and "private" not in log.getvalue()


# ---- another model while it serves ----


def test_a_swap_changes_the_answers_and_fails_no_request():
    slot = ModelSlot(Logistic())
    new = Logistic(seed=1, version="two")
    legal = {str(model(GAMES.parse(ARTICLE))[0]) for model in (slot.current, new)}
    seen, stop = [], threading.Event()

    def ask():
        with requests.Session() as session:
            while not stop.is_set():
                seen.append(session.get(f"{server.url}/predict", params=ARTICLE).json()["prediction"])

    with serve(create_predict_app(slot), port=0) as server:
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        swap = slot.swap(lambda: new)
        after = requests.get(f"{server.url}/predict", params=ARTICLE).json()["prediction"]
        stop.set()
        for thread in threads:
            thread.join()
        assert metric(server.url, 'model_info{backend="own",version="two"}') == 1
        assert metric(server.url, 'model_info{backend="own",version="one"}') == 0
        assert metric(server.url, 'model_swaps_total{result="ok"}') == 1
    assert (swap.old, swap.new) == ("one", "two") and 0 < swap.largest_change < 1
    assert set(seen) <= legal and after == str(new(GAMES.parse(ARTICLE))[0])


def raise_damaged():
    raise OSError("model.onnx is damaged")


@pytest.mark.parametrize(
    ("load", "why"),
    [
        (raise_damaged, "model.onnx is damaged"),
        (lambda: Logistic(MIXED), "other features"),
        (lambda: Broken(np.nan), "numbers that are not finite$"),
        (lambda: Broken(7.0), "probabilities"),
        (lambda: Broken(RuntimeError("no weights")), "no weights"),
        (lambda: "text", "signature"),
    ],
)
def test_a_bad_model_is_rejected_and_the_old_one_goes_on(load, why):
    slot = ModelSlot(Logistic())
    with serve(create_predict_app(slot), port=0) as server:
        before = requests.get(f"{server.url}/predict", params=ARTICLE).content
        with pytest.raises(ModelRejected, match=why) as rejected:
            slot.swap(load)
        assert "one goes on serving" in str(rejected.value)
        assert requests.get(f"{server.url}/predict", params=ARTICLE).content == before
        assert metric(server.url, 'model_swaps_total{result="rejected"}') == 1


def test_a_model_that_takes_the_features_in_another_order_may_replace_the_first():
    turned = Logistic(Signature(tuple(reversed(GAMES.features))), version="turned")
    slot = ModelSlot(Logistic())
    turned.weights = slot.current.weights[::-1].copy()
    with serve(create_predict_app(slot), port=0) as server:
        before = requests.get(f"{server.url}/predict", params=ARTICLE).json()["probability"]
        assert slot.swap(lambda: turned).largest_change < 1e-6
        assert requests.get(f"{server.url}/predict", params=ARTICLE).json()["probability"] == pytest.approx(before)


def test_the_watcher_swaps_in_what_was_written_and_survives_what_is_broken(tmp_path, caplog):
    file = tmp_path / "model.txt"
    file.write_text("0")
    load = lambda: Logistic(seed=int(file.read_text()), version=file.read_text())  # noqa: E731
    slot = ModelSlot(load())
    swapped = threading.Condition()
    results = []

    def tell(result):
        with swapped:
            results.append(result)
            swapped.notify_all()

    slot.on_swap.append(tell)
    watcher = Watcher(slot, tmp_path, load, seconds=0.02)
    try:
        for content, want, version in (
            ("7", "ok", "7"),
            ("broken", "rejected", "7"),
            ("31", "ok", "31"),
            ("31", "ok", "31"),
        ):
            file.write_text(content)
            with swapped:
                assert swapped.wait_for(lambda want=want: results[-1:] == [want], timeout=10)
                results.clear()
            assert slot.version == version
    finally:
        watcher.stop()
    said = [record.getMessage().partition(",")[0] for record in caplog.records if record.levelname == "WARNING"]
    assert said == ["model 0 replaced by 7", "model 7 replaced by 31"]  # nothing of what was written as it was


def test_a_model_for_which_memory_was_wanting_is_tried_again_and_another_is_not(tmp_path, caplog):
    file, tried = tmp_path / "model.txt", []
    file.write_text("0")

    def load():
        tried.append(file.read_text())
        if tried[-1] == "large" and tried.count("large") < 3:
            try:
                bytearray(2**62)
            except MemoryError as error:
                raise PredictorError("it cannot be served") from error
        return Logistic(seed=len(tried[-1]), version=tried[-1] if tried[-1] != "bad" else 1 / 0)

    slot = ModelSlot(load())
    watcher = Watcher(slot, tmp_path, load, seconds=0.02, again=0.05)
    try:
        for content, want, count in (("large", "large", 3), ("bad", "large", 1), ("next", "next", 1)):
            file.write_text(content)
            until(lambda content=content, count=count: tried.count(content) == count)
            until(lambda want=want: slot.version == want)
    finally:
        watcher.stop()
    assert tried == ["0", "large", "large", "large", "bad", "next"]


# ---- for a long time ----

LONG = """
import gc, sys, threading
import psutil, requests
from helpers.export.predictors import load_predictor
from helpers.serving.notebook_server import serve
from helpers.serving.services import create_predict_app

right, process = {"g1": 1, **{f"g{i}": 0 for i in range(2, 11)}}, psutil.Process()

def standing():
    gc.collect()
    descriptors = process.num_handles() if psutil.WINDOWS else process.num_fds()
    return threading.active_count(), descriptors, process.memory_info().rss

with serve(create_predict_app(load_predictor(sys.argv[1])), port=0) as server, requests.Session() as session:
    url = f"{server.url}/predict"

    def ask(times):
        for i in range(times):
            assert session.get(url, params={**right, "g2": i % 2}).status_code == 200
            assert session.get(url, params={**right, "g1": 5}).status_code == 422
            assert session.post(url, json=[right] * 5).status_code == 200
            session.get(f"{server.url}/nothing/{i}")
            if i % 10 == 0:
                requests.get(url, params=right, headers={"X-Request-ID": f"own-{i}"})  # a connection of its own

    ask(150)
    before = standing()
    ask(600)
    after = standing()
assert after[:2] == before[:2], (before, after)
assert after[2] - before[2] < 5e6, (before, after)
"""


@pytest.mark.slow
def test_thousands_of_requests_leave_threads_descriptors_and_memory_as_they_were(exported):
    """In a process of its own, whose memory is the service's alone."""
    done = subprocess.run([sys.executable, "-c", LONG, exported], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
