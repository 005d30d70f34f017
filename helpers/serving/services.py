"""The Flask applications behind the endpoints: an echo, and a model's predictions.

An HTTP request comes in by GET, JSON or form; its parameters go through the signature into a float32 matrix, that
through the predictor, and the answer goes out as JSON. Every error has one JSON shape. Both applications stand on the
same layers (errors, request ids, metrics), so that the echo is what the price of a prediction is held against.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TextIO

from flask import Flask, Response, jsonify, request

from helpers.data.parameters import Reader, Rows
from helpers.data.refusals import InvalidRequest
from helpers.export.versions import other_question
from helpers.serving import log
from helpers.serving.answers import answer
from helpers.serving.application import BODY_BYTES, guarded_by, key_check, new_application, serve_metrics
from helpers.serving.callers import CallerCheck, Callers
from helpers.serving.canary import Canary, Split
from helpers.serving.drift import drift_of
from helpers.serving.lane import PATH, Lane, LaneFirst
from helpers.serving.media_types import FORM, JSON, MULTIPART
from helpers.serving.model_slot import ModelSlot, version_of
from helpers.serving.observability import Metrics
from helpers.serving.openapi import describe
from helpers.serving.pages import model_page
from helpers.serving.platforms import add_platforms, may_predict, platform_paths
from helpers.serving.request_rows import form_fields, json_body, read_rows, whole_body
from helpers.serving.shadow import Shadow, ShadowedLane
from helpers.serving.wiring import Prediction, prediction_of, wire, wiring_of

PICTURE_BYTES = 16 * 1024 * 1024  # a photo of a phone has 3 to 12 MB
NUMBER_BYTES, MOST_ROWS, MOST_BODY_BYTES = 24, 16, 64 * 1024 * 1024  # of arrays in JSON
MODEL_PATHS = ("/", "/docs", PATH, "/health/live", "/health/ready", "/openapi.json")  # of each model
_THERE_ARE = "the service answers at /predict, its page at /, its description at /openapi.json"


def own_paths() -> dict[str, str]:
    """The paths of a service of one model, as `several.paths_of` gives those of several."""
    return dict.fromkeys([*MODEL_PATHS, "/metrics", *platform_paths()], "")


def body_bytes(signature) -> int:
    """The largest body that a service takes whose model has this signature."""
    if signature.takes_pictures:
        return PICTURE_BYTES
    size = getattr(signature, "size", 0)  # of a row, where it is none of features
    return max(BODY_BYTES, min(MOST_ROWS * NUMBER_BYTES * size, MOST_BODY_BYTES))


@dataclass(frozen=True)
class Part:
    """What an application has to know that is a part of another one: of a service of several models or versions.

    model: its name there, "" where it is the only one. metrics: those of the whole, or None where nothing it does is to
    be counted.
    """

    model: str
    metrics: Metrics | None

    def asks(self, path: str) -> bool:
        """Whether a request under a path asks the model."""
        return may_predict(path, self.model)


def create_echo_app(*, access_log: TextIO | None = None) -> Flask:
    """The echo service: `GET /predict?msg=Hello`, or POST of JSON or a form, answers `{"response": "Hello", ...}`.

    Written the way a Flask application usually is (`request.args`, `jsonify`).
    """
    app = new_application("echo", access_log, {PATH: ""}, Metrics(), "the echo answers at /predict")

    @app.route("/predict", methods=["GET", "POST"])
    def echo():
        if request.method == "GET":
            params = request.args
        elif not whole_body() or request.mimetype in (FORM, MULTIPART):
            params = form_fields()
        else:
            params = json_body()
        if not isinstance(params, dict):
            raise InvalidRequest('send an object like {"msg": "Hello"}', {"msg": "missing"})
        message = params.get("msg")
        if message is None:
            raise InvalidRequest("1 bad field: msg: missing", {"msg": "missing"})
        return jsonify(response=message, success=True)

    return app


def create_predict_app(
    predictor: Callable | ModelSlot,
    *,
    api_key: str | None = None,
    max_body_bytes: int | None = None,
    access_log: TextIO | None = None,
    warm_up: bool = True,
    allow_hosts: Iterable[str] | None = None,
    allow_origins: Iterable[str] = (),
    strict: bool = False,
    unseen: str = "refuse",
    shadow: Shadow | None = None,
    canary: Canary | None = None,
    part: Part | None = None,
) -> Flask:
    """The prediction service around a predictor, a callable (k, m) float32 -> (k,) float32 with a `.signature`.

    predictor: pass a `ModelSlot` to be able to replace the model while the service runs.
    api_key: if given, `/predict` and `/metrics` want it as `X-API-Key` or `Authorization: Bearer`.
    max_body_bytes: a larger request body is answered with 413; None: `BODY_BYTES`, more where the model takes more.
    access_log: a text stream that gets one JSON line per request.
    warm_up: let the model answer once before the first request; `GET /health/ready` is 503 until it has answered.
    allow_hosts: names that are answered beside those of this machine itself; None: a request for any name is answered.
    allow_origins: the origins whose pages a browser lets read the answers, such as "http://localhost:3000"; "*": every.
    strict: refuse a number outside of its range, instead of answering it with a note.
    unseen: "refuse" a text that is none of a category's, or "answer" it as none of those known.
    shadow: another version, which is asked what was asked, and held against it in the metrics.
    canary: another version, which answers some of the callers. ValueError where either takes other features.
    part: for `several.create_models_app`, of whose service this one is a part.

    Where a request passes, nothing is done that can be done once: the query string is parsed as bytes by the compiled
    signature, the answer is put together as bytes, and plain requests are answered without Flask's routing (`lane`).
    """
    slot = predictor if isinstance(predictor, ModelSlot) else ModelSlot(predictor)
    max_body_bytes = max_body_bytes or body_bytes(slot.current.signature)
    own = part or Part("", Metrics())
    metrics, model_name = own.metrics, own.model
    app = new_application(
        "predict", access_log, own_paths(), metrics, _THERE_ARE, model_name, lambda: slot.version, max_body_bytes
    )
    may_pass = key_check(api_key)
    guard = guarded_by(may_pass)

    def reader_of(model: Callable) -> Reader:
        return model.signature.reader(strict, unseen)

    # Functions added to the application as `before_request` or the like are honoured: with any, the lane is closed.
    hooks = app.before_request_funcs, app.after_request_funcs, app.teardown_request_funcs
    # A model that takes long has the lane closed, too: a server may compute the requests of the lane on its event loop.
    lane = Lane(slot, may_pass, reader_of, lambda: not any(hooks) and not slot.is_heavy)
    lane.path = f"/{model_name}{PATH}" if model_name else PATH
    wiring = wiring_of(app)
    wiring.callers = Callers(allow_hosts, allow_origins)
    wiring.takes_long = lambda path: slot.is_heavy and own.asks(path)
    prediction = Prediction(slot, lane, LaneFirst(wiring.observed.app, lane, max_body_bytes))
    wire(app, prediction)
    if shadow or canary:
        rules = {"api_key": api_key, "max_body_bytes": max_body_bytes, "strict": strict, "unseen": unseen}
        _add_other_versions(app, shadow, canary, own, rules)
    wiring.lanes = {PATH.encode(): prediction.lane}  # for a server that answers without calling the application
    wiring.observed.app = CallerCheck(prediction.inner, wiring.callers)

    _add_predictions(app, slot, guard, reader_of)
    ready = _add_health(app, slot, {"shadow": shadow, "canary": canary})
    add_platforms(app, slot, guard, ready, reader_of, model_name)
    _add_pages(app, slot, needs_key=api_key is not None)

    @app.get("/openapi.json")
    def openapi():
        needs_key, has_canary = api_key is not None, canary is not None
        document = describe(slot.current.signature, slot.version, needs_key, max_body_bytes, strict, unseen, has_canary)
        if part is not None:
            del document["paths"]["/metrics"]
            document["servers"] = [{"url": request.script_root}]
        return jsonify(document)

    if part is None:
        serve_metrics(app, guard, metrics)
    if metrics is not None:
        _count_models(slot, metrics, model_name)
    if warm_up:
        slot.warm_up()
    return app


def _add_predictions(app: Flask, slot: ModelSlot, guard: Callable, reader_of: Callable[[Callable], Reader]) -> None:
    def respond(model: Callable, rows: Rows, is_list: bool) -> Response:
        request.environ["model.version"] = version_of(model)
        return Response(answer(slot, model, rows, is_list), content_type=JSON)

    @app.get(PATH)
    @guard
    def predict_query():
        model = slot.current
        return respond(model, reader_of(model).read_query(request.query_string), False)

    @app.post(PATH)
    @guard
    def predict_body():
        model = slot.current
        return respond(model, *read_rows(reader_of(model)))


def _add_pages(app: Flask, slot: ModelSlot, needs_key: bool) -> None:
    for path, template in (("/", "index.html"), ("/docs", "docs.html")):
        app.add_url_rule(path, template, functools.partial(model_page, template, slot, needs_key))


def _add_health(app: Flask, slot: ModelSlot, beside: dict[str, Shadow | Canary | None]) -> Callable:
    """Tell whether the process lives, and whether its model has answered; returns the view of the latter."""

    @app.get("/health/live")
    def live():
        return jsonify(success=True)

    @app.get("/health/ready")
    def ready():
        if slot.ready:
            at_work = {name: each.slot.version for name, each in beside.items() if each and not each.is_over}
            return jsonify(success=True, model=slot.version, **at_work)
        error = f"the model has not answered yet ({slot.problem})" if slot.problem else "the model has not answered yet"
        return jsonify(success=False, error=error), 503

    return ready


def _add_other_versions(app: Flask, shadow: Shadow | None, canary: Canary | None, part: Part, rules: dict) -> None:
    """Let the application, by its wiring, ask the shadow and hand the canary its callers.

    Either is a whole application of its own, the `part`, without a socket, which reads requests by its own signature.
    """
    model_name, metrics = part.model, part.metrics
    prediction = prediction_of(app)
    slot = prediction.slot
    for other in filter(None, (shadow, canary)):
        if reason := other_question(slot.current.signature.to_dict(), other.slot.current.signature.to_dict()):
            raise ValueError(f"{other.slot.version} cannot stand beside {slot.version}: {reason}")
        _end_where_promoted(slot, other, model_name)
    if shadow:
        asked = create_predict_app(shadow.slot, **rules | {"api_key": None}, part=replace(part, metrics=None))
        shown = metrics.shadow(model_name, shadow.slot.version)
        prediction.inner = shadow.beside(prediction.inner, asked, shown, part.asks)
        prediction.lane = ShadowedLane(prediction.lane, shadow)
    if canary:
        other = prediction_of(create_predict_app(canary.slot, **rules, part=part))
        counts = [metrics.version(model_name, lambda each=each: each.version) for each in (slot, canary.slot)]
        prediction.lane.count, other.lane.count = counts
        prediction.lane.canary = canary.lanes(prediction.lane, other.lane)
        prediction.inner = Split(prediction.inner, other.inner, canary, counts, part.asks)
        wiring_of(app).takes_long = lambda path: (slot.is_heavy or canary.slot.is_heavy) and part.asks(path)


def _end_where_promoted(slot: ModelSlot, beside: Shadow | Canary, model_name: str) -> None:
    """Let a version beside the model end while the model is that version itself, and say so in the log.

    What holds follows from the two versions alone: each worker finds the same, whenever it started.
    """

    def look(result: str = "ok") -> None:
        is_over = slot.version == beside.slot.version and hasattr(slot.current, "version")
        if is_over == beside.is_over:
            return
        beside.is_over = is_over
        of, role = f"{model_name}: " if model_name else "", type(beside).__name__.lower()
        if is_over:
            log.warning("%sthe %s %s is the model now, and answers everybody: it has ended", of, role, slot.version)
        else:
            log.warning("%sthe model is %s, and %s its %s again", of, slot.version, beside.slot.version, role)

    slot.on_swap.append(look)
    look()


def _count_models(slot: ModelSlot, metrics: Metrics, name: str) -> None:
    """Keep the metrics on the model that answers: which one it is, and the attempts to replace it."""
    shown: list[str] = []

    def show(result: str | None = None) -> None:
        if result:
            metrics.of(metrics.swaps, name, result).inc()
        if shown[-1:] != [slot.version]:
            for version in shown:
                metrics.of(metrics.model, name, version, backend).set(0)
            shown.append(slot.version)
            metrics.of(metrics.model, name, slot.version, backend).set(1)

    backend = str(getattr(slot.current, "backend", "callable"))
    slot.on_swap.append(show)
    show()
    _watch_drift(slot, metrics, name)


def _watch_drift(slot: ModelSlot, metrics: Metrics, name: str) -> None:
    """Keep counting what the model that answers is asked."""

    def watch(result: str = "ok") -> None:
        if result == "ok":
            slot.watch = drift_of(slot.current, metrics.place, name)

    slot.on_swap.append(watch)
    watch()
    metrics.watch(name, lambda: slot.watch)
