"""What Keras 2 could and Keras 3 cannot, written in Keras 3: stand-ins for layers and for one function.

Importing the module registers them under the package name `keras2`, so that a model which holds one can be saved, and
`load_keras` reads it again.
"""

from __future__ import annotations

import functools
import math

import keras
from keras import ops

from helpers.export.keras2_layers import WITH_STATES

register = keras.saving.register_keras_serializable("keras2")


@register
def hard_sigmoid(x):
    """Keras 2's: 0.2 x + 0.5, cut to 0 and 1. Keras 3's has the slope 1/6."""
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


class _Around(keras.layers.Layer):
    """A layer around another: `layer` is that layer or its config, the weights are its own."""

    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        self.layer = keras.saving.deserialize_keras_object(layer) if isinstance(layer, dict) else layer

    def get_config(self):
        return {**super().get_config(), "layer": keras.saving.serialize_keras_object(self.layer)}


@register
class TimeMajor(_Around):
    """A recurrent layer over (time, batch, ...), which Keras 2 called `time_major=True`; so is its mask.

    Keras 3 calls the mask of one of several tensors by the name of the argument.
    """

    def call(self, sequence, initial_state=None, mask=None, sequence_mask=None):
        mask = sequence_mask if mask is None else mask
        states = {} if initial_state is None else {"initial_state": initial_state}
        given = None if mask is None else _swap_first_two(mask)
        answer = self.layer(_swap_first_two(sequence), mask=given, **states)
        if not self._returns_sequences():
            return answer
        if isinstance(answer, list | tuple):
            return [_swap_first_two(part) if len(part.shape) == len(sequence.shape) else part for part in answer]
        return _swap_first_two(answer)

    def compute_mask(self, inputs, previous_mask):
        return previous_mask if self._returns_sequences() else None

    def _returns_sequences(self) -> bool:
        inner = getattr(self.layer, "forward_layer", self.layer)  # of a Bidirectional, whose halves are alike
        return inner.return_sequences


def _swap_first_two(x):
    return ops.transpose(x, (1, 0, *range(2, len(x.shape))))


@register
class FixedMode(_Around):
    """A layer called with `training=True` or `training=False`: in Keras 2 that held whatever the model was doing."""

    def __init__(self, layer, fixed: bool, **kwargs):
        super().__init__(layer, **kwargs)
        self.fixed = fixed

    def call(self, *args, training=None, **kwargs):
        return self.layer(*args, training=self.fixed, **kwargs)

    def get_config(self):
        return {**super().get_config(), "fixed": self.fixed}


@register
class RandomCrop(keras.layers.RandomCrop):
    """Keras 2's: outside of training the picture is resized to the size of the crop; in Keras 3 it stays as it is."""

    def __init__(self, height, width, **kwargs):
        super().__init__(height, width, **kwargs)
        self.resizing = keras.layers.Resizing(height, width, crop_to_aspect_ratio=True)

    def transform_images(self, images, transformation, training=True):
        return super().transform_images(images, transformation, training) if training else self.resizing(images)


@register
class TextVectorization(keras.layers.TextVectorization):
    """One that counts words, with the shape of what it returns: Keras 3 tells (rows, 1, words)."""

    def compute_output_shape(self, input_shape):
        return (input_shape[0], super().compute_output_shape(input_shape)[-1])


@register
class JoinedMask(keras.Operation):
    """Which steps of joined sequences count, as in Keras 2. A mask is (batch, steps), or None where every step counts.

    axis: None for layers that join value by value: a step counts where it counts in every sequence; Keras 3 asks for
    any, and for none where one sequence has no mask. Else that of a Concatenate, whose own operations Keras 3 gives
    the names of its layers.
    """

    def __init__(self, axis=None, name=None):
        super().__init__(name=name)
        self.axis = axis

    def call(self, inputs, masks):
        if self.axis is None:
            return functools.reduce(ops.logical_and, [mask for mask in masks if mask is not None])
        shaped = [_as_wide(mask, x) for mask, x in zip(masks, inputs, strict=True)]
        return ops.all(ops.concatenate(shaped, axis=self.axis), axis=-1)

    def get_config(self):
        return {"axis": self.axis, "name": self.name}


def _as_wide(mask, x):
    if mask is None:
        return ops.ones_like(x, dtype="bool")
    return ops.expand_dims(mask, -1) if len(mask.shape) < len(x.shape) else mask


class _JoinsMasks:
    """A layer that joins sequences, whose masks are joined as in Keras 2."""

    def compute_mask(self, inputs, mask=None):
        if mask is None or all(one is None for one in mask):
            return None
        axis = self.axis if isinstance(self, keras.layers.Concatenate) else None
        return JoinedMask(axis, name=f"{self.name}_mask")(inputs, mask)


class _JoinsAllValues(_JoinsMasks):
    """One that joins values by `join`, those of steps that do not count like any other: Keras 3 leaves them out."""

    def _merge_function(self, inputs):
        return functools.reduce(self.join, inputs)


@register
class Maximum(_JoinsAllValues, keras.layers.Maximum):
    join = staticmethod(ops.maximum)


@register
class Minimum(_JoinsAllValues, keras.layers.Minimum):
    join = staticmethod(ops.minimum)


@register
class Multiply(_JoinsAllValues, keras.layers.Multiply):
    join = staticmethod(ops.multiply)


@register
class TimeDistributed(keras.layers.TimeDistributed):
    """Keras 3's, which goes by the masks that are made inside of it, and hands them on, as in Keras 2.

    Those of a step are (batch, steps, ...); where the layer inside has no steps left, a step counts if any of it did.
    """

    def call(self, inputs, training=None, mask=None):
        steps = ops.shape(inputs)[1]
        each = ops.reshape(inputs, (-1, *ops.shape(inputs)[2:]))
        if mask is not None:
            each._keras_mask = ops.reshape(mask, (-1, *ops.shape(mask)[2:]))
        each = self.layer(each)
        inner = getattr(each, "_keras_mask", None)
        outputs = ops.reshape(each, (-1, steps, *ops.shape(each)[1:]))
        if inner is not None:
            outputs._keras_mask = ops.reshape(inner, (-1, steps, *ops.shape(inner)[1:]))
        return outputs

    def compute_mask(self, inputs, mask=None):
        """What is handed on where the layer inside hands on nothing."""
        return mask if mask is None or len(mask.shape) == 2 else AnyOfStep(name=f"{self.name}_mask")(mask)


@register
class AnyOfStep(keras.Operation):
    """Which steps count, (batch, steps), of a mask of what is in each step, (batch, steps, ...)."""

    def call(self, mask):
        return ops.any(mask, axis=tuple(range(2, len(mask.shape))))

    def get_config(self):
        return {"name": self.name}


class _DropsMask:
    """A layer after which every step counts, as in Keras 2; the tensor is another, as a mask goes with a tensor."""

    def call(self, x):
        return ops.copy(super().call(x))

    def compute_mask(self, inputs, previous_mask=None):
        return None


class _StatesAndMask:
    """A recurrent layer that starts with states given to it, and goes by the mask of its sequence as in Keras 2.

    Keras 3 calls the mask of one of several tensors by the name of the argument.
    """

    def call(self, sequences, initial_state=None, mask=None, training=False, sequences_mask=None):
        mask = sequences_mask if mask is None else mask
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)


for mixin, kinds in {
    _JoinsMasks: ("Add", "Average", "Concatenate", "Subtract"),
    _DropsMask: ("Identity", "Normalization", "Rescaling"),
    _StatesAndMask: WITH_STATES,
}.items():
    for kind in kinds:  # Keras 3's, that does as Keras 2 in what the mixin says
        register(type(kind, (mixin, getattr(keras.layers, kind)), {}))


@register
class Resizing(keras.layers.Resizing):
    """Keras 2's: whole numbers become real ones, which Keras 3 rounds again."""

    def call(self, images, *args, **kwargs):
        return super().call(ops.cast(images, self.compute_dtype), *args, **kwargs)

    def compute_output_spec(self, images, *args, **kwargs):
        return keras.KerasTensor(self.compute_output_shape(images.shape), self.compute_dtype)


class _LocallyConnected(keras.layers.Layer):
    """A convolution whose kernel is another at every place of the output.

    In: (batch, steps, channels) or (batch, rows, columns, channels). Its kernel is that of Keras 2's implementation 1:
    (places, values in the window, filters).
    """

    def __init__(
        self,
        filters,
        kernel_size,
        strides,
        activation=None,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        kernel_constraint=None,
        bias_constraint=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.strides = filters, tuple(kernel_size), tuple(strides)
        self.activation, self.use_bias = keras.activations.get(activation), use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)

    def _places(self, shape) -> tuple[int, ...]:
        sizes = zip(shape[1:-1], self.kernel_size, self.strides, strict=True)
        return tuple((size - window) // stride + 1 for size, window, stride in sizes)

    def build(self, shape):
        places, window = self._places(shape), shape[-1] * math.prod(self.kernel_size)
        self.kernel = self.add_weight(
            shape=(math.prod(places), window, self.filters),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
        )
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(*places, self.filters),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )

    def call(self, x):
        places = self._places(x.shape)
        picture = x if len(places) == 2 else ops.expand_dims(x, 2)
        size, strides = (*self.kernel_size, 1)[:2], (*self.strides, 1)[:2]
        windows = ops.image.extract_patches(picture, size, strides=strides, padding="valid")
        windows = ops.reshape(windows, (-1, math.prod(places), self.kernel.shape[1]))
        answer = ops.reshape(ops.einsum("bpw,pwf->bpf", windows, self.kernel), (-1, *places, self.filters))
        return self.activation(answer + self.bias if self.use_bias else answer)

    def compute_output_shape(self, shape):
        return (shape[0], *self._places(shape), self.filters)

    def get_config(self):
        plain = {key: getattr(self, key) for key in ("filters", "kernel_size", "strides", "use_bias")}
        objects = {"activation": keras.activations.serialize(self.activation)}
        for weight in ("kernel", "bias"):
            for what in ("initializer", "regularizer", "constraint"):
                name = f"{weight}_{what}"
                objects[name] = keras.saving.serialize_keras_object(getattr(self, name))
        return {**super().get_config(), **plain, **objects}


@register
class LocallyConnected1D(_LocallyConnected):
    """(batch, steps, channels) to (batch, places, filters)."""


@register
class LocallyConnected2D(_LocallyConnected):
    """(batch, rows, columns, channels) to (batch, rows, columns, filters)."""
