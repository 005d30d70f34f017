"""Ten Keras models of usual kinds, made small, and what each takes: what people bring to `serve FILE`."""

import numpy as np

NAMES = tuple(f"col_{letter}" for letter in "abcdefghij")

LAYERS = '''
import keras


@keras.saving.register_keras_serializable(package="mine")
class Doubling(keras.layers.Layer):
    """A layer of one's own."""

    def call(self, inputs):
        return 2 * inputs
'''


def ten_features():
    import keras

    layers = keras.layers
    return keras.Sequential([keras.Input((10,)), layers.Dense(16, "relu"), layers.Dense(1, "sigmoid")])


def picture_classifier():
    import keras

    layers = keras.layers
    inputs = keras.Input((16, 16, 3), name="pixels")
    x = layers.Conv2D(6, 3, activation="relu")(layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, layers.Dense(4, "softmax")(layers.GlobalAveragePooling2D()(x)))


def three_classes():
    import keras

    layers = keras.layers
    return keras.Sequential([keras.Input((4,)), layers.Dense(8, "relu"), layers.Dense(3), layers.Softmax()])


def regression():
    import keras

    layers = keras.layers
    return keras.Sequential([keras.Input((5,)), layers.Dense(8, "relu"), layers.Dense(1)])


def two_inputs():
    import keras

    layers = keras.layers
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    joined = layers.Dense(8, "tanh")(layers.Concatenate()([left, right]))
    return keras.Model({"right": right, "left": left}, layers.Dense(1, "sigmoid")(joined))


def texts():
    import keras

    layers = keras.layers
    words = layers.TextVectorization(max_tokens=60, output_sequence_length=6)
    words.adapt(["a good one", "this was a waste of time", "the cat sat on the mat"])
    inputs = keras.Input((1,), dtype="string")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(60, 8)(words(inputs)))
    return keras.Model(inputs, layers.Dense(1, "sigmoid")(x))


def sequences():
    import keras

    layers = keras.layers
    return keras.Sequential([keras.Input((20, 5)), layers.LSTM(8), layers.Dense(1, "sigmoid")])


def two_outputs():
    import keras

    layers = keras.layers
    inputs = keras.Input((6,))
    x = layers.Dense(8, "tanh")(inputs)
    kind, price = layers.Dense(3, "softmax", name="kind")(x), layers.Dense(1, name="price")(x)
    return keras.Model(inputs, {"kind": kind, "price": price})


def own_layer(doubling):
    import keras

    layers = keras.layers
    return keras.Sequential([keras.Input((4,)), doubling(), layers.Dense(1, "sigmoid")])


def half_precision():
    import keras

    layers = keras.layers
    half = keras.mixed_precision.Policy("mixed_float16")
    return keras.Sequential(
        [keras.Input((10,)), layers.Dense(16, "relu", dtype=half), layers.Dense(1, "sigmoid", dtype="float32")]
    )


def words_as_numbers():
    """An eleventh: whole numbers that stand for words, answered with an array."""
    import keras

    layers = keras.layers
    return keras.Sequential([keras.Input((None,), dtype="int32"), layers.Embedding(30, 4), layers.GRU(3)])


MODELS = {
    "ten_features": ten_features,
    "picture_classifier": picture_classifier,
    "three_classes": three_classes,
    "regression": regression,
    "two_inputs": two_inputs,
    "texts": texts,
    "sequences": sequences,
    "two_outputs": two_outputs,
    "own_layer": own_layer,
    "half_precision": half_precision,
    "words_as_numbers": words_as_numbers,
}


def make(name: str, folder) -> object:
    """The model of a name, with seeded weights, saved as `NAME.keras` in the folder."""
    import keras

    keras.utils.set_random_seed(5)
    if name == "own_layer":
        (folder / "own_layers_of_a_test.py").write_text(LAYERS)
        space: dict = {}
        exec(LAYERS, space)
        model = own_layer(space["Doubling"])
    else:
        model = MODELS[name]()
    model.save(folder / f"{name}.keras")
    return model


def rows_of(name: str, count: int) -> list:
    """`count` random rows for a model, as JSON holds them: objects, or the values of its only input."""
    random = np.random.default_rng(7)

    def numbers(*shape):
        return random.normal(0, 2, (count, *shape)).astype(np.float32).tolist()

    if name in ("ten_features", "half_precision"):
        return [dict(zip(NAMES, row, strict=True)) for row in numbers(10)]
    if name in ("three_classes", "own_layer", "regression", "two_outputs"):
        n = {"regression": 5, "two_outputs": 6}.get(name, 4)
        return [{f"x{i + 1}": value for i, value in enumerate(row)} for row in numbers(n)]
    if name == "two_inputs":
        return [{"left": left, "right": right} for left, right in zip(numbers(3), numbers(2), strict=True)]
    if name == "sequences":
        return numbers(20, 5)
    if name == "picture_classifier":
        return random.integers(0, 256, (count, 16, 16, 3)).tolist()
    if name == "words_as_numbers":
        return random.integers(0, 30, (count, 9)).tolist()
    words = "a good one this was waste of time the cat sat on mat unseen".split()
    return [{"text": " ".join(random.choice(words, 5))} for _ in range(count)]


def onnx_file(path, seed: int = 0, features: int = 3, width: int = 1, layers: int = 0) -> None:
    """A file of one probability. layers: how often a matrix (width, width) is applied first, which makes it slow."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kind, random = TensorProto.FLOAT, np.random.default_rng(seed)
    names = ["hidden", *(f"hidden{i}" for i in range(layers))]
    nodes = [helper.make_node("MatMul", ["x", "first"], [names[0]])]
    for before, after in zip(names, names[1:], strict=False):
        nodes += [helper.make_node("MatMul", [before, "again"], [f"{after}_"])]
        nodes += [helper.make_node("Tanh", [f"{after}_"], [after])]
    nodes += [helper.make_node("MatMul", [names[-1], "last"], ["score"]), helper.make_node("Sigmoid", ["score"], ["y"])]
    sizes = {"first": (features, width), "again": (width, width), "last": (width, 1)}
    weights = [
        numpy_helper.from_array((random.normal(size=s) / s[0] ** 0.5).astype("f"), name) for name, s in sizes.items()
    ]
    ends = [[helper.make_tensor_value_info(*end, ["n", n])] for *end, n in (("x", kind, features), ("y", kind, 1))]
    graph = helper.make_graph(nodes, "g", *ends, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
