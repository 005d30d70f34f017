"""The traffic of notebook 10, on real services: one takes the place of another, one dies."""

import shutil

import psutil
import pytest

from helpers.export.folder import replacing
from helpers.export.predictors import load_predictor
from helpers.export.versions import rollback, versions
from helpers.tools.traffic import Service, Traffic


@pytest.fixture
def traffic(exported):
    before = set(psutil.Process().children())
    traffic = Traffic(load_predictor(exported).signature.sample_rows(20), callers=5)
    yield traffic
    traffic.stop()
    traffic.stop()
    assert set(psutil.Process().children()) <= before


@pytest.mark.slow
def test_it_is_turned_to_another_service_and_the_model_replaced_with_nothing_lost(exported, traffic, tmp_path):
    games = shutil.copytree(exported, tmp_path / "games")
    with replacing(games) as scratch:  # another range is another version
        shutil.copytree(games, scratch, dirs_exist_ok=True)
        text = (scratch / "card.json").read_text()
        (scratch / "card.json").write_text(text.replace('"high": 1.0', '"high": 2.0', 1))
    now, before = (each.version for each in versions(games))
    first = Service("--model", str(games))
    assert traffic.lead_to(first) == pytest.approx(0, abs=0.01)
    assert {(answer.status, answer.version) for answer in traffic.next(50)} == {(200, now)}
    turned = traffic.lead_to(Service("--model", str(games)))
    assert first._process.poll() is not None and traffic.url != first.url
    traffic.next(20)
    rollback(games)
    switched = traffic.until(before, in_a_row=20)
    assert 0 < turned < switched < traffic.answers[-1].seconds
    assert {answer.version for answer in traffic.answers if answer.seconds >= switched} == {before}
    assert {answer.status for answer in traffic.answers} == {200}
    assert {answer.caller for answer in traffic.answers} == {f"caller-{number}" for number in range(5)}
    traffic.rest()
    assert {answer.status for answer in traffic.next(5)} == {200}, "a cell that is run again asks on"


@pytest.mark.slow
def test_what_is_lost_is_counted(exported, traffic):
    service = Service("--model", str(exported))
    traffic.lead_to(service)
    traffic.next(5)
    process = psutil.Process(service._process.pid)
    for each in [*process.children(recursive=True), process]:
        each.kill()
    assert traffic.next(20)[-1][1:3] == (0, "")
    assert not psutil.pid_exists(process.pid), "a kernel that is shut down would wait for it, and be killed itself"


def test_who_waits_for_a_traffic_that_was_stopped_is_told_at_once(traffic):
    traffic.stop()
    with pytest.raises(TimeoutError, match="the traffic is stopped.*restart the kernel"):
        traffic.next(1)


def test_a_service_that_does_not_start_says_why():
    with pytest.raises(RuntimeError, match="serve: --model: there is no model 'typo'"):
        Service("--model", "typo")
