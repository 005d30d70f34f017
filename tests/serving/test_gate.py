"""The gate before a new version: golden requests and the AUC, on real models, good ones and broken ones."""

import json
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import notebook_tools as tools
import numpy as np
import pandas as pd
import pytest
from conftest import as_requests, passengers, reexported

from helpers import PROJECT
from helpers.data.games import SAMPLE, split
from helpers.data.input_kinds import Array, Image
from helpers.data.inputs import InputSignature
from helpers.data.outputs import Output
from helpers.data.raw_tables import DataError
from helpers.data.signature import Feature, Signature
from helpers.data.tables import features_and_label
from helpers.export.artifacts import export_model
from helpers.export.predictors import load_predictor
from helpers.export.versions import versions
from helpers.serving import gate, golden
from helpers.serving.golden import CannotGate, Golden

G7 = {f"G{i}": int(i == 7) for i in range(1, 11)}
ALL = dict.fromkeys(G7, 1)


@pytest.fixture(scope="module")
def held_out(exported):
    return gate.held_out_rows("sample", load_predictor(exported).signature)


@pytest.fixture(scope="module")
def drafted(exported, held_out) -> list[Golden]:
    return gate.draft(load_predictor(exported), held_out[0])


@pytest.fixture(scope="module")
def swapped(trained, tmp_path_factory, sample) -> Path:
    """The trained model with the features of its signature in another order."""
    signature = Signature.from_table(sample.drop(columns="label"))
    directory = tmp_path_factory.mktemp("swapped") / "games"
    turned = Signature(tuple(reversed(signature.features)), signature.label)
    export_model(trained, directory, signature=turned, formats=("onnx",))
    return directory


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory, sample) -> Path:
    """The same network, trained on labels that have been shuffled."""
    from helpers.model.training import build_classifier, fit

    signature = Signature.from_table(sample.drop(columns="label"))
    x, y = features_and_label(split(sample)[0], signature)
    model = build_classifier(10)
    fit(model, x, np.random.default_rng(0).permutation(y), epochs=2, seed=0, verbose=0)
    directory = tmp_path_factory.mktemp("shuffled") / "games"
    export_model(model, directory, signature=signature, formats=("onnx",))
    return directory


def failing(findings: list[gate.Finding]) -> list[str]:
    return [finding.says for finding in findings if not finding.holds]


# ---- what is held back ----


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["swapped", "shuffled"])
def test_a_broken_model_is_held_back_by_golden_requests_and_by_its_auc(request, exported, drafted, held_out, broken):
    good, bad = load_predictor(exported), load_predictor(request.getfixturevalue(broken))
    assert failing(gate.ask(good, drafted)) == []
    assert failing(gate.ask(bad, drafted))
    assert "worse, and not by chance" in failing([gate.compare(bad, good, *held_out)])[0]
    assert gate.compare(good, bad, *held_out).holds and gate.compare(good, good, *held_out).holds


def test_a_draft_that_finds_no_room_leaves_no_half_of_it(tmp_path):
    program = (
        "import resource; from pathlib import Path; from helpers.serving.golden import Golden, write; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200)); "
        "write([Golden({'age': 3}, at_least=0.5)] * 50, Path('golden.json'))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=tools.environment_in(PROJECT),
        capture_output=True,
        check=False,
    )
    assert b"golden.json cannot be written (File too large): make room" in run.stderr
    assert not list(tmp_path.iterdir())


def test_a_draft_notices_the_swaps_that_it_says_it_would(exported, drafted, held_out):
    good, bad = load_predictor(exported), load_predictor(exported)
    more, noticed, swaps = gate.draft_for_swaps(good, held_out[0], drafted)
    assert failing(gate.ask(good, more)) == [] and swaps == 45 and noticed > 25
    held_back = 0
    for one, other in combinations(range(10), 2):
        features = list(good.signature.features)
        features[one], features[other] = features[other], features[one]
        bad.signature = Signature(tuple(features), good.signature.label)
        held_back += bool(failing(gate.ask(bad, [*drafted, *more])))
    assert held_back >= noticed


def test_the_swap_with_which_golden_requests_would_hold_is_named(exported, drafted, held_out):
    good, bad = load_predictor(exported), load_predictor(exported)
    more, _, _ = gate.draft_for_swaps(good, held_out[0], drafted)
    features = list(good.signature.features)
    features[6], features[9] = features[9], features[6]
    bad.signature = Signature(tuple(features), good.signature.label)
    assert failing(gate.ask(bad, [*drafted, *more]))
    assert {"G7", "G10"} in map(set, gate.swaps_that_mend(bad, [*drafted, *more]))
    assert gate.swaps_that_mend(good, [Golden(G7, at_least=2)]) == []


def test_a_swap_with_a_feature_that_may_be_missing_is_named_too(passengers_model):
    """It fills two columns of the matrix, the other one: they are exchanged as a caller would exchange them."""
    model, rows = load_predictor(passengers_model), [row for row in as_requests(passengers(40)) if "Größe" in row]
    golden = []
    for row in rows[:8]:
        answer = float(model(model.signature.reader().read(row).matrix)[0])
        asked = {**row, "Größe": row["siblings"], "siblings": row["Größe"]}
        golden.append(Golden(asked, at_least=answer - 1e-4, at_most=answer + 1e-4))
    assert failing(gate.ask(model, golden))
    assert gate.swaps_that_mend(model, golden) == [("Größe", "siblings")]


def test_a_draft_counts_the_swaps_of_numbers_that_may_be_missing_and_of_those_that_may_not(passengers_model):
    model = load_predictor(passengers_model)
    rows = passengers()[list(model.signature.names)]
    _, _, swaps = gate.draft_for_swaps(model, rows, gate.draft(model, rows))
    widths = [feature.width for feature in model.signature.features]
    alike = sum(one == other for one, other in combinations(widths, 2))
    of_numbers = sum(
        {one.kind, other.kind} <= {"real", "binary"} and one.width != other.width
        for one, other in combinations(model.signature.features, 2)
    )
    assert of_numbers and swaps == alike + of_numbers


def test_each_bound_is_held_and_a_broken_one_is_said(exported):
    predictor = load_predictor(exported)
    low, high = (float(predictor(predictor.signature.parse(row))[0]) for row in (G7, ALL))
    assert low < high
    kept = [Golden(G7, at_most=high), Golden(ALL, at_least=low, at_most=1), Golden(ALL, more_than=G7)]
    assert failing(gate.ask(predictor, kept)) == []
    broken = [Golden(G7, at_least=high, why="it plays"), Golden(ALL, at_most=low), Golden(G7, more_than=ALL)]
    says = failing(gate.ask(predictor, broken))
    assert says[0] == f"golden request 1 (it plays): {low:.4g}, not at least {high:g}"
    assert says[1] == f"golden request 2: {high:.4g}, not at most {low:g}"
    assert says[2] == f"golden request 3: {low:.4g}, not more than the {high:.4g} of the request beside it"


def test_a_request_that_the_model_refuses_holds_it_back_with_the_services_own_reason(exported):
    [one, two] = failing(gate.ask(load_predictor(exported), [Golden({"G1": 1}, 0.0), Golden(ALL, more_than={})]))
    assert one.startswith("golden request 1: refused with 422: 9 bad fields: G2: missing")
    assert "of the request beside it: refused with 422" in two


def test_the_class_of_a_model_with_named_classes_is_held():
    class Largest:
        signature = Signature(
            (Feature("a", "real", 0, 9), Feature("b", "real", 0, 9)),
            "kind",
            outputs=(Output("kind", "classes", ("first", "second")),),
        )

        def __call__(self, rows):
            return (rows / rows.sum(axis=1, keepdims=True)).astype(np.float32)

    asked = [Golden({"a": 3, "b": 1}, prediction="first", at_least=0.7), Golden({"a": 3, "b": 1}, prediction="second")]
    one, two = gate.ask(Largest(), asked)
    assert one == (True, "golden request 1: first, 0.75") and two == (False, "golden request 2: first, not second")
    with pytest.raises(CannotGate, match="leave out --data"):
        gate.held_out_rows("sample", Largest.signature)


def test_the_best_class_of_a_picture_is_held_and_what_has_no_number_is_told_why():
    class Answering:
        def __init__(self, signature, answer):
            self.signature, self.answer = signature, np.float32(answer)

        def __call__(self, rows):
            return np.broadcast_to(self.answer, (len(rows), *self.answer.shape))

    picture, classes = Image("pixels", (8, 8, 1)), (Output(kind="classes", classes=("cat", "dog")),)
    file = picture.example()
    model = Answering(InputSignature((picture,), outputs=classes), [0.25, 0.75])
    asked = [Golden({"image": file}, prediction="dog", at_least=0.7), Golden({"image": file}, prediction="cat")]
    one, two, three = gate.ask(model, [*asked, Golden({"instances": [{"image": file}]}, 0.1)])
    assert one == (True, "golden request 1: dog, 0.75") and two == (False, "golden request 2: dog, not cat")
    assert three == (False, "golden request 3: the answer holds no single number to compare: send one row")
    model = Answering(InputSignature((Array("x", (1,)),), outputs=(Output(kind="array", shape=(2,)),)), [1, 2])
    [found] = gate.ask(model, [Golden({"x": 1}, 0.1)])
    assert not found.holds and "of arrays and several outputs it tells nothing, leave it out" in found.says


# ---- a table of one's own ----


def test_a_table_with_texts_and_missing_values_is_drafted_and_held(passengers_model, tmp_path):
    passengers().to_csv(tmp_path / "mine.csv", index=False)
    predictor = load_predictor(passengers_model)
    rows, label = gate.held_out_rows(tmp_path / "mine.csv", predictor.signature)
    assert len(rows) == 49 and set(label) == {0, 1} and rows.isna().to_numpy().any()
    passengers().rename(columns={"survived": "saved"}).replace({"saved": {"yes": "was", "no": "was not"}}).to_csv(
        tmp_path / "other.csv", index=False
    )
    with pytest.raises(DataError, match="no column 'survived'.*or give the table of this model, which predicts 'surv"):
        gate.held_out_rows(tmp_path / "other.csv", predictor.signature)
    others, same = gate.held_out_rows(tmp_path / "other.csv", predictor.signature, "saved", "was")
    assert others.equals(rows) and np.array_equal(same, label)
    drafted = gate.draft(predictor, rows)
    golden.write(drafted, tmp_path / "of today" / "golden.json")
    assert golden.read(tmp_path / "of today" / "golden.json") == tuple(drafted)
    with pytest.raises(CannotGate, match="golden.json/more.json cannot be written .*: make room, or name another file"):
        golden.write(drafted, tmp_path / "of today" / "golden.json" / "more.json")
    assert failing(gate.ask(predictor, drafted)) == []
    stranger = rows.assign(gender=["other", *rows["gender"][1:]])
    assert " on 48 rows" in gate.compare(predictor, predictor, stranger, label).says


def test_a_few_rows_make_a_shorter_draft_and_rows_that_are_answered_alike_none(exported, held_out):
    predictor = load_predictor(exported)
    two = held_out[0].drop_duplicates().head(2)
    [low, high] = gate.draft(predictor, two)
    assert failing(gate.ask(predictor, [low, high])) == [] and low.request != high.request
    with pytest.raises(CannotGate, match="answers every row of the table alike"):
        gate.draft(predictor, two.head(1))


def test_a_table_of_many_columns_is_drafted_without_a_warning(tmp_path):
    import keras

    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 150)), columns=[f"gene {i}" for i in range(150)])
    network = keras.Sequential([keras.Input((150,)), keras.layers.Dense(1, activation="sigmoid")])
    export_model(network, tmp_path / "wide", signature=Signature.from_table(rows), formats=("npz",))
    predictor = load_predictor(tmp_path / "wide")
    with warnings.catch_warnings(action="error"):
        drafted = gate.draft(predictor, pd.concat([rows, rows.head(1)]))
    assert failing(gate.ask(predictor, drafted)) == []


def test_a_version_that_answers_the_opposite_is_held_back_without_an_auc(exported, held_out):
    old, new = load_predictor(exported), load_predictor(exported)
    new.signature = Signature(old.signature.features, old.signature.label, "no")
    finding = gate.compare(new, old, *held_out)
    assert not finding.holds and "it predicts label = no where the one before predicts label" in finding.says


def test_a_version_that_takes_other_features_is_held_back_without_an_auc(exported, held_out, tmp_path):
    from helpers.model.training import build_classifier

    old = load_predictor(exported)
    fewer = Signature(old.signature.features[:9], old.signature.label)
    export_model(build_classifier(9), tmp_path / "fewer", fewer, formats=("onnx",))
    rows, label = held_out
    finding = gate.compare(load_predictor(tmp_path / "fewer"), old, rows[list(fewer.names)], label)
    assert not finding.holds and "it takes other features (gone: G10): callers of" in finding.says


def test_a_version_that_refuses_every_row_is_held_back_with_the_reason(passengers_model, tmp_path):
    good, bad = load_predictor(passengers_model), load_predictor(passengers_model)
    features = {feature.name: feature for feature in good.signature.features}
    texts = [name for name, feature in features.items() if feature.kind == "category"]
    values = tuple(f"no {value}" for value in features[texts[0]].values)
    features[texts[0]] = replace(features[texts[0]], values=values, default=values[0])
    bad.signature = replace(good.signature, features=tuple(features.values()))
    rows = passengers().drop(columns="survived")[:50]
    finding = gate.compare(bad, good, rows, np.arange(50) % 2)
    assert (
        not finding.holds and "none of the 50 test rows is answered: the first one is refused with 422" in finding.says
    )
    assert f"{texts[0]}: must be one of no " in finding.says


def test_rows_of_one_answer_have_no_auc(exported, held_out):
    predictor = load_predictor(exported)
    with pytest.raises(CannotGate, match="too few for an AUC .*: give a larger table"):
        gate.compare(predictor, predictor, held_out[0][:3], np.zeros(3))


# ---- the file ----


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is not valid JSON"),
        ("[]", "is no list of golden requests"),
        ('{"request": {}}', "is no list of golden requests"),
        ('[{"at_least": 1}]', 'entry 1 of golden.json has no "request"'),
        ('[{"request": {"a": 1}}]', "says nothing of the answer: add one of at_least"),
        ('[{"request": {}, "atleast": 1}]', "has a 'atleast', which nobody knows: did you mean at_least?"),
        ('[{"request": {}, "at_most": "1"}]', "at_most is '1', and needs to be a number"),
        ('[{"request": {}, "at_most": true}]', "at_most is True, and needs to be a number"),
        ('[{"request": {}, "at_least": 1, "at_most": 0}]', "no answer is at least 1 and at most 0"),
        ('[{"request": {}, "more_than": 0.5}]', "more_than is 0.5, and needs to be a request"),
        ('[{"request": {}, "prediction": 1}]', "prediction is 1, and needs to be a text"),
    ],
)
def test_a_file_that_holds_something_else_is_said(tmp_path, content, says):
    (tmp_path / "golden.json").write_text(content)
    with pytest.raises(CannotGate) as error:
        golden.read(tmp_path / "golden.json")
    assert says in str(error.value)


def test_what_is_written_to_be_edited_shows_the_letters_of_the_table(tmp_path):
    written = [Golden({"Größe (€)": "überall"}, at_least=0.5)]
    golden.write(written, tmp_path / "golden.json")
    assert '"Größe (€)": "überall"' in (tmp_path / "golden.json").read_text(encoding="utf-8")
    assert list(golden.read(tmp_path / "golden.json")) == written


def test_the_golden_requests_of_the_sample_are_of_its_columns_and_say_why(sample):
    for each in golden.read(SAMPLE.with_name("games-golden.json")):
        assert set(each.request) == {*sample.columns} - {"label"} and each.why


# ---- the command ----


@pytest.fixture
def games(exported, tmp_path) -> Path:
    """The exported model, which has been replaced by the same one with a wider range."""
    directory = shutil.copytree(exported, tmp_path / "games")
    assert reexported(directory, high=2.0)
    return directory


def run_gate(*words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "helpers", "gate", *map(str, words)]
    run = {"cwd": PROJECT, "env": tools.environment_in(PROJECT), "capture_output": True, "text": True}
    return subprocess.run(command, check=False, **run)


@pytest.mark.slow
def test_the_command_drafts_passes_and_holds_back(games, tmp_path):
    file, strict = tmp_path / "golden.json", tmp_path / "strict.json"
    drafted = run_gate("--model", games, "--data", "sample", "--draft", file)
    assert drafted.returncode == 0 and "go through them" in drafted.stdout
    assert " of 45 swaps of two features" in drafted.stdout
    passed = run_gate("--model", games, "--data", "sample", "--golden", file)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    now, before = versions(games)
    assert f"where {before.version} has" in " ".join(passed.stdout.split())
    assert passed.stdout.splitlines()[-1].endswith(
        f"games@{now.version} may pass: all {len(golden.read(file)) + 1} hold"
    )
    strict.write_text(json.dumps([{"request": G7, "at_least": 0.9}, {"request": ALL, "at_most": 1}]))
    held = run_gate("--model", games, "--golden", strict)
    assert held.returncode == 1 and held.stdout.splitlines()[-1].endswith("is held back: 1 of 2 do not hold")
    assert held.stdout.startswith("FAILS  golden request 1: 0.0")


@pytest.mark.slow
def test_without_a_number_it_is_the_version_that_promote_would_take(games, tmp_path):
    assert reexported(games, beside=True, high=3.0)
    now, waiting, before = versions(games)
    assert waiting.place == "beside"
    passed = run_gate("--model", games, "--data", "sample")
    assert f"where {now.version} has" in " ".join(passed.stdout.split())
    assert passed.stdout.endswith(f"models promote {games} {waiting.version}\n")
    drafted = run_gate("--model", games, "--data", "sample", "--draft", tmp_path / "golden.json")
    assert f"from the answers of {now.version}" in drafted.stdout  # which is what is known to answer well
    again = run_gate("--model", f"{games}@{before.version[:6]}", "--data", "sample")
    assert f"@{before.version} may pass" in again.stdout
    shutil.rmtree(games.parent / ".games.versions")
    alone = run_gate("--model", games, "--data", "sample")
    assert alone.returncode == 2 and "has no version before it to compare its AUC with" in alone.stderr
