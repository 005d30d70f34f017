"""The versions of an export: what makes another one, which are kept, and how one takes the place of another."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import notebook_tools as tools
import pytest
from conftest import reexported

from helpers import PROJECT
from helpers.export import kept, registry
from helpers.export.artifacts import export_model
from helpers.export.errors import ArtifactError, PredictorError
from helpers.export.predictors import load_predictor
from helpers.export.versions import find, promote, rollback, version_of, versions

posix_only = pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a signal of POSIX systems")

PUT_BACK = """
import os, signal, sys
from helpers.export.versions import rollback

def kill_at_change(event, arguments, seen=[]):
    writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if writes or event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link"):
        seen.append(event)
        if len(seen) == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill_at_change)
rollback(sys.argv[1])
"""


@pytest.fixture(scope="module")
def small(trained, tmp_path_factory) -> Path:
    """An export of a trained model, small enough to be written many times."""
    directory = tmp_path_factory.mktemp("small") / "games"
    export_model(trained, directory, formats=("npz",))
    return directory


@pytest.fixture
def games(small, tmp_path) -> Path:
    return shutil.copytree(small, tmp_path / "games")


def listed(directory: Path) -> list[tuple[str, str]]:
    return [(each.version, each.place) for each in versions(directory)]


# ---- what a version is of ----


@pytest.mark.parametrize(
    "feature",
    [
        {"name": "another"},
        {"high": 2.0},
        {"default": 1.0},
        {"kind": "category", "values": ["a", "b"], "default": "a"},
        {"missing": True},
        {"kind": "real", "scale": 2.0},
    ],
    ids=str,
)
def test_another_signature_of_the_same_weights_is_another_version(small, feature):
    card = json.loads((small / "card.json").read_text())
    before = version_of(card)
    card["signature"]["features"][0] |= feature
    assert version_of(card) != before


@pytest.mark.parametrize(
    "signature",
    [
        {"label": "another"},
        {"positive": "yes"},
        {"outputs": [{"name": "kind", "kind": "classes", "classes": ["a", "b"]}]},
        {"inputs": [{"name": "image", "kind": "image", "shape": [8, 8, 3], "pixels": "-1..1"}]},
    ],
    ids=str,
)
def test_another_label_class_or_scaling_of_pixels_is_another_version(small, signature):
    card = json.loads((small / "card.json").read_text())
    assert version_of(card | {"signature": card["signature"] | signature}) != version_of(card)


def test_other_weights_are_another_version_and_what_does_not_answer_makes_none(small):
    card = json.loads((small / "card.json").read_text())
    before = version_of(card)
    assert version_of(card | {"created": "another day", "metrics": {"test_auc": 1.0}}) == before
    card["files"]["model.npz"]["sha256"] = "0" * 64
    assert version_of(card) != before


def test_the_version_is_what_a_predictor_says(games):
    before = load_predictor(games, "numpy").version
    now = reexported(games, high=2.0)
    assert load_predictor(games, "numpy").version == now != before


# ---- which are kept ----


def test_three_are_kept_of_those_before_and_of_those_beside(games):
    first = load_predictor(games, "numpy").version
    made = [first, *(reexported(games, high=float(high)) for high in range(2, 7))]
    assert listed(games) == [(made[-1], "current"), *((each, "before") for each in made[-2:-5:-1])]
    beside = [reexported(games, beside=True, high=float(high)) for high in range(10, 15)]
    assert listed(games) == [
        (made[-1], "current"),
        *((each, "beside") for each in beside[:-4:-1]),
        *((each, "before") for each in made[-2:-5:-1]),
    ]
    assert all(load_predictor(each.path, "numpy").version == each.version for each in versions(games))


def test_the_versions_that_are_gone_as_newer_ones_came_are_named(games):
    made = [reexported(games, beside=True, high=float(high)) for high in range(2, 5)]
    assert registry.no_longer_kept(games, before := versions(games)) == ""
    reexported(games, beside=True, high=9.0)
    said = registry.no_longer_kept(games, before)
    assert said.startswith(f"no longer kept: {made[0]} (beside it, of 20") and said.endswith("), as 3 newer ones are")
    before = versions(games)
    promote(games)
    assert registry.no_longer_kept(games, before) == ""  # one that changed its place is there


def test_the_same_model_in_other_formats_is_no_version_of_its_own(trained, games):
    before = load_predictor(games, "numpy").version
    export_model(trained, games, formats=("npz", "onnx"))
    assert len(listed(games)) == 1 and load_predictor(games, "numpy").version != before


def test_old_versions_are_no_models_and_no_obstacle(games, tmp_path):
    reexported(games, high=2.0)
    project = tools.copy_project(tmp_path / "tutorial")
    shutil.copytree(games.parent, project / "models", ignore=shutil.ignore_patterns("tutorial"))
    program = "from helpers.export import registry; print(registry.names())"
    run = {"cwd": project, "env": tools.environment_in(project), "capture_output": True, "text": True}
    assert subprocess.run([sys.executable, "-c", program], check=True, **run).stdout == "['games']\n"
    shutil.rmtree(games)
    changed_to = shutil.copytree(find(games, listed(games)[0][0]).path, games)  # a person may put one back by hand, too
    assert load_predictor(changed_to, "numpy") and len(listed(games)) == 1


def test_a_version_shares_no_file_that_could_be_changed_under_it(games):
    before = load_predictor(games, "numpy").version
    reexported(games, high=2.0)
    (games / "model.npz").write_bytes(b"damaged")
    assert load_predictor(find(games, before).path, "numpy").version == before


# ---- one in the place of another ----


def test_a_second_rollback_undoes_the_first_and_a_chosen_one_goes_anywhere(games):
    a = load_predictor(games, "numpy").version
    b, c = reexported(games, high=2.0), reexported(games, high=3.0)
    assert rollback(games).version == b and listed(games) == [(b, "current"), (c, "before"), (a, "before")]
    assert rollback(games).version == c and listed(games) == [(c, "current"), (b, "before"), (a, "before")]
    assert rollback(games, a[:6]).version == a and listed(games) == [(a, "current"), (c, "before"), (b, "before")]
    assert load_predictor(games, "numpy").version == a


def test_what_was_exported_beside_is_promoted_and_taken_back(games):
    now, new = load_predictor(games, "numpy").version, reexported(games, beside=True, high=2.0)
    assert load_predictor(games, "numpy").version == now
    with pytest.raises(ArtifactError, match="games has no version before the current one"):
        rollback(games)
    assert promote(games).version == new and listed(games) == [(new, "current"), (now, "before")]
    assert rollback(games).version == now and listed(games) == [(now, "current"), (new, "before")]


def test_a_model_exported_beside_one_that_is_there_waits_there(trained, games, tmp_path):
    card = export_model(trained, games, formats=("keras",), beside=True)
    assert listed(games)[1] == (version_of(card), "beside")
    first = export_model(trained, tmp_path / "new", formats=("npz",), beside=True)  # beside nothing
    assert listed(tmp_path / "new") == [(version_of(first), "current")]


@pytest.mark.parametrize(
    ("digits", "says"),
    [("", "games has no version ''"), ("zz", "games has no version 'zz': there is"), ("../x", "has no version")],
)
def test_digits_that_mean_no_version_are_said(games, digits, says):
    reexported(games, high=2.0)
    before = listed(games)
    with pytest.raises(ArtifactError, match=says):
        rollback(games, digits)
    assert listed(games) == before


def test_digits_that_begin_two_versions_are_said(games):
    now = load_predictor(games, "numpy").version
    card = json.loads((games / "card.json").read_text())
    for high in range(2, 1000):
        card["signature"]["features"][0]["high"] = high
        if version_of(card)[0] == now[0]:
            break
    new = reexported(games, high=high)
    with pytest.raises(ArtifactError, match=f"'{now[0]}' begins several versions of games.*{new}.*{now}"):
        find(games, now[0])
    assert find(games, now).version == now


def test_a_version_whose_card_is_damaged_is_none(games):
    reexported(games, high=2.0)
    [old] = [each for each in versions(games) if each.place == "before"]
    card = json.loads((old.path / "card.json").read_text())
    (old.path / "card.json").write_text(json.dumps(card | {"files": {"model.npz": "x"}}))
    assert [each.place for each in versions(games)] == ["current"]


def test_a_damaged_version_is_not_put_in_place(games):
    now = reexported(games, high=2.0)
    [old] = [each for each in versions(games) if each.place == "before"]
    (old.path / "model.npz").write_bytes(b"damaged")
    with pytest.raises(PredictorError, match=r"model.npz has \d+ bytes instead of"):
        rollback(games)
    assert load_predictor(games, "numpy").version == now


@posix_only
@pytest.mark.slow
def test_a_rollback_that_is_killed_at_any_change_to_the_disk_leaves_one_of_the_two(games, tmp_path):
    before = load_predictor(games, "numpy").version
    now = reexported(games, high=2.0)
    spare, kill_at, found = tmp_path / "spare", 1, []
    shutil.copytree(games.parent, spare, ignore=shutil.ignore_patterns("spare"))
    while True:
        run = [sys.executable, "-c", PUT_BACK, str(games), str(kill_at)]
        code = subprocess.run(run, cwd=PROJECT, check=False).returncode
        if code == 0:
            break
        assert code == -signal.SIGKILL
        found.append(load_predictor(games, "numpy").version)
        assert {each.version for each in versions(games)} == {before, now}  # neither is lost
        reexported(games, high=9.0)  # the next export clears what was left
        assert {each.version for each in versions(games)} > {before, now}
        assert not list(games.parent.glob(".games.new-*")) + list(kept.store_of(games).glob(".part-*"))
        for path in (games, kept.store_of(games)):
            shutil.rmtree(path)
            shutil.copytree(spare / path.name, path)
        kill_at += 1
    assert set(found) == {before, now} and found == sorted(found, key=[now, before].index)


def test_the_same_model_once_more_beside_itself_is_promoted_and_taken_back(games, trained):
    """As the README's commands have it, whose table is the same one twice: a SavedModel has other ids each time."""
    first = version_of(json.loads((games / "card.json").read_text()))
    export_model(trained, games, formats=("npz", "keras"), beside=True)
    (_, _), (second, place) = listed(games)
    assert place == "beside" and second != first
    assert promote(games).version == second and listed(games) == [(second, "current"), (first, "before")]
    assert rollback(games).version == first and listed(games) == [(first, "current"), (second, "before")]


# ---- the command ----


def test_the_command_lists_what_each_version_reports_and_rolls_back(games, tmp_path):
    project = tools.copy_project(tmp_path / "tutorial")
    directory = project / "models" / "games"
    shutil.copytree(games, directory)
    a, b = load_predictor(directory, "numpy").version, reexported(directory, high=2.0)

    def models(*words: str) -> str:
        command = [sys.executable, "-m", "helpers", "models", *words]
        run = {"env": tools.environment_in(project), "cwd": project, "capture_output": True, "text": True}
        return subprocess.run(command, check=True, **run).stdout

    assert [line.split()[:3] for line in models().splitlines()[1:2]] == [["games", b, "current"]]
    assert models().splitlines()[2].split()[:2] == [a, "before"]
    said = models("rollback", "games", a[:4])
    assert said.startswith(f"models/games is {a} of ")
    assert said.endswith("back again: python3 tutorial.py models rollback games\n")
    assert [line.split()[:3] for line in models().splitlines()[1:2]] == [["games", a, "current"]]
    for name in ("games", ".games.versions"):  # a name with a blank, as a table may have
        directory.with_name(name).rename(directory.with_name(name.replace("games", "my games")))
    back = models("rollback", "my games").splitlines()[-1].removeprefix("back again: python3 tutorial.py ")
    assert back == 'models rollback "my games"' and f"is {a} of" in models(*shlex.split(back)[1:])
