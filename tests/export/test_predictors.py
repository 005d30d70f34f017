"""Every backend gives Keras's answers, from many threads, without growing; what is wrong shows when it is loaded."""

import json
import shutil
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from helpers import PROJECT
from helpers.export.errors import PredictorError
from helpers.export.kept import version_of
from helpers.export.predictors import BACKENDS, Predictor, load_predictor

backends = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture(scope="module")
def predictors(exported) -> dict[str, Predictor]:
    return {backend: load_predictor(exported, backend) for backend in BACKENDS}


@pytest.fixture
def copy(exported, tmp_path):
    """A copy of the export that a test may damage."""
    return shutil.copytree(exported, tmp_path / "games")


def run_python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def edit_card(folder, change) -> None:
    card = json.loads((folder / "card.json").read_text())
    change(card)
    (folder / "card.json").write_text(json.dumps(card))


# ---- answers ----


@backends
def test_every_possible_input_gets_the_answer_of_keras(predictors, trained, backend):
    inputs = predictors[backend].signature.every_input()
    answers = predictors[backend](inputs)
    assert answers.shape == (1024,) and answers.dtype == np.float32
    assert np.abs(answers - np.asarray(trained(inputs)).ravel()).max() <= 1e-6


@backends
@pytest.mark.parametrize("k", [0, 1, 2, 1023, 1024, 1025])
def test_any_number_of_rows_gets_as_many_answers(predictors, backend, k):
    rows = predictors[backend].signature.sample(k)
    answers = predictors[backend](rows)
    assert answers.shape == (k,)
    single = [predictors[backend](rows[i : i + 1])[0] for i in range(0, k, 100)]
    assert np.abs(answers[::100] - single).max(initial=0) <= 1e-6


@backends
def test_an_answer_is_not_overwritten_by_the_next_call(predictors, backend):
    rows = predictors[backend].signature.every_input()
    first = predictors[backend](rows[:1])
    kept = first.copy()
    predictors[backend](rows[1000:1001])
    assert np.array_equal(first, kept)


@backends
@pytest.mark.parametrize(
    "rows", [np.zeros((1, 9), "f"), np.zeros((1, 10)), np.zeros(10, "f"), np.zeros((1, 1, 10), "f")], ids=str
)
def test_a_matrix_of_another_shape_or_type_is_refused(predictors, backend, rows):
    with pytest.raises(ValueError, match=r"\(k, 10\) float32"):
        predictors[backend](rows)


@backends
def test_a_predictor_says_what_it_is(predictors, exported, backend):
    predictor = predictors[backend]
    assert predictor.backend == backend and "thread" in predictor.threads
    assert predictor.signature.names == tuple(f"G{i}" for i in range(1, 11))
    assert predictor.card == json.loads((exported / "card.json").read_text())
    assert predictor.version == version_of(predictor.card) and len({each.version for each in predictors.values()}) == 1


def test_a_closed_predictor_answers_no_more(exported):
    with load_predictor(exported) as predictor:
        row = predictor.signature.sample(1)
        predictor(row)
    with pytest.raises(PredictorError, match="closed"):
        predictor(row)


# ---- threads and memory ----


@backends
@pytest.mark.slow
def test_16_threads_and_10_000_calls_give_only_right_answers(predictors, backend):
    predictor = predictors[backend]
    inputs = predictor.signature.every_input()
    expected = predictor(inputs)

    def wrong(thread: int) -> float:
        worst = 0.0
        for call in range(625):
            at = (thread * 625 + call * 7) % 1024
            size = 3 if call % 25 == 0 else 1
            worst = max(worst, np.abs(predictor(inputs[at : at + size]) - expected[at : at + size]).max())
        return worst

    with ThreadPoolExecutor(16) as pool:
        assert max(pool.map(wrong, range(16))) <= 1e-6


@backends
@pytest.mark.slow
def test_20_000_calls_leave_the_memory_as_it_was(exported, backend):
    """In a process of its own: that of the tests has 1.4 GB, which move by some megabytes without any call."""
    run_python(
        f"""
        import psutil
        from helpers.export.predictors import load_predictor

        predictor = load_predictor({str(exported)!r}, {backend!r})
        rows, batch = predictor.signature.sample(64), predictor.signature.sample(300)

        def calls(n):
            for i in range(n):
                predictor(rows[i % 64 : i % 64 + 1])
                if i % 100 == 0:
                    predictor(batch[: 1 + i % 300])
            return psutil.Process().memory_info().rss

        before = calls(2_000)
        growth = (calls(20_000) - before) / 2**20
        assert growth < 5, growth
        """
    )


# ---- what is imported ----


def test_serving_on_onnx_imports_nothing_heavy(exported):
    loaded = run_python(
        f"""
        import sys
        from helpers.export.predictors import load_predictor
        predictor = load_predictor({str(exported)!r})
        predictor(predictor.signature.sample(1))
        print([m for m in ("tensorflow", "keras", "pandas", "matplotlib", "h5py", "onnx") if m in sys.modules])
        """
    )
    assert loaded == "[]"


@pytest.mark.parametrize(("backend", "package"), [(b, kind.package) for b, kind in BACKENDS.items() if b != "numpy"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(exported, backend, package):
    module = {"ai-edge-litert": "ai_edge_litert"}.get(package, package)
    message = run_python(
        f"""
        import sys
        sys.modules[{module!r}] = None  # as if it were not installed
        from helpers.export.errors import PredictorError
        from helpers.export.predictors import load_predictor
        try:
            load_predictor({str(exported)!r}, {backend!r})
        except PredictorError as error:
            print(error)
        """
    )
    assert message == f"the backend '{backend}' needs a package: pip install {package}"


# ---- what is wrong shows at load ----


def test_an_unknown_backend_is_told_the_known_ones(exported):
    with pytest.raises(PredictorError, match="'torch'.*keras, onnx, litert, numpy"):
        load_predictor(exported, "torch")


def test_no_export_at_all(tmp_path):
    with pytest.raises(PredictorError, match="no model in nowhere/"):
        load_predictor(tmp_path / "nowhere")


@backends
def test_a_missing_artifact(copy, backend):
    (copy / BACKENDS[backend].file).unlink()
    with pytest.raises(PredictorError, match=f"games/{BACKENDS[backend].file} is missing"):
        load_predictor(copy, backend)


@backends
@pytest.mark.parametrize("damage", ["truncated", "one bit", "emptied"])
def test_a_damaged_artifact(copy, backend, damage):
    file = copy / BACKENDS[backend].file
    content = bytearray(file.read_bytes())
    if damage == "one bit":
        content[len(content) // 2] ^= 1
    else:
        del content[len(content) // 2 if damage == "truncated" else 0 :]
    file.write_bytes(content)
    with pytest.raises(
        PredictorError, match=f"{file.name} .*(bytes instead of|SHA-256 differs).*export the model again"
    ):
        load_predictor(copy, backend)


@backends
def test_a_damaged_artifact_whose_card_was_made_to_match(copy, backend):
    """The checksum is right, the content is not: the runtime's own complaint, in one line."""
    import hashlib

    file = copy / BACKENDS[backend].file
    content = file.read_bytes()[:300]
    file.write_bytes(content)
    entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    edit_card(copy, lambda card: card["files"].update({file.name: entry}))
    with pytest.raises(PredictorError, match=f"games/{file.name} cannot be served: ") as caught:
        load_predictor(copy, backend)
    assert "\n" not in str(caught.value)


@backends
def test_a_card_that_lists_a_feature_less(copy, backend):
    edit_card(copy, lambda card: card["signature"]["features"].pop())
    with pytest.raises(PredictorError, match="cannot be served"):
        load_predictor(copy, backend)


@pytest.mark.parametrize("backend", ["onnx", "numpy"])
def test_a_card_whose_features_stand_in_another_order(copy, backend):
    edit_card(copy, lambda card: card["signature"]["features"].reverse())
    with pytest.raises(PredictorError, match="in another order"):
        load_predictor(copy, backend)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": {}}', '{"signature": {}, "files": {}}', "\x00"])
def test_a_card_that_is_no_card(copy, text):
    (copy / "card.json").write_text(text)
    with pytest.raises(PredictorError, match=r"games/card.json is damaged"):
        load_predictor(copy)


@pytest.mark.parametrize("part", ["high", "default", "center"])
def test_a_card_with_a_number_that_no_float_holds(copy, part):
    edit_card(copy, lambda card: card["signature"]["features"][0].update({part: 10**400}))
    with pytest.raises(PredictorError, match=r"games/card.json is damaged"):
        load_predictor(copy)


def test_a_format_that_was_not_exported(copy):
    edit_card(copy, lambda card: card["files"].pop("model.onnx"))
    with pytest.raises(PredictorError, match="games/model.onnx was not exported"):
        load_predictor(copy)
