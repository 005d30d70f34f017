"""How a model was compiled: optimizer, loss and metrics from what a Keras file says of them."""

from __future__ import annotations

import inspect

from helpers.export.errors import ArtifactError, first_line
from helpers.export.keras_tree import arguments_of

# Metrics that Keras works out from the model's output: names that are no functions of the reader's.
PLAIN_METRICS = {"accuracy", "acc", "crossentropy", "ce"}
# Losses, which are metrics, too, by the names that Keras 2 knew them by.
RENAMED = {
    "cosine": "cosine_similarity",
    "cosine_proximity": "cosine_similarity",
    "huber_loss": "huber",
    "kullback_leibler_divergence": "kl_divergence",
    "logcosh": "log_cosh",
}


def compile_arguments(training: dict, custom: dict, notes: list[str], outputs: list[str]) -> dict | None:
    """What `model.compile` takes, from what was saved; None where optimizer or loss are not to be had.

    outputs: the names of a Keras 2 model's outputs where it has several, whose metrics Keras 2 wrote in its own way.
    """
    try:
        optimizer = _optimizer(training.get("optimizer_config") or training.get("optimizer"), custom, notes)
        loss = _losses(training.get("loss"), custom, notes)
    except Exception as error:
        reason = first_line(error)
        notes.append(f"the model is not compiled, because {reason}; pass your own in custom_objects, or compile it")
        return None
    several = outputs if len(outputs) > 1 else []
    return {
        "optimizer": optimizer,
        "loss": loss,
        "loss_weights": training.get("loss_weights"),
        "metrics": _metrics(training.get("metrics"), several, custom, notes),
        "weighted_metrics": _metrics(training.get("weighted_metrics"), several, custom, notes),
    }


def _optimizer(saved, custom: dict, notes: list[str]):
    import keras

    if isinstance(saved, str):
        return keras.optimizers.get(saved)
    name, config = saved["class_name"].rpartition(">")[2], dict(saved["config"])
    if name.startswith("LossScaleOptimizer"):
        notes.append("the optimizer of mixed precision is the one inside of it today: compile puts the other around it")
        return _optimizer(config.get("inner_optimizer") or config["optimizer"], custom, notes)
    kind = custom.get(name) or getattr(keras.optimizers, name, None)
    if kind is None:
        raise ArtifactError(f"its optimizer {name} is not in Keras {keras.__version__}")
    if "lr" in config:
        config["learning_rate"] = config.pop("lr")
        notes.append("the optimizer's 'lr' is called 'learning_rate' today")
    if isinstance(config.get("learning_rate"), dict):
        schedule = config["learning_rate"]
        given = {key: value for key, value in schedule["config"].items() if value is not None}
        config["learning_rate"] = keras.optimizers.schedules.deserialize({**schedule, "config": given})
    decay = config.pop("decay", 0)
    if decay:
        rate = config["learning_rate"]
        config["learning_rate"] = keras.optimizers.schedules.InverseTimeDecay(rate, decay_steps=1, decay_rate=decay)
        notes.append(f"the optimizer's decay {decay:g} became a learning-rate schedule with the same values")
    known = arguments_of(kind)
    return kind(**{key: value for key, value in config.items() if key in known and value is not None})


def _losses(saved, custom: dict, notes: list[str]):
    """One loss, or one for each output: a list, or a dictionary by the outputs' names."""
    if isinstance(saved, list):
        losses = [_losses(one, custom, notes) for one in saved]
        return losses[0] if len(losses) == 1 else losses
    if isinstance(saved, dict) and "class_name" not in saved:
        return {output: _losses(one, custom, notes) for output, one in saved.items()}
    return None if saved is None else _loss(saved, custom, notes)


def _loss(saved, custom: dict, notes: list[str]):
    import keras

    if isinstance(saved, str):
        return _loss_by_name(saved, custom, notes)
    if not isinstance(saved["config"], dict):  # {"class_name": "function", "config": "my_loss"}
        return _loss_by_name(saved["config"], custom, notes)
    name, config = saved["class_name"].rpartition(">")[2], dict(saved["config"])
    kind = custom.get(name) or getattr(keras.losses, name, None)
    if kind is None:
        return _loss_by_name(_name_of_function(config.get("fn", name)), custom, notes)
    if config.get("reduction") == "auto":
        config["reduction"] = "sum_over_batch_size"
    known = arguments_of(kind)
    return kind(**{key: value for key, value in config.items() if key in known and key != "fn"})


def _loss_by_name(name: str, custom: dict, notes: list[str]):
    import keras

    return custom.get(name) or keras.losses.get(_name_today(name, notes))


def _name_today(name: str, notes: list[str]) -> str:
    if name in RENAMED:
        notes.append(f"the loss '{name}' is called '{RENAMED[name]}' today")
    return RENAMED.get(name, name)


def _name_of_function(function):
    return function.get("config") if isinstance(function, dict) else function


def _metrics(saved, outputs: list[str], custom: dict, notes: list[str]):
    """Metrics for the one output, or, with the names of several, for each of them: a list, or a dictionary by name."""
    if isinstance(saved, dict) and "class_name" not in saved:
        return {output: _metrics_of(output, one, custom, notes) for output, one in saved.items()}
    if outputs:
        each = saved or []
        if each and not any(isinstance(one, list) for one in each):
            each = [each] * len(outputs)
            notes.append("one list of metrics was for every output: each output has all of them")
        return [_metrics_of(output, one, custom, notes) for output, one in zip(outputs, each, strict=False)]
    if any(isinstance(one, list) for one in saved or []) and len(saved) > 1:
        return [_metrics(one, [], custom, notes) for one in saved]
    found = [_metric(one, custom, notes) for one in _flat(saved)]
    return [metric for metric in found if metric is not None]


def _metrics_of(output: str, saved, custom: dict, notes: list[str]) -> list:
    """The metrics of one of several outputs."""
    return _metrics([_without_prefix(metric, output) for metric in _flat(saved)], [], custom, notes)


def _without_prefix(metric, output: str):
    """A metric's name without that of its output, which Keras puts before it again."""
    if not (isinstance(metric, dict) and isinstance(metric.get("config"), dict)):
        return metric
    config = metric["config"]
    return metric | {"config": config | {"name": str(config.get("name")).removeprefix(f"{output}_")}}


def _metric(saved, custom: dict, notes: list[str]):
    """The metric that was saved, a stand-in, or None where it is not to be had."""
    import keras

    config = saved.get("config") if isinstance(saved, dict) else saved
    if isinstance(config, dict) and saved["class_name"] != "MeanMetricWrapper":
        kind = custom.get(saved["class_name"].rpartition(">")[2]) or getattr(keras.metrics, saved["class_name"], None)
        if inspect.isclass(kind):
            known = arguments_of(kind)
            return kind(**{key: value for key, value in config.items() if key in known})
        function = saved["class_name"]
    else:
        function = config["fn"] if isinstance(config, dict) else config
    function = _name_of_function(function)
    if function in PLAIN_METRICS or function in custom:
        return custom.get(function, function)
    try:
        if isinstance(saved, str):
            if saved not in RENAMED:
                keras.metrics.get(saved)  # raises ValueError for a name that is not its own
                return saved
            _name_today(saved, notes)
        if function == "cosine_similarity":  # the metric; the loss of that name has the other sign
            return keras.metrics.CosineSimilarity(name=config["name"] if isinstance(config, dict) else function)
        then = RENAMED.get(function, function)
        own = getattr(keras.metrics, then, None) or getattr(keras.losses, then, None)
        if inspect.isfunction(own):
            return keras.metrics.MeanMetricWrapper(own, name=config["name"] if isinstance(config, dict) else function)
    except ValueError:
        pass
    advice = f"pass custom_objects={{'{function}': {function}}} to have your own"
    if str(function).lower() == "auc":
        notes.append(f"the metric '{function}' was a function, which no file holds: Keras's AUC stands in; {advice}")
        return keras.metrics.AUC(name=function)
    notes.append(f"the metric '{function}' was a function, which no file holds: it is left out; {advice}")
    return None


def named_only(training: dict, custom: dict) -> list[str]:
    """A sentence for each metric of an `.h5` that Keras takes for its own because a function had the same name."""
    import keras

    found = []
    for saved in _flat(training.get("metrics")):
        if not isinstance(saved, str) or saved in PLAIN_METRICS or saved in custom:
            continue
        try:
            metric = keras.metrics.get(saved)
        except ValueError:
            continue
        if isinstance(metric, keras.metrics.Metric):
            found.append(
                f"the metric '{saved}' is saved by name only: if it was a function of yours, Keras's "
                f"{type(metric).__name__} silently takes its place; pass custom_objects={{'{saved}': {saved}}}"
            )
    return found


def _flat(metrics) -> list:
    if isinstance(metrics, list):
        return [one for part in metrics for one in _flat(part)]
    if isinstance(metrics, dict) and "class_name" not in metrics:  # by the outputs' names
        return _flat(list(metrics.values()))
    return [] if metrics is None else [metrics]
