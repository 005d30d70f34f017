"""Ten Keras models of usual kinds, each from its file to an endpoint whose answers are Keras's."""

import base64
import html
import io
import json
import re
import select
import shlex
import socket
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import requests
from notebook_tools import environment_in
from own_models import MODELS, NAMES, make, onnx_file, rows_of
from service_processes import family, gone, is_ready, start, until

from helpers import PROJECT
from helpers.__main__ import main
from helpers.cloud.doctor import diagnose
from helpers.export.errors import ArtifactError, Remark
from helpers.export.own_model import export_file, told
from helpers.export.predictors import load_predictor
from helpers.export.versions import version_of
from helpers.quiet import quiet
from helpers.serving.model_slot import ModelSlot
from helpers.serving.notebook_server import serve
from helpers.serving.openapi import describe
from helpers.serving.serve_command import CannotServe, ensure_exported
from helpers.serving.services import create_predict_app
from helpers.serving.several import create_models_app
from helpers.serving.wiring import prediction_of, wiring_of

pytestmark = pytest.mark.slow  # each starts processes, or a model of its own

ROWS, LIST = 1000, 100  # rows in all, and in one request: a body has its limit
LABELS = {"three_classes": ("setosa", "versicolor", "virginica"), "picture_classifier": ("cat", "dog", "owl", "cow")}


def options_of(name: str) -> dict:
    options = {"classes": LABELS.get(name, ())}
    if name in ("ten_features", "half_precision"):
        options["features"] = NAMES
    if name == "own_layer":
        options["imports"] = "own_layers_of_a_test"
    return options


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("own")


@pytest.fixture(scope="module", params=MODELS)
def served(request, folder):
    """The name of a model, the model itself, its card, and the address of its service."""
    name = request.param
    model = make(name, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # formats that are left out
        card = export_file(folder / f"{name}.keras", folder / name, **options_of(name))
    with serve(create_predict_app(load_predictor(folder / name)), port=0) as server:
        yield name, model, card, server.url


def answers_of(name: str, model, rows: list) -> list[np.ndarray]:
    """What Keras answers to the rows, an array for each output."""
    import keras

    if name == "two_inputs":
        given = {side: np.float32([row[side] for row in rows]) for side in ("left", "right")}
    elif name == "texts":
        import tensorflow as tf

        given = tf.constant([[row["text"]] for row in rows])
    else:
        given = np.array([list(row.values()) if isinstance(row, dict) else row for row in rows])
        given = given.astype(np.int32 if name == "words_as_numbers" else np.float32)
    return [np.asarray(part) for part in keras.tree.flatten(model(given, training=False))]


def test_a_list_is_answered_as_keras_answers_it(served):
    name, model, _, url = served
    rows = rows_of(name, ROWS)
    found = []
    for first in range(0, ROWS, LIST):
        body = {"instances": rows[first : first + LIST]}
        content = requests.post(f"{url}/predict", json=body, timeout=60).json()
        assert content["success"], content
        found += content["predictions"]
    expected = answers_of(name, model, rows)
    assert len(found) == ROWS
    if name == "two_outputs":
        shares = np.array([list(row["kind"]["probabilities"].values()) for row in found])
        np.testing.assert_allclose(shares, expected[0], atol=1e-5)
        np.testing.assert_allclose([row["price"]["value"] for row in found], expected[1].ravel(), atol=1e-5)
    elif name in LABELS:
        best = expected[0].argmax(axis=1)
        assert [row["label"] for row in found] == [LABELS[name][i] for i in best]
        np.testing.assert_allclose([row["probability"] for row in found], expected[0].max(axis=1), atol=1e-5)
    else:
        np.testing.assert_allclose(np.reshape(found, expected[0].shape), expected[0], atol=1e-5)


def test_one_row_is_answered_with_what_its_kind_of_output_says(served):
    name, model, _, url = served
    row = rows_of(name, 1)[0]
    body = row if isinstance(row, dict) else {"instances": [row]}
    content = requests.post(f"{url}/predict", json=body, timeout=60).json()
    expected = answers_of(name, model, [row])
    if name == "regression":
        assert list(content) == ["prediction", "value", "success"]
        assert content["value"] == pytest.approx(float(expected[0][0, 0]), abs=1e-5)
        assert np.float32(content["prediction"]) == np.float32(content["value"])
    elif name == "three_classes":
        assert list(content) == ["prediction", "probability", "probabilities", "success"]
        assert content["prediction"] == LABELS[name][int(expected[0].argmax())]
        assert sum(content["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    elif name == "two_outputs":
        assert list(content) == ["outputs", "success"] and list(content["outputs"]) == ["kind", "price"]
    elif isinstance(row, dict):
        assert list(content) == ["prediction", "probability", "success"]
    else:
        assert list(content) == ["predictions", "success"]


def test_its_page_and_its_description_speak_of_what_it_takes_and_answers(served):
    name, _, card, url = served
    page = requests.get(url, timeout=10).text
    content = json.loads(page.partition('id="service">')[2].partition("</script>")[0])
    assert [each["kind"] for each in content["outputs"]] == [
        o["kind"] for o in card["signature"].get("outputs", [{"kind": "probability"}])
    ]
    assert bool(content["inputs"]) != bool(content["features"])
    document = requests.get(f"{url}/openapi.json", timeout=10).json()
    example = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["examples"]["one"]
    assert requests.post(f"{url}/predict", json=example["value"], timeout=30).status_code == 200
    assert "Infinity" not in json.dumps(document) + page
    said = {
        "picture_classifier": "one of 4 classes, given one input, `image`",
        "two_outputs": "kind: one of 3 classes, price: a",
    }
    assert said.get(name, "given") in document["info"]["description"]


def test_the_page_of_several_models_shows_a_line_that_asks_it(served, folder):
    name, _, _, _ = served
    client = create_models_app({"one": load_predictor(folder / name)}).test_client()
    [line] = re.findall(r'aria-label="curl line">(.*?)</pre>', client.get("/").text, re.DOTALL)
    *words, url = shlex.split(html.unescape(line))[1:]
    if "-d" in words:
        too_long = words[-1] == "..."
        assert too_long == (name == "sequences")
        assert too_long or client.post(url, data=words[-1], content_type="application/json").status_code == 200
    elif name == "picture_classifier":
        assert words == ["-F", "image=@picture.jpg"]
    else:
        assert not words and client.get(url).status_code == 200


def test_whatever_is_no_row_is_named(served):
    name, _, _, url = served
    for body in ({}, {"nonsense": 1}, {"instances": []}, {"instances": [None]}, {"instances": [[[[]]]]}, [[1, 2]], 5):
        answer = requests.post(f"{url}/predict", json=body, timeout=10)
        if name == "words_as_numbers" and body == [[1, 2]]:
            assert answer.status_code == 200  # two words are a text of any length
            continue
        assert answer.status_code == 422, (body, answer.text)
        assert answer.json()["error"] and not answer.json()["success"]


def test_a_model_of_the_same_inputs_and_outputs_is_swapped_in(served, folder):
    name, _, _, _ = served
    slot = ModelSlot(load_predictor(folder / name))
    assert slot.warm_up()
    assert slot.swap(lambda: load_predictor(folder / name)).largest_change == 0


def test_it_is_said_what_it_runs_on_and_what_that_costs(served, folder):
    name, _, card, _ = served
    runs_on = told(card, load_predictor(folder / name).signature)[-1]
    assert ("Keras itself" in runs_on) == (name in ("texts", "half_precision"))
    assert card["parity"]["proved"] and card["parity"]["largest_difference"] <= 1e-6


# ---- the commands ----


def command(folder, *words):
    run = {"capture_output": True, "text": True, "timeout": 200, "env": environment_in(PROJECT)}
    return subprocess.run([sys.executable, "-m", "helpers", *map(str, words)], cwd=folder, check=False, **run)


@pytest.fixture
def typed_here(tmp_path, capfd, monkeypatch):
    """As `command` in the test's folder, but in this process, which has imported TensorFlow."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        capfd.readouterr()  # what was said before
        try:
            code = main([*map(str, words)])
        except SystemExit as end:
            code = end.code
        return subprocess.CompletedProcess(words, code, *capfd.readouterr())

    return run


@pytest.mark.parametrize(
    ("name", "options", "ask", "has"),
    [
        (
            "three_classes",
            ["--classes=../labels.txt", "--features=a,b,c,d"],
            {"a": 1, "b": 0, "c": 2, "d": 1},
            "setosa",
        ),
        (
            "own_layer",
            ["--import=own_layers_of_a_test", "--backend=keras"],  # whose workers need the layer too
            {"x1": 1, "x2": 0, "x3": 2, "x4": 1},
            "probability",
        ),
        ("texts", [], {"text": "a good one"}, "probability"),
    ],
)
def test_one_command_takes_a_file_to_an_endpoint(tmp_path, free_port, name, options, ask, has):
    make(name, tmp_path)
    before = (tmp_path / f"{name}.keras").read_bytes()
    (tmp_path / "labels.txt").write_text("0 setosa\n1 versicolor\n2 virginica\n")
    (tmp_path / "elsewhere").mkdir()
    words = ["serve", f"../{name}.keras", "--to", "./out", "--workers", "1", "--port", free_port, *options]
    environment = environment_in(PROJECT)
    process = subprocess.Popen(
        [sys.executable, "-m", "helpers", *map(str, words)],
        cwd=tmp_path / "elsewhere", env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    url = f"http://127.0.0.1:{free_port}"

    def ready():
        assert process.poll() is None, process.stdout.read()
        try:
            return requests.get(f"{url}/health/ready", timeout=2).ok
        except requests.RequestException:
            return False

    try:
        until(ready, seconds=150)
        answer = requests.get(f"{url}/predict", params=ask, timeout=20).json()
        assert answer["success"] and has in json.dumps(answer)
    finally:
        members = family(process)
        process.terminate()
        said = process.communicate(timeout=30)[0]
    assert gone(members)
    assert "takes: " in said and "parity: agrees with Keras" in said and "Serving " in said
    assert "serve it: " not in said  # it does so already
    assert (tmp_path / f"{name}.keras").read_bytes() == before


FUNCTION = """
import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="mine")
def lower(text):
    return tf.strings.lower(text)
"""


def test_a_model_with_a_function_of_ones_own_that_keras_runs_is_served_and_scores_by_its_name_later(
    tmp_path, free_port, typed_here
):
    import keras

    (tmp_path / "functions_of_a_tone.py").write_text(FUNCTION)
    space: dict = {}
    exec(FUNCTION, space)
    words = keras.layers.TextVectorization(
        standardize=space["lower"], output_mode="multi_hot", vocabulary=["good", "bad"]
    )
    inputs = keras.Input((1,), dtype="string")
    keras.Model(inputs, keras.layers.Dense(1)(words(inputs))).save(tmp_path / "tone.keras")
    exported = typed_here("export", "tone.keras", "--to", "./m", "--import", "functions_of_a_tone")
    assert exported.stdout.splitlines()[-1].endswith(" --import functions_of_a_tone"), exported
    (tmp_path / "reviews.csv").write_text("text\nGOOD\ngood\nbad\n")
    score = ["score", "reviews.csv", "scores.csv", "--model", "./m"]
    refused = command(tmp_path, *score)
    says = "put the function lower, registered as mine>lower, into a module, my_layers.py, here or beside the file"
    assert refused.returncode == 2 and f"{says}, and add --import my_layers" in refused.stderr
    scored = command(tmp_path, *score, "--import", "functions_of_a_tone")
    assert scored.returncode == 0, scored.stderr
    first, second, other = pd.read_csv(tmp_path / "scores.csv")["value"]
    assert first == second != other
    (tmp_path / "golden.json").write_text('[{"request": {"text": "bad"}, "more_than": {"text": "GOOD"}}]')
    gated = typed_here("gate", "--model", "./m", "--golden", "golden.json", "--import", "functions_of_a_tone")
    assert gated.returncode == (0 if other > first else 1) and "golden request 1" in gated.stdout, gated
    url, named = f"http://127.0.0.1:{free_port}", ["--model", "./m", "--import", "functions_of_a_tone"]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "helpers", "serve", *named, "--port", str(free_port), "--workers", "1"],
        cwd=tmp_path, env=environment_in(PROJECT, TMPDIR=str(temporary)), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: is_ready(url), seconds=90)
        answer = requests.get(f"{url}/predict", params={"text": "Good"}, timeout=20).json()
        assert np.float32(answer["value"]) == np.float32(first)
    finally:
        members = family(process)
        process.terminate()
        process.wait(30)
    assert gone(members) and not list(temporary.iterdir())  # nor what TensorFlow writes for itself


def test_a_litert_file_is_served_though_no_other_file_can_be_made_of_it(tmp_path):
    import keras
    import tensorflow as tf

    with quiet():
        made = tf.lite.TFLiteConverter.from_keras_model(keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]))
        (tmp_path / "mine.tflite").write_bytes(made.convert())
    export_file(tmp_path / "mine.tflite", tmp_path / "m")
    ensure_exported(tmp_path / "m")
    with pytest.raises(CannotServe, match=r"holds model.tflite alone, of which no model.onnx can .* leave --backend"):
        ensure_exported(tmp_path / "m", "onnx")


def test_another_file_waits_beside_the_model_until_it_is_put_in_its_place(tmp_path):
    for seed, name in enumerate(("first.onnx", "second.onnx")):
        onnx_file(tmp_path / name, seed)
    named = ["--label=won", "--features=a,b,c", "--classes=no,yes"]
    alone = command(tmp_path, "export", "first.onnx", "--to", "./m", "--beside", *named)
    assert alone.returncode == 0 and "serve it: " in alone.stdout and not alone.stderr  # where TensorFlow would speak
    assert "yet: this one waits beside none, and answers" in alone.stdout
    row = np.float32([[1, 2, 3]])
    first = load_predictor(tmp_path / "m")
    refused = command(tmp_path, "export", "second.onnx", "--to", "./m")
    assert refused.returncode == 2 and "holds another model" in refused.stderr
    beside = command(tmp_path, "export", "second.onnx", "--to", "./m", "--beside")
    assert beside.returncode == 0 and "it waits beside the model that is there" in beside.stdout, beside.stderr
    assert load_predictor(tmp_path / "m").version == first.version
    [line] = [line for line in beside.stdout.splitlines() if line.startswith("put it in its place: ")]
    assert command(tmp_path, *line.partition("tutorial.py ")[2].split()).returncode == 0
    second = load_predictor(tmp_path / "m")
    assert second.version in line and second(row) != first(row)
    assert second.signature == first.signature  # though nobody named anything again
    onnx_file(tmp_path / "wider.onnx", features=4)
    wider = command(tmp_path, "export", "wider.onnx", "--to", "./m", "--beside")
    assert "whose callers it cannot answer: it takes other features" in wider.stdout and "ask it" not in wider.stdout
    promoted = command(tmp_path, "models", "promote", "./m")
    assert "it cannot answer the callers of the one before: it takes other features" in promoted.stdout


def test_a_file_that_takes_something_else_by_now_does_not_replace_its_model_unless_that_is_said(tmp_path):
    onnx_file(tmp_path / "m.onnx", 0)
    export_file(tmp_path / "m.onnx", tmp_path / "m")
    export_file(tmp_path / "m.onnx", tmp_path / "m", features=["a", "b", "c"])  # the same one, described anew
    onnx_file(tmp_path / "m.onnx", 1)
    now = version_of(export_file(tmp_path / "m.onnx", tmp_path / "m", features=["a", "b", "c"]))  # trained again
    onnx_file(tmp_path / "m.onnx", 1, features=4)
    refused = command(tmp_path, "export", "m.onnx", "--to", "./m")
    assert refused.returncode == 2 and "m holds the model that this file was before" in refused.stderr
    assert "takes other features (new: x1, x2, x3, x4; gone: a, b, c): say --replace, or" in refused.stderr
    assert load_predictor(tmp_path / "m").version == now
    assert command(tmp_path, "export", "m.onnx", "--to", "./m", "--replace").returncode == 0


def test_what_was_said_of_a_file_once_holds_until_it_is_said_anew(tmp_path, typed_here):
    make("three_classes", tmp_path)
    named = ["--features=a,b,c,d", "--classes=setosa,versicolor,virginica", "--label=iris"]
    assert typed_here("export", "three_classes.keras", "--to", "./m", *named).returncode == 0
    first = load_predictor(tmp_path / "m")
    again = typed_here("export", "three_classes.keras", "--to", "./m")
    assert "as said before: --features, --classes, --label;" in again.stdout and "in the place" not in again.stdout
    assert load_predictor(tmp_path / "m").version == first.version  # the same file, and the same bytes
    beside = typed_here("export", "three_classes.keras", "--to", "./m", "--beside")
    assert "it is a version that is there already: none was added" in beside.stdout
    other = typed_here("export", "three_classes.keras", "--to", "./m", "--features=a,b,c,e")
    assert "as said before: --classes, --label;" in other.stdout
    assert f"in the place of {first.version} of 20" in other.stdout and "back again: python3 " in other.stdout
    signature = load_predictor(tmp_path / "m").signature
    assert signature.names == ("a", "b", "c", "e") and signature.outputs == first.signature.outputs
    anew = typed_here("export", "three_classes.keras", "--to", "./m", "--replace")
    assert "a row of 4 features (x1, x2, x3, x4)" in anew.stdout and "as said before" not in anew.stdout


def test_pixels_that_were_said_are_not_called_assumed(tmp_path):
    make("picture_classifier", tmp_path)
    file, directory = tmp_path / "picture_classifier.keras", tmp_path / "m"
    card = export_file(file, directory)
    assert "(--pixels says otherwise)" in "".join(told(card, load_predictor(directory).signature))
    for said in ({"pixels": "0..255"}, {}):  # and remembered
        card = export_file(file, directory, **said)
        assert "otherwise" not in "".join(told(card, load_predictor(directory).signature))


@pytest.mark.parametrize("name", ["picture_classifier", "two_inputs"])
def test_a_file_that_was_trained_again_replaces_its_model_whatever_it_takes(tmp_path, name):
    made = make(name, tmp_path)
    before = version_of(export_file(tmp_path / f"{name}.keras", tmp_path / "m"))
    made.set_weights([weights * 1.5 for weights in made.get_weights()])
    made.save(tmp_path / f"{name}.keras")
    assert version_of(export_file(tmp_path / f"{name}.keras", tmp_path / "m")) != before


def test_the_folder_of_another_model_is_not_taken(tmp_path, typed_here):
    make("regression", tmp_path)
    make("three_classes", tmp_path)
    export_file(tmp_path / "regression.keras", tmp_path / "m")
    other = typed_here("export", "three_classes.keras", "--to", "./m")
    assert other.returncode == 2 and "holds another model" in other.stderr
    served = typed_here("serve", "three_classes.keras", "--to", "./m", "--port", "0")
    assert served.returncode == 2 and served.stderr.replace("serve: ", "export: ", 1) == other.stderr
    export_file(tmp_path / "three_classes.keras", tmp_path / "m", replace=True)
    assert load_predictor(tmp_path / "m").signature.outputs[0].classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"features": ("a", "b")}, "make 2 numbers .*, the model takes 5: name as many"),
        ({"features": ("a", "b", "c", "d", "a")}, "--features names a twice: a request"),
        (
            {"classes": ("a", "b", "c")},
            r"3 classes are named, and the model's answers have the shape \(1,\): name as many, two",
        ),
        ({"imports": "no_such_module_here"}, "the module no_such_module_here cannot be imported"),
        ({"takes": "image"}, "is no picture: leave --takes out"),
        ({"pixels": "0..1"}, r"--pixels is of pictures, and the model takes none, but \(5,\): leave it out"),
    ],
)
def test_what_does_not_fit_the_model_is_said_before_anything_is_written(tmp_path, options, says):
    make("regression", tmp_path)
    with pytest.raises(ArtifactError, match=says):
        export_file(tmp_path / "regression.keras", tmp_path / "m", **options)
    assert not (tmp_path / "m").exists()


def test_layers_with_names_that_tensorflow_takes_for_no_scope_are_served(tmp_path):
    """As models have them that Keras has trained by JAX or PyTorch."""
    import keras

    size, price = keras.Input((4,), name="größe des Hauses"), keras.Input((1,), name="Preis (€)")
    both = keras.layers.Concatenate(name="beide €")([size, price])
    kind = keras.layers.Dense(3, "softmax", name="Art des Käufers")(keras.layers.Dense(4, name="beide $")(both))
    keras.Model([size, price], {"Art des Käufers": kind}, name="mein Modell").save(tmp_path / "m.keras")
    card = export_file(tmp_path / "m.keras", tmp_path / "m")
    assert card["parity"]["proved"]
    with serve(create_predict_app(load_predictor(tmp_path / "m")), port=0) as server:
        row = {"größe des Hauses": [1, 2, 3, 4], "Preis (€)": 5}
        answer = requests.post(f"{server.url}/predict", json=row, timeout=10).json()
    assert answer["success"] and sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_what_cannot_be_served_is_refused_with_the_reason(tmp_path):
    import keras

    layers = keras.layers
    stateful = keras.Sequential([keras.Input(batch_shape=(1, 5, 2)), layers.LSTM(2, stateful=True), layers.Dense(1)])
    nan = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    nan.set_weights([np.full_like(weight, np.nan) for weight in nan.get_weights()])
    # Keras builds and saves it all the same
    never = keras.Sequential([keras.Input((4,)), layers.Dense(1, "threshold")])
    cases = (
        (stateful, "is stateful"),
        (nan, "not finite: train it again; or, where it takes certain numbers only, .* --like TABLE"),
        (never, r"Keras itself cannot compute the model \(threshold\(\) missing 2 required .*: mend that layer"),
    )
    for model, says in cases:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.save(tmp_path / "m.keras")
        with pytest.raises(ArtifactError, match=says):
            export_file(tmp_path / "m.keras", tmp_path / "m")


@pytest.mark.parametrize("takes", ["names", "row", "sequence"])
def test_a_model_that_takes_logarithms_is_served_and_proposes_what_it_has_an_answer_to(tmp_path, takes):
    import keras

    layers, ops = keras.layers, keras.ops
    price, area, row, steps = (
        keras.Input(shape, name=n) for n, shape in (("price", (1,)), ("area", (1,)), ("row", (3,)), ("s", (5, 2)))
    )
    ends, y = {
        "names": lambda: ([price, area], layers.Concatenate()([ops.log(price), area])),
        "row": lambda: (row, ops.concatenate([row[:, :1], ops.sqrt(row[:, 1:])], axis=-1)),
        "sequence": lambda: (steps, layers.LSTM(2)(ops.log(steps))),
    }[takes]()
    model = keras.Model(ends, layers.Dense(1)(y))
    model.save(tmp_path / "m.keras")
    with pytest.warns(
        Remark, match=r"no finite answer to some numbers of .*, as a logarithm has none: those above 0 are"
    ):
        card = export_file(tmp_path / "m.keras", tmp_path / "m")
    assert card["parity"]["proved"]
    predictor = load_predictor(tmp_path / "m")
    parts = predictor.signature.inputs or predictor.signature.features
    told = {"names": [(0.01, 1), None], "row": [None, (0.01, 1), (0.01, 1)], "sequence": [(0.01, 1)]}
    assert [each.usual for each in parts] == told[takes]
    with serve(create_predict_app(predictor), port=0) as server:
        example = predictor.signature.example()
        answer = requests.post(f"{server.url}/predict", json=example, timeout=10).json()
        rows = predictor.signature.parse(example)
        wanted = model([*map(np.asarray, rows.arrays)] if takes == "names" else getattr(rows, "arrays", [rows])[0])
        assert answer["value"] == pytest.approx(float(np.ravel(wanted)[0]), abs=1e-5)
        if takes == "names":
            answer = requests.post(f"{server.url}/predict", json={"price": 0, "area": 1}, timeout=10).json()
            assert "not finite, as it may where" in answer["error"] and "a logarithm is taken of 0" in answer["error"]


def test_answers_that_are_all_saturated_prove_nothing_and_that_is_said(tmp_path):
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "sigmoid")])
    model.set_weights([np.full((4, 1), 1e4, np.float32), np.zeros(1, np.float32)])
    model.save(tmp_path / "m.keras")
    with pytest.warns(UserWarning, match="not proved"):
        card = export_file(tmp_path / "m.keras", tmp_path / "m")
    assert not card["parity"]["proved"]
    assert any("proves nothing" in line for line in told(card, load_predictor(tmp_path / "m").signature))


def test_a_table_names_the_features_and_their_ranges(tmp_path):
    make("regression", tmp_path)
    i = np.arange(30)
    homes = {"rooms": i % 7, "age": 20 + i, "crime": i / 3, "has_pool": i % 2, "tax": 100 + 3 * i, "price": i * 1000}
    pd.DataFrame(homes).to_excel(tmp_path / "homes.xlsx", index=False)  # read as the tables to train on are
    card = export_file(tmp_path / "regression.keras", tmp_path / "m", like=tmp_path / "homes.xlsx", label="price")
    kinds = {feature["name"]: feature["kind"] for feature in card["signature"]["features"]}
    assert kinds == {"rooms": "real", "age": "real", "crime": "real", "has_pool": "binary", "tax": "real"}
    assert card["signature"]["label"] == "price" and card["parity"]["proved"]  # though its answers are large
    predictor = load_predictor(tmp_path / "m")
    read = predictor.signature.reader().read({"rooms": 3, "age": 99, "crime": 1, "has_pool": 1, "tax": 150})
    assert read.notes == {
        "age": "99 is outside of 20 to 49, the range that the model's owner gave"
    }  # nobody trained on it here
    assert read.matrix.tolist() == [[3, 99, 1, 1, 150]]
    described = describe(predictor.signature, "x")["components"]["schemas"]["Row"]["properties"]["age"]["description"]
    assert described == "the model's owner gave the range 20 to 49"


def test_numbers_of_which_nothing_is_known_are_legal_as_far_as_a_model_can_compute(folder):
    make("regression", folder)
    export_file(folder / "regression.keras", folder / "unbounded")
    row = dict.fromkeys(("x1", "x2", "x3", "x4", "x5"), -12345.678)
    with serve(create_predict_app(load_predictor(folder / "unbounded"), strict=True), port=0) as server:
        assert "notes" not in requests.get(f"{server.url}/predict", params=row, timeout=10).json()
        beyond = requests.get(f"{server.url}/predict", params={**row, "x3": "1e31"}, timeout=10)
    assert beyond.status_code == 422 and "too large" in beyond.json()["fields"]["x3"]


# ---- pictures over HTTP ----


@pytest.fixture(scope="module")
def pictures(folder):
    """The address of an image classifier's service, and the model."""
    model = make("picture_classifier", folder)
    export_file(folder / "picture_classifier.keras", folder / "pictures", classes=LABELS["picture_classifier"])
    with serve(create_predict_app(load_predictor(folder / "pictures")), port=0) as server:
        yield server.url, model


def picture(kind: str = "PNG") -> tuple[bytes, np.ndarray]:
    """The file of a picture, and its pixels in the model's size."""
    from PIL import Image

    pixels = np.random.default_rng(3).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    made = io.BytesIO()
    Image.fromarray(pixels).save(made, kind)
    return made.getvalue(), pixels


def test_a_picture_is_answered_with_its_classes_best_first(pictures, tmp_path):
    url, model = pictures
    content, pixels = picture()
    (tmp_path / "a picture.png").write_bytes(content)
    shares = np.asarray(model(pixels[None].astype(np.float32)))[0]
    curl = ["curl", "-sS", "-F", f"image=@{tmp_path / 'a picture.png'}", f"{url}/predict"]
    answer = json.loads(subprocess.run(curl, capture_output=True, text=True, check=True).stdout)
    assert list(answer) == ["predictions", "success"]
    assert [each["label"] for each in answer["predictions"]] == [
        LABELS["picture_classifier"][i] for i in np.argsort(-shares)
    ]
    np.testing.assert_allclose(
        [each["probability"] for each in answer["predictions"]], np.sort(shares)[::-1], atol=1e-5
    )
    raw = ["curl", "-sS", "--data-binary", f"@{tmp_path / 'a picture.png'}", f"{url}/predict"]
    assert json.loads(subprocess.run(raw, capture_output=True, text=True, check=True).stdout) == answer
    encoded = {"b64": base64.b64encode(content).decode()}
    assert requests.post(f"{url}/predict", json={"image": encoded}, timeout=10).json() == answer
    two = requests.post(f"{url}/predict", json={"instances": [encoded, encoded]}, timeout=10).json()
    assert two["predictions"] == [answer["predictions"][0]] * 2


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        ({"files": {"image": ("a.svg", b"<svg></svg>")}}, "is an SVG"),
        ({"files": {"image": ("a.jpg", b"")}}, "is empty"),
        ({"files": {"image": ("a.png", picture()[0][:200])}}, "is cut short or damaged"),
        ({"files": {"file": ("a.png", picture()[0])}}, "unknown: the model takes image"),
        ({"data": picture()[0][:99], "headers": {"Content-Type": "image/png"}}, "is cut short or damaged"),
        ({"json": {"image": "bm90IGEgcGljdHVyZQ=="}}, "is no picture"),
        ({"data": {"image": "mein Kreis.PNG"}}, "is the name of a file, not the file: curl takes an @ before it"),
        ({"json": {"image": "%%%"}}, "is not the file of a picture in base64"),
        ({}, "missing: POST the file of a picture"),
    ],
)
def test_what_is_no_picture_is_refused_with_a_sentence(pictures, sent, says):
    url, _ = pictures
    answer = requests.post(f"{url}/predict", timeout=10, **sent)
    assert answer.status_code == 422 and says in answer.json()["error"], answer.text


def test_the_pictures_of_a_request_have_a_limit_together_beyond_which_none_is_decoded(pictures):
    """6 kB each, of 49 million pixels; of the third there is but the head, which would be told if it were decoded."""
    from PIL import Image

    url, _ = pictures
    made = io.BytesIO()
    Image.new("1", (7000, 7000)).save(made, "PNG")
    files = [made.getvalue(), made.getvalue(), made.getvalue()[:100], picture()[0]]
    sent = {"json": [{"b64": base64.b64encode(file).decode()} for file in files], "timeout": 60}
    answer = requests.post(f"{url}/predict?errors=rows", **sent)
    assert [each is None for each in answer.json()["predictions"]] == [False, False, True, False]
    assert "49,000,000 pixels, too many beside those before it" in answer.json()["errors"]["[2]"]
    refused = requests.post(f"{url}/predict", **sent)
    assert refused.status_code == 422 and refused.json()["fields"] == answer.json()["errors"]


@pytest.fixture(scope="module")
def open_pictures(folder):
    """The address of a service of a model of pictures of any size, as large as they are halved twice, and the model."""
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(5)
    inputs = keras.Input((None, None, 3))
    fine = layers.Conv2D(4, 3, 2, "same", activation="relu")(layers.Rescaling(1 / 255)(inputs))
    coarse = layers.UpSampling2D(interpolation="bilinear")(layers.Conv2D(4, 3, 2, "same")(fine))
    model = keras.Model(inputs, layers.Conv2D(1, 1)(layers.Add()([fine, coarse])))
    model.save(folder / "open.keras")
    said = told(export_file(folder / "open.keras", folder / "open"), load_predictor(folder / "open").signature)
    assert (
        said[0]
        == "takes: a picture (image) of any height x any width x 3, pixels scaled to 0..255 (--pixels says otherwise)"
    )
    with serve(create_predict_app(load_predictor(folder / "open")), port=0) as server:
        yield server.url, model


def test_a_picture_of_a_model_that_takes_any_size_is_taken_as_large_as_it_is(open_pictures, tmp_path):
    from PIL import Image

    url, model = open_pictures
    pixels = np.random.default_rng(3).integers(0, 256, (44, 60, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "dog.png")
    curl = ["curl", "-sS", "-F", f"image=@{tmp_path / 'dog.png'}", f"{url}/predict"]
    found = json.loads(subprocess.run(curl, capture_output=True, text=True, check=True).stdout)
    expected = np.asarray(model(pixels[None].astype(np.float32)))[0]
    np.testing.assert_allclose(found["prediction"], expected, atol=1e-5)
    encoded = {"b64": base64.b64encode((tmp_path / "dog.png").read_bytes()).decode()}
    rows = [encoded, pixels.tolist(), pixels[:20, :20].tolist()]
    listed = requests.post(f"{url}/predict?errors=rows", json={"instances": rows}, timeout=10).json()
    assert listed["predictions"] == [found["prediction"]] * 2 + [None]
    assert "another shape than the rows before it" in listed["errors"]["[2]"]


def test_a_picture_that_is_too_large_or_of_a_size_that_the_model_fails_on_is_told_so(open_pictures):
    from PIL import Image

    def refused(width, height):
        made = io.BytesIO()
        Image.new("1", (width, height)).save(made, "PNG")
        answer = requests.post(f"{open_pictures[0]}/predict", data=made.getvalue(), timeout=10)
        assert answer.status_code == 422
        return answer.json()["error"]

    assert "has 9,000,000 pixels, and this model takes a picture as large as it is" in refused(3000, 3000)
    assert refused(45, 61) == (
        "the model has no answer to image of shape (61, 45, 3): it takes certain sizes only, so send another one"
    )


@pytest.mark.parametrize("name", ["net.keras", "net.tflite", "net"])
def test_a_picture_of_a_model_that_makes_it_smaller_itself_may_have_any_size(tmp_path, name):
    import keras
    from PIL import Image

    layers = keras.layers
    keras.utils.set_random_seed(5)
    inputs = keras.Input((None, None, 3))
    small = layers.Resizing(12, 16)(layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(layers.Conv2D(2, 3)(small))))
    if name == "net.keras":
        model.save(tmp_path / name)
    else:
        with quiet():
            model.export(tmp_path / name, format="litert" if "." in name else "tf_saved_model", verbose=False)
    export_file(tmp_path / name, tmp_path / "m")
    client = create_predict_app(load_predictor(tmp_path / "m")).test_client()
    for size, near in ((200, 1e-5), (1100, 0.01)):  # the larger one is made smaller first
        picture = Image.linear_gradient("L").resize((2 * size, size)).convert("RGB")
        made = io.BytesIO()
        picture.save(made, "PNG")
        answer = client.post("/predict", data=made.getvalue()).get_json()
        expected = np.asarray(model(np.asarray(picture, np.float32)[None]))[0]
        np.testing.assert_allclose(answer["prediction"], expected, atol=near)


def test_a_picture_larger_than_a_service_takes_is_refused(pictures):
    url, _ = pictures
    answer = requests.post(f"{url}/predict", data=b"\xff\xd8\xff" + bytes(17 * 1024 * 1024), timeout=20)
    assert answer.status_code == 413


@pytest.mark.browser
def test_the_page_of_a_picture_model_takes_a_dropped_file_or_the_cameras_picture_and_shows_bars(pictures, chromium):
    from playwright.sync_api import expect, sync_playwright

    drop = """([bytes]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], "a.png", { type: "image/png" }));
        document.querySelector(".drop").dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
    }"""
    with sync_playwright() as playwright:
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        options = {"executable_path": chromium, "args": ["--no-sandbox", "--disable-gpu", *camera]}
        browser = playwright.chromium.launch(**options)
        page = browser.new_page()
        said = []
        page.on("console", lambda message: said.append(message.text))
        page.goto(pictures[0])
        expect(page.locator("#status")).to_have_text("choose a picture")
        expect(page.locator("#curl")).to_contain_text("curl -F 'image=@picture.jpg'")
        beside = "!document.body.dispatchEvent(new DragEvent('drop', { bubbles: true, cancelable: true }))"
        assert page.evaluate(beside), "a file dropped beside the field would take the page's place"
        page.evaluate(drop, [list(picture()[0])])
        expect(page.locator(".drop img")).to_be_visible()
        assert page.locator("input[type=file]").evaluate("chooser => chooser.files[0].name") == "a.png"
        page.set_input_files("input[type=file]", [])  # as leaving the dialog without a choice does
        assert page.locator("input[type=file]").evaluate("chooser => chooser.files[0].name") == "a.png"
        expect(page.locator(".classes .bar")).to_have_count(4)
        expect(page.locator("#curl")).to_contain_text("curl -F 'image=@a.png'")
        assert page.locator("#probability").inner_text() in LABELS["picture_classifier"]
        page.get_by_role("button", name="Use the camera").click()
        expect(page.locator(".drop video")).to_be_visible()
        page.get_by_role("button", name="Take the picture").click()
        expect(page.locator("#curl")).to_contain_text("curl -F 'image=@camera.jpg'")
        expect(page.locator("#status")).to_contain_text("answered in")
        expect(page.locator(".drop video")).to_be_hidden()
        assert page.locator(".drop img").evaluate("seen => seen.decode().then(() => seen.naturalWidth)") > 100
        page.set_input_files("input[type=file]", {"name": "b.png", "mimeType": "image/png", "buffer": b"no picture"})
        expect(page.locator("#status")).to_contain_text("is no picture")
        expect(page.locator(".drop img")).to_be_hidden()
        said = [text for text in said if "422" not in text]  # the browser tells of that status itself
        browser.close()
    assert not said


@pytest.mark.browser
def test_the_page_of_a_model_of_single_values_has_a_field_for_each(folder, chromium):
    import keras
    import tensorflow as tf
    from playwright.sync_api import expect, sync_playwright

    keras.utils.set_random_seed(5)
    parts = [keras.Input((1,), name=name) for name in ("height", "age")]
    town = keras.Input((1,), name="town", dtype="string")
    known = keras.layers.StringLookup(vocabulary=["Rome", "Oslo"], output_mode="one_hot")(town)
    height, age = parts
    usual = keras.layers.Normalization(mean=40, variance=100)(age)
    paid = keras.Input((1,), name="paid", dtype="bool")
    encoded = keras.layers.Concatenate()([height, usual, known, keras.ops.cast(paid, "float32")])
    model = keras.Model([*parts, town, paid], keras.layers.Dense(1)(encoded))
    model.save(folder / "numbers.keras")
    card = export_file(folder / "numbers.keras", folder / "numbers")
    said = told(card, load_predictor(folder / "numbers").signature)[0]
    assert "a number (age), usually 20 to 60; a text (town): Rome, Oslo or any other; true or false (paid)" in said
    with (
        serve(create_predict_app(load_predictor(folder / "numbers")), port=0) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(server.url)
        expect(page.locator("#status")).to_contain_text("answered in")
        age = page.get_by_role("spinbutton", name="age")
        assert age.input_value() == "40" and "usually 20 to 60" in page.locator(".features").inner_text()
        page.get_by_role("slider").press("End")
        assert age.input_value() == "60"
        age.fill("40.5")
        page.get_by_role("spinbutton", name="height").fill("2")
        town = page.get_by_role("combobox", name="town")
        proposed = town.evaluate("one => [...one.list.options].map(option => option.value)")
        assert (town.input_value(), proposed) == ("Rome", ["Rome", "Oslo"])
        town.fill("oslo")
        expect(page.locator("#status")).to_contain_text("did you mean Oslo?")
        town.fill("Oslo")
        page.get_by_role("switch", name="paid").click()
        row = [tf.constant([[2.0]]), tf.constant([[40.5]]), tf.constant([["Oslo"]]), tf.constant([[False]])]
        expected = float(model(row)[0, 0])
        expect(page.locator("#probability")).to_contain_text(str(expected)[:5])
        page.get_by_role("spinbutton", name="age").fill("")
        expect(page.locator("#status")).to_have_text("age: this is not a number yet")
        assert page.locator("textarea").count() == 0
        browser.close()
        url = f"{server.url}/predict"
        row = {"age": 1, "town": "", "paid": True}
        assert requests.post(url, json=row, timeout=10).json()["fields"] == {"height": "missing"}
        assert requests.get(url, params=row, timeout=10).json()["fields"] == {"height": "missing"}
        row |= {"height": 1, "paid": "maybe"}
        assert requests.get(url, params=row, timeout=10).json()["fields"] == {"paid": "must be true or false"}


@pytest.mark.browser
def test_the_page_of_a_model_that_answers_an_array_is_as_narrow_as_a_phone(folder, chromium):
    from playwright.sync_api import expect, sync_playwright

    make("words_as_numbers", folder)
    export_file(folder / "words_as_numbers.keras", folder / "words")
    with serve(create_predict_app(load_predictor(folder / "words")), port=0) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 400, "height": 800})
        page.goto(server.url)
        expect(page.locator("#status")).to_contain_text("answered in")
        assert page.evaluate("document.documentElement.scrollWidth") == 400
        shown = [float(number) for number in page.locator("#probability").inner_text().split(", ")]
        full = json.loads(page.locator(".answer pre").inner_text())
        np.testing.assert_allclose(shown, full, rtol=0.01)
        many = page.evaluate(
            "[headline({prediction: [[1, 2], [3, 4], [5, 6]]}), headline({prediction: [1, 2, 3, 4, 5]})]"
        )
        assert many == ["3 x 2 numbers", "5 numbers"]
        expect(page.locator(".usual, .hint").first).to_contain_text("array of any length")
        page.evaluate("show(false, {prediction: Array(99).fill(0.5)}, 'answered')")  # leaves the controls in reach
        page.locator("textarea").click()
        browser.close()


def test_the_doctor_says_how_a_picture_model_is_asked(pictures):
    found = diagnose(f"{pictures[0]}/predict")
    assert found.ok and "asked by POST" in found.sentence and "curl -F image=@file.jpg" in found.sentence


def test_a_model_that_takes_long_is_not_computed_on_the_event_loop(pictures, folder, monkeypatch):
    app = create_predict_app(load_predictor(folder / "pictures"))
    takes_long = wiring_of(app).takes_long
    monkeypatch.setenv("AIP_PREDICT_ROUTE", "/vertex")
    assert all(map(takes_long, ("/predict", "//predict", "/invocations", "/v1/models/pictures:predict", "/vertex")))
    assert not any(map(takes_long, ("/", "/health/live", "/ping", "/v1/models/pictures", "/static/page.js")))
    assert not prediction_of(app).lane.is_open()


def test_what_is_asked_of_a_heavy_model_holds_up_neither_health_nor_its_neighbour(tmp_path):
    """The answer that was asked for first comes last, from one worker."""
    for name, size in {"heavy": {"features": 1, "width": 1024, "layers": 60}, "small": {}}.items():
        onnx_file(tmp_path / f"{name}.onnx", **size)
        export_file(tmp_path / f"{name}.onnx", tmp_path / name)
    models = ["--model", tmp_path / "heavy", "--model", tmp_path / "small"]
    process = start("--port", "0", "--workers", "1", *models)
    try:
        url = re.search(r"http://\S+:\d+", process.stdout.readline())[0]
        until(lambda: is_ready(url))
        body = json.dumps([{"x1": i} for i in range(1000)]).encode()
        head = "POST /heavy/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        heavy = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=60)
        with heavy:
            heavy.sendall(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
            for _ in range(10):
                assert is_ready(url)
                assert requests.get(f"{url}/small/predict", params={"x1": 1, "x2": 0, "x3": 1}, timeout=30).ok
            assert not select.select([heavy], [], [], 0)[0], "the heavy model had answered before"
            answer = b"".join(iter(lambda: heavy.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200") and answer.count(b",") >= 1000
    finally:
        process.terminate()
        process.communicate(timeout=30)
