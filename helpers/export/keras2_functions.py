"""The functions of TensorFlow that a model of Keras 2 holds as layers, written in Keras 3.

`TENSORFLOW_FUNCTIONS` holds, by the name that a `TFOpLambda` layer has for it, each that can be converted; its
arguments are called what TensorFlow calls them. Importing the module registers `TensorFlowFunction`, as
`keras2_stand_ins` does its layers.
"""

from __future__ import annotations

import functools
import math

import keras
from keras import ops

from helpers.export.errors import NoConversionError, first_line
from helpers.export.keras2_calls import ELLIPSIS
from helpers.export.keras2_stand_ins import register


@register
class TensorFlowFunction(keras.Operation):
    """One function of TensorFlow by its name, as Keras 2 recorded it in a `TFOpLambda` or `SlicingOpLambda` layer."""

    def __init__(self, function: str, name=None):
        super().__init__(name=name)
        self.function = function

    def call(self, *args, **kwargs):
        try:
            return TENSORFLOW_FUNCTIONS[self.function](*args, **kwargs)
        except (TypeError, ValueError) as error:
            raise NoConversionError(
                f"{self.name} calls tf.{self.function} in a way that has no conversion to Keras 3 ({first_line(error)})"
            ) from error

    def get_config(self):
        return {"function": self.function, "name": self.name}


def _renamed(op, *names: str):
    """`op` whose arguments after the first are called as TensorFlow calls them."""

    def call(first, /, *args, **kwargs):
        return op(first, *args, *(kwargs.pop(name) for name in names if name in kwargs), **kwargs)

    return call


def _reduction(op):
    return lambda x, axis=None, keepdims=False: op(x, axis=_axes(axis), keepdims=keepdims)


def _axes(axis):
    return tuple(axis) if isinstance(axis, list) else axis


def _matmul(
    a,
    b,
    transpose_a=False,
    transpose_b=False,
    adjoint_a=False,
    adjoint_b=False,
    a_is_sparse=False,
    b_is_sparse=False,
    output_type=None,
):
    transpose_a, transpose_b = transpose_a or adjoint_a, transpose_b or adjoint_b  # of real numbers the same
    return ops.matmul(ops.swapaxes(a, -1, -2) if transpose_a else a, ops.swapaxes(b, -1, -2) if transpose_b else b)


def _slice(x, slice_spec):
    if not isinstance(slice_spec, list):
        return x[slice_spec]
    return x[tuple(Ellipsis if part == ELLIPSIS else part for part in slice_spec)]


def _split(x, num_or_size_splits, axis=0):
    if isinstance(num_or_size_splits, int):
        return ops.split(x, num_or_size_splits, axis=axis)
    ends = [sum(num_or_size_splits[: i + 1]) for i in range(len(num_or_size_splits) - 1)]
    return ops.split(x, ends, axis=axis)


def _gather(x, indices, axis=0, batch_dims=0):
    if batch_dims:
        raise ValueError(f"batch_dims={batch_dims}")
    return ops.take(x, ops.convert_to_tensor(indices), axis=axis)


def _resize(x, size, method="bilinear", antialias=False):
    return ops.image.resize(x, tuple(size), interpolation=method, antialias=antialias)


def _transpose(x, perm=None, conjugate=False):
    return ops.transpose(x, perm)


def _pad(x, paddings, mode="CONSTANT", constant_values=0):
    value = constant_values if mode.upper() == "CONSTANT" else None
    return ops.pad(x, paddings, mode=mode.lower(), constant_values=value)


def _l2_normalize(x, axis=None, epsilon=1e-12):
    return x * ops.rsqrt(ops.maximum(ops.sum(ops.square(x), axis=_axes(axis), keepdims=True), epsilon))


def _norm(tensor, ord="euclidean", axis=None, keepdims=None, keep_dims=None):
    over = {"axis": _axes(axis), "keepdims": bool(keepdims or keep_dims)}
    if ord == 1:
        return ops.sum(ops.absolute(tensor), **over)
    if ord not in ("euclidean", 2):
        raise ValueError(f"ord={ord!r}")
    return ops.sqrt(ops.sum(ops.square(tensor), **over))


def _part(input_, begin, size):
    ends = [None if length == -1 else first + length for first, length in zip(begin, size, strict=True)]
    return input_[tuple(slice(first, end) for first, end in zip(begin, ends, strict=True))]


def _argsort(values, axis=-1, direction="ASCENDING", stable=False):
    return ops.cast(ops.argsort(-values if direction == "DESCENDING" else values, axis=axis), "int32")


def _cumulative(op, before):
    """`before`: takes a value out of what has gathered up to it, for what is exclusive."""

    def call(x, axis=0, exclusive=False, reverse=False):
        x = ops.flip(x, axis) if reverse else x
        gathered = before(op(x, axis=axis), x) if exclusive else op(x, axis=axis)
        return ops.flip(gathered, axis) if reverse else gathered

    return call


def _not_exclusive(gathered, x):
    raise ValueError("exclusive=True")


def _sort(values, axis=-1, direction="ASCENDING"):
    ordered = ops.sort(values, axis=axis)
    return ops.flip(ordered, axis) if direction == "DESCENDING" else ordered


def _one_hot(indices, depth, on_value=1, off_value=0, axis=-1, dtype="float32"):
    return ops.one_hot(indices, depth, axis=axis, dtype=dtype) * (on_value - off_value) + off_value


def _where(condition, x=None, y=None):
    if x is None or y is None:
        raise ValueError("without what to choose from")
    return ops.where(condition, x, y)


def _concatenate(values, axis):
    return ops.concatenate([value for value in values if not isinstance(value, list) or value], axis=axis)


def _strided_slice(x, begin, end, strides=None):
    strides = strides or [1] * len(begin)
    return x[tuple(slice(*each) for each in zip(begin, end, strides, strict=True))]


def _tile(x, multiples):
    if isinstance(multiples, list | tuple):
        return ops.tile(x, multiples)
    import tensorflow as tf

    return tf.tile(x, multiples)  # Keras takes no tensor here, as `keras.backend.switch` makes one


def _boolean_mask(tensor, mask, axis=0):
    if not isinstance(mask, list) or any(isinstance(part, list) for part in mask):
        raise ValueError("a mask that is a tensor")
    return ops.take(tensor, ops.convert_to_tensor([i for i, kept in enumerate(mask) if kept]), axis=axis or 0)


def _band_part(x, num_lower, num_upper):
    x = ops.triu(x, -num_lower) if num_lower >= 0 else x
    return ops.tril(x, num_upper) if num_upper >= 0 else x


def _clip_by_norm(t, clip_norm, axes=None):
    return t * clip_norm / ops.maximum(_norm(t, axis=axes, keepdims=True), clip_norm)


def _embedding_lookup(params, ids, partition_strategy=None, max_norm=None):
    if max_norm is not None:
        raise ValueError(f"max_norm={max_norm!r}")
    return ops.take(ops.convert_to_tensor(params), ids, axis=0)


def _sequence_mask(lengths, maxlen=None, dtype="bool"):
    if maxlen is None:
        raise ValueError("without maxlen")
    return ops.cast(ops.arange(maxlen) < ops.expand_dims(lengths, -1), dtype)


def _x_times(op):
    """x op(y), and 0 where x is 0."""

    def call(x, y):
        none = ops.equal(x, 0)
        return ops.where(none, ops.zeros_like(x), x * op(ops.where(none, ops.ones_like(y), y)))

    return call


def _check_layout(data_format, padding) -> None:
    """Refuse channels first, and a padding in numbers: neither has a conversion."""
    if data_format not in (None, "NWC", "NHWC", "NDHWC") or not isinstance(padding, str):
        raise ValueError("channels first or a padding of its own")


def _convolution(op):
    def call(
        x,
        filter=None,
        strides=1,
        padding="VALID",
        filters=None,
        stride=None,
        data_format=None,
        dilation_rate=None,
        dilations=None,
        rate=None,
        use_cudnn_on_gpu=True,
    ):
        _check_layout(data_format, padding)
        kernel = ops.convert_to_tensor(filter if filters is None else filters, dtype="float32")
        places = len(x.shape) - 2
        steps = _window(strides if stride is None else stride, places)
        gaps = _window(dilation_rate or dilations or rate or 1, places)
        return op(x, kernel, strides=steps, padding=padding.lower(), data_format="channels_last", dilation_rate=gaps)

    return call


def _extract_patches(images, sizes, strides, rates, padding):
    size, steps, gaps = (_window(each) for each in (sizes, strides, rates))
    return ops.image.extract_patches(images, size, strides=steps, dilation_rate=gaps, padding=padding.lower())


def _standardized(image):
    over = {"axis": (-3, -2, -1), "keepdims": True}
    image = ops.cast(image, "float32")
    least = 1.0 / math.prod(image.shape[-3:]) ** 0.5
    return (image - ops.mean(image, **over)) / ops.maximum(ops.std(image, **over), least)


def _contrast(images, contrast_factor):
    mean = ops.mean(images, axis=(-3, -2), keepdims=True)
    return (images - mean) * contrast_factor + mean


def _image_of_dtype(image, dtype, saturate=False):
    whole, real = (keras.backend.is_int_dtype(keras.backend.standardize_dtype(each)) for each in (image.dtype, dtype))
    if real:
        raise ValueError(f"dtype={dtype!r}")
    scale = 1.0 / {"uint8": 255, "uint16": 65535}[image.dtype.name] if whole else 1.0
    return ops.cast(image, dtype) * scale


def _central_crop(image, central_fraction):
    starts = [int((size - size * central_fraction) / 2) for size in image.shape[-3:-1]]
    rows, columns = (slice(at, size - at) for at, size in zip(starts, image.shape[-3:-1], strict=True))
    return image[..., rows, columns, :]


def _crop(image, offset_height, offset_width, target_height, target_width):
    rows = slice(offset_height, offset_height + target_height)
    return image[..., rows, slice(offset_width, offset_width + target_width), :]


def _pooling(op):
    def call(x, ksize, strides, padding, data_format=None):
        _check_layout(data_format, padding)
        size, steps = (_window(each, len(x.shape) - 2) for each in (ksize, strides))
        return op(x, size, strides=steps, padding=padding.lower(), data_format="channels_last")

    return call


def _window(size, places: int = 2) -> tuple[int, ...]:
    """The size at each place of a picture, of one for all or one for each, those of rows and channels beside or not."""
    size = list(size) if isinstance(size, list | tuple) else [size]
    return tuple(size * places if len(size) == 1 else size[1:-1] if len(size) == places + 2 else size)


def _grey(images):
    # TensorFlow's weights of red, green and blue
    return ops.sum(images * ops.cast([0.2989, 0.5870, 0.1140], images.dtype), axis=-1, keepdims=True)


def _add_all(inputs):
    return functools.reduce(ops.add, inputs)


TENSORFLOW_FUNCTIONS = {
    "math.abs": ops.absolute,
    "math.acos": ops.arccos,
    "math.asin": ops.arcsin,
    "math.atan": ops.arctan,
    "math.rint": ops.round,
    "math.erfc": ops.erfc,
    "math.atanh": ops.arctanh,
    "math.asinh": ops.arcsinh,
    "math.acosh": ops.arccosh,
    "math.ceil": ops.ceil,
    "math.cos": ops.cos,
    "math.cosh": ops.cosh,
    "math.erf": ops.erf,
    "math.exp": ops.exp,
    "math.expm1": ops.expm1,
    "math.floor": ops.floor,
    "math.log": ops.log,
    "math.is_finite": ops.isfinite,
    "math.is_inf": ops.isinf,
    "math.is_nan": ops.isnan,
    "math.log1p": ops.log1p,
    "math.log_sigmoid": ops.log_sigmoid,
    "math.logical_not": ops.logical_not,
    "math.negative": ops.negative,
    "math.reciprocal": ops.reciprocal,
    "math.round": ops.round,
    "math.rsqrt": ops.rsqrt,
    "math.sigmoid": ops.sigmoid,
    "math.sign": ops.sign,
    "math.sin": ops.sin,
    "math.sinh": ops.sinh,
    "math.softplus": ops.softplus,
    "math.sqrt": ops.sqrt,
    "math.square": ops.square,
    "math.tan": ops.tan,
    "math.tanh": ops.tanh,
    "linalg.det": ops.det,
    "nn.elu": ops.elu,
    "nn.relu": ops.relu,
    "nn.relu6": ops.relu6,
    "nn.selu": ops.selu,
    "nn.softsign": ops.softsign,
    "identity": ops.copy,
    "ones_like": ops.ones_like,
    "zeros_like": ops.zeros_like,
    "stop_gradient": ops.stop_gradient,
    **{
        name: _renamed(op, "y")
        for name, op in {
            "__operators__.add": ops.add,
            "math.add": ops.add,
            "math.subtract": ops.subtract,
            "math.multiply": ops.multiply,
            "math.divide": ops.true_divide,
            "math.truediv": ops.true_divide,
            "compat.v1.floor_div": ops.floor_divide,
            "math.floordiv": ops.floor_divide,
            "math.floormod": ops.mod,
            "math.pow": ops.power,
            "math.maximum": ops.maximum,
            "math.minimum": ops.minimum,
            "math.squared_difference": lambda x, y: ops.square(ops.subtract(x, y)),
            "math.divide_no_nan": ops.divide_no_nan,
            "math.greater": ops.greater,
            "math.greater_equal": ops.greater_equal,
            "math.less": ops.less,
            "math.less_equal": ops.less_equal,
            "math.equal": ops.equal,
            "math.not_equal": ops.not_equal,
            "math.logical_and": ops.logical_and,
            "math.logical_or": ops.logical_or,
            "math.multiply_no_nan": lambda x, y: ops.where(ops.equal(y, 0), ops.zeros_like(x), x * y),
            "math.xdivy": _x_times(ops.reciprocal),
            "math.xlogy": _x_times(ops.log),
        }.items()
    },
    **{
        name: _reduction(op)
        for name, op in {
            "math.reduce_mean": ops.mean,
            "math.reduce_sum": ops.sum,
            "math.reduce_max": ops.max,
            "math.reduce_min": ops.min,
            "math.reduce_prod": ops.prod,
            "math.reduce_variance": ops.var,
            "math.reduce_std": ops.std,
            "math.reduce_any": ops.any,
            "math.reduce_all": ops.all,
            "math.reduce_logsumexp": ops.logsumexp,
            "math.reduce_euclidean_norm": lambda x, **over: ops.sqrt(ops.sum(ops.square(x), **over)),
        }.items()
    },
    "nn.softmax": lambda x, axis=-1: ops.softmax(x, axis=axis),
    "nn.log_softmax": lambda x, axis=-1: ops.log_softmax(x, axis=axis),
    "nn.leaky_relu": lambda x, alpha=0.2: ops.leaky_relu(x, negative_slope=alpha),
    "nn.gelu": lambda x, approximate=False: ops.gelu(x, approximate=approximate),
    "nn.silu": lambda x, beta=1.0: x * ops.sigmoid(beta * x),
    "nn.bias_add": lambda x, bias, data_format=None: ops.add(x, bias),
    "math.l2_normalize": _l2_normalize,
    "math.accumulate_n": _add_all,
    "math.atan2": _renamed(ops.arctan2, "x"),
    "math.count_nonzero": lambda x, axis=None, keepdims=False: ops.cast(
        ops.sum(ops.cast(ops.not_equal(x, 0), "int32"), axis=_axes(axis), keepdims=keepdims), "int64"
    ),
    "math.cumprod": _cumulative(ops.cumprod, _not_exclusive),
    "math.cumsum": _cumulative(ops.cumsum, ops.subtract),
    "math.top_k": lambda x, k=1, sorted=True: ops.top_k(x, k, sorted=sorted),
    "math.zero_fraction": lambda x: ops.mean(ops.cast(ops.equal(x, 0), "float32")),
    "compat.v1.math.scalar_mul": lambda scalar, x: scalar * x,
    "compat.v1.nn.crelu": lambda x, axis=-1: ops.concatenate([ops.relu(x), ops.relu(-x)], axis=axis),
    "compat.v1.nn.embedding_lookup": _embedding_lookup,
    "nn.embedding_lookup": _embedding_lookup,
    "clip_by_norm": _clip_by_norm,
    "debugging.check_numerics": lambda tensor, message: ops.copy(tensor),
    "dtypes.saturate_cast": ops.saturate_cast,
    "linalg.band_part": _band_part,
    "linalg.cross": _renamed(ops.cross, "b"),
    "linalg.diag": lambda diagonal: ops.expand_dims(diagonal, -1) * ops.eye(diagonal.shape[-1]),
    "linalg.diag_part": lambda x: ops.diagonal(x, axis1=-2, axis2=-1),
    "linalg.inv": lambda x, adjoint=False: ops.inv(ops.swapaxes(x, -1, -2) if adjoint else x),
    "linalg.matrix_transpose": lambda a: ops.swapaxes(a, -1, -2),
    "linalg.trace": lambda x: ops.trace(x, axis1=-2, axis2=-1),
    "tensordot": lambda a, b, axes: ops.tensordot(a, ops.convert_to_tensor(b), axes),
    "math.argmax": lambda x, axis=0, output_type="int64": ops.cast(ops.argmax(x, axis=axis), output_type),
    "math.argmin": lambda x, axis=0, output_type="int64": ops.cast(ops.argmin(x, axis=axis), output_type),
    "math.add_n": _add_all,
    "linalg.matmul": _matmul,
    **dict.fromkeys(
        ("compat.v1.nn.conv1d", "compat.v1.nn.conv2d", "compat.v1.nn.convolution", "nn.conv1d", "nn.conv2d"),
        _convolution(ops.conv),
    ),
    **dict.fromkeys(("compat.v1.nn.depthwise_conv2d", "nn.depthwise_conv2d"), _convolution(ops.depthwise_conv)),
    "nn.depth_to_space": _renamed(ops.depth_to_space, "block_size"),
    "nn.space_to_depth": _renamed(ops.space_to_depth, "block_size"),
    "clip_by_value": _renamed(ops.clip, "clip_value_min", "clip_value_max"),
    "cast": ops.cast,
    "compat.v1.shape": lambda x, out_type="int32": ops.cast(ops.stack(ops.shape(x)), out_type),
    "reshape": _renamed(ops.reshape, "shape"),
    "broadcast_to": ops.broadcast_to,
    "expand_dims": lambda x, axis: ops.expand_dims(x, _axes(axis)),
    "compat.v1.squeeze": lambda x, axis=None: ops.squeeze(x, _axes(axis)),
    "compat.v1.transpose": _transpose,
    "transpose": _transpose,
    "concat": _concatenate,
    "convert_to_tensor": lambda x, dtype=None: ops.copy(x) if dtype is None else ops.cast(x, dtype),
    "ensure_shape": lambda x, shape: ops.copy(x),
    "fill": lambda dims, value: ops.full(tuple(dims), value),
    "keras.backend.batch_flatten": lambda x: ops.reshape(x, (-1, math.prod(x.shape[1:]))),
    "range": lambda start, limit=None, delta=1, dtype="int32": ops.arange(start, limit, delta, dtype=dtype),
    "sequence_mask": _sequence_mask,
    "strided_slice": _strided_slice,
    "compat.v1.boolean_mask": _boolean_mask,
    "compat.v1.size": lambda x, out_type="int32": ops.cast(ops.prod(ops.stack(ops.shape(x))), out_type),
    "stack": lambda x, axis=0: ops.stack(x, axis=axis),
    "unstack": lambda x, axis=0: ops.unstack(x, axis=axis),
    "split": _split,
    "tile": _tile,
    "compat.v1.pad": _pad,
    "pad": _pad,
    "compat.v1.gather": _gather,
    "gather": _gather,
    "where": _where,
    "argsort": _argsort,
    "slice": _part,
    "norm": _norm,
    "compat.v1.norm": _norm,
    "ones": lambda shape, dtype="float32": ops.ones(tuple(shape), dtype=dtype),
    "zeros": lambda shape, dtype="float32": ops.zeros(tuple(shape), dtype=dtype),
    "repeat": lambda x, repeats, axis=None: ops.repeat(x, repeats, axis=axis),
    "reverse": lambda tensor, axis: ops.flip(tensor, axis=_axes(axis)),
    "roll": lambda x, shift, axis: ops.roll(x, _axes(shift), axis=_axes(axis)),
    **dict.fromkeys(
        ("nn.avg_pool", "nn.avg_pool1d", "nn.avg_pool2d", "compat.v1.nn.avg_pool"), _pooling(ops.average_pool)
    ),
    **dict.fromkeys(("nn.max_pool", "nn.max_pool1d", "nn.max_pool2d", "compat.v1.nn.max_pool"), _pooling(ops.max_pool)),
    "image.adjust_brightness": lambda image, delta: image + delta,
    "image.adjust_contrast": _contrast,
    "image.central_crop": _central_crop,
    "image.convert_image_dtype": _image_of_dtype,
    "image.crop_to_bounding_box": _crop,
    "image.extract_patches": _extract_patches,
    "image.flip_left_right": lambda image: ops.flip(image, axis=-2),
    "image.flip_up_down": lambda image: ops.flip(image, axis=-3),
    "image.grayscale_to_rgb": lambda images: ops.repeat(images, 3, axis=-1),
    "image.hsv_to_rgb": ops.image.hsv_to_rgb,
    "image.per_image_standardization": _standardized,
    "image.rgb_to_hsv": ops.image.rgb_to_hsv,
    "image.rot90": lambda image, k=1: ops.rot90(image, k, axes=(-3, -2)),
    "image.transpose": lambda image: ops.swapaxes(image, -3, -2),
    "image.rgb_to_grayscale": _grey,
    "one_hot": _one_hot,
    "sort": _sort,
    "image.resize": _resize,
    "__operators__.getitem": _slice,
}
