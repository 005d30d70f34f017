"""What the last hour's requests look like beside the training's rows: counted by each way in, added up, and told."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import requests
from conftest import as_requests, passengers
from service_processes import serving, until, workers_at_work

from helpers.data.distribution import Distribution
from helpers.data.signature import Signature
from helpers.export.pipeline import ensure_export
from helpers.export.predictors import load_predictor
from helpers.serving.drift import AT_LEAST, Drift
from helpers.serving.model_slot import ModelSlot
from helpers.serving.services import create_predict_app
from helpers.serving.several import create_models_app

LINE = re.compile(r"^(model_(?:feature_psi|score_psi|watched_rows))\{(.*)\} (\S+)$", re.MULTILINE)


def told(text: str) -> dict[tuple[str, str], float]:
    """{(metric, feature): value} of the drift in what /metrics says."""
    found = {}
    for name, labels, value in LINE.findall(text):
        feature = re.search(r'feature="([^"]*)"', labels)
        found[name, feature[1] if feature else ""] = float(value)
    return found


def rows_of(count: int, seed: int = 1) -> list[dict]:
    return as_requests(passengers(count).sample(frac=1, random_state=seed).drop(columns="survived"))


@pytest.fixture(scope="module")
def model(passengers_model):
    return load_predictor(passengers_model)


def test_the_card_says_how_the_training_rows_were_distributed(model):
    data = model.card["distribution"]
    assert data["rows"] == model.card["metrics"]["rows"] - model.card["metrics"]["test_rows"]
    assert set(data["features"]) == set(model.signature.names)
    assert len(data["features"]["class"]["counts"]) == 3 + 1  # three berths, and one that training never saw
    assert len(data["features"]["Größe"]["counts"]) == 10 + 1  # deciles, and missing
    for found in (*data["features"].values(), data["score"]):
        assert sum(found["counts"]) == data["rows"]


def test_it_stays_in_the_card_when_the_model_is_exported_in_more_formats(model, passengers_model, tmp_path):
    folder = shutil.copytree(passengers_model, tmp_path / "model")
    card = ensure_export(folder, formats=("keras", "onnx", "npz"))
    assert "npz" in card["formats"] and card["distribution"] == model.card["distribution"]


def test_requests_like_the_training_s_are_near_it_and_others_are_far(model):
    client = create_predict_app(model).test_client()
    client.post("/predict", json=rows_of(240))
    near = told(client.get("/metrics").text)
    assert near["model_watched_rows", ""] == 240 and near["model_score_psi", ""] < 0.25
    assert all(value < 0.25 for (name, _), value in near.items() if name == "model_feature_psi")
    assert "240 requests of the last hour: scores" in client.get("/").text
    client.post("/predict", json=[{**row, "gender": "female", "siblings": 40} for row in rows_of(480)])
    far = told(client.get("/metrics").text)
    assert far["model_feature_psi", "siblings"] > 1 and far["model_feature_psi", "gender"] > 0.1
    assert far["model_feature_psi", "smoker"] < 0.25
    assert "most changed feature siblings" in client.get("/").text


def test_each_way_in_counts_its_rows_once_and_refused_ones_never(model):
    app = create_predict_app(model)
    client, row = app.test_client(), rows_of(1)[0]
    client.get("/predict", query_string=row)
    client.post("/predict", json=row)
    client.post("/predict", data=row)
    client.post("/predict", json=[row, row])
    client.post("/predict?errors=rows", json=[row, {**row, "gender": "nobody"}])
    client.post("/predict", json={**row, "gender": "nobody"})
    client.post("/invocations", json={"instances": [row]})
    assert told(client.get("/metrics").text) == {("model_watched_rows", ""): 7}


def test_of_few_requests_nothing_is_said_but_their_number(model):
    client = create_predict_app(model).test_client()
    client.post("/predict", json=rows_of(AT_LEAST - 1))
    assert told(client.get("/metrics").text) == {("model_watched_rows", ""): AT_LEAST - 1}
    assert f"{AT_LEAST - 1} requests of the last hour: from {AT_LEAST} on" in client.get("/").text


def test_a_model_whose_card_says_nothing_is_not_watched(model, exported):
    for bare in (load_predictor(exported), damaged(model)):
        client = create_predict_app(bare).test_client()
        assert told(client.get("/metrics").text) == {}
        assert "requests of the last hour" not in client.get("/").text


def damaged(model):
    """The same model with a distribution that no export has written."""

    class Damaged:
        signature, version = model.signature, "damaged"
        card = {"distribution": {"features": {}, "score": {"edges": "x"}}}

        def __call__(self, rows):
            return model(rows)

    return Damaged()


def test_a_model_whose_card_counts_what_no_number_holds_is_served_and_not_watched(passengers_model, tmp_path, caplog):
    folder = shutil.copytree(passengers_model, tmp_path / "model")
    card = json.loads((folder / "card.json").read_text())
    card["distribution"]["score"]["counts"][0] = 10**400
    (folder / "card.json").write_text(json.dumps(card))
    assert create_predict_app(load_predictor(folder)).test_client().get("/").status_code == 200
    assert "drift is not watched" in caplog.text


DAMAGED = [
    *("a text", [1], {"test_auc": "0.8"}, {"test_auc": None}, {"test_auc": float("nan")}, {"test_auc": 10**400}),
    *({"test_auc_interval": 0.5}, {"test_auc_interval": [0.1]}, {"test_auc_interval": ["a", "b"]}),
    *({"rows": "many"}, {"test_rows": [3]}, {"test_rows": None}),
]


@pytest.mark.parametrize("metrics", DAMAGED, ids=lambda metrics: str(metrics)[:40])
def test_the_page_leaves_out_what_no_export_has_measured(passengers_model, tmp_path, metrics):
    folder = shutil.copytree(passengers_model, tmp_path / "model")
    card = json.loads((folder / "card.json").read_text())
    whole = create_predict_app(load_predictor(folder)).test_client().get("/").text
    card["metrics"] = card["metrics"] | metrics if isinstance(metrics, dict) else metrics
    (folder / "card.json").write_text(json.dumps(card))
    answer = create_predict_app(load_predictor(folder)).test_client().get("/")
    assert answer.status_code == 200 and "test AUC" in whole and "test AUC" not in answer.text


def test_only_the_last_hour_counts_and_nothing_asked_is_kept(model):
    clock = [1_000_000.0]
    drift = Drift(model, Distribution.from_dict(model.signature, model.card["distribution"]), now=lambda: clock[0])
    matrix = model.signature.parse(rows_of(240))
    for i in range(len(matrix)):
        drift(matrix[i : i + 1], model(matrix[i : i + 1]))
    assert drift.report().rows == 240 and drift._waiting == []
    clock[0] += 30 * 60
    drift(matrix, model(matrix))
    assert drift.report().rows == 480
    clock[0] += 31 * 60
    assert drift.report().rows == 240
    clock[0] += 60 * 60
    assert drift.report().rows == 0


@pytest.mark.parametrize("together", [1, 10, 700])
def test_of_a_wide_table_each_so_manieth_row_is_counted_however_they_come(model, together):
    signature = Signature.from_table(pd.DataFrame({f"x{i}": [0.0, 0.5, 1.0, 2.0] for i in range(100)}))
    rows = signature.sample(1000)
    drift = Drift(model, Distribution.of(signature, rows, rows[:, 0]))
    for start in range(0, 1000, together):
        drift(rows[start : start + together], rows[start : start + together, 0])
    assert drift.report().rows == 1000 // drift.every == 250
    counted = rows[:: drift.every]
    expected = drift.distribution.count(counted, counted[:, 0])
    assert (drift._table[:, 1:].sum(axis=0) == expected).all()


def test_two_draws_from_one_distribution_differ_as_theory_says():
    """The mean of the index is (k - 1)(1/n + 1/N)."""
    random = np.random.default_rng(0)
    signature = Signature.from_table(pd.DataFrame({"x": random.normal(size=50)}))
    found = []
    for _ in range(100):
        train = random.normal(size=(2000, 1)).astype("f")
        distribution = Distribution.of(signature, train, train[:, 0])
        draws = [random.normal(size=(1000, 1)).astype("f") for _ in range(5)]
        found += [distribution.psi(distribution.count(x, x[:, 0]))["x"] for x in draws]
    assert np.mean(found) == pytest.approx(9 * (1 / 1000 + 1 / 2000), rel=0.1)


def test_a_swapped_model_is_watched_by_its_own_distribution(model):
    slot = ModelSlot(model)
    client = create_predict_app(slot).test_client()
    client.post("/predict", json=rows_of(10))
    slot.swap(lambda: load_predictor(model.directory) if hasattr(model, "directory") else model)
    assert told(client.get("/metrics").text) == {("model_watched_rows", ""): 0}
    client.post("/predict", json=rows_of(3))
    assert told(client.get("/metrics").text) == {("model_watched_rows", ""): 3}


def test_each_of_several_models_has_its_own(model, exported):
    client = create_models_app({"titanic": model, "games": load_predictor(exported)}).test_client()
    client.post("/titanic/predict", json=rows_of(AT_LEAST))
    text = client.get("/metrics").text
    assert told(text)["model_watched_rows", ""] == AT_LEAST and 'model_score_psi{model="titanic"' in text
    assert "requests of the last hour" in client.get("/").text


def test_the_same_rows_answered_by_another_runtime_are_no_drift(model):
    """Few rows have many answers alike: an edge on such an answer would tell the runtimes apart."""
    rows = np.repeat(model.signature.parse(rows_of(20)), 50, axis=0)
    scores = model(rows)
    distribution = Distribution.of(model.signature, rows, scores)
    for other in (np.nextafter(scores, np.float32(0)), np.nextafter(scores, np.float32(1))):
        assert distribution.score_psi(distribution.count(rows, other)) == 0


@pytest.mark.slow
def test_the_workers_of_a_service_count_together(passengers_model, free_port):
    with serving(passengers_model, free_port, "--workers", "2") as (process, url):
        workers_at_work(process, url, 2)
        sessions = [requests.Session() for _ in range(8)]  # so that both workers get some
        for i, row in enumerate(rows_of(240)):
            assert sessions[i % 8].get(f"{url}/predict", params=row, timeout=5).ok
        until(lambda: told(sessions[0].get(f"{url}/metrics", timeout=5).text)["model_watched_rows", ""] == 240)
        shown = {tuple(sorted(told(s.get(f"{url}/metrics", timeout=5).text).items())) for s in sessions}
        assert len(shown) == 1  # whichever worker is asked
