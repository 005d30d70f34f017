"""A Keras model as a function of arrays, compiled once: what answers, and what every export is held against."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from helpers.data.outputs import answers_of


def compiled(model) -> Callable[..., np.ndarray | tuple[np.ndarray, ...]]:
    """A Keras model as a function of an array for each of its inputs, compiled once for every number of rows.

    A model that is not Keras's (`foreign`) says by itself how it is asked.

    `model.predict` sets up a data pipeline at every call, and `model(rows)` runs layer by layer in Python; this runs
    the graph. Answers in half precision come as float32.
    """
    if hasattr(model, "answer"):
        return model.answer
    import tensorflow as tf

    _go_through_every_step(model)
    _make_larger(model)
    specs = [tf.TensorSpec((None, *each.shape[1:]), each.dtype) for each in model.inputs]
    # on most CPUs TensorFlow by itself has no convolutions with the channels first
    first = any(getattr(layer, "data_format", "") == "channels_first" for layer in model._flatten_layers())
    call = functools.partial(flat_call, model)
    graph = tf.function(call, input_signature=specs, jit_compile=first or None).get_concrete_function()
    kinds = [spec.dtype for spec in specs]

    def run(*arrays):
        tensors = [tf.constant(array, kind) for array, kind in zip(arrays, kinds, strict=True)]
        return answers_of([answer.numpy() for answer in graph(*tensors)])

    return run


def _go_through_every_step(model) -> None:
    """Let a TimeDistributed layer of Keras 3 take sequences of an open length, in this graph and in those of exports.

    It goes through as many steps there as there are rows: it fails where a sequence is shorter, and cuts a longer one.
    """
    import keras

    def call(layer, as_ever, inputs, training=None, mask=None):
        if inputs.shape[1] is not None:
            return as_ever(inputs, training=training, mask=mask)
        rows, steps, *size = keras.ops.shape(inputs)
        given = {"training": training} if layer.layer._call_has_training_arg else {}
        if mask is not None and layer.layer._call_has_mask_arg:
            given["mask"] = keras.ops.reshape(mask, (-1, *keras.ops.shape(mask)[2:]))
        each = layer.layer.call(keras.ops.reshape(inputs, (-1, *size)), **given)
        return keras.ops.reshape(each, (rows, steps, *keras.ops.shape(each)[1:]))

    for layer in model._flatten_layers():
        if type(layer).call is keras.layers.TimeDistributed.call and "call" not in vars(layer):
            layer.call = functools.partial(call, layer, layer.call)


def _make_larger(model) -> None:
    """Let an UpSampling2D of Keras 3 that interpolates take pictures of any size, here and in exports.

    It compares their size with 0, which a graph has no answer to before it is run.
    """
    import keras
    import tensorflow as tf

    def resized(as_ever, x, height, width, data_format, interpolation="nearest"):
        if interpolation == "nearest" or data_format == "channels_first" or None not in x.shape[1:3]:
            return as_ever(x, height, width, data_format, interpolation)
        return tf.image.resize(x, tf.shape(x)[1:3] * [height, width], interpolation)

    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.UpSampling2D) and "_resize_images" not in vars(layer):
            layer._resize_images = functools.partial(resized, layer._resize_images)


def flat_call(model, *tensors) -> list:
    """The outputs of a Keras model in the order of `model.outputs`, given a tensor for each of `model.inputs`."""
    import keras

    given = model.input if len(tensors) > 1 else None
    if isinstance(given, dict):  # its keys need not be the names of the tensors, and it may hold lists of them
        named = dict(zip((each.name for each in model.inputs), tensors, strict=True))
        given = keras.tree.map_structure(lambda each: named[each.name], given)
    else:
        given = tensors[0] if len(tensors) == 1 else list(tensors)
    return keras.tree.flatten(model(given, training=False))
