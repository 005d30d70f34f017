"""A network taken apart into plain steps: what the formats are written from that know arithmetic and no layers.

A Keras model comes in, a chain of steps goes out, each with its arrays: "dense" (kernel, bias), "standardize" (mean,
spread), "affine" (scale, offset), "leaky_relu" with its slope, and the other activations by their names.
"""

from __future__ import annotations

import numpy as np

# Activations that are steps by their Keras names.
ACTIVATIONS = "linear relu relu6 leaky_relu elu selu softplus softsign silu tanh sigmoid exponential softmax".split()
# Layers that do something while training only, or nothing at all to a matrix.
PASS_THROUGH = (
    "InputLayer Dropout GaussianDropout AlphaDropout GaussianNoise ActivityRegularization Identity Flatten".split()
)


def steps_of(model) -> list[tuple[dict, dict[str, np.ndarray]]]:
    """The steps of a model in order, each as `{"do": name, ...}` with its arrays.

    Knows straight chains of Dense, Normalization, BatchNormalization, Rescaling and the usual activations. Raises
    ValueError that names any other layer.
    """
    import keras

    if not isinstance(model, keras.Sequential) and type(model).__name__ != "Functional":
        raise ValueError(f"this format knows no models of a class of their own ({type(model).__name__})")
    # One input and one output make a straight chain, unless a layer joins branches, which `_steps` does not know.
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        ends = f"{len(model.inputs)} input(s) and {len(model.outputs)} outputs"
        raise ValueError(f"this format has one input and one output, the model {ends}")
    return [step for layer in layers_of(model) for step in _steps(layer)]


def layers_of(model) -> list:
    """The layers of a model in order, models inside it unfolded."""
    import keras

    nested = [layers_of(layer) if isinstance(layer, keras.Model) else [layer] for layer in model.layers]
    return [layer for layers in nested for layer in layers]


def spread_of(layer) -> np.ndarray:
    """What a Normalization layer divides by: the standard deviation, but no less than Keras's epsilon."""
    return np.maximum(np.sqrt(np.asarray(layer.variance)), np.float32(1e-7))


def _steps(layer) -> list[tuple[dict, dict]]:
    """A layer as steps, each with its weights; ValueError for a layer that it does not know."""
    kind = type(layer).__name__ if type(layer).__module__.startswith("keras.") else "of your own"
    if kind in PASS_THROUGH:
        return []
    if kind == "Dense":
        kernel = layer.get_weights()[0]
        bias = layer.get_weights()[1] if layer.use_bias else np.zeros(kernel.shape[1])
        return [({"do": "dense"}, {"kernel": kernel, "bias": bias}), *_activation(layer, layer.activation)]
    if kind == "Activation":
        return _activation(layer, layer.activation)
    if kind == "Normalization" and not layer.invert:
        return [({"do": "standardize"}, {"mean": np.asarray(layer.mean), "spread": spread_of(layer)})]
    if kind == "BatchNormalization" and layer.axis in (-1, 1):
        spread = np.sqrt(np.asarray(layer.moving_variance) + layer.epsilon)
        gamma = np.asarray(layer.gamma) if layer.scale else np.ones_like(spread)
        beta = np.asarray(layer.beta) if layer.center else np.zeros_like(spread)
        scale = gamma / spread
        return [({"do": "affine"}, {"scale": scale, "offset": beta - np.asarray(layer.moving_mean) * scale})]
    if kind == "Rescaling":
        return [({"do": "affine"}, {"scale": layer.scale, "offset": layer.offset})]
    if kind == "LeakyReLU":
        return [({"do": "leaky_relu", "slope": float(layer.negative_slope)}, {})]
    if kind == "ReLU" and layer.max_value is None and not layer.negative_slope and not layer.threshold:
        return [({"do": "relu"}, {})]
    if kind == "Softmax" and layer.axis in (-1, 1):
        return [({"do": "softmax"}, {})]
    raise ValueError(f"this format does not know the layer {layer.name} ({type(layer).__name__})")


def _activation(layer, function) -> list[tuple[dict, dict]]:
    import keras

    name = getattr(function, "__name__", type(function).__name__)
    if name not in ACTIVATIONS or function is not keras.activations.get(name):
        raise ValueError(f"this format does not know the activation {name} of the layer {layer.name}")
    return [] if name == "linear" else [({"do": name}, {})]
