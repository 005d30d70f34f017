"""Several models behind one address, and other versions beside a model: real processes, real sockets, real exports."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import requests
from service_processes import family, gone, is_ready, start, until

from helpers import PROJECT
from helpers.data.input_kinds import Image
from helpers.data.inputs import InputSignature
from helpers.data.outputs import Output
from helpers.export import served, versions
from helpers.export.folder import replacing
from helpers.export.kept import store_of
from helpers.export.predictors import load_predictor
from helpers.serving.canary import Canary
from helpers.serving.model_slot import ModelSlot
from helpers.serving.notebook_server import serve
from helpers.serving.services import create_predict_app
from helpers.serving.several import create_models_app
from helpers.serving.shadow import Shadow, difference
from helpers.serving.supervisor import STOP_SECONDS

ROW = {"g1": 1, **{f"g{i}": 0 for i in range(2, 11)}}
CALLERS = [f"caller-{i}" for i in range(200)]


def test_a_folder_of_models_on_pythons_path_is_none_of_the_services_business(tmp_path, monkeypatch, exported):
    for checkout in ("one", "two"):
        (tmp_path / checkout / "models").mkdir(parents=True)
        monkeypatch.syspath_prepend(tmp_path / checkout)
    create_models_app({name: ModelSlot(load_predictor(exported)) for name in ("a", "b")})


@pytest.fixture
def games(exported, other, tmp_path) -> Path:
    """The exported model, with the other one as the version before it."""
    directory = shutil.copytree(other, tmp_path / "games")
    put(exported, directory)
    return directory


def put(source: Path, directory: Path) -> None:
    """Export what `source` holds to `directory`."""
    with replacing(directory) as scratch:
        shutil.copytree(source, scratch, dirs_exist_ok=True)


@contextmanager
def running(*options):
    """`tutorial.py serve` with one worker, on a free port."""
    process = start("--port", "0", "--workers", "1", *options)
    try:
        line = process.stdout.readline()
        assert line.startswith("Serving "), line + process.stdout.read()
        yield process, re.search(r"http://\S+:\d+", line)[0]
    finally:
        process.terminate()
        process.communicate(timeout=STOP_SECONDS + 5)


def ask(url: str, caller: str | None = None) -> requests.Response:
    return requests.get(f"{url}/predict", params=ROW, headers={"X-Caller-ID": caller}, timeout=10)


def metric(url: str, name: str) -> float:
    """A metric's value, of all its labels together; "name{label" narrows it."""
    lines = requests.get(f"{url}/metrics", timeout=10).text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


@contextmanager
def asked_all_the_while(url: str):
    """Asks `url` until the block ends; gives the list of the answers, each a code and a version."""
    seen, stop = [], threading.Event()

    def run():
        with requests.Session() as session:
            while not stop.is_set():
                answer = session.get(f"{url}/predict", params=ROW, timeout=10)
                seen.append((answer.status_code, answer.headers["X-Model-Version"]))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        until(lambda: len(seen) > 20)
        yield seen
    finally:
        stop.set()
        thread.join()


# ---- several models ----


@pytest.mark.slow
def test_retraining_one_of_several_swaps_only_that_one_and_loses_no_request(exported, other, games, tmp_path):
    titanic = shutil.copytree(exported, tmp_path / "titanic")
    old, new = load_predictor(games).version, load_predictor(other).version
    with running("--model", games, "--model", titanic) as (process, url):
        assert ask(f"{url}/games").content == ask(f"{url}/titanic").content
        assert requests.get(f"{url}/health/ready").json()["models"] == {"games": old, "titanic": old}
        with asked_all_the_while(f"{url}/games") as seen, asked_all_the_while(f"{url}/titanic") as beside:
            put(other, games)
            until(lambda: seen[-1][1] == new)
        assert set(seen) == {(200, old), (200, new)} and set(beside) == {(200, old)}
        assert metric(url, 'http_requests_total{code="200",method="GET",model="games",path="/games/predict"}') > 20
        assert metric(url, 'model_swaps_total{model="games",result="ok"}') == 1
        assert metric(url, 'model_swaps_total{model="titanic"') == 0
        said = next(line for line in process.stdout if " replaced by " in line)
        assert said.startswith(f"games: model {old} replaced by {new}")


def test_a_worker_in_the_place_of_another_answers_what_the_service_was_started_for(games, other, passengers_model):
    """The model there may be one of other features meanwhile, which the workers before it have rejected."""

    def kill_the_worker():
        [worker] = family(process)[1:]
        worker.kill()
        until(lambda: gone([worker]))

    version = load_predictor(games).version
    with running("--model", games) as (process, url):
        put(passengers_model, games)
        until(lambda: "takes other features" in process.stdout.readline())
        kill_the_worker()
        until(lambda: is_ready(url))
        assert ask(url).headers["X-Model-Version"] == version
        put(other, games)
        until(lambda: ask(url).headers["X-Model-Version"] == load_predictor(other).version)
        put(passengers_model, games)
        until(lambda: metric(url, 'model_swaps_total{result="rejected"}') == 2)
        shutil.rmtree(store_of(games))
        kill_the_worker()
        said = until(lambda: re.search("serve: .*", process.stdout.readline()))[0]
        assert "games is another model now, it takes other features" in said and "start this service again" in said


def test_each_of_several_models_has_its_own_page_docs_description_and_health(exported, other):
    models = {"games": load_predictor(exported), "titanic": load_predictor(other)}
    with serve(create_models_app(models), port=0) as server:
        for name, model in models.items():
            url = f"{server.url}/{name}"
            assert ask(url).headers["X-Model-Version"] == model.version
            assert requests.get(f"{url}/health/ready").json() == {"success": True, "model": model.version}
            description = requests.get(f"{url}/openapi.json").json()
            assert description["servers"] == [{"url": f"/{name}"}] and "/metrics" not in description["paths"]
            for page in ("/", "/docs"):
                assert "<title>" in requests.get(url + page).text
            assert requests.get(f"{url}/static/page.js").ok
            assert requests.get(url).url == f"{url}/"  # without the slash it leads there
            assert requests.get(f"{url}?a=1").url == f"{url}/?a=1"
            assert ask(f"{server.url}//{name}").content == ask(url).content
            assert f'href="{name}/"' in requests.get(server.url).text
            assert f"answers at /{name}/predict" in requests.get(f"{url}/nothing").json()["error"]
            assert requests.get(f"{url}/metrics").status_code == 404
            refused = requests.get(f"{url}/predict", params={"g1": 5})
            assert refused.status_code == 422 and refused.headers["X-Model-Version"] == model.version
            one_alone = create_predict_app(model).test_client()
            assert ask(url).content == one_alone.get("/predict", query_string=ROW).data
        assert requests.get(f"{server.url}/predict").json()["error"].endswith("the models are at /games/, /titanic/")
        assert metric(server.url, 'http_errors_total{kind="invalid",model="titanic"}') == 1


@pytest.mark.parametrize("name", ["metrics", "größe", "a/b", "", ".hidden"])
def test_a_name_that_no_address_can_hold_is_refused(exported, name):
    with pytest.raises(ValueError, match="beside others"):
        create_models_app({name: load_predictor(exported)}, warm_up=False)


def test_the_key_of_a_service_of_several_models_opens_each(exported):
    with serve(create_models_app({"games": load_predictor(exported)}, api_key="open sesame"), port=0) as server:
        assert ask(f"{server.url}/games").status_code == 401
        answer = requests.get(f"{server.url}/games/predict", params=ROW, headers={"X-API-Key": "open sesame"})
        assert answer.status_code == 200 and requests.get(f"{server.url}/metrics").status_code == 401


# ---- back and forth ----


@pytest.mark.slow
def test_a_rollback_is_followed_by_a_running_service_and_loses_no_request(games):
    now, before = (each.version for each in versions.versions(games))
    with running("--model", games) as (_, url):
        with asked_all_the_while(url) as seen:
            for wanted, says in ((before, now), (now, before)):
                command = [sys.executable, "-m", "helpers", "models", "rollback", str(games)]
                done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
                assert f"is {wanted} of" in done.stdout and f"in the place of {says}" in done.stdout
                assert f"{url} takes it up by itself" in done.stdout
                until(lambda wanted=wanted: seen[-1][1] == wanted)
        assert set(seen) == {(200, now), (200, before)}


@pytest.mark.slow
def test_a_service_that_could_not_follow_is_said_to_go_on_with_what_it_answers(games):
    now = versions.versions(games)[0].version

    def rolled_back() -> str:
        command = [sys.executable, "-m", "helpers", "models", "rollback", str(games)]
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout

    with running("--model", games) as (process, url):
        with replacing(games) as scratch:
            shutil.copytree(games, scratch, dirs_exist_ok=True)
            card = json.loads((scratch / "card.json").read_text())
            card["signature"]["label"] = "other"
            (scratch / "card.json").write_text(json.dumps(card))
        asks_otherwise = versions.versions(games)[0].version
        said = next(line for line in process.stdout if "was rejected" in line)
        assert f"{now} goes on serving: it predicts other where" in said
        assert said.endswith("start this service again to serve it\n")
        assert f"{url} answers with it already\n" in rolled_back()
        assert f"{url} goes on with {now}, as it predicts other where" in rolled_back()
        assert versions.versions(games)[0].version == asks_otherwise and ask(url).headers["X-Model-Version"] == now


@pytest.mark.slow
def test_a_chosen_version_stays_and_is_kept_for_as_long_as_it_is_served(games, exported, other):
    now, before = (each.version for each in versions.versions(games))
    with running("--model", f"{games}@{before[:5]}") as (process, url):
        for _ in range(2):
            command = [sys.executable, "-m", "helpers", "models", "rollback", str(games)]
            said = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
            assert f"{url} goes on with {before}, which it was started with\n" in said
            assert ask(url).headers["X-Model-Version"] == before
        [service] = served.services(games)
        assert (service.pid, service.url, service.pinned) == (process.pid, url, {before: "model"})
        for high in range(2, 7):  # five other versions come and go
            replace(games, high)
        assert before in {each.version for each in versions.versions(games)}
    assert served.services(games) == []
    replace(games, 7)
    assert before not in {each.version for each in versions.versions(games)}


def replace(directory: Path, high: float) -> None:
    """Export a version of its own: the same files, another range."""
    with replacing(directory) as scratch:
        shutil.copytree(directory, scratch, dirs_exist_ok=True)
        card = json.loads((scratch / "card.json").read_text())
        card["signature"]["features"][0]["high"] = high
        (scratch / "card.json").write_text(json.dumps(card))


@pytest.mark.slow
def test_a_service_that_was_killed_is_not_said_to_serve(games):
    process = start("--model", games, "--port", "0", "--workers", "1")
    url = re.search(r"http://\S+:\d+", process.stdout.readline())[0]
    assert is_ready(url) and [service.url for service in served.services(games)] == [url]
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    until(lambda: served.services(games) == [])
    assert not (games.parent / ".games.served").exists()


def test_a_service_whose_lock_cannot_be_asked_for_is_told_by_its_process_and_hides_no_other(tmp_path):
    def entry_of(pid: int, port: int) -> None:
        entry = tmp_path / ".games.served" / f"{pid}-{port}.json"
        entry.write_text(json.dumps({"pid": pid, "host": "127.0.0.1", "port": port, "pinned": {f"v{port}": "model"}}))
        entry.with_suffix(".lock").mkdir()  # it fails as another user's does, for the superuser, too

    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    with served.recorded(tmp_path / "games", "127.0.0.1", 5001):
        entry_of(os.getpid(), 5000)
        entry_of(ended.pid, 5002)
        assert [each.port for each in served.services(tmp_path / "games")] == [5000, 5001]
        assert served.pinned(tmp_path / "games") == {"v5000"}


# ---- a canary ----


@pytest.mark.slow
def test_a_canary_answers_its_share_of_the_callers_and_each_of_them_always(games):
    now, before = versions.versions(games)
    with running("--model", games, "--canary", f"{games}@{before.version[:6]}=20") as (_, url):
        by_lane = {caller: ask(url, caller).headers["X-Model-Version"] for caller in CALLERS}
        share = Counter(by_lane.values())
        assert set(share) == {now.version, before.version} and 20 <= share[before.version] <= 65
        expected = Canary(load_predictor(before.path), 0.2)
        assert [by_lane[each] == before.version for each in CALLERS] == [expected.answers(each) for each in CALLERS]
        answers = {each.version: load_predictor(each.path) for each in (now, before)}
        for caller in CALLERS[:20]:  # through Flask, and over a connection of another caller
            predictor = answers[by_lane[caller]]
            answer = ask(url, caller)
            assert answer.json()["prediction"] == str(predictor(predictor.signature.parse(ROW))[0])
            headers = {"X-Caller-ID": caller, "Content-Type": "application/json; charset=Latin-1"}
            careful = requests.post(f"{url}/predict?errors=rows", json=[ROW], headers=headers)
            assert careful.status_code == 200 and careful.headers["X-Model-Version"] == by_lane[caller]
            refused = requests.get(f"{url}/predict", params={"g1": 7}, headers=headers)
            assert refused.status_code == 422 and refused.headers["X-Model-Version"] == by_lane[caller]
        assert metric(url, f'model_requests_total{{code="200",version="{before.version}"}}') >= share[before.version]
        assert len({ask(url).headers["X-Model-Version"] for _ in range(20)}) == 1  # told by the address
        with requests.Session() as session:  # two callers behind one connection of a proxy
            for caller in CALLERS:
                headers = {"X-Caller-ID": caller}
                answer = session.get(f"{url}/predict", params=ROW, headers=headers)
                assert answer.headers["X-Model-Version"] == by_lane[caller]


def test_a_canary_in_a_notebook_answers_the_same_callers(games):
    now, before = (load_predictor(each.path) for each in versions.versions(games))
    canary = Canary(before, 0.2)
    with serve(create_predict_app(now, canary=canary), port=0) as server:
        for caller in CALLERS[:50]:
            expected = before.version if canary.answers(caller) else now.version
            assert ask(server.url, caller).headers["X-Model-Version"] == expected
        parameters = requests.get(f"{server.url}/openapi.json").json()["paths"]["/predict"]["post"]["parameters"]
        assert [each["name"] for each in parameters] == ["errors", "X-Caller-ID"]


PLATFORMS = ("/predict", "//predict", "/invocations", "/v1/models/games:predict", "/vertex")


def test_a_canary_answers_the_same_callers_under_every_path_that_predicts(games, monkeypatch):
    monkeypatch.setenv("AIP_PREDICT_ROUTE", "/vertex")
    now, before = (load_predictor(each.path) for each in versions.versions(games))
    canary = Canary(before, 0.3)
    expected = [before.version if canary.answers(caller) else now.version for caller in CALLERS[:20]]
    assert len(set(expected)) == 2
    with serve(create_predict_app(now, canary=canary), port=0) as server:
        for path in PLATFORMS:
            answers = [
                requests.post(server.url + path, json={"instances": [ROW]}, headers={"X-Caller-ID": caller})
                for caller in CALLERS[:20]
            ]
            assert [answer.headers["X-Model-Version"] for answer in answers] == expected, path
            assert len({answer.content for answer in answers}) == 2
        counted = metric(server.url, f'model_requests_total{{code="200",version="{before.version}"}}')
        assert counted == len(PLATFORMS) * expected.count(before.version)


def test_a_path_that_no_model_of_several_has_is_counted_for_no_version(games):
    now, before = (load_predictor(each.path) for each in versions.versions(games))
    beside = {"canaries": {"games": Canary(before, 0.5)}, "shadows": {"games": Shadow(before)}}
    with serve(create_models_app({"games": now, "others": now}, **beside), port=0) as server:
        for caller in CALLERS[:20]:
            for path, status in (("invocations", 404), ("v1/models/x:predict", 404), ("predict", 200)):
                url, headers = f"{server.url}/games/{path}", {"X-Caller-ID": caller}
                assert requests.post(url, json=[ROW], headers=headers).status_code == status
        counted = requests.get(f"{server.url}/metrics").text
    lines = [line for line in counted.splitlines() if line.startswith("model_requests_total{")]
    assert sum(float(line.split()[-1]) for line in lines) == 20 and not any('"404"' in line for line in lines)


def test_kserve_asks_each_of_several_models_by_its_name(games):
    now, before = (load_predictor(each.path) for each in versions.versions(games))
    beside = {"canaries": {"games": Canary(before, 0.3)}, "shadows": {"v1": Shadow(before)}}
    models = {"games": now, "v1": now}
    with serve(create_models_app(models, **beside, api_key="k"), port=0) as server:
        key, body = {"X-API-Key": "k"}, {"instances": [ROW]}
        assert requests.get(f"{server.url}/v1/models").json() == {"models": list(models)}
        for name in models:
            path = f"{server.url}/v1/models/{name}"
            answer = requests.get(path)
            assert answer.json() == {"name": name, "ready": True, "success": True, "model": now.version} | (
                {"canary" if name == "games" else "shadow": before.version}
            )
            assert requests.post(f"{path}:predict", json=body).status_code == 401
            asked = [
                requests.post(f"{path}:predict", json=body, headers={**key, "X-Caller-ID": who}) for who in CALLERS[:20]
            ]
            same = requests.post(f"{server.url}/{name}/predict", json=[ROW], headers=key)
            assert same.content in {answer.content for answer in asked}
            versions_seen = {answer.headers["X-Model-Version"] for answer in asked}
            assert versions_seen == ({now.version, before.version} if name == "games" else {now.version})
        for path in ("/v1/models/other", "/v1/models/other:predict", "/v1/models/", "/invocations", "/ping"):
            assert requests.post(server.url + path, json=[ROW], headers=key).status_code == 404
        assert requests.get(f"{server.url}/v1/").status_code == 200  # the page of the model of this name

        def counted() -> str:
            return requests.get(f"{server.url}/metrics", headers=key).text

        assert 'code="200",method="POST",model="v1",path="/v1/models/v1:predict"} 20.0' in counted()
        until(lambda: f'shadow_difference_count{{model="v1",shadow="{before.version}"}} 21.0' in counted())


def test_a_canary_and_a_shadow_end_while_the_model_is_their_version(games, caplog):
    now, before = (load_predictor(each.path) for each in versions.versions(games))
    slot, canary, shadow = ModelSlot(now), Canary(before, 0.5), Shadow(before)
    with serve(create_predict_app(slot, canary=canary, shadow=shadow), port=0) as server:

        def answering() -> Counter:
            return Counter(ask(server.url, caller).headers["X-Model-Version"] for caller in CALLERS[:20])

        def ready() -> dict:
            return requests.get(f"{server.url}/health/ready").json()

        both = answering()
        assert set(both) == {now.version, before.version} and ready().keys() > {"canary", "shadow"}
        until(lambda: metric(server.url, "shadow_difference_count") == both[now.version])
        slot.swap(lambda: before)
        assert answering() == {before.version: 20} and ready() == {"success": True, "model": before.version}
        assert metric(server.url, "shadow_difference_count") == both[now.version]
        said = [f"the {role} {before.version} is the model now" in caplog.text for role in ("canary", "shadow")]
        assert said == [True, True]
        slot.swap(lambda: now)
        assert answering() == both and f"{before.version} its canary again" in caplog.text


# ---- a shadow ----


@pytest.mark.slow
def test_a_shadow_is_asked_what_was_asked_and_the_metrics_tell_how_far_it_differs(games):
    now, before = versions.versions(games)
    one, two = load_predictor(now.path), load_predictor(before.path)
    rows = one.signature.every_input()[:40]
    apart = abs(one(rows) - two(rows))
    with running("--model", games, "--shadow", f"{games}@{before.version}") as (_, url):
        for row in rows:
            params = dict(zip(one.signature.names, row, strict=True))
            answer = requests.get(f"{url}/predict", params=params)
            assert answer.headers["X-Model-Version"] == now.version
        until(lambda: metric(url, "shadow_difference_count") == len(rows))
        assert metric(url, "shadow_difference_sum") == pytest.approx(apart.sum(), abs=1e-4)
        assert metric(url, "shadow_disagreements_total") == (apart > 0.1).sum()
        assert metric(url, "shadow_errors_total") == metric(url, "shadow_dropped_total") == 0
        requests.post(f"{url}/predict?errors=rows", json=[ROW, ROW])  # through Flask
        requests.get(f"{url}/predict", params={"g1": 7})  # was not answered, and is not asked
        until(lambda: metric(url, "shadow_difference_count") == len(rows) + 1)


def test_a_shadow_is_asked_under_every_path_that_predicts_and_in_every_shape(games, monkeypatch):
    monkeypatch.setenv("AIP_PREDICT_ROUTE", "/vertex")
    now, before = (load_predictor(each.path) for each in versions.versions(games))
    apart = abs(now(now.signature.parse(ROW)) - before(now.signature.parse(ROW)))[0]
    table, kinds = ",".join(map(str, ROW.values())), ("application/json", "text/csv", "application/jsonlines")
    with serve(create_predict_app(now, shadow=Shadow(before)), port=0) as server:
        for path in PLATFORMS:
            assert requests.post(server.url + path, json=[ROW]).headers["X-Model-Version"] == now.version
        for kind in kinds:
            headers = {"Content-Type": "text/csv", "Accept": kind}
            assert requests.post(f"{server.url}/invocations", data=table, headers=headers).ok
        count = len(PLATFORMS) + len(kinds)
        until(lambda: metric(server.url, "shadow_difference_count") == count)
        assert metric(server.url, "shadow_difference_sum") == pytest.approx(count * apart, rel=1e-4)
        assert metric(server.url, "shadow_errors_total") == 0


class Failing:
    """A predictor that answers a few rows, and from then on waits for `go`, or fails."""

    version = "failing"

    def __init__(self, signature):
        self.signature, self.go, self.is_on = signature, threading.Event(), False

    def __call__(self, rows):
        if self.is_on:
            self.go.wait()
            raise RuntimeError("no answer")
        return rows[:, 0] * 0


def test_an_answer_neither_waits_for_a_shadow_nor_fails_with_it(exported):
    predictor = load_predictor(exported)
    failing = Failing(predictor.signature)
    with serve(create_predict_app(predictor, shadow=Shadow(failing, waiting=5)), port=0) as server:
        failing.is_on = True
        assert all(ask(server.url).ok for _ in range(20))
        assert metric(server.url, "shadow_dropped_total") >= 14
        failing.go.set()
        until(lambda: metric(server.url, "shadow_errors_total") >= 5)
        assert ask(server.url).ok and metric(server.url, "http_errors_total") == 0


@pytest.mark.parametrize(
    ("one", "other", "apart", "disagree"),
    [
        ({"prediction": "0.5", "probability": 0.5}, {"prediction": "0.52", "probability": 0.52}, 0.02, False),
        ({"probability": 0.5, "success": True}, {"probability": 0.7, "success": True}, 0.2, True),
        ({"prediction": "a", "probabilities": {"a": 0.5}}, {"prediction": "b", "probabilities": {"a": 0.5}}, 0.0, True),
        # classes that are called as numbers: which one it is counts, not how far their names lie apart
        ({"prediction": "1", "probabilities": {"1": 0.5}}, {"prediction": "7", "probabilities": {"1": 0.5}}, 0.0, True),
        (
            {"predictions": [{"label": "1", "probability": 1}]},
            {"predictions": [{"label": "7", "probability": 1}]},
            0,
            True,
        ),
        ([["1", 0.9]], [["7", 0.9]], 0.0, True),
        ({"predictions": [0.1, 0.2]}, {"predictions": [0.1, 0.25]}, 0.05, False),
        ({"predictions": [0.1, None]}, {"predictions": [0.1, 0.25]}, 0.0, True),
        ({"value": 1000.0}, {"value": 1050.0}, 50.0, False),
        ({"value": 1000.0}, {"value": 1200.0}, 200.0, True),
        ({"outputs": {"a": {"value": 1.0}}}, {"outputs": {"b": {"value": 1.0}}}, 0.0, True),
    ],
)
def test_the_difference_of_two_answers(one, other, apart, disagree):
    assert difference(one, other) == (pytest.approx(apart), disagree)


def test_a_shadow_agrees_on_a_picture_as_far_as_its_best_class_goes():
    """Far down the list of a thousand classes two versions of a model name others, or in another order."""
    picture, names = Image("image", (8, 8, 1)), tuple(map(str, range(40)))

    class Ranking:
        signature = InputSignature((picture,), outputs=(Output(kind="classes", classes=names),))

        def __init__(self, best: int, others: int):
            self.shares = np.full(40, 0.001, np.float32)
            self.shares[others : others + 12], self.shares[best] = np.linspace(0.01, 0.005, 12), 0.7
            self.version = f"{best}-{others}"

        def __call__(self, rows):
            return np.tile(self.shares, (len(rows), 1))

    def disagreements(other: Ranking, **sent) -> float:
        with serve(create_predict_app(Ranking(1, 3), shadow=Shadow(other)), port=0) as server:
            assert requests.post(f"{server.url}/predict", **sent).ok
            until(lambda: metric(server.url, "shadow_difference_count") == 1)
            assert metric(server.url, "shadow_errors_total") == 0
            return metric(server.url, "shadow_disagreements_total")

    file = picture.example()
    for sent in ({"json": {"image": file}}, {"data": base64.b64decode(file["b64"])}, {"json": {"instances": [file]}}):
        assert disagreements(Ranking(1, 20), **sent) == 0
        assert disagreements(Ranking(2, 3), **sent) == 1


def test_a_version_with_other_features_is_refused_beside_a_model(exported, passengers_model):
    games, passengers = load_predictor(exported), load_predictor(passengers_model)
    for beside in ({"shadow": Shadow(passengers)}, {"canary": Canary(passengers, 0.5)}):
        with pytest.raises(ValueError, match="cannot stand beside .* it takes other features"):
            create_predict_app(games, **beside)


@pytest.mark.parametrize("share", [0, 1, -0.1, 10])
def test_a_share_that_is_none_is_refused(exported, share):
    with pytest.raises(ValueError, match="a share between 0 and 1"):
        Canary(load_predictor(exported), share)
