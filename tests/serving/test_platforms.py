"""The paths under which SageMaker, Vertex AI and KServe ask: the answers of /predict in the platforms' words."""

import csv
import io
import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest
import requests
from conftest import as_requests, passengers

from helpers.data.delimited import read_csv
from helpers.data.input_kinds import Array, Text
from helpers.data.inputs import InputSignature
from helpers.data.outputs import Output
from helpers.data.refusals import InvalidRequest
from helpers.data.signature import Feature, Signature
from helpers.export.predictors import load_predictor
from helpers.serving.notebook_server import serve
from helpers.serving.platforms import content_of
from helpers.serving.services import create_predict_app

NUMBERS = Signature((Feature("a", "real", 0, 10, 1), Feature("b", "binary"), Feature("c", "real", missing=True)), "y")


class Classes:
    """The smallest predictor that answers three classes."""

    def __init__(self):
        from helpers.data.outputs import Output

        outputs = (Output("kind", "classes", ("red", "green, light", "blue")),)
        self.signature, self.version = Signature((Feature("a"), Feature("b")), "y", outputs=outputs), "test"

    def __call__(self, rows):
        return np.tile(np.array([[0.25, 0.5, 0.25]], np.float32), (len(rows), 1))


@pytest.fixture(scope="module")
def url(passengers_model):
    with serve(create_predict_app(load_predictor(passengers_model)), port=0) as server:
        yield server.url


def invoke(url: str, body: str | bytes, kind: str = "text/csv", accept: str | None = None, **headers):
    headers = {"Content-Type": kind, **headers, **({"Accept": accept} if accept else {})}
    data = body.encode() if isinstance(body, str) else body
    return requests.post(f"{url}/invocations", data=data, headers=headers, timeout=20)


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    table = passengers(60).drop(columns="survived")
    return as_requests(table)


@pytest.fixture(scope="module")
def predicted(url, rows) -> list[float]:
    return requests.post(f"{url}/predict", json=rows, timeout=20).json()["predictions"]


def as_csv(rows: list[dict], names: list[str], header: bool) -> str:
    return pd.DataFrame(rows, columns=names).to_csv(index=False, header=header)


NAMES = ["Größe", "gender", "class", "smoker", "siblings"]


@pytest.mark.parametrize(("names", "header"), [(NAMES, False), (NAMES[::-1], True), ([*NAMES, "survived"], True)])
def test_csv_is_answered_as_predict_answers_the_same_rows(url, rows, predicted, names, header):
    answer = invoke(url, as_csv(rows, names, header))
    assert answer.ok and answer.json()["predictions"] == predicted
    assert answer.headers["X-Model-Version"] and answer.headers["X-Request-ID"]


def test_csv_of_single_numbers_and_texts_is_answered_as_predict_answers_them_by_name():
    class Together:
        """Answers how many letters a text has, and a number more."""

        version = "together"
        signature = InputSignature((Text("Wort"), Array("Größe", (1,))), outputs=(Output("value", "number"),))

        def __call__(self, batch):
            texts, numbers = batch.arrays
            return np.array([len(text) for text in texts.reshape(-1)], np.float32) + numbers.reshape(-1)

    client = create_predict_app(Together()).test_client()
    answer = client.post("/predict", json=[{"Wort": "a, b", "Größe": 2.5}, {"wort": "ab", "größe": "3"}])
    for body in ('"a, b",2.5\nab,3\n', 'größe,Wort\n2.5,"a, b"\n3,ab\n'):
        assert client.post("/invocations", data=body, content_type="text/csv").json == answer.json
    refused = client.post("/invocations", data="Wort,nr\na,2\n", content_type="text/csv").json
    assert refused["fields"] == {"[0].Größe": "must be a number"}


def test_the_answer_comes_as_accept_asks(url, rows, predicted):
    body = as_csv(rows, NAMES, True)
    lines = invoke(url, body, accept="text/csv")
    assert lines.headers["Content-Type"].startswith("text/csv")
    assert [float(line) for line in lines.text.splitlines()] == predicted
    found = invoke(url, body, accept="application/jsonlines")
    assert [json.loads(line)["probability"] for line in found.text.splitlines()] == predicted
    preferred = invoke(url, body, accept="application/json;q=0.5, text/csv")
    assert preferred.headers["Content-Type"].startswith("text/csv")
    refused = invoke(url, body, accept="image/png")
    assert refused.status_code == 406 and "text/csv" in refused.json()["error"]


def test_json_and_json_lines_are_read_as_predict_reads_them(url, rows, predicted):
    lines = "\n".join(map(json.dumps, rows)) + "\n\n"
    for each in (lines, "\ufeff" + lines, lines.replace("\n", "\r\n")):
        assert invoke(url, each, "application/jsonlines").json()["predictions"] == predicted
    assert invoke(url, json.dumps(rows), "application/json").json()["predictions"] == predicted
    assert invoke(url, json.dumps({"instances": rows}), "application/json").json()["predictions"] == predicted
    alone = invoke(url, json.dumps(rows[0]), "application/json")
    assert alone.content == requests.post(f"{url}/predict", json=rows[0], timeout=5).content
    assert float(invoke(url, json.dumps(rows[0]), "application/json", "text/csv").text) == predicted[0]


@pytest.mark.parametrize(
    ("body", "kind", "status", "said"),
    [
        ("170,male,1st\n", "text/csv", 422, "row 0 has 3 values, where 5 are wanted: Größe, gender, class"),
        ("170;male;1st;1;2\n", "text/csv", 422, "separate them by commas, not by ';'"),
        ("170,5;male;1st;1;2,0\n", "text/csv", 422, "separate them by commas, not by ';'"),
        ("170,male,1st,yes,0\n170,mal,1st,yes,0\n", "text/csv", 422, "[1].gender: must be one of"),
        ("170,male,1st,yes,many\n", "text/csv", 422, "[0].siblings: not a number"),
        ('170,male,1st,yes,"1\n2"\n', "text/csv", 422, "[0].siblings: not a number"),
        ("Größe,gender,gender\n1,male,male\n", "text/csv", 422, "twice"),
        ("Größe,gender,class\n1,male,1st\n", "text/csv", 422, "[0].smoker: missing"),
        ("", "text/csv", 422, "no rows"),
        ("\n\n", "text/csv", 422, "no rows"),
        ('{"gender": "male"\n', "application/jsonlines", 422, "line 0 is not valid JSON"),
        ('{"gender": "male\u2028"}\n', "application/jsonlines", 422, "[0].class: missing"),
        ('{"gender": "male"}\n{"gender": "male", "gender": "female"}\n', "application/jsonlines", 422, "repeated"),
        (
            '{}\n{"gender": 01}\n',
            "application/jsonlines",
            422,
            "line 1 is not valid JSON: Expecting ',' delimiter at column 13",
        ),
        (
            b'{"gender": "m\xe4nnlich"}',
            "application/jsonlines",
            422,
            "line 0 is not valid JSON: it is not written in UTF-8",
        ),
        ("[1, 2", "application/json", 400, "not valid JSON"),
        ("<x/>", "application/xml", 415, "send application/json, text/csv or application/jsonlines"),
        ("x" * 1_100_000, "text/csv", 413, "the 1,048,576 bytes"),
    ],
)
def test_what_cannot_be_read_is_refused_in_the_service_s_one_shape(url, body, kind, status, said):
    answer = invoke(url, body, kind)
    assert answer.status_code == status, answer.text
    assert answer.json()["success"] is False and said in answer.json()["error"]


def test_ping_follows_readiness():
    class Broken:
        signature, version = NUMBERS, "test"

        def __call__(self, rows):
            raise RuntimeError("no weights")

    app = create_predict_app(Broken())
    assert app.test_client().get("/ping").status_code == 503
    assert create_predict_app(Classes()).test_client().get("/ping").status_code == 200


def test_what_the_caller_gives_along_comes_back(url):
    answer = invoke(url, "170,male,1st,yes,0", **{"X-Amzn-SageMaker-Custom-Attributes": "trace=7"})
    assert answer.ok and answer.headers["X-Amzn-SageMaker-Custom-Attributes"] == "trace=7"


def test_the_key_is_asked_for_under_every_path():
    client = create_predict_app(Classes(), api_key="k").test_client()
    for path in ("/invocations", "/v1/models/any:predict"):
        assert client.post(path, data="1,0", content_type="text/csv").status_code == 401
        assert client.post(path, data="1,0", content_type="text/csv", headers={"X-API-Key": "k"}).status_code == 200


def test_classes_come_with_their_names():
    client = create_predict_app(Classes()).test_client()
    body = {"data": "1,0\n0,1\n", "content_type": "text/csv"}
    lines = client.post("/invocations", **body, headers={"Accept": "text/csv"}).text
    assert list(csv.reader(io.StringIO(lines))) == [["green, light", "0.5"]] * 2
    objects = client.post("/invocations", **body, headers={"Accept": "application/x-ndjson"}).text.splitlines()
    assert [json.loads(line)["label"] for line in objects] == ["green, light"] * 2


@pytest.mark.parametrize("kind", ["application/json", "text/csv", "application/jsonlines"])
def test_an_answer_of_each_kind_is_read_again_for_a_shadow(kind):
    client = create_predict_app(Classes()).test_client()
    answer = client.post("/invocations", json=[{"a": 1, "b": 0}], headers={"Accept": kind})
    found = content_of(answer.data, answer.content_type)
    [row] = found["predictions"] if kind == "application/json" else found
    assert row == (["green, light", 0.5] if kind == "text/csv" else {"label": "green, light", "probability": 0.5})


def test_kserve_asks_for_a_model_by_name(url, rows, predicted):
    assert requests.get(f"{url}/v1/models/titanic", timeout=5).json()["ready"] is True
    answer = requests.post(f"{url}/v1/models/titanic:predict", json={"instances": rows}, timeout=20)
    assert answer.json()["predictions"] == predicted


def test_vertex_says_where_it_will_ask(monkeypatch):
    predict = "/v1/endpoints/7/deployedModels/8:predict"
    monkeypatch.setenv("AIP_PREDICT_ROUTE", predict)
    monkeypatch.setenv("AIP_HEALTH_ROUTE", "/v1/endpoints/7/deployedModels/8")
    client = create_predict_app(Classes()).test_client()
    assert client.get("/v1/endpoints/7/deployedModels/8").status_code == 200
    assert len(client.post(predict, json={"instances": [{"a": 1, "b": 0}]}).json["predictions"]) == 1
    monkeypatch.setenv("AIP_PREDICT_ROUTE", "/predict")  # its own path needs no other
    assert create_predict_app(Classes()).test_client().post("/predict", json={"a": 1, "b": 0}).status_code == 200


def test_what_platforms_ask_is_counted_under_their_paths(monkeypatch):
    monkeypatch.setenv("AIP_PREDICT_ROUTE", "/vertex")
    client = create_predict_app(Classes()).test_client()
    for path in ("/v1/models/a:predict", "/v1/models/b:predict", "/vertex", "/invocations"):
        assert client.post(path, json={"instances": [{"a": 1, "b": 0}]}).status_code == 200
    assert client.post("/v1/models/a/b:predict").status_code == 404
    counted = re.findall(r'^http_requests_total\{.*path="(.*)"\} (.*)', client.get("/metrics").text, re.MULTILINE)
    assert dict(counted) == {
        "/v1/models/{name}:predict": "2.0",
        "/vertex": "1.0",
        "/invocations": "1.0",
        "other": "1.0",
    }


# ---- reading a CSV by columns, against reading it by rows ----


@pytest.mark.parametrize("strict", [False, True])
def test_each_cell_means_what_it_means_in_a_request(strict):
    reader = NUMBERS.reader(strict)
    cells = [
        "1",
        "0.5",
        " 3 ",
        "-0",
        "9.999999",
        "1e1",
        "10",
        "10.5",
        "1e400",
        "nan",
        "1_0",
        "",
        "x",
        "1,5",
        "+2",
        ".5",
    ]
    for a, b, c in itertools.product(cells, ("0", "1", "yes", "off", "2"), ("", "-7.25", "1e-3")):
        text = io.StringIO()
        csv.writer(text).writerow([a, b, c])
        by_name = [{"a": a, "b": b, "c": c}]
        assert outcome(read_csv, reader, text.getvalue()) == outcome(reader.read, by_name), (a, b, c)


def outcome(read, *arguments):
    """What was read, or what was said against it."""
    try:
        found = read(*arguments)
        return found.matrix.tobytes(), found.notes
    except InvalidRequest as error:
        return str(error), error.fields


def test_many_rows_are_the_same_rows_by_name():
    random = np.random.default_rng(0)
    table = pd.DataFrame({"a": random.uniform(-1, 11, 5000).round(6), "b": random.integers(0, 2, 5000)})
    table["c"] = np.where(random.random(5000) < 0.1, np.nan, random.normal(0, 1e4, 5000))
    reader, text = NUMBERS.reader(), table.to_csv(index=False)
    assert np.array_equal(read_csv(reader, text).matrix, reader.read(as_requests(table)).matrix)
