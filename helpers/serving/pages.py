"""What a service's pages show: a form with a model's fields, and what is known of the model that answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from flask import Response, render_template, request

from helpers.data.fields import usual_in_words
from helpers.data.input_kinds import is_one_value
from helpers.data.outputs import ONE_PROBABILITY
from helpers.export.card import measured
from helpers.serving.model_slot import ModelSlot

MOST_SUGGESTED = 500  # texts that a page proposes for a field
# Pages that may show ours in a frame: our own (behind Jupyter's proxy), a notebook on this machine, VS Code's.
_FRAMED_BY = "'self' http://localhost:* http://127.0.0.1:* https://localhost:* https://127.0.0.1:* vscode-webview:"
_POLICY = f"default-src 'self'; img-src 'self' data: blob:; frame-ancestors {_FRAMED_BY}"


def model_page(template: str, slot: ModelSlot, needs_key: bool) -> Response:
    signature = slot.current.signature
    example = signature.example()
    features = [
        {**asdict(feature), "ends": _ends(feature), "example": example[feature.name]} for feature in signature.features
    ]
    inputs = [
        {
            "name": name,
            "kind": each.kind,
            "shape": each.shape,
            "example": value,
            "ends": _ends(each) if is_one_value(each) else None,
            "usual": usual_in_words(each.usual) if getattr(each, "usual", None) else "",
            "values": each.values,
            "known": (each.known or ())[:MOST_SUGGESTED],
        }
        for each, (name, value) in zip(signature.inputs, example.items(), strict=False)
    ]
    outputs = [{"name": output.name, "kind": output.kind} for output in signature.outputs]
    content = {"features": features, "inputs": inputs, "outputs": outputs, "needs_key": needs_key}
    return page_response(
        render_template(template, content=content, is_part=bool(request.script_root), **facts_of(slot))
    )


def _ends(which) -> tuple[float, float] | None:
    """Where the slider of a number ends; None where nobody knows."""
    usual, low = getattr(which, "usual", None), getattr(which, "low", None)
    return usual or (None if low is None or getattr(which, "is_unbounded", False) else (low, which.high))


def facts_of(slot: ModelSlot) -> dict[str, str]:
    """What a page says of the model that answers."""
    signature = slot.current.signature
    return {
        "what": "Probability" if signature.outputs == ONE_PROBABILITY else "Prediction",
        "outcome": signature.outcome,
        "version": slot.version,
        "measured": _measured(slot.current),
        "drift": str(slot.watch.report()) if slot.watch else "",
    }


def page_response(page: str) -> Response:
    """A page, whose browser refuses whatever it would load from another host."""
    response = Response(page)
    response.headers["Content-Security-Policy"] = _POLICY
    return response


def _measured(model: Callable) -> str:
    """How good the model was, and on which data, in words; "" where nothing was measured."""
    metrics = measured(getattr(model, "card", {}))
    if not {"test_auc", "test_auc_interval", "rows", "test_rows"} <= set(metrics):
        return ""
    low, high = metrics["test_auc_interval"]
    return (
        f"test AUC {metrics['test_auc']:.3f} (95 % interval {low:.3f} to {high:.3f}) on {metrics['test_rows']:,} of "
        f"{metrics['rows']:,} rows of {metrics.get('data', 'a table')}"
    )
