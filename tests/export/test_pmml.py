"""A PMML file takes the table's own columns and answers like Keras, asked by an evaluator in Java that is not ours."""

import json
import os
import re
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import jpype
import numpy as np
import pandas as pd
import pypmml
import pytest
import requests

from helpers import PROJECT
from helpers.data.input_kinds import Array
from helpers.data.inputs import InputSignature
from helpers.data.signature import Feature, InvalidRequest, Signature
from helpers.export import pmml_evaluator
from helpers.export.artifacts import export_model
from helpers.export.card import read_card
from helpers.export.parity import parity, rows_of
from helpers.export.pmml import write_pmml
from helpers.export.predictors import load_predictor
from helpers.export.steps import steps_of
from helpers.figures.export import format_costs
from helpers.serving.notebook_server import serve
from helpers.serving.services import create_predict_app

pytestmark = pytest.mark.slow  # each starts processes, or a model of its own

needs_java = pytest.mark.skipif(bool(pmml_evaluator.lacking()), reason=pmml_evaluator.lacking())
JAVA = PROJECT / "notebooks" / "java"
JARS = str(Path(pypmml.__file__).parent / "jars" / "*")
PMML = "{http://www.dmg.org/PMML-4_4}"


def people(rows: int = 2000) -> pd.DataFrame:
    """A table with a column of each kind, on scales far apart, with missing values and names that XML must escape."""
    random = np.random.default_rng(0)

    def some(values, share: float = 0.1) -> np.ndarray:
        return np.where(random.random(rows) < share, None, values)

    table = pd.DataFrame(
        {
            "age": some(random.normal(40, 12, rows).round(1)).astype(float),
            "gender": random.choice(["male", "female"], rows),
            "class": some(random.choice(["1st", "2nd & <more>"], rows)),
            "port": random.choice(["a", "b"], rows),
            "smoker": some(random.choice(["no", "yes"], rows)),
            "member": random.integers(0, 2, rows),
            "twin": some(random.integers(0, 2, rows)).astype(float),
            "timestamp": 1.6e9 + random.normal(0, 1e5, rows).round(),
            "trace": random.normal(0, 1e-9, rows),
            'Größe "m"': random.normal(0, 1, rows),
            "probability": random.normal(50, 3, rows),
        }
    )
    table.loc[0, "class"] = "3rd"
    table.loc[:2, "port"] = ["r1", "r2", "r3"]
    return table


SIGNATURE = Signature.from_table(people(), "survived", "yes")
ROW = dict(SIGNATURE.example(), age=22, gender="male", port="r2", member=1)


def network(*hidden, signature: Signature = SIGNATURE, last=None):
    """A network with weights drawn at random, behind a Normalization where the signature is that of `people`."""
    import keras

    keras.utils.set_random_seed(0)
    first = []
    if signature is SIGNATURE:
        first = [keras.layers.Normalization()]
        first[0].adapt(signature.encode(people()))
    last = last or keras.layers.Dense(1, activation="sigmoid")
    return keras.Sequential([keras.Input((signature.width,)), *first, *hidden, last])


@pytest.fixture(autouse=True)
def same_weights():
    """A layer draws the seed of its weights as it is made: else they would depend on the tests before."""
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """An export of a network on the features of `people`."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("own") / "people"
    model = network(layers.Dense(32, activation="relu"), layers.Dropout(0.1), layers.Dense(32, activation="relu"))
    with warnings.catch_warnings(action="ignore"):  # where there is no Java
        export_model(model, folder, SIGNATURE, formats=("keras", "onnx", "pmml"))
    return folder


def document(folder: Path) -> ElementTree.Element:
    return ElementTree.parse(folder / "model.pmml").getroot()


def all_of(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return list(root.iter(PMML + name))


def asked(folder: Path, *rows: dict) -> np.ndarray:
    return pmml_evaluator.evaluate(folder / "model.pmml", rows)


# ---- parity ----


@needs_java
def test_it_answers_like_keras_on_every_input(trained, tmp_path):
    card = export_model(trained, tmp_path / "m", read_signature(trained), formats=("pmml",))
    assert card["formats"] == ["pmml"] and card["parity"]["proved"]
    assert card["parity"]["inputs"] == "all 1,024 inputs"
    assert 0 < card["parity"]["by_format"]["pmml"] <= 1e-6


def read_signature(model) -> Signature:
    return Signature(tuple(Feature(f"G{i}") for i in range(1, model.input_shape[1] + 1)))


def test_it_is_asked_in_the_words_of_the_table():
    """A table of texts of two each: as 0 and 1 no evaluator knew them, and the file was left out."""
    signature = Signature((Feature("smoker", values=("no", "yes")), Feature("G1")))
    assert rows_of(signature)[2] == {"smoker": "yes", "G1": 0}
    assert np.array_equal(signature.parse(rows_of(signature)), signature.every_input())


@needs_java
def test_it_answers_like_keras_for_features_of_every_kind(own):
    kinds = {(feature.kind, feature.missing) for feature in SIGNATURE.features}
    assert len(kinds) == 6 and {len(feature.pooled) for feature in SIGNATURE.features} == {0, 1, 3}
    parity = read_card(own)["parity"]
    assert parity["inputs"] == "a sample of 10,000 inputs" and 0 < parity["by_format"]["pmml"] <= 1e-6


@needs_java
def test_it_takes_what_the_endpoint_takes(own):
    """Rows as a request holds them, missing and rare values among them."""
    predictor = load_predictor(own)
    rows = [ROW, ROW | {"age": None}, ROW | {"class": None}, ROW | {"class": "3rd"}, ROW | {"port": "b"}]
    rows += [ROW | {"smoker": None}, ROW | {"twin": None}, ROW | {"age": 110}]
    assert np.abs(asked(own, *rows) - predictor(SIGNATURE.parse(rows))).max() <= 1e-6


@needs_java
def test_it_has_no_answer_to_a_row_that_the_endpoint_refuses(own):
    wrong = [{"gender": "mael"}, {"class": "4th"}, {"gender": None}, {"timestamp": None}, {"member": 7}]
    for row in wrong:
        with pytest.raises(InvalidRequest):
            SIGNATURE.parse(ROW | row)
    answers = asked(own, ROW, *(ROW | row for row in wrong))
    assert np.isfinite(answers[0]) and np.isnan(answers[1:]).all()


@needs_java
def test_it_holds_each_layer_and_activation_that_pmml_can_say(tmp_path):
    from keras import layers

    norm = layers.BatchNormalization()
    names = ("linear", "relu", "relu6", "leaky_relu", "tanh", "sigmoid", "softsign", "exponential")
    known = [layers.Dense(5, activation=name) for name in names]
    others = [layers.Rescaling(0.5, offset=0.1), norm, layers.LeakyReLU(0.3), layers.ReLU(), layers.Activation("tanh")]
    model = network(layers.ReLU(), *known, *others)
    norm.set_weights([np.array(w, "f") for w in (np.full(5, 1.5), np.full(5, 0.2), np.full(5, 0.1), np.full(5, 2.0))])
    card = export_model(model, tmp_path / "m", SIGNATURE, formats=("pmml",))
    assert card["parity"]["proved"] and card["parity"]["by_format"]["pmml"] <= 1e-6


@needs_java
def test_a_softmax_answers_a_class_and_the_probability_of_each(tmp_path):
    from keras import layers

    model = network(layers.Dense(8, activation="relu"), last=layers.Dense(3, activation="softmax"))
    card = export_model(model, tmp_path / "m", SIGNATURE, formats=("onnx", "pmml"))
    assert card["parity"]["by_format"]["pmml"] <= 1e-6
    names = [field.get("name") for field in all_of(document(tmp_path / "m"), "OutputField")]
    assert names == ["prediction", "probability(0)", "probability(1)", "probability(2)"]
    probabilities = asked(tmp_path / "m", ROW)
    assert probabilities.shape == (1, 3) and abs(probabilities.sum() - 1) <= 1e-9


@needs_java
def test_a_softmax_of_named_classes_answers_with_their_names(tmp_path):
    from dataclasses import replace

    from keras import layers

    from helpers.data.outputs import Output

    named = ("setosa", "versi & color", "virginica")
    signature = replace(SIGNATURE, outputs=(Output("prediction", "classes", named),))
    model = network(layers.Dense(8, activation="relu"), last=layers.Dense(3, activation="softmax"))
    card = export_model(model, tmp_path / "m", signature, formats=("onnx", "pmml"))
    assert card["parity"]["by_format"]["pmml"] <= 1e-6
    names = [field.get("name") for field in all_of(document(tmp_path / "m"), "OutputField")]
    assert names == ["prediction", *(f"probability({name})" for name in named)]
    assert [value.get("value") for value in all_of(document(tmp_path / "m"), "Value")][-3:] == list(named)
    assert abs(asked(tmp_path / "m", ROW).sum() - 1) <= 1e-9


@needs_java
def test_a_file_that_answers_otherwise_is_left_out(own, tmp_path):
    """The proof can fail: another weight in the file, and its answers are not those of the model any more."""
    right = load_predictor(own)(SIGNATURE.parse([ROW]))
    before, bias, after = (own / "model.pmml").read_text(encoding="utf-8").rpartition('bias="')
    changed = tmp_path / "model.pmml"
    # The last bias is the answer's own: moved this far towards the other class, it decides whatever was trained.
    moved = -100 if right.item() > 0.5 else 100
    changed.write_text(before + bias + re.sub(r'^[^"]+', str(moved), after), encoding="utf-8")
    assert np.abs(pmml_evaluator.evaluate(changed, [ROW]) - right).max() > 0.4
    changed.write_text("<PMML", encoding="utf-8")
    with pytest.raises(RuntimeError, match="PMMLError"):
        pmml_evaluator.evaluate(changed, [ROW])


# ---- what it cannot hold ----


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ("LayerNormalization", r"does not know the layer .*\(LayerNormalization\)"),
        ("silu", "PMML has no activation silu"),
        ("sigmoids", "3 numbers without softmax are neither"),
    ],
)
def test_a_model_that_pmml_cannot_say_is_left_out_with_the_reason(tmp_path, layer, reason):
    from keras import layers

    signature = read_signature(network(signature=Signature((Feature("a"), Feature("b")))))
    model = {
        "LayerNormalization": lambda: network(layers.LayerNormalization(), signature=signature),
        "silu": lambda: network(layers.Dense(4, activation="silu"), signature=signature),
        "sigmoids": lambda: network(signature=signature, last=layers.Dense(3, activation="sigmoid")),
    }[layer]()
    with pytest.warns(UserWarning, match=f"model.pmml is left out: .*{reason}"):
        card = export_model(model, tmp_path / "m", signature, formats=("onnx", "pmml"))
    assert card["formats"] == ["onnx"] and re.search(reason, card["not_exported"]["pmml"]["reason"])
    assert not (tmp_path / "m" / "model.pmml").exists()


def test_a_model_of_several_outputs_is_no_chain_of_steps():
    from keras import Input, Model, layers

    inputs = Input((2,))
    model = Model(inputs, [layers.Dense(1)(inputs), layers.Dense(2)(inputs)])
    with pytest.raises(ValueError, match=r"one input and one output, the model 1 input\(s\) and 2 outputs"):
        steps_of(model)


def test_a_model_of_an_array_is_told_from_one_of_features(tmp_path):
    from keras import Input, Sequential, layers

    model = Sequential([Input((2,), dtype="float64"), layers.Dense(1, "sigmoid")])
    with pytest.raises(ValueError, match="PMML takes a row of named features, and the model an array"):
        write_pmml(model, tmp_path / "m.pmml", InputSignature((Array("numbers", (2,), "float64"),)))


def test_a_name_that_xml_cannot_hold_is_left_out_with_the_reason(tmp_path):
    signature = Signature((Feature("a\x0bb"), Feature("c")))
    with pytest.warns(UserWarning, match=r"'a\\x0bb' holds a character that XML cannot"):
        export_model(network(signature=signature), tmp_path / "m", signature, formats=("onnx", "pmml"))


# ---- the document ----


def test_it_is_not_written_unless_asked_for(exported):
    assert not (exported / "model.pmml").exists() and "pmml" not in read_card(exported)["not_exported"]


def test_its_fields_are_the_columns_of_the_table(own):
    fields = {field.get("name"): field for field in all_of(document(own), "DataField")}
    assert list(fields) == [*SIGNATURE.names, "survived"]
    legal = {name: [value.get("value") for value in field] for name, field in fields.items()}
    assert legal["gender"] == ["female", "male"] and legal["port"] == ["a", "b", "r1", "r2", "r3"]
    assert legal["member"] == ["0", "1"] and legal["age"] == []
    shown = [input_[0].get("displayName") for input_ in all_of(document(own), "NeuralInput")]
    assert tuple(shown) == SIGNATURE.columns
    [output] = all_of(document(own), "OutputField")
    assert output.get("name") == "probability_"  # a column of the table has the name without the line


def test_its_parts_are_in_the_order_of_the_schema_and_refer_to_what_stands_before_them(own):
    root = document(own)
    assert root.tag == f"{PMML}PMML" and root.get("version") == "4.4"
    assert [part.tag.removeprefix(PMML) for part in root] == ["Header", "DataDictionary", "NeuralNetwork"]
    network = root.find(f"{PMML}NeuralNetwork")
    parts = [part.tag.removeprefix(PMML) for part in network]
    assert parts == ["MiningSchema", "Output", "NeuralInputs", *["NeuralLayer"] * (len(parts) - 4), "NeuralOutputs"]
    before = [part.get("id") for part in all_of(network, "NeuralInput")]
    for layer in all_of(network, "NeuralLayer"):
        neurons = layer.findall(f"{PMML}Neuron")
        assert len(neurons) == int(layer.get("numberOfNeurons"))
        assert all(len(neuron) for neuron in neurons)  # the schema wants one connection at least
        assert {connection.get("from") for connection in all_of(layer, "Con")} <= set(before)
        before = [neuron.get("id") for neuron in neurons]
    assert [output.get("outputNeuron") for output in all_of(network, "NeuralOutput")] == before
    ids = Counter(part.get("id") for part in network.iter() if part.get("id"))
    assert max(ids.values()) == 1
    names = {field.get("name") for field in all_of(root, "DataField")}
    assert {part.get("field") for part in network.iter() if part.get("field")} <= names


def test_the_same_model_gives_the_same_bytes(own, tmp_path):
    from helpers.export.formats import write_pmml
    from helpers.export.legacy import load_keras

    write_pmml(load_keras(own / "model.keras"), tmp_path / "model.pmml", SIGNATURE)
    assert (tmp_path / "model.pmml").read_bytes() == (own / "model.pmml").read_bytes()


# ---- where it cannot be evaluated ----


def no_java():
    raise jpype.JVMNotFoundException("No JVM shared library file (libjvm.so) found.")


@pytest.fixture
def without_java(monkeypatch):
    """A machine on which JPype finds no Java."""
    monkeypatch.setattr(jpype, "getDefaultJVMPath", no_java)


def test_without_java_the_card_says_that_nothing_is_proved(own, tmp_path, without_java):
    from helpers.export.legacy import load_keras

    model, remedy = load_keras(own / "model.keras"), "it takes Java: install one .*default-jre-headless"
    with pytest.warns(UserWarning, match=f"that model.pmml answers like the model is not proved: {remedy}"):
        card = export_model(model, tmp_path / "m", SIGNATURE, formats=("onnx", "pmml"))
    assert card["formats"] == ["onnx", "pmml"] and (tmp_path / "m" / "model.pmml").exists()
    assert set(card["parity"]["by_format"]) == {"onnx"}
    assert re.search(remedy, card["parity"]["not_evaluated"]["pmml"])
    with pytest.warns(UserWarning, match="not proved"):
        alone = export_model(model, tmp_path / "alone", SIGNATURE, formats=("pmml",))
    assert alone["parity"]["proved"] is False and alone["parity"]["largest_difference"] is None


def test_without_java_the_table_tells_its_bytes_alone(own, without_java):
    costs = parity(own).set_index("format")
    assert costs.loc["pmml", "bytes"] == read_card(own)["files"]["model.pmml"]["bytes"]
    assert costs.loc["pmml"].drop("bytes").isna().all() and costs.loc["keras"].notna().all()
    labels = [label.get_text() for label in format_costs(costs.reset_index()).axes[0].get_yticklabels()]
    assert labels == ["keras", "onnx"]


def test_without_its_package_the_remedy_is_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pypmml", None)
    assert pmml_evaluator.lacking().startswith("it takes the package pypmml: `pip install pypmml`")


@needs_java
def test_the_table_measures_it_like_the_others(own):
    costs = parity(own).set_index("format")
    assert costs.loc["pmml", "largest_difference"] <= 1e-6
    assert (costs.loc["pmml", ["load_s", "latency_ms", "memory_mb"]] > 0).all()


# ---- readers in Java ----


@pytest.fixture(scope="module")
def java(tmp_path_factory):
    """`java(CLASS, *arguments)` runs a class of notebooks/java, compiled."""
    if pmml_evaluator.lacking():
        pytest.skip(pmml_evaluator.lacking())
    classes = tmp_path_factory.mktemp("classes")
    subprocess.run(["javac", "-Xlint:all", "-Werror", "-cp", JARS, "-d", classes, *JAVA.glob("*.java")], check=True)
    path = os.pathsep.join([str(classes), JARS])

    def run(name: str, *arguments: str) -> subprocess.CompletedProcess:
        options = ["-Dfile.encoding=UTF-8", "-Dsun.jnu.encoding=UTF-8"]
        command = ["java", *options, "-cp", path, name, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def as_arguments(row: dict) -> list[str]:
    return [f"{name}={value}" for name, value in row.items() if value is not None and name.isascii()]


PLAIN = Signature(tuple(feature for feature in SIGNATURE.features if feature.name.isascii()), "survived", "yes")


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("plain") / "people"
    with warnings.catch_warnings(action="ignore"):
        export_model(network(signature=PLAIN), folder, PLAIN, formats=("onnx", "pmml"))
    return folder


def test_a_java_program_asks_the_served_model(java, plain):
    row = {name: value for name, value in ROW.items() if name.isascii()} | {"age": None, "class": "2nd & <more>"}
    with serve(create_predict_app(load_predictor(plain)), port=0) as server:
        done = java("Predict", f"{server.url}/predict", *as_arguments(row))
        there = {name: value for name, value in row.items() if value is not None}
        assert json.loads(done.stdout) == requests.post(f"{server.url}/predict", json=there, timeout=10).json()
        refused = java("Predict", f"{server.url}/predict", *as_arguments(row | {"gender": "mael"}))
    assert refused.returncode == 1 and "did you mean male" in refused.stderr


def test_a_java_program_evaluates_the_file_without_a_service(java, plain):
    row = {name: value for name, value in ROW.items() if name.isascii()} | {"age": None}
    name, value = java("Score", plain / "model.pmml", *as_arguments(row)).stdout.split()
    assert name == "probability_"
    assert abs(float(value) - load_predictor(plain)(PLAIN.parse(row))[0]) <= 1e-6


@pytest.mark.parametrize("path", sorted(JAVA.glob("*.java")), ids=lambda path: path.name)
def test_an_example_in_java_is_short(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 40 and max(map(len, lines)) <= 120
