"""ONNX and LiteRT files of anybody answer over HTTP what their own runtimes answer."""

import io
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pytest
from export_tools import brought, two_by_two
from onnx import TensorProto, helper, numpy_helper

from helpers.batch.scoring import Scorer
from helpers.data.inputs import Batch
from helpers.data.refusals import InvalidRequest
from helpers.export.card import read_card
from helpers.export.detection import Wishes, signature_of
from helpers.export.errors import ArtifactError, Remark
from helpers.export.litert_file import LiteRTFile
from helpers.export.onnx_file import OnnxFile
from helpers.export.own_model import export_file, found_in, takes_in_words, told
from helpers.export.saved_model import read_saved_model
from helpers.quiet import quiet
from helpers.serving.services import create_predict_app

RANDOM = np.random.default_rng(0)


# ---- ONNX ----


def as_pytorch_writes(
    path: Path, rows, last: str = "", outside: bool = False, first=(), maker: str = "pytorch", dtype=TensorProto.FLOAT
) -> None:
    """A small convolution over pictures with their channels first, as `torch.onnx.export` lays one out.

    first: what is done to the pixels before, operations and the constants that they take.
    """
    random = np.random.default_rng(1)
    weights = {"conv.weight": (4, 3, 3, 3), "fc.weight": (5, 4), "fc.bias": (5,)}
    before = [helper.make_node("Cast", ["input"], ["0"], to=TensorProto.FLOAT)]
    constants = {f"by {i}": np.array(by, np.float32) for i, (_, by) in enumerate(first)}
    before += [helper.make_node(kind, [f"{i}", f"by {i}"], [f"{i + 1}"]) for i, (kind, _) in enumerate(first)]
    nodes = [
        *before,
        helper.make_node("Conv", [str(len(first)), "conv.weight"], ["c"], kernel_shape=[3, 3]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "fc.weight", "fc.bias"], ["logits" if last else "output"], transB=1),
        *([helper.make_node(last, ["logits"], ["output"], axis=1)] if last else []),
    ]
    graph = helper.make_graph(
        nodes,
        "main_graph",
        [helper.make_tensor_value_info("input", dtype, [rows, 3, 32, 24])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [rows, 5])],
        [numpy_helper.from_array(random.normal(size=s).astype("f"), name) for name, s in weights.items()]
        + [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, producer_name=maker, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    outside = {"save_as_external_data": True, "location": f"{path.name}.data", "size_threshold": 0} if outside else {}
    onnx.save(model, path, **outside)


def run_onnx(path: Path, pixels: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"input": one[None]})[0] for one in pixels])


@pytest.mark.parametrize("rows", [1, "batch"])
def test_an_onnx_file_of_pytorch_takes_pictures_with_their_channels_first(tmp_path, rows):
    from PIL import Image

    as_pytorch_writes(tmp_path / "net.onnx", rows, last="Softmax")
    card, predictor = brought(tmp_path / "net.onnx", tmp_path / "m", classes=("a", "b", "c", "d", "e"))
    [picture] = predictor.signature.inputs
    assert (picture.kind, picture.shape, picture.pixels) == ("image", (3, 32, 24), "torch") and picture.channels_first
    pixels = np.random.default_rng(2).integers(0, 256, (32, 24, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    read = predictor.signature.reader().read_body((tmp_path / "a.png").read_bytes()).matrix
    scaled = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(read.arrays[0][0], scaled.transpose(2, 0, 1), atol=1e-5)
    sample = predictor.signature.sample(7)
    np.testing.assert_allclose(predictor(sample), run_onnx(tmp_path / "net.onnx", sample.arrays[0]), atol=1e-6)
    assert (tmp_path / "m" / "model.onnx").read_bytes() == (tmp_path / "net.onnx").read_bytes()
    parity = card["parity"]
    assert not parity["proved"] and parity["largest_difference"] is None and not parity["by_format"]
    assert "parity: not measured: it is the file that was given" in "\n".join(told(card, predictor.signature))


MEAN = np.array([0.485, 0.456, 0.406]).reshape(3, 1, 1)


@pytest.mark.parametrize(
    ("maker", "first", "pixels"),
    [
        ("pytorch", [], "torch"),
        ("tf2onnx", [], "0..1"),
        ("pytorch", [("Div", 255)], "0..255"),
        ("tf2onnx", [("Mul", 2), ("Sub", 1)], "0..1"),
        ("tf2onnx", [("Div", 127.5), ("Add", -1)], "0..255"),
        ("pytorch", [("Sub", MEAN), ("Div", 0.225)], "0..1"),
        ("pytorch", [("Sub", 255 * MEAN), ("Mul", 1 / 57)], "0..255"),
    ],
)
def test_what_the_first_steps_of_an_onnx_file_make_of_pixels_tells_how_they_are_scaled(tmp_path, maker, first, pixels):
    as_pytorch_writes(tmp_path / "net.onnx", "n", maker=maker, first=first)
    assert signature_of(OnnxFile(tmp_path / "net.onnx"), Wishes(), "m").inputs[0].pixels == pixels


def test_pixels_that_are_whole_numbers_are_taken_as_the_picture_holds_them(tmp_path):
    as_pytorch_writes(tmp_path / "net.onnx", "n", dtype=TensorProto.UINT8)
    model = OnnxFile(tmp_path / "net.onnx")
    picture = signature_of(model, Wishes(), "m").inputs[0]
    assert (picture.kind, picture.pixels, picture.dtype) == ("image", "0..255", "uint8")
    with pytest.raises(ArtifactError, match=r"takes whole numbers \(uint8\).*: leave --pixels out"):
        signature_of(model, Wishes(pixels="0..1"), "m")
    as_pytorch_writes(tmp_path / "net.onnx", "n", dtype=TensorProto.INT8)  # of which no pixel is 200
    assert signature_of(OnnxFile(tmp_path / "net.onnx"), Wishes(), "m").inputs[0].kind == "array"


@pytest.mark.parametrize(("last", "classes"), [("Softmax", ()), ("LogSoftmax", ()), ("", "01234")])
def test_shares_their_logarithms_and_scores_of_named_classes_are_answered_with_the_shares(tmp_path, last, classes):
    as_pytorch_writes(tmp_path / "net.onnx", "n", last)
    _, predictor = brought(tmp_path / "net.onnx", tmp_path / "m", pixels="0..1", classes=classes)
    sample = predictor.signature.sample(4)
    rows = {"instances": [one.tolist() for one in sample.arrays[0]]}
    answers = create_predict_app(predictor).test_client().post("/predict", json=rows).json["predictions"]
    as_pytorch_writes(tmp_path / "shares.onnx", "n", "Softmax")
    shares = run_onnx(tmp_path / "shares.onnx", sample.arrays[0])
    assert [each["label"] for each in answers] == [str(best) for best in shares.argmax(axis=1)]
    np.testing.assert_allclose([each["probability"] for each in answers], shares.max(axis=1), atol=1e-6)


def averaging_words(path: Path, mask: str, kind=TensorProto.INT64) -> None:
    """A mean over the words that count, which no model has an answer for where none does."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["words"]),
        helper.make_node("Cast", [mask], ["counts"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["words", "counts"], ["counted"]),
        helper.make_node("ReduceSum", ["counted", "axis"], ["sum"], keepdims=1),
        helper.make_node("ReduceSum", ["counts", "axis"], ["number"], keepdims=1),
        helper.make_node("Div", ["sum", "number"], ["mean"]),
    ]
    kinds = {"input_ids": TensorProto.INT64, mask: kind}
    ends = [helper.make_tensor_value_info(name, kind, ["n", 6]) for name, kind in kinds.items()]
    mean = helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["n", 1])
    constants = {"table": np.arange(9, dtype="f"), "axis": np.array([1])}
    graph = helper.make_graph(nodes, "g", ends, [mean], [numpy_helper.from_array(v, k) for k, v in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_a_mask_of_steps_that_count_never_leaves_all_of_them_out(tmp_path):
    averaging_words(tmp_path / "m.onnx", "attention_mask")
    _, predictor = brought(tmp_path / "m.onnx", tmp_path / "m")
    words, mask = predictor.signature.inputs
    assert (words.low, words.high) == (0, 8)
    asked = {"input_ids": [8, 2, 1, 1, 1, 1], "attention_mask": [1, 1, 0, 0, 0, 0]}
    assert predictor(predictor.signature.parse(asked)).tolist() == [5]
    assert (mask.sample(1000, np.random.default_rng(1)).sum(axis=1) > 0).all()
    averaging_words(tmp_path / "m.onnx", "x1")
    with pytest.raises(
        ArtifactError, match="or, if one of input_ids, x1 says which steps count, call it attention_mask"
    ):
        export_file(tmp_path / "m.onnx", tmp_path / "other")


def test_a_mask_of_true_and_false_takes_one_and_nought_too(tmp_path):
    averaging_words(tmp_path / "m.onnx", "attention_mask", TensorProto.BOOL)
    _, predictor = brought(tmp_path / "m.onnx", tmp_path / "m")
    signature = predictor.signature
    assert "attention_mask) of 6, true or false" in takes_in_words(signature)
    for mask in ([True, True, False, False, False, False], [1, 1, 0, 0, 0, 0]):
        assert predictor(signature.parse({"input_ids": [8, 2, 1, 1, 1, 1], "attention_mask": mask})).tolist() == [5]
    assert set(signature.example()["attention_mask"]) <= {True, False}
    with pytest.raises(InvalidRequest) as refused:
        signature.parse({"input_ids": [8, 2, 1, 1, 1, 1], "attention_mask": [2, 1, 0, 0, 0, 0]})
    assert refused.value.fields == {"attention_mask": "must hold true and false, or 1 and 0"}


def classifier_of_sklearn(path: Path, classes: list, zipped: bool) -> None:
    """What skl2onnx writes of a logistic regression of two numbers: a label, and shares, in maps where zipped."""
    texts = isinstance(classes[0], str)
    names = {"classlabels_strings" if texts else "classlabels_ints": classes}
    zip_names = {"classlabels_strings" if texts else "classlabels_int64s": classes}
    weights = {"coefficients": [1.0, -2.0, 0.5, 1.5, -1.0, 0.0], "intercepts": [0.1, 0.0, -0.1]}
    ml = {"domain": "ai.onnx.ml"}
    nodes = [
        helper.make_node(
            "LinearClassifier", ["x"], ["label", "scores"], **weights, post_transform="SOFTMAX", **names, **ml
        ),
        helper.make_node("Normalizer", ["scores"], ["shares" if zipped else "probabilities"], norm="L1", **ml),
    ]
    kind, label = TensorProto.FLOAT, TensorProto.STRING if texts else TensorProto.INT64
    shares = helper.make_tensor_value_info("probabilities", kind, ["n", 3])
    if zipped:
        nodes.append(helper.make_node("ZipMap", ["shares"], ["probabilities"], **zip_names, **ml))
        each = helper.make_map_type_proto(label, helper.make_tensor_type_proto(kind, []))
        shares = helper.make_value_info("probabilities", helper.make_sequence_type_proto(each))
    ends = (
        [helper.make_tensor_value_info("x", kind, ["n", 2])],
        [helper.make_tensor_value_info("label", label, ["n"]), shares],
    )
    graph = helper.make_graph(nodes, "g", *ends)
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=8), path)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_classifier_of_scikit_learn_answers_with_the_names_of_its_classes(tmp_path, zipped):
    classifier_of_sklearn(tmp_path / "texts.onnx", ["a", "b", "c"], zipped)
    _, predictor = brought(tmp_path / "texts.onnx", tmp_path / "m")
    (output,) = predictor.signature.outputs
    assert (output.kind, output.classes) == ("classes", ("a", "b", "c"))
    assert "label, which is text or a class's number, is left out" in found_in(tmp_path / "texts.onnx")
    rows = predictor.signature.sample(5)
    scores = rows @ np.array([[1.0, 0.5, -1.0], [-2.0, 1.5, 0.0]]) + [0.1, 0.0, -0.1]
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(predictor(rows), shares, atol=1e-6)

    classifier_of_sklearn(tmp_path / "numbers.onnx", [4, 5, 9], zipped)
    _, predictor = brought(tmp_path / "numbers.onnx", tmp_path / "n")
    (output,) = predictor.signature.outputs
    assert (output.kind, output.classes) == ("classes", ("4", "5", "9"))
    np.testing.assert_allclose(predictor(rows), shares, atol=1e-6)


def of_a_column_transformer(path: Path, is_strict: bool) -> None:
    """What skl2onnx writes of scaled and of one-hot columns before a forest, whose shares may be a rounding below 0."""
    ml = {"domain": "ai.onnx.ml"}
    nodes = [
        helper.make_node("Concat", ["age", "fare"], ["merged"], axis=1),
        helper.make_node("Scaler", ["merged"], ["scaled"], offset=[40.0, 500.0], scale=[0.1, 0.005], **ml),
        helper.make_node("OneHotEncoder", ["sex"], ["hot"], cats_strings=["female", "male"], zeros=1 - is_strict, **ml),
        helper.make_node("Reshape", ["hot", "two"], ["flat"]),
        helper.make_node("LabelEncoder", ["port"], ["code"], keys_strings=["C", "Q"], values_int64s=[0, 1], **ml),
        helper.make_node("Cast", ["code"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["level", "first"], ["one"], axis=1),
        helper.make_node("OneHotEncoder", ["one"], ["hot_one"], cats_int64s=[1, 2, 3], zeros=0, **ml),
        helper.make_node("Reshape", ["hot_one", "three"], ["flat_one"]),
        helper.make_node("Mul", ["rate", "by"], ["part"]),  # a MinMaxScaler
        helper.make_node("Add", ["part", "more"], ["share"]),
        helper.make_node("Concat", ["scaled", "flat", "number", "flat_one", "share"], ["row"], axis=1),
        helper.make_node(
            "TreeEnsembleClassifier",
            ["row"],
            ["label", "probabilities"],
            nodes_treeids=[0, 0, 0],
            nodes_nodeids=[0, 1, 2],
            nodes_featureids=[2, 0, 0],
            nodes_values=[0.5, 0.0, 0.0],
            nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
            nodes_truenodeids=[1, 0, 0],
            nodes_falsenodeids=[2, 0, 0],
            class_treeids=[0, 0, 0, 0],
            class_nodeids=[1, 1, 2, 2],
            class_ids=[0, 1, 0, 1],
            class_weights=[-1.1920929e-07, 1.0000001, 0.75, 0.25],
            classlabels_int64s=[0, 1],
            **ml,
        ),
    ]
    kinds = {"age": TensorProto.FLOAT, "fare": TensorProto.FLOAT, "sex": TensorProto.STRING, "port": TensorProto.STRING}
    kinds |= {"level": TensorProto.INT64, "rate": TensorProto.FLOAT}
    takes = [helper.make_tensor_value_info(name, kind, ["n", 1]) for name, kind in kinds.items()]
    answers = [
        helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2]),
    ]
    known = {"two": [-1, 2], "three": [-1, 3], "first": [0], "by": np.float32([0.025]), "more": np.float32([-0.125])}
    known = [numpy_helper.from_array(np.array(numbers), name) for name, numbers in known.items()]
    graph = helper.make_graph(nodes, "g", takes, answers, known)
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=8, producer_name="skl2onnx"), path)


@pytest.mark.parametrize("is_strict", [False, True])
def test_what_the_columns_of_a_pipeline_of_scikit_learn_hold_is_told_and_proposed(tmp_path, is_strict):
    of_a_column_transformer(tmp_path / "net.onnx", is_strict)
    _, predictor = brought(tmp_path / "net.onnx", tmp_path / "m")
    sex = "one of 2 texts (sex): female, male" if is_strict else "a text (sex): female, male or any other"
    numbers = "a number (age), usually 20 to 60; a number (fare), usually 100 to 900"
    more = "a text (port): C, Q or any other; a number (level), of 1, 2, 3; a number (rate), usually 5 to 45"
    assert takes_in_words(predictor.signature) == f"{numbers}; {sex}; {more}"
    client = create_predict_app(predictor).test_client()
    assert client.get("/predict?level=2&rate=7&age=40&fare=500&sex=female&port=C").json["probabilities"] == {
        "0": 0.75,
        "1": 0.25,
    }
    answer = client.get("/predict?level=2&rate=7&age=40&fare=500&sex=male&port=X").json
    assert (answer["prediction"], answer["probabilities"]["0"]) == ("1", 0) and "X" not in answer["probabilities"]
    assert answer["notes"] == {"port": "is none of C, Q, which the model knows, and answered as any other"}
    answer = client.get("/predict?level=2&rate=7&age=40&fare=500&sex=mail&port=C")
    assert answer.status_code == (422 if is_strict else 200) and "did you mean male?" in answer.text


def test_each_column_of_a_matrix_is_asked_for_by_itself_where_some_hold_values_of_their_own_only(tmp_path):
    ml = {"domain": "ai.onnx.ml"}
    nodes = [
        helper.make_node("Gather", ["x", "0"], ["town"], axis=1),
        helper.make_node("Gather", ["x", "1"], ["color"], axis=1),
        helper.make_node("OneHotEncoder", ["town"], ["a"], cats_strings=["Oslo", "Rome"], zeros=0, **ml),
        helper.make_node("OneHotEncoder", ["color"], ["b"], cats_strings=["blue", "red"], zeros=1, **ml),
        helper.make_node("ArrayFeatureExtractor", ["n", "2 and 1"], ["last"], **ml),
        helper.make_node("ArrayFeatureExtractor", ["last", "0"], ["floor"], **ml),
        helper.make_node("Cast", ["floor"], ["whole"], to=TensorProto.INT64),
        helper.make_node("OneHotEncoder", ["whole"], ["c"], cats_int64s=[7, 9], zeros=0, **ml),
        helper.make_node("Gather", ["n", "0"], ["age"], axis=1),
        helper.make_node("Scaler", ["age"], ["scaled"], offset=[40.0], scale=[0.1], **ml),
        *[helper.make_node("Reshape", [each, "by two"], [f"flat {each}"]) for each in "abc"],
        helper.make_node("Concat", ["flat a", "flat b", "flat c", "scaled"], ["y"], axis=1),
    ]
    known = {"0": [0], "1": [1], "2 and 1": [2, 1], "by two": [-1, 2]}
    takes = [helper.make_tensor_value_info("x", TensorProto.STRING, ["n", 2])]
    takes += [helper.make_tensor_value_info("n", TensorProto.FLOAT, ["n", 3])]
    known = [numpy_helper.from_array(np.array(numbers), name) for name, numbers in known.items()]
    answers = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 7])]
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    graph = helper.make_graph(nodes, "g", takes, answers, known)
    onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=8), tmp_path / "net.onnx")
    card, predictor = brought(tmp_path / "net.onnx", tmp_path / "m")
    assert card["model"]["parameters"] == 2  # of the scaling; the rest are places and sizes
    texts = "one of 2 texts (x_1): Oslo, Rome; a text (x_2): blue, red or any other"
    numbers = "a number (n_1), usually 20 to 60; a number (n_2); a number (n_3), of 7, 9"
    assert takes_in_words(predictor.signature) == f"{texts}; {numbers}"
    client = create_predict_app(predictor).test_client()
    answer = client.get("/predict?x_1=rome&x_2=blue&n_1=50&n_2=0.5&n_3=9")
    assert answer.json["prediction"] == [0, 1, 1, 0, 0, 1, 1]
    answer = client.get("/predict?x_1=red&x_2=green&n_1=50&n_2=0.5&n_3=8")
    assert answer.json["fields"] == {"x_1": "must be one of Oslo, Rome", "n_3": "must be one of 7, 9"}


def test_answers_that_are_texts_only_are_refused_with_what_to_do(tmp_path):
    classifier_of_sklearn(tmp_path / "net.onnx", ["a", "b", "c"], zipped=False)
    model = onnx.load(tmp_path / "net.onnx")
    del model.graph.output[1]
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(ArtifactError, match=r"answers with texts only \(label\): convert it anew with its n"):
        found_in(tmp_path / "net.onnx")
    del model.graph.output[0]
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(ArtifactError, match="has no input or no output: convert it anew, with both"):
        found_in(tmp_path / "net.onnx")


def one_operation(path: Path, kind: str, takes=("n", 2), answers=("n", 2), dtype=TensorProto.FLOAT, **options) -> None:
    ends = [[helper.make_tensor_value_info("x", TensorProto.FLOAT, takes)]]
    ends.append([helper.make_tensor_value_info("y", dtype, answers)])
    graph = helper.make_graph([helper.make_node(kind, ["x"], ["y"], **options)], "g", *ends)
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=8), path)


def test_answers_of_yes_and_no_are_1_and_0(tmp_path):
    one_operation(tmp_path / "net.onnx", "IsNaN", dtype=TensorProto.BOOL)
    _, predictor = brought(tmp_path / "net.onnx", tmp_path / "m")
    answer = create_predict_app(predictor).test_client().post("/predict", json=[{"x1": 1, "x2": 2}])
    assert answer.get_json()["predictions"] == [[0, 0]]


def test_numbers_that_float32_does_not_hold_are_answered_to_their_last_digit(tmp_path):
    nodes = [helper.make_node("Cast", ["x"], ["whole"], to=TensorProto.INT64)]
    nodes += [helper.make_node("Add", ["whole", "number"], ["id"]), helper.make_node("Cast", ["id"], ["y"], to=11)]
    takes = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])]
    for answers, kind in {"id": TensorProto.INT64, "y": TensorProto.DOUBLE}.items():
        constants = [numpy_helper.from_array(np.array([20240131123]), "number")]
        graph = helper.make_graph(
            nodes, "g", takes, [helper.make_tensor_value_info(answers, kind, ["n", 1])], constants
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, tmp_path / f"{answers}.onnx")
        _, predictor = brought(tmp_path / f"{answers}.onnx", tmp_path / answers)
        answer = create_predict_app(predictor).test_client().post("/predict", json=[{"x1": 1}, {"x1": 7}])
        assert answer.get_json()["predictions"] == [20240131124, 20240131130]
        scores = Scorer(predictor)(pa.record_batch({"x1": [1.0, 7.0]}))
        assert scores["value"].to_pylist() == [20240131124, 20240131130]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"kind": "ReduceMax", "keepdims": 0, "answers": ()},
            "answered 8 rows with one number, and needs an answer for each",
        ),
        (
            {"kind": "Transpose", "answers": (2, "n")},
            "answered 8 rows with an array of 2 x 8, and needs an answer for each",
        ),
        (
            {"kind": "Relu", "takes": None, "answers": None},
            "does not tell the shape of x: convert it anew with the shapes",
        ),
        (
            {"kind": "Own", "domain": "mine"},
            "Own.* is not a registered function/op; convert it anew, with operations of ONNX",
        ),
    ],
)
def test_an_onnx_file_that_cannot_be_served_is_refused_with_what_to_do(tmp_path, options, says):
    one_operation(tmp_path / "net.onnx", **options)
    with pytest.raises(ArtifactError, match=says):
        export_file(tmp_path / "net.onnx", tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_weights_beside_an_onnx_file_are_taken_in_or_named_as_missing(tmp_path):
    as_pytorch_writes(tmp_path / "net.onnx", "n", outside=True)
    _, predictor = brought(tmp_path / "net.onnx", tmp_path / "m", pixels="0..1")
    sample = predictor.signature.sample(3)
    np.testing.assert_allclose(predictor(sample), run_onnx(tmp_path / "net.onnx", sample.arrays[0]), atol=1e-6)
    weights = tmp_path / "net.onnx.data"
    for change in (lambda: weights.write_bytes(weights.read_bytes()[:-9]), weights.unlink):
        change()
        with pytest.raises(ArtifactError, match="keeps its weights in net.onnx.data, which must lie beside it, whole"):
            export_file(tmp_path / "net.onnx", tmp_path / "m", replace=True)


def test_what_cannot_be_asked_row_by_row_or_read_is_refused(tmp_path):
    as_pytorch_writes(tmp_path / "four.onnx", 4)
    with pytest.raises(ArtifactError, match="takes exactly 4 rows at a time"):
        export_file(tmp_path / "four.onnx", tmp_path / "m")
    (tmp_path / "broken.onnx").write_bytes((tmp_path / "four.onnx").read_bytes()[:300])
    with pytest.raises(ArtifactError, match="is damaged or no ONNX file"):
        export_file(tmp_path / "broken.onnx", tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_the_card_says_how_good_a_model_is_where_its_owner_does(tmp_path):
    as_pytorch_writes(tmp_path / "net.onnx", "n")
    brought(tmp_path / "net.onnx", tmp_path / "m", metrics={"accuracy": 0.93, "data": "500 photos of 2026"})
    assert read_card(tmp_path / "m")["metrics"] == {"accuracy": 0.93, "data": "500 photos of 2026"}


def test_classes_of_one_name_are_told_apart_and_that_is_said(tmp_path):
    as_pytorch_writes(tmp_path / "net.onnx", "n", last="Softmax")
    with pytest.warns(UserWarning, match=r"several classes have one name: the later ones are called 'crane \(2\)'"):
        card = export_file(tmp_path / "net.onnx", tmp_path / "m", classes=("crane", "b", "crane", "d", "maillot"))
    assert card["signature"]["outputs"][0]["classes"] == ["crane", "b", "crane (2)", "d", "maillot"]


# ---- LiteRT ----


@pytest.mark.slow
def test_a_litert_file_is_served_with_the_names_in_it(tmp_path):
    model = two_by_two()
    model.export(tmp_path / "net.tflite", format="litert", verbose=False)
    card, predictor = brought(tmp_path / "net.tflite", tmp_path / "m")
    assert predictor.backend == "litert" and card["formats"] == ["tflite"]
    sample = predictor.signature.sample(1500)  # more than one block
    given = dict(zip(predictor.signature.names, sample.arrays, strict=True))
    expected = model(given, training=False)
    found = dict(zip([each.name for each in predictor.signature.outputs], predictor(sample), strict=True))
    for name, answers in found.items():
        np.testing.assert_allclose(np.reshape(answers, expected[name].shape), expected[name], atol=1e-5)


@pytest.mark.slow
def test_a_litert_file_with_operations_of_tensorflow_names_them(tmp_path):
    import keras
    import tensorflow as tf

    looked_up = keras.layers.StringLookup(vocabulary=["a"], output_mode="multi_hot")
    model = keras.Sequential([keras.Input((5,), dtype="string"), looked_up, keras.layers.Dense(1)])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    (tmp_path / "net.tflite").write_bytes(converter.convert())
    with pytest.raises(
        ArtifactError, match=r"that LiteRT does not have \(DenseBincount\): bring the model that it was"
    ):
        export_file(tmp_path / "net.tflite", tmp_path / "m")


@pytest.mark.slow
def test_a_graph_tells_the_scale_of_its_pixels_and_litert_runs_the_function_that_is_asked(tmp_path):
    import tensorflow as tf

    class Net(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 16, 16, 3), name="fixed")])
        def fixed(self, pixels):
            return {"shares": tf.nn.softmax(tf.reduce_mean(tf.nn.tanh((pixels - 0.45) / 0.22), [1, 2]))}

        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), name="a")])
        def any_size(self, pixels):
            return {"means": tf.reduce_mean(tf.nn.conv2d(pixels, tf.ones((3, 3, 3, 2)), 1, "VALID"), [1, 2])}

    net = Net()
    tf.saved_model.save(net, tmp_path / "net", signatures={"a": net.any_size, "serving_default": net.fixed})
    assert signature_of(read_saved_model(tmp_path / "net")[1], Wishes(), "m").inputs[0].pixels == "0..1"
    for keys, name in ((None, "both"), (["serving_default"], "fixed"), (["a"], "any_size")):
        converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "net"), signature_keys=keys)
        (tmp_path / f"{name}.tflite").write_bytes(converter.convert())
    with pytest.raises(ArtifactError, match=r"several functions \(a, serving_default\).*signature_keys=\['serving_def"):
        LiteRTFile(tmp_path / "both.tflite")
    fixed = LiteRTFile(tmp_path / "fixed.tflite")
    assert (fixed.inputs[0].name, signature_of(fixed, Wishes(), "m").inputs[0].pixels) == ("fixed", "0..1")
    _, predictor = brought(tmp_path / "any_size.tflite", tmp_path / "m")
    for size in (5, 40):
        np.testing.assert_allclose(predictor(Batch([np.ones((2, size, size, 3), np.float32)])), 27)


@pytest.mark.slow
def test_a_litert_file_of_whole_numbers_takes_and_gives_real_ones(tmp_path):
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential([keras.Input((12, 12, 1)), layers.Conv2D(4, 3), layers.Flatten()])
    model.add(layers.Dense(3, "softmax"))
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([RANDOM.random((1, 12, 12, 1), np.float32)] for _ in range(50))
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    (tmp_path / "net.tflite").write_bytes(converter.convert())
    _, predictor = brought(tmp_path / "net.tflite", tmp_path / "m")
    [picture], [output] = predictor.signature.inputs, predictor.signature.outputs
    assert (picture.kind, picture.pixels, output.kind) == ("image", "0..1", "classes")
    sample = predictor.signature.sample(20)
    np.testing.assert_allclose(predictor(sample), model(sample.arrays[0]), atol=0.05)  # as far as 8 bits go

    # A scaling before a convolution goes into its weights.
    model = keras.Sequential([keras.Input((12, 12, 1)), layers.Rescaling(1 / 255), *model.layers])
    (tmp_path / "net.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    _, predictor = brought(tmp_path / "net.tflite", tmp_path / "folded")
    assert predictor.signature.inputs[0].pixels == "0..255"


def test_the_numbers_that_a_quantized_file_tells_apart_are_those_that_are_usual(tmp_path):
    import keras
    import tensorflow as tf

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(1)])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([np.linspace([[-4, 0]], [[6, 1]], 50, dtype="f")[i]] for i in range(50))
    converter.inference_input_type = converter.inference_output_type = tf.int8
    (tmp_path / "net.tflite").write_bytes(converter.convert())
    _, predictor = brought(tmp_path / "net.tflite", tmp_path / "m")
    low, high = predictor.signature.features[0].usual
    assert (low, high) == pytest.approx((-4, 6), abs=0.05)
    assert predictor.signature.example() == {"x1": pytest.approx(1, abs=0.1), "x2": pytest.approx(1, abs=0.1)}
    answers = predictor(np.float32([[low, 1], [2 * low, 1], [6, 1]]))
    assert answers[0] == answers[1] != answers[2]  # what lies beyond is cut off by the file


# ---- ONNX and LiteRT ----


def looking_up(path: Path, rows: int, is_found: bool) -> None:
    """A file that answers what a list of so many rows holds for the second of two numbers.

    is_found: whether the file tells how long the list is.
    """
    constants = {
        "list" if is_found else "hidden": np.arange(2 * rows, dtype="f").reshape(rows, 2),
        "place": np.array(1),
    }
    nodes = [
        *([] if is_found else [helper.make_node("Abs", ["hidden"], ["list"])]),
        helper.make_node("Gather", ["x", "place"], ["number"], axis=1),
        helper.make_node("Cast", ["number"], ["id"], to=TensorProto.INT64),
        helper.make_node("Gather", ["list", "id"], ["y"]),
    ]
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2])] for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", *ends, [numpy_helper.from_array(v, k) for k, v in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_a_number_beyond_the_list_in_which_a_file_looks_it_up_is_named_to_whoever_sends_it(tmp_path):
    path, like = tmp_path / "looks_up.onnx", tmp_path / "like.csv"
    looking_up(path, 40, is_found=False)
    _, predictor = brought(path, tmp_path / "m")
    client = create_predict_app(predictor).test_client()
    assert client.get("/predict?x1=0.5&x2=3").json["prediction"] == [6, 7]
    answer = client.get("/predict?x1=0.5&x2=50")
    assert answer.status_code == 422 and "the model has no entry for 50 in a list" in answer.json["error"]

    looking_up(path, 2, is_found=False)  # too short for the numbers with which a model is tried
    with pytest.raises(ArtifactError, match="does not answer .* rows of what it takes: .*a table of such rows"):
        export_file(path, tmp_path / "m")
    like.write_text("x1,x2\n0.5,0\n-0.5,1\n")
    _, predictor = brought(path, tmp_path / "m", like=like)
    client = create_predict_app(predictor).test_client()
    assert client.get("/predict?x1=0.5&x2=1").json["prediction"] == [2, 3]

    looking_up(path, 2, is_found=True)
    _, predictor = brought(path, tmp_path / "found")
    client = create_predict_app(predictor).test_client()
    assert client.get("/predict?x1=0.5&x2=1").json["prediction"] == [2, 3]
    assert client.get("/predict?x1=0.5&x2=2").json["fields"] == {"x2": "must be a whole number from 0 to 1"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format", "name"), [("tf_saved_model", "net"), ("litert", "net.tflite"), ("onnx", "net.onnx")]
)
def test_the_ids_of_a_mixed_row_are_found_in_files_that_are_not_keras_s(tmp_path, format, name):
    import keras

    row = keras.Input((3,), name="row")
    word = keras.layers.Embedding(4, 3)(keras.ops.cast(row[:, 2], "int32"))
    y = keras.layers.Dense(1, "sigmoid")(keras.layers.Concatenate()([row[:, :2], word]))
    model = keras.Model(row, y)
    rows = np.array([[0.5, -1, 3], [0, 2, 0]], np.float32)
    wanted = np.asarray(model(rows))[:, 0]
    with quiet():
        model.export(tmp_path / name, format=format, verbose=False)
    _, predictor = brought(tmp_path / name, tmp_path / "m")
    assert [(each.low, each.high) for each in predictor.signature.features if each.whole] == [(0, 3)]
    np.testing.assert_allclose(predictor(rows), wanted, atol=1e-6)


@pytest.mark.parametrize("name", ["net", "net.tflite", "scaler.onnx", "divided.onnx", "batches.onnx", "columns.onnx"])
def test_the_first_steps_of_a_graph_tell_which_numbers_are_usual(tmp_path, name):
    if name.endswith(".onnx"):
        scaling = {"offset": [40.0, 500.0], "scale": [0.1, 0.005], "domain": "ai.onnx.ml"}  # a StandardScaler
        nodes = [helper.make_node("Scaler", ["x"], ["y"], **scaling)]
        if name == "divided.onnx":
            nodes = [helper.make_node("Sub", ["x", "mean"], ["z"]), helper.make_node("Div", ["z", "spread"], ["y"])]
        if name == "batches.onnx":  # Keras's BatchNormalization
            nodes = [helper.make_node("Mul", ["x", "by"], ["z"]), helper.make_node("Add", ["z", "more"], ["y"])]
        if name == "columns.onnx":  # of a ColumnTransformer
            one, other = ({part: numbers[i : i + 1] for part, numbers in scaling.items()} for i in (0, 1))
            of = {"domain": "ai.onnx.ml"}
            nodes = [
                helper.make_node("ArrayFeatureExtractor", ["x", "at_1"], ["b"], **of),
                helper.make_node("ArrayFeatureExtractor", ["x", "at_0"], ["a"], **of),
                helper.make_node("Scaler", ["b"], ["d"], **{**other, **of}),
                helper.make_node("Scaler", ["a"], ["c"], **{**one, **of}),
                helper.make_node("Concat", ["d", "c"], ["y"], axis=1),
            ]
        known = {"mean": np.float32([40, 500]), "spread": np.float32([10, 200]), "at_0": [0], "at_1": [1]}
        known |= {"by": np.float32([0.1, 0.005]), "more": np.float32([-4, -2.5])}
        known = [numpy_helper.from_array(np.array(numbers), part) for part, numbers in known.items()]
        ends = [[helper.make_tensor_value_info(end, TensorProto.FLOAT, ["n", 2])] for end in "xy"]
        versions = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
        graph = helper.make_graph(nodes, "g", *ends, known)
        onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=8), tmp_path / name)
    else:
        with quiet():
            kind = "litert" if name.endswith(".tflite") else "tf_saved_model"
            of_normal_numbers(in_parts=True).export(tmp_path / name, format=kind, verbose=False)
    _, predictor = brought(tmp_path / name, tmp_path / "m")
    assert [each.usual for each in predictor.signature.features] == [(20, 60), (100, 900)]


def test_of_a_file_that_is_its_own_reference_it_is_not_said_that_it_proves_nothing(tmp_path, recwarn):
    ends = [[helper.make_tensor_value_info(end, TensorProto.FLOAT, ["n", 2])] for end in "xy"]
    nodes = [helper.make_node("Sub", ["x", "x"], ["y"])]
    graph = helper.make_graph(nodes, "g", *ends)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "n.onnx")
    export_file(tmp_path / "n.onnx", tmp_path / "m")  # a forest has the same answer to all numbers around 0, too
    assert not [each for each in recwarn if issubclass(each.category, Remark)]


def test_pixels_that_a_graph_scales_once_it_has_given_them_its_size_are_those_of_a_file(tmp_path):
    sizes = {
        "none": np.float32([]),
        "size": np.int64([1, 3, 4, 4]),
        "by": np.float32(1 / 255),
        "axes": np.int64([2, 3]),
    }
    nodes = [
        helper.make_node("Resize", ["x", "", "none", "size"], ["small"]),
        helper.make_node("Mul", ["small", "by"], ["scaled"]),
        helper.make_node("ReduceSum", ["scaled", "axes"], ["y"], keepdims=0),
    ]
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 9, 9])]
    ends = [ends, [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])]]
    graph = helper.make_graph(nodes, "g", *ends, [numpy_helper.from_array(v, k) for k, v in sizes.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "n.onnx")
    _, predictor = brought(tmp_path / "n.onnx", tmp_path / "m")
    assert predictor.signature.inputs[0].pixels == "0..255"


def of_normal_numbers(in_parts: bool = False):
    """A model of two numbers. in_parts: whether each is standardized by itself, the second one first."""
    import keras

    layers, x = keras.layers, keras.Input((2,))
    normal = layers.Normalization()
    normal.adapt(np.float32([[30, 300], [50, 700]]))
    made = normal(x)
    if in_parts:
        ends = {"mean": (500, 40), "variance": (40000, 100)}
        age, pay = (layers.Normalization(**{k: [float(v[i])] for k, v in ends.items()}) for i in (1, 0))
        made = layers.Concatenate()([pay(x[:, 1:]), age(x[:, :1])])
    model = keras.Model(x, layers.Dense(1)(made))
    model(np.zeros((1, 2), np.float32))
    return model


def test_an_onnx_file_that_lacks_what_a_layer_learned_is_refused(tmp_path):
    with quiet():
        of_normal_numbers().export(tmp_path / "net.onnx", format="onnx", verbose=False)
    with pytest.raises(ArtifactError, match=r"has none of the numbers .* asks for them .*: bring the Keras file, of"):
        export_file(tmp_path / "net.onnx", tmp_path / "m")


@pytest.mark.parametrize("name", ["net", "net.tflite", "net.onnx"])
@pytest.mark.parametrize("is_flattened", [True, False])
def test_a_square_of_numbers_is_a_picture_where_a_graph_flattens_it_and_else_the_owner_may_say_so(
    tmp_path, name, is_flattened
):
    import keras

    layers, kind = keras.layers, {"net": "tf_saved_model", "net.tflite": "litert", "net.onnx": "onnx"}[name]
    first = [] if is_flattened else [layers.Dense(3)]
    model = keras.Sequential(
        [keras.Input((9, 9)), layers.Rescaling(1 / 255), *first, layers.Flatten(), layers.Dense(2)]
    )
    model(np.zeros((1, 9, 9), np.float32))
    with quiet():
        model.export(tmp_path / name, format=kind, verbose=False)
    _, predictor = brought(tmp_path / name, tmp_path / "m")
    said = takes_in_words(predictor.signature)
    if is_flattened:
        assert said == "a picture (image) of 9 x 9, pixels scaled to 0..255 (--pixels says otherwise)"
        return
    assert said.endswith("of 9 x 9, usually 0 to 255; where that is a picture, --takes image says so")
    answer = create_predict_app(predictor).test_client().post("/predict", data={"input": (a_picture(), "a.png")})
    says = "input: is the file of a picture, and must be an array of shape (9, 9): send its numbers in JSON, or export"
    assert answer.status_code == 422 and says in answer.json["error"]


def a_picture() -> io.BytesIO:
    from PIL import Image

    made = io.BytesIO()
    Image.new("L", (9, 9)).save(made, "PNG")
    made.seek(0)
    return made
