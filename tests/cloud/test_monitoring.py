"""The files for Prometheus and Grafana: what they ask for is what the service tells."""

import contextlib
import json
import re
import shutil
import subprocess
import time

import pytest
import requests
import yaml

from helpers import PROJECT
from helpers.export.predictors import load_predictor
from helpers.serving.drift import AT_LEAST
from helpers.serving.notebook_server import serve
from helpers.serving.services import create_predict_app, own_paths
from helpers.serving.several import paths_of

FOLDER = PROJECT / "helpers" / "cloud" / "monitoring"
WORDS = {"sum", "by", "rate", "histogram_quantile", "topk", "le", "code", "path", "job", "up"}  # of PromQL


def expressions() -> list[str]:
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    rules = [rule["expr"] for group in groups for rule in group["rules"]]
    return rules + [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_each_metric_that_they_name_is_told_by_the_service(passengers_model):
    predictor = load_predictor(passengers_model)
    client = create_predict_app(predictor).test_client()
    client.post("/predict", json=predictor.signature.sample_rows(AT_LEAST))
    told = set(re.findall(r"^(\w+)(?:\{| )", client.get("/metrics").text, re.MULTILINE))
    for expression in expressions():
        named = set(re.findall(r"[a-z_]{2,}", re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]', "", expression))) - WORDS
        assert named <= told or expression.startswith("up{"), (expression, named - told)


def test_they_watch_predictions_under_every_path_of_one_model_and_of_several(monkeypatch):
    monkeypatch.setenv("AIP_PREDICT_ROUTE", "/v1/endpoints/7/deployedModels/8:predict")
    [watched] = {path for each in expressions() for path in re.findall(r'path=~?"([^"]*)"', each)}
    assert [path for path in (*own_paths(), *paths_of(["games"])) if re.fullmatch(watched, path)] == [
        "/predict",
        "/invocations",
        "/v1/models/{name}:predict",
        "/v1/endpoints/7/deployedModels/8:predict",
        "/games/predict",
        "/v1/models/games:predict",
    ]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("prometheus"), reason="prometheus is not here: apt-get install prometheus")
def test_each_panel_shows_something_of_a_service_that_is_asked(passengers_model, tmp_path, free_port):
    predictor = load_predictor(passengers_model)
    rows, url = predictor.signature.sample_rows(AT_LEAST), f"http://127.0.0.1:{free_port}/api/v1/query"
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    empty = {target["expr"]: panel["title"] for panel in dashboard["panels"] for target in panel["targets"]}
    with serve(create_predict_app(predictor), port=0) as server:
        config = yaml.safe_load((FOLDER / "prometheus.yml").read_text()) | {"rule_files": []}
        config["global"]["scrape_interval"] = "1s"
        config["scrape_configs"][0]["static_configs"] = [{"targets": [server.url.removeprefix("http://")]}]
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
        options = ["--config.file=prometheus.yml", "--storage.tsdb.path=kept"]
        command = ["prometheus", *options, f"--web.listen-address=127.0.0.1:{free_port}"]
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
        try:
            end = time.monotonic() + 30
            while empty and time.monotonic() < end:
                requests.post(f"{server.url}/predict", json=rows, timeout=10)
                for expression in list(empty):
                    with contextlib.suppress(requests.ConnectionError, requests.HTTPError):  # it is not ready yet
                        answer = requests.get(url, params={"query": expression}, timeout=10)
                        answer.raise_for_status()
                        values = [each["value"][1] for each in answer.json()["data"]["result"]]
                        if values and "NaN" not in values:
                            del empty[expression]
                time.sleep(0.2)
        finally:
            process.kill()
            process.wait()
    assert not empty, (tmp_path / "log").read_text()


def test_each_alert_says_what_to_do():
    [group] = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]:
        assert rule["for"] and rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"] and rule["annotations"]["what_to_do"]


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not here: apt-get install prometheus")
def test_prometheus_takes_them(tmp_path):
    assert check("check", "config", str(FOLDER / "prometheus.yml")).returncode == 0
    wrong = tmp_path / "alerts.yml"
    wrong.write_text((FOLDER / "alerts.yml").read_text().replace("model_score_psi > 0.25", "model_score_psi >> 0.25"))
    assert check("check", "rules", str(wrong)).returncode != 0


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not here: apt-get install prometheus")
def test_prometheus_raises_the_alert_after_its_patience_and_not_before(tmp_path):
    (tmp_path / "alerts.yml").write_text((FOLDER / "alerts.yml").read_text())
    labels = {"severity": "page", "version": "v"}
    raised = {"exp_labels": labels, "exp_annotations": {
        "summary": "The scores of v are not those of the training any more (PSI 0.5)",
        "what_to_do": "Look at model_feature_psi: which feature moved? Is it the callers, or what sends them?",
    }}  # fmt: skip
    fail = {"exp_labels": {"severity": "page"}, "exp_annotations": {
        "summary": "More than 1 % of the predictions fail",
        "what_to_do": "Each answer names its request's id; the cause is in the log under it",
    }}  # fmt: skip
    tests = [{
        "interval": "1m",
        "input_series": [
            {"series": 'model_score_psi{version="v"}', "values": "0.05x10 0.5x30"},
            {"series": 'http_requests_total{model="a",path="/a/predict",code="200"}', "values": "0+90x40"},
            {"series": 'http_requests_total{model="a",path="/a/predict",code="500"}', "values": "0x10 0+10x30"},
        ],
        "alert_rule_test": [
            {"eval_time": "10m", "alertname": "PredictionsFail", "exp_alerts": []},
            {"eval_time": "30m", "alertname": "PredictionsFail", "exp_alerts": [fail]},
            {"eval_time": "15m", "alertname": "ScoresLeftTheTraining", "exp_alerts": []},
            {"eval_time": "30m", "alertname": "ScoresLeftTheTraining", "exp_alerts": [raised]},
        ],
    }]  # fmt: skip
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"rule_files": ["alerts.yml"], "tests": tests}))
    done = check("test", "rules", str(tmp_path / "test.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def check(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
