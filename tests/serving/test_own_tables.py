"""An endpoint for a table of one's own speaks that table's language: its names, its texts, its missing values."""

import json
import re
import socket
import subprocess
import sys
import time
from urllib.parse import urlencode, urlsplit

import numpy as np
import pandas as pd
import pytest
import requests
from conftest import passengers

from helpers import PROJECT
from helpers.data.tables import load_table
from helpers.export.pipeline import train_and_export
from helpers.export.predictors import load_predictor
from helpers.serving.model_slot import ModelRejected, ModelSlot
from helpers.serving.notebook_server import serve
from helpers.serving.services import create_predict_app

pytestmark = pytest.mark.slow  # all ask one model that is trained for them

SOMEBODY = {"Größe": 171, "gender": "female", "class": "2nd", "smoker": "no", "siblings": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    passengers().to_csv(folder / "passengers.csv", index=False)
    formats = ("keras", "onnx", "npz")
    train_and_export(folder / "model", folder / "passengers.csv", "survived", epochs=30, formats=formats)
    return folder


@pytest.fixture(scope="module")
def service(folder):
    with serve(create_predict_app(load_predictor(folder / "model")), port=0) as server:
        yield server.url


def ask(service, **changes):
    return requests.get(f"{service}/predict", params={**SOMEBODY, **changes}, timeout=10)


def test_every_row_of_the_table_is_answered_as_the_model_answers_it(service, folder):
    table = load_table(folder / "passengers.csv", "survived")
    predictor = load_predictor(folder / "model")
    want = predictor(table.signature().encode(table.frame))
    rows = passengers().astype(object).where(passengers().notna(), None).to_dict("records")  # the label sent along
    answer = requests.post(f"{service}/predict", json=rows, timeout=20).json()
    assert answer.keys() == {"predictions", "success"}
    np.testing.assert_array_equal(np.float32(answer["predictions"]), want)
    for row, probability in list(zip(rows, want, strict=True))[:40]:
        as_text = {name: "" if value is None else value for name, value in row.items()}
        one = requests.get(f"{service}/predict", params=as_text, timeout=10).json()
        assert np.float32(one["probability"]) == pytest.approx(probability, abs=1e-6)


def test_the_card_says_what_each_column_became_and_how_good_the_model_is(folder):
    card = load_predictor(folder / "model").card
    kinds = [column["kind"] for column in card["columns"]]
    assert kinds == ["number", "yes/no", "category", "yes/no", "number", "label"]
    assert card["signature"]["positive"] == "yes"
    assert card["metrics"]["test_auc"] > 0.8
    assert card["parity"]["limit"] < 1e-4 and card["parity"]["proved"]


def test_a_number_outside_of_training_is_answered_with_a_note(service):
    answer = ask(service, siblings=9)
    assert answer.status_code == 200
    assert list(answer.json()) == ["prediction", "probability", "notes", "success"]
    assert answer.json()["notes"] == {"siblings": "9 is outside of 0 to 4, which the model was trained on"}
    rows = [SOMEBODY, {**SOMEBODY, "siblings": 9}]
    assert requests.post(f"{service}/predict", json=rows, timeout=10).json()["notes"].keys() == {"[1].siblings"}


def test_a_strict_service_refuses_it_and_says_so_in_its_description(folder):
    with serve(create_predict_app(load_predictor(folder / "model"), strict=True), port=0) as server:
        answer = ask(server.url, siblings=9)
        schemas = requests.get(f"{server.url}/openapi.json", timeout=10).json()["components"]["schemas"]
    assert answer.status_code == 422
    assert answer.json()["fields"] == {"siblings": "must be between 0 and 4"}
    assert schemas["Row"]["properties"]["siblings"]["maximum"] == 4


def test_a_category_never_seen_is_refused_with_what_it_may_be_or_answered_where_that_is_wanted(service, folder):
    refused = ask(service, **{"class": "3rd", "gender": "femal"})
    assert refused.status_code == 422
    assert refused.json()["fields"] == {
        "class": "must be one of 1st, 2nd, deck crew",
        "gender": "must be one of female, male; did you mean female?",
    }
    with serve(create_predict_app(load_predictor(folder / "model"), unseen="answer"), port=0) as server:
        answer = ask(server.url, **{"class": "3rd"})
    assert answer.status_code == 200 and answer.json()["notes"].keys() == {"class"}


def test_a_refusal_is_read_in_the_tables_own_letters(service):
    refused = ask(service, **{"Größe": "groß"})
    assert refused.status_code == 422 and "Größe: not a number" in refused.content.decode()
    for name in ("\ud800", "Gr\ud83d"):  # half a letter, which UTF-8 cannot hold
        body = json.dumps({**SOMEBODY, name: 1})
        headers = {"Content-Type": "application/json"}
        answer = requests.post(f"{service}/predict", data=body, headers=headers, timeout=10)
        assert answer.status_code in (400, 422) and not answer.json()["success"], answer.text
        url = f"{service}/predict?errors=rows"
        answer = requests.post(url, data=f"[{body}]", headers=headers, timeout=10)
        assert answer.status_code in (200, 400) and answer.json(), answer.text


def test_a_bad_row_of_a_list_is_null_and_named_where_that_is_wanted(service):
    rows = [SOMEBODY, {**SOMEBODY, "gender": "x"}, 5, {**SOMEBODY, "siblings": 3}]
    whole = requests.post(f"{service}/predict", json=rows, timeout=10)
    assert whole.status_code == 422
    answer = requests.post(f"{service}/predict?errors=rows", json=rows, timeout=10)
    content = answer.json()
    assert answer.status_code == 200
    assert [prediction is None for prediction in content["predictions"]] == [False, True, True, False]
    assert content["errors"] == {
        "[1].gender": "must be one of female, male",
        "[2]": "must be an object of names and values: of Größe, gender, class, smoker, siblings",
    }
    alone = [ask(service).json()["probability"], ask(service, siblings=3).json()["probability"]]
    assert [content["predictions"][0], content["predictions"][3]] == pytest.approx(alone, abs=1e-6)
    nothing = requests.post(f"{service}/predict?errors=rows", json=[5, 6], timeout=10).json()
    assert nothing["predictions"] == [None, None] and nothing["success"]


def test_a_list_of_good_rows_is_the_same_with_and_without_it(service):
    plain = requests.post(f"{service}/predict", json=[SOMEBODY] * 3, timeout=10)
    going_on = requests.post(f"{service}/predict?errors=rows", json=[SOMEBODY] * 3, timeout=10)
    assert plain.content == going_on.content


@pytest.fixture(scope="module")
def workers(folder):
    """The same model behind `tutorial.py serve`."""
    command = [sys.executable, "-m", "helpers", "serve", "--model", folder / "model", "--workers", "1", "--port", "0"]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    said = process.stdout.readline()
    yield re.search(r"http://[\d.]+:\d+", said)[0]
    process.terminate()
    process.wait(timeout=20)


@pytest.mark.parametrize("server", ["service", "workers"])
@pytest.mark.parametrize("encoded", ["größe=171", "gr%C3%B6%C3%9Fe=171", "GRÖSSE=171", "gro\u0308ße=171"])
def test_curl_may_send_unicode_as_it_is_in_an_address_and_in_a_form(server, encoded, request):
    url = f"{request.getfixturevalue(server)}/predict"
    rest = urlencode({name: value for name, value in SOMEBODY.items() if name != "Größe"})
    for arguments in ([f"{url}?{encoded}&{rest}"], [f"{url}?{rest}&{encoded}"], ["--data", f"{encoded}&{rest}", url]):
        done = subprocess.run(["curl", "-sS", *arguments], capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == ask(request.getfixturevalue("service")).json()


@pytest.mark.parametrize("server", ["service", "workers"])
def test_a_body_in_unicode_may_arrive_in_pieces(server, request):
    body = json.dumps(SOMEBODY, ensure_ascii=False).encode()
    url = urlsplit(request.getfixturevalue(server))
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    with socket.create_connection((url.hostname, url.port), timeout=10) as connection:
        for piece in (f"{head}\r\n\r\n".encode(), body[:4], body[4:]):
            connection.sendall(piece)
            time.sleep(0.05)  # so that each is a segment of its own
        answer = connection.recv(10_000)
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == ask(request.getfixturevalue("service")).json()


def test_a_value_with_a_blank_can_be_typed_into_curl(service):
    rest = urlencode({name: value for name, value in SOMEBODY.items() if name != "class"})
    command = ["curl", "-sSG", "--data-urlencode", "class=deck crew", "--data", rest, f"{service}/predict"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["success"]


def test_the_description_speaks_the_tables_language(service):
    document = requests.get(f"{service}/openapi.json", timeout=10).json()
    row = document["components"]["schemas"]["Row"]
    assert list(row["properties"]) == ["Größe", "gender", "class", "smoker", "siblings"]
    assert row["required"] == ["gender", "class", "smoker", "siblings"]
    assert row["properties"]["class"]["enum"] == ["1st", "2nd", "deck crew"]
    assert "The probability of survived = yes, given 5 features" in document["info"]["description"]


def test_a_new_model_of_the_table_is_swapped_in_and_one_that_answers_the_opposite_is_not(folder, tmp_path):
    """A table that grew: another category, another range."""
    table = passengers()
    grown = pd.concat([table, table.assign(**{"class": "3rd", "siblings": 7})])
    grown.to_csv(tmp_path / "grown.csv", index=False)
    quick = {"label": "survived", "epochs": 2, "formats": ("onnx",)}
    train_and_export(tmp_path / "new", tmp_path / "grown.csv", **quick)
    train_and_export(tmp_path / "opposite", tmp_path / "grown.csv", positive="no", **quick)
    slot = ModelSlot(load_predictor(folder / "model"))
    with serve(create_predict_app(slot), port=0) as server:
        assert ask(server.url, **{"class": "3rd"}).status_code == 422
        swap = slot.swap(lambda: load_predictor(tmp_path / "new"))
        assert 0 < swap.largest_change <= 1
        assert "notes" not in ask(server.url, **{"class": "3rd", "siblings": 7}).json()
        with pytest.raises(ModelRejected, match="survived = no where the one before predicts survived = yes"):
            slot.swap(lambda: load_predictor(tmp_path / "opposite"))
