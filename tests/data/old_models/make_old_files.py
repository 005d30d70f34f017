"""Write model files with an old Keras, and what that Keras answered: run it with the Python of an old Keras.

    python make_old_files.py FOLDER [KIND ...]

Each file holds a small network, trained for one epoch on made-up rows or with weights drawn at random. For every file,
`answers-<version>.json` says what the model that wrote it predicted for `inputs_of(model)`: the reference that a reader
must reproduce. The answers of kinds that are not written anew stay in it.
"""

import json
import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

try:  # Keras 2 beside a TensorFlow that has moved on to Keras 3
    import tf_keras as keras

    VERSION = "tf-" + keras.__version__
except ImportError:
    import keras

    VERSION = keras.__version__
    if not VERSION.startswith(("2.0.", "2.2.")):  # from then on Keras was a part of TensorFlow
        keras = tf.keras

GRAPHS = VERSION.startswith(("2.0.", "2.2."))  # Keras on TensorFlow 1
layers = keras.layers


def rows(n: int = 10) -> np.ndarray:
    """32 rows of 0 and 1, the same in every version of NumPy: the bits of 1, 38, 75, ..."""
    return np.array([[(1 + 37 * i >> j % 10) & 1 for j in range(n)] for i in range(32)], dtype="float32")


def inputs_of(model) -> list:
    """A batch for each input of a model: 32 rows, or as many as a batch of a fixed size has; the second is reversed."""
    batches = []
    for tensor in model.inputs:
        size, *shape = (None if d is None else int(d) for d in tensor.shape.as_list())
        shape = [d or 10 for d in shape]  # Keras 2 leaves open how wide what it standardizes is
        batch = rows(int(np.prod(shape)))[: size or 32].reshape(size or 32, *shape)
        batches.append(batch[::-1].copy() if batches else batch)
    return batches


def auc(y_true, y_pred):
    """A metric function with the name of the article's: the share of rows on the right side of one half."""
    return tf.reduce_mean(tf.cast(tf.equal(y_true > 0.5, y_pred > 0.5), "float32"))


def sequential(*head):
    return keras.Sequential(
        [
            *head,
            layers.Dense(8, activation="relu", input_shape=(10,)),
            layers.Dropout(0.1),
            layers.Dense(8, activation="relu"),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def functional():
    """What Keras 3 renamed: LeakyReLU's alpha, arguments of BatchNormalization; and a learning-rate schedule."""
    inputs = keras.Input((10,))
    x = layers.Dense(8, kernel_initializer="he_normal")(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.LeakyReLU(alpha=0.2)(x)
    x = layers.concatenate([x, inputs])
    x = layers.Dense(4, kernel_regularizer=keras.regularizers.l2(0.01))(x)
    x = layers.ReLU(max_value=6.0)(x)
    outputs = layers.Dense(1, activation="sigmoid")(x)
    return keras.Model(inputs, outputs)


def standardized():
    normalization = layers.Normalization(input_shape=(10,))
    normalization.adapt(rows() * 40 + 7)
    return sequential(normalization)


def open_width(inside=False):
    """A Normalization that was adapted before it was called, in front or in a model in front: no size of the input."""
    normalization = layers.Normalization()
    normalization.adapt(rows() * 4 + 1)
    head = [normalization, layers.Dense(8, activation="relu")]
    return keras.Sequential([*([keras.Sequential(head)] if inside else head), layers.Dense(1, activation="sigmoid")])


def trained(model, **compile_arguments):
    model.compile(**compile_arguments)
    x = np.tile(rows(), (4, 1))
    y = (x[:, :3].sum(1) > 1).astype("float32")[:, None]
    model.fit(x, y, epochs=1, batch_size=32, verbose=0)
    return model


def drawn(model):
    """The model with weights drawn at random, positive where a variance has to be."""
    chance = np.random.RandomState(7)
    for layer in model.layers:
        weights = [w + chance.normal(0, 0.3, w.shape).astype(w.dtype) for w in layer.get_weights()]
        variances = type(layer).__name__ == "BatchNormalization"
        layer.set_weights([abs(w) for w in weights] if variances else weights)
    return model


def hard_sigmoid():
    """Where a layer takes the function: by name, as a layer, inside of a wrapper."""
    inputs = keras.Input((10,))
    x = layers.Dense(6, activation="hard_sigmoid")(inputs)
    x = layers.Activation("hard_sigmoid", name="hard_sigmoid")(x)
    x = layers.Reshape((3, 2))(x)
    x = layers.TimeDistributed(layers.Dense(2, activation=keras.activations.hard_sigmoid))(x)
    return keras.Model(inputs, layers.Dense(1)(layers.Flatten()(x)))


def hard_sigmoid_recurrent():
    inputs = keras.Input((6, 4))
    x = layers.LSTM(3, recurrent_activation="hard_sigmoid", return_sequences=True)(inputs)
    x = layers.Bidirectional(layers.GRU(2, recurrent_activation="hard_sigmoid", reset_after=False))(x)
    return keras.Model(inputs, layers.Dense(1)(x))


def hard_sigmoid_convlstm():
    inputs = keras.Input((2, 4, 4, 1))
    x = layers.ConvLSTM2D(2, 2, recurrent_activation="hard_sigmoid")(inputs)
    return keras.Model(inputs, layers.Dense(1)(layers.Flatten()(x)))


def time_major():
    inputs = keras.Input(batch_shape=(6, 5, 4))
    x = layers.LSTM(3, time_major=True, return_sequences=True)(inputs)
    return keras.Model(inputs, layers.SimpleRNN(2, time_major=True, return_sequences=True)(x))


def masked_time_major():
    """Sequences with time first, of which some steps do not count."""
    inputs = keras.Input(batch_shape=(5, 5))
    x = layers.Embedding(2, 3, mask_zero=True)(inputs)
    x = layers.Bidirectional(layers.LSTM(2, time_major=True, return_sequences=True))(x)
    return keras.Model(inputs, layers.GRU(2, time_major=True)(x))


def step_masks():
    """Masks made in each step of a sequence: texts of sentences of words."""
    inputs = keras.Input((5, 2))
    x = layers.TimeDistributed(layers.Embedding(2, 3, mask_zero=True))(inputs)
    x = layers.TimeDistributed(layers.LSTM(2, return_sequences=True))(x)
    return keras.Model(inputs, layers.SimpleRNN(2)(layers.TimeDistributed(layers.LSTM(2))(x)))


def order_of_weights():
    """Layers alike, whose order in the graph is another today: before a mask, and as arguments of one call."""
    inputs = keras.Input((5, 3))
    last = layers.SimpleRNN(2)
    masked = last(layers.Masking()(layers.Dense(3)(inputs)))
    plain = last(layers.Dense(3)(layers.Dense(3)(inputs)))
    x = layers.MultiHeadAttention(1, 2)(*(layers.Dense(3)(inputs) for _ in range(3)))
    x = keras.Model(inputs, layers.Concatenate()([plain, masked, layers.Flatten()(x)]))
    steps = keras.Input((2, 5, 3))
    return keras.Model(steps, layers.Dense(1)(layers.TimeDistributed(x)(steps)))


def pictures():
    """Arguments that Keras 3 lacks: groups of convolutions, rng_type of augmentations; layers that it lacks."""
    inputs = keras.Input((6, 6, 2))
    x = layers.RandomFlip("horizontal")(inputs)
    x = layers.RandomRotation(0.1)(x)
    x = layers.RandomHeight(0.1)(x)
    x = layers.Reshape((6, 6, 2))(x)
    x = layers.Rescaling(2.0, offset=-0.5)(x)
    x = layers.DepthwiseConv2D(3)(x)
    x = layers.SpatialDropout2D(0.2)(x)
    x = layers.Conv2DTranspose(2, 2, strides=2)(x)
    x = layers.SeparableConv2D(3, 3)(x)
    return keras.Model(inputs, layers.Dense(1)(layers.GlobalAveragePooling2D()(x)))


def random_crop():
    inputs = keras.Input((8, 6, 1))
    return keras.Model(inputs, layers.Dense(1)(layers.Flatten()(layers.RandomCrop(4, 4)(inputs))))


def locally_connected():
    inputs = keras.Input((4, 4, 2))
    x = layers.LocallyConnected2D(2, (2, 3))(inputs)
    x = layers.Reshape((3, 4))(x)
    x = layers.LocallyConnected1D(2, 2, activation="hard_sigmoid")(x)
    return keras.Model(inputs, layers.Dense(1)(layers.Flatten()(x)))


def activations():
    inputs = keras.Input((10,))
    x = layers.ThresholdedReLU(0.3, name="dense/relu")(layers.Dense(6, name="dense/linear")(inputs))
    return keras.Model(inputs, layers.Dense(1)(layers.PReLU()(x)))


def tensorflow_functions():
    """Calls of TensorFlow, which Keras 2 recorded as layers: of one tensor, of several, of a constant first, slices."""
    inputs = keras.Input((10,))
    x = layers.Dense(4)(inputs)
    x = tf.nn.relu(1.0 - x * 2.0) + x
    x = tf.concat([x, inputs[:, 1:3], inputs[..., -1:]], axis=1)
    x = tf.reshape(x, (tf.shape(x)[0], 7, 1))
    x = tf.math.l2_normalize(tf.where(x > 0.5, x, 0.1 * x), axis=1)
    return keras.Model(inputs, layers.Dense(1)(tf.reduce_mean(x, axis=1)))


def more_tensorflow_functions():
    """Further calls: of trigonometry, of order, of products, of pictures."""
    inputs = keras.Input((10,))
    x = layers.Dense(6)(inputs)
    x = tf.concat([tf.atan(x), tf.math.log_sigmoid(x), tf.reverse(x, [1]), tf.math.cumprod(x, 1)], axis=1)
    x = tf.slice(tf.roll(x, 2, 1), [0, 0], [-1, 24]) / tf.norm(x, axis=1, keepdims=True)
    x = tf.repeat(x, 2, axis=1) + tf.reduce_logsumexp(x, axis=1, keepdims=True)
    picture = tf.image.rgb_to_grayscale(tf.reshape(x, (-1, 4, 4, 3)))
    x = layers.Flatten()(tf.nn.max_pool2d(tf.image.flip_left_right(picture), 3, 2, "SAME"))
    return keras.Model(inputs, layers.Dense(1)(x + tf.cast(tf.argsort(x), "float32")))


def tensorflow_functions_in_use():
    """Calls that models of real people hold: choices, the largest, products, pictures, running sums."""
    inputs = keras.Input((6, 4))
    x = tf.tensordot(inputs, tf.reshape(tf.range(8.0), (4, 2)), axes=1)
    x = keras.backend.switch(inputs[..., :2] > 0.5, x, 0.1 * x)
    values, _ = tf.math.top_k(tf.reshape(x, (-1, 12)), 4)
    x = tf.concat([tf.cumsum(values, 1, reverse=True), tf.sort(values, direction="DESCENDING")], axis=1)
    picture = tf.nn.conv2d(tf.reshape(x, (-1, 2, 4, 1)), tf.reshape(tf.range(4.0), (2, 2, 1, 1)), 1, "SAME")
    picture = tf.image.per_image_standardization(tf.image.rot90(tf.image.flip_up_down(picture)))
    return keras.Model(inputs, layers.Dense(1)(tf.reshape(tf.nn.space_to_depth(picture, 2), (-1, 8))))


def joined_masks():
    """Sequences of which some steps do not count, joined: by value, end to end, with one of which every step counts."""
    left, right = keras.Input((10,)), keras.Input((10,))
    first, second = (layers.Embedding(2, 3, mask_zero=True)(each) for each in (left, right))
    whole = layers.Embedding(2, 3)(right)
    joined = [
        layers.Add()([first, second]),
        layers.Multiply()([first, whole]),
        layers.Dense(3)(layers.Concatenate()([first, whole])),
        layers.Concatenate(axis=1)([first, second]),
    ]
    last = layers.SimpleRNN(2)
    return keras.Model([left, right], layers.Dense(1)(layers.Concatenate()([last(each) for each in joined])))


def joined_values():
    """What stands where steps do not count, joined value by value and then looked at."""
    left, right = keras.Input((10,)), keras.Input((10,))
    first = layers.Embedding(2, 3, mask_zero=True)(left)
    seconds = [layers.Embedding(2, 3, mask_zero=True)(right), layers.Embedding(2, 3)(right)]
    joining = layers.Multiply, layers.Maximum, layers.Minimum
    joined = [layers.Flatten()(kind()([first, second])) for kind in joining for second in seconds]
    return keras.Model([left, right], layers.Dense(1)(layers.Concatenate()(joined)))


def masked_states():
    """A translator: a decoder that starts with the states of an encoder, both over sequences padded with 0."""
    source, target = keras.Input((5,)), keras.Input((5,))
    first, second = (layers.Embedding(2, 3, mask_zero=True)(each) for each in (source, target))
    _, h, c = layers.LSTM(3, return_state=True)(layers.Rescaling(2.0, offset=0.1)(first))
    x = layers.LSTM(3, return_sequences=True)(second, initial_state=[h, c])
    x = layers.SimpleRNN(3)(
        x, initial_state=layers.SimpleRNN(3)(layers.Normalization(mean=0.1, variance=2.0, axis=None)(second))
    )
    return keras.Model([source, target], layers.Dense(1)(x))


def whole_pictures():
    """A picture of whole numbers, made smaller."""
    inputs = keras.Input((4, 5, 1), dtype="uint8")
    return keras.Model(inputs, layers.Dense(1)(layers.Flatten()(layers.Resizing(3, 3)(inputs))))


def tensorflow_function_without_equivalent():
    inputs = keras.Input((10,))
    return keras.Model(inputs, layers.Dense(1)(tf.math.lgamma(inputs + 1.0)))


def fixed_mode():
    """Layers called with `training=`: a normalization by the batch, whatever the model is doing, and a frozen one."""
    inputs = keras.Input((10,))
    x = layers.BatchNormalization()(layers.Dense(4)(inputs), training=True)
    x = layers.BatchNormalization()(x, training=False)
    return keras.Model(inputs, layers.Dense(1)(x))


def nested():
    """Models inside of models, each called twice."""
    dense = layers.Dense(4, activation="hard_sigmoid")
    part = keras.Sequential([keras.Input((10,)), dense, layers.BatchNormalization()])
    source = keras.Input((10,))
    other = keras.Model(source, [layers.Dense(2)(source), layers.Dense(3)(source)])
    left, right = keras.Input((10,)), keras.Input((10,))
    x = layers.Subtract()([part(left), part(right)])
    x = layers.Concatenate()([x, *other(left), *other(right)])
    return keras.Model([left, right], layers.Dense(1)(x))


def attention():
    """Tensors among the named arguments of a call, and a mask that is one."""
    query, value = keras.Input((5, 4)), keras.Input((5, 4))
    x = layers.MultiHeadAttention(2, 3)(query, value=value, key=query)
    x = layers.LayerNormalization(axis=[1, 2])(layers.Attention()([x, value]))
    return keras.Model([query, value], layers.Dense(1)(layers.GlobalAveragePooling1D()(x)))


def lookup():
    inputs = keras.Input((4,), dtype="int64")
    x = layers.IntegerLookup(vocabulary=[1, 2, 3])(inputs)
    return keras.Model(inputs, layers.Dense(1)(layers.Flatten()(layers.Embedding(5, 3)(x))))


def discretized():
    """Boundaries that layers found in data, in the model and in one inside of it, and weights that were given.

    A layer that is called before it is adapted calls its summary otherwise.
    """
    inputs, inside = keras.Input((10,)), keras.Input((10,))
    whole, part, third, fourth = (layers.Discretization(num_bins=bins) for bins in (5, 3, 4, 6))
    called_first = [third(inside), fourth(inside)]
    for i, layer in enumerate((whole, part, third, fourth)):
        layer.adapt(np.random.RandomState(3 + i).normal(0.3, 0.7, 300).astype("float32"))
    binned = layers.Concatenate()([part(inside), *called_first])
    inner = keras.Model(inside, layers.Dense(2)(layers.Flatten()(layers.Embedding(6, 2)(binned))))
    weighted = layers.IntegerLookup(vocabulary=[1], idf_weights=[0.7], output_mode="tf_idf", name="weighted")
    x = layers.Flatten()(layers.Embedding(5, 3)(whole(inputs)))
    return keras.Model(inputs, layers.Dense(1)(layers.Concatenate()([x, inner(inputs), weighted(whole(inputs))])))


def adapted():
    """The same with vocabularies, which an .h5 cannot hold."""
    inputs, numbers = keras.Input((10,), dtype="int64"), keras.Input((10,))
    counted = layers.IntegerLookup(output_mode="count", num_oov_indices=2)
    weighted = layers.IntegerLookup(output_mode="tf_idf", max_tokens=6, pad_to_max_tokens=True)
    for layer, most in ((counted, 1), (weighted, 4)):
        layer.adapt(np.arange(20).reshape(10, 2) % most)
    inner = keras.Sequential([keras.Input((10,), dtype="int64"), weighted, layers.Dense(2)])
    bins = layers.Discretization(num_bins=4)
    bins.adapt(np.random.RandomState(3).normal(0.3, 0.7, 300).astype("float32"))
    x = layers.Flatten()(layers.Embedding(4, 2)(bins(numbers)))
    joined = layers.Concatenate()([counted(inputs), inner(inputs), x])
    return keras.Model([inputs, numbers], layers.Dense(1)(joined))


def two_outputs():
    inputs = layers.Input((10,))
    x = layers.Dense(4)(inputs)
    model = keras.models.Model(inputs, [layers.Dense(1, name="left")(x), layers.Dense(2, name="right")(x)])
    model.compile("sgd", {"left": "mse", "right": "logcosh"}, metrics=["mae", "mse"], loss_weights=[1.0, 0.5])
    y = [np.zeros((32, 1)), np.zeros((32, 2))]
    model.fit(rows(), y, epochs=1, verbose=0)
    return model


def encoder_decoder():
    """A recurrent layer that starts with the states of another."""
    source, target = layers.Input((6, 4)), layers.Input((3, 2))
    _, h, c = layers.LSTM(3, return_state=True, recurrent_activation="hard_sigmoid")(source)
    x = layers.LSTM(3, return_sequences=True)(target, initial_state=[h, c])
    _, state = layers.GRU(2, return_state=True)(source)
    x = layers.GRU(2)(x, initial_state=state)
    return keras.models.Model([source, target], layers.Dense(1)(x))


def wrapped():
    """Layers inside of layers, which before Keras 2.12 did not say where their class is."""
    return keras.models.Sequential(
        [
            layers.Embedding(5, 3, mask_zero=True, input_length=6),
            layers.Bidirectional(layers.LSTM(2, return_sequences=True)),
            layers.TimeDistributed(layers.Dense(2, activation="relu")),
            layers.GRU(2, recurrent_activation="hard_sigmoid"),
            layers.Dense(1),
        ]
    )


def numbers():
    """Numbers that Keras 2.0 wrote as arrays."""
    return keras.models.Sequential(
        [
            layers.Dense(6, input_shape=(10,)),
            layers.LeakyReLU(alpha=0.1),
            layers.Dense(4),
            layers.ThresholdedReLU(theta=0.2),
            layers.Dense(1),
        ]
    )


def cudnn(fast: bool):
    """The same recurrent network for a graphics card and for any computer."""
    lstm, gru = ("CuDNNLSTM", "CuDNNGRU") if fast else ("LSTM", "GRU")
    more = {} if fast else {"recurrent_activation": "sigmoid"}
    after = {} if fast else {"reset_after": True}
    inputs = keras.layers.Input((6, 4))
    x = layers.Bidirectional(getattr(layers, lstm)(3, return_sequences=True, **more), name="both")(inputs)
    x = getattr(layers, gru)(2, return_sequences=True, name="second", **more, **after)(x)
    x = getattr(layers, lstm)(2, name="third", **more)(x)
    return keras.models.Model(inputs, layers.Dense(1, name="last")(x))


def without_a_card(layer, inputs, initial_state):
    """In place of the operation that needs a graphics card, something of the same shape: only the weights are saved."""
    outputs = keras.backend.dot(inputs, layer.kernel[:, : layer.units])  # (steps, batch, units)
    sequences = keras.backend.permute_dimensions(outputs, (1, 0, 2))
    return sequences if layer.return_sequences else outputs[-1], initial_state


def drawn_cudnn(folder: Path):
    """The network for a graphics card, and the other with its weights, as this Keras itself converts them."""
    layers.CuDNNLSTM._process_batch = layers.CuDNNGRU._process_batch = without_a_card
    model = drawn(cudnn(fast=True))
    model.save_weights(str(folder / "weights.h5"))
    same = cudnn(fast=False)
    same.load_weights(str(folder / "weights.h5"))
    (folder / "weights.h5").unlink()
    return model, same


def models_of_2018(folder: Path):
    """(kind, the model that is saved, the model that answers) of Keras 2.0 and 2.2."""
    for make in (wrapped, numbers) if VERSION.startswith("2.0.") else (encoder_decoder,):
        model = drawn(make())
        yield make.__name__.replace("_", "-") + ".h5", model, model
    if VERSION.startswith("2.0."):
        return
    model = two_outputs()
    yield "two-outputs.h5", model, model
    yield ("cudnn.h5", *drawn_cudnn(folder))
    model = sequential(layers.Lambda(lambda x: x * 2.0 - 1.0, input_shape=(10,)))
    yield "lambda.h5", model, model
    model = drawn(sequential())
    (folder / f"keras-{VERSION}-architecture.json").write_text(model.to_json())
    yield "weights.h5", model, model


def models():
    """(kind, model) of the Keras that came with TensorFlow, and of its continuation."""
    plain = {"optimizer": "rmsprop", "loss": "binary_crossentropy"}
    yield "custom-auc.h5", trained(sequential(), **plain, metrics=[auc])
    yield "uncompiled.h5", sequential()
    yield (
        "objects.h5",
        trained(
            sequential(),
            optimizer=keras.optimizers.Adam(0.002),
            loss=keras.losses.BinaryCrossentropy(label_smoothing=0.1),
            metrics=[keras.metrics.AUC(name="auc"), "accuracy"],
        ),
    )
    schedule = keras.optimizers.schedules.ExponentialDecay(0.01, 10, 0.9)
    sgd = keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True)
    yield "functional.h5", trained(functional(), optimizer=sgd, loss="mse", metrics=["mae"])
    yield "standardized.h5", trained(standardized(), **plain, metrics=["AUC"])
    yield "open-width.h5", trained(open_width(), **plain)
    yield "open-width.keras", trained(open_width(), **plain)
    yield "open-width-inside.h5", trained(open_width(inside=True), **plain)
    yield "lambda.h5", sequential(layers.Lambda(lambda x: x * 2.0 - 1.0, input_shape=(10,)))
    yield "archive.keras", trained(sequential(), **plain, metrics=[auc])

    for make in (
        hard_sigmoid,
        hard_sigmoid_recurrent,
        hard_sigmoid_convlstm,
        time_major,
        masked_time_major,
        step_masks,
        order_of_weights,
        pictures,
        random_crop,
        locally_connected,
        activations,
        tensorflow_functions,
        more_tensorflow_functions,
        tensorflow_functions_in_use,
        joined_masks,
        joined_values,
        masked_states,
        whole_pictures,
        tensorflow_function_without_equivalent,
        fixed_mode,
        nested,
        attention,
        lookup,
        encoder_decoder,
    ):
        yield make.__name__.replace("_", "-") + ".h5", drawn(make())
    inputs = keras.Input((5, 2))
    x = layers.MultiHeadAttention(1, 1)(*(layers.Dense(2)(inputs) for _ in range(3)))
    yield "order-of-weights.keras", drawn(keras.Model(inputs, x))
    yield "discretized.h5", discretized()  # other weights would not be what their layers found
    yield "adapted.keras", adapted()
    yield "two-outputs.h5", two_outputs()


def answer(model) -> list:
    batches = inputs_of(model)
    if GRAPHS:
        outputs = model.predict(batches, batch_size=32)
    else:
        outputs = model(batches if len(batches) > 1 else batches[0], training=False)
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return [float(number) for output in outputs for number in np.asarray(output).ravel()]


def write_saved_model(folder: Path) -> None:
    """The folder that `model.save` of Keras 2 writes where a name has no ending, and what its model answers."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [layers.Dense(4, activation="relu", input_shape=(10,)), layers.Dense(3, activation="softmax")]
    )
    name = f"keras-{VERSION}-saved-model"
    model.save(str(folder / name))
    (folder / f"{name}.json").write_text(json.dumps(model.predict(rows(), verbose=0).tolist()) + "\n")


def main(folder: Path, kinds: list) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"answers-{VERSION}.json"
    answers = json.loads(path.read_text()) if path.exists() else {}
    for kind, model, answering in models_of_2018(folder) if GRAPHS else ((k, m, m) for k, m in models()):
        if kinds and kind.partition(".")[0] not in kinds:
            continue
        name = f"keras-{VERSION}-{kind}"
        save = model.save_weights if kind == "weights.h5" else model.save
        save(str(folder / name))
        answers[name] = answer(answering)
    path.write_text(json.dumps(answers, indent=1) + "\n")
    if not GRAPHS and VERSION.startswith("tf-") and (not kinds or "saved-model" in kinds):
        write_saved_model(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
