"""The Flask applications behind the endpoints: an echo, and a model's predictions.

An HTTP request comes in by GET, JSON or form; its parameters go through the signature into a float32 matrix, that
through the predictor, and the answer goes out as JSON. Every error has one JSON shape. Both applications stand on the
same layers (errors, request ids, metrics), so that the echo is what the price of a prediction is held against.
"""

from __future__ import annotations

import functools
import hmac
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TextIO
from urllib.parse import unquote_to_bytes

from flask import Flask, Response, jsonify, render_template, request
from flask.json.provider import DefaultJSONProvider
from werkzeug.datastructures import MultiDict, WWWAuthenticate
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    MethodNotAllowed,
    RequestEntityTooLarge,
    Unauthorized,
    UnsupportedMediaType,
)

from helpers.data.inputs import is_one_value
from helpers.data.outputs import ONE_PROBABILITY
from helpers.data.parameters import InvalidRequest, Reader, Rows, usual_in_words
from helpers.export.card import measured
from helpers.export.versions import other_question
from helpers.serving import log
from helpers.serving.answers import ModelFailure, answer
from helpers.serving.callers import CallerCheck, Callers
from helpers.serving.canary import Canary, Split
from helpers.serving.drift import drift_of
from helpers.serving.framing import too_large
from helpers.serving.json_bodies import MalformedJSON, decode
from helpers.serving.lane import FORM, JSON, PATH, Lane, LaneFirst
from helpers.serving.model_slot import ModelSlot, version_of
from helpers.serving.observability import Metrics, Observed
from helpers.serving.openapi import describe
from helpers.serving.platforms import INVOCATIONS, PING, add_platforms, may_predict
from helpers.serving.shadow import Shadow, ShadowedLane

BODY_BYTES = 1024 * 1024  # a list of some 10,000 rows of ten features
PICTURE_BYTES = 16 * 1024 * 1024  # a photo of a phone has 3 to 12 MB
MOST_SUGGESTED = 500  # texts that a page proposes for a field
NUMBER_BYTES, MOST_ROWS, MOST_BODY_BYTES = 24, 16, 64 * 1024 * 1024  # of arrays in JSON
MULTIPART = "multipart/form-data"
MODEL_PATHS = ("/", "/docs", PATH, "/health/live", "/health/ready", "/openapi.json")  # of each model
PATHS = dict.fromkeys([*MODEL_PATHS, "/metrics", PING, INVOCATIONS], "")  # of a service of one model

_KINDS = {400: "malformed", 401: "unauthorized", 404: "not_found", 405: "method", 413: "too_large",
          415: "media_type", 422: "invalid"}  # fmt: skip
_SENTENCES = {
    400: "the header Host names no host",
    404: "there is no such path: the service answers at /predict, its page at /, its description at /openapi.json",
    415: f"send JSON ({JSON}) or a form ({FORM} or {MULTIPART})",
    416: "the file has no such bytes: ask for one range that it has, or for all of it",
}
_NO_PARTS = (
    "the body holds no whole part of a form: the boundary between its parts must be the one in Content-Type, a header "
    "that most clients set by themselves"
)
_IS_JSON = f"this is JSON: send it with the header Content-Type: {JSON}"
# Pages that may show ours in a frame: our own (behind Jupyter's proxy), a notebook on this machine, VS Code's.
_FRAMED_BY = "'self' http://localhost:* http://127.0.0.1:* https://localhost:* https://127.0.0.1:* vscode-webview:"
_POLICY = f"default-src 'self'; img-src 'self' data: blob:; frame-ancestors {_FRAMED_BY}"


def body_bytes(signature) -> int:
    """The largest body that a service takes whose model has this signature."""
    if signature.takes_pictures:
        return PICTURE_BYTES
    size = getattr(signature, "size", 0)  # of a row, where it is none of features
    return max(BODY_BYTES, min(MOST_ROWS * NUMBER_BYTES * size, MOST_BODY_BYTES))


@dataclass(frozen=True)
class Part:
    """What an application has to know that is a part of another one: of a service of several models or versions.

    model: its name there. metrics: those of the whole, or None where nothing it does is to be counted. has_platforms:
    whether it answers under the paths of platforms, which belong to a service of one model.
    """

    model: str
    metrics: Metrics | None
    has_platforms: bool = False

    def asks(self, path: str) -> bool:
        """Whether a request under a path asks the model."""
        return may_predict(path, has_platforms=self.has_platforms)


def create_echo_app(*, access_log: TextIO | None = None) -> Flask:
    """The echo service: `GET /predict?msg=Hello`, or POST of JSON or a form, answers `{"response": "Hello", ...}`.

    Written the way a Flask application usually is (`request.args`, `jsonify`).
    """
    app = new_application("echo", access_log, {PATH: ""}, Metrics())

    @app.route("/predict", methods=["GET", "POST"])
    def echo():
        if request.method == "GET":
            params = request.args
        elif not _body() or request.mimetype in (FORM, MULTIPART):
            params = _form()
        else:
            params = _json_body()
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
    callers = Callers(allow_hosts, allow_origins)
    max_body_bytes = max_body_bytes or body_bytes(slot.current.signature)
    own = part or Part("", Metrics(), has_platforms=True)
    metrics, model_name = own.metrics, own.model
    app = new_application("predict", access_log, PATHS, metrics, model_name, lambda: slot.version)
    app.config["MAX_CONTENT_LENGTH"] = app.config["MAX_FORM_MEMORY_SIZE"] = max_body_bytes
    may_pass = key_check(api_key)
    guard = guarded_by(may_pass)

    def reader_of(model: Callable) -> Reader:
        return model.signature.reader(strict, unseen)

    # Functions added to the application as `before_request` or the like are honoured: with any, the lane is closed.
    hooks = app.before_request_funcs, app.after_request_funcs, app.teardown_request_funcs
    # A model that takes long has the lane closed, too: a server may compute the requests of the lane on its event loop.
    lane = Lane(slot, may_pass, reader_of, _rows_of, answer, lambda: not any(hooks) and not slot.is_heavy)
    lane.path = f"/{model_name}{PATH}" if model_name else PATH
    observed = app.extensions["observed"]
    app.extensions |= {
        "model": slot,
        "callers": callers,
        "lane": lane,
        "inner": LaneFirst(observed.app, lane, max_body_bytes),  # without callers, ids and counts: for the whole
        "takes_long": lambda path: slot.is_heavy and own.asks(path),
    }
    if shadow or canary:
        rules = {"api_key": api_key, "max_body_bytes": max_body_bytes, "strict": strict, "unseen": unseen}
        _add_other_versions(app, shadow, canary, own, rules)
    # for a server that answers without calling the application
    app.extensions["lanes"] = {PATH.encode(): app.extensions["lane"]}
    observed.app = CallerCheck(app.extensions["inner"], callers)

    def respond(model: Callable, rows: Rows, is_list: bool) -> Response:
        request.environ["model.version"] = version_of(model)
        return Response(answer(slot, model, rows, is_list), content_type=JSON)

    @app.get("/predict")
    @guard
    def predict_query():
        model = slot.current
        return respond(model, reader_of(model).read_query(request.query_string), False)

    @app.post("/predict")
    @guard
    def predict_body():
        model = slot.current
        return respond(model, *_read_rows(reader_of(model)))

    @app.get("/health/live")
    def live():
        return jsonify(success=True)

    @app.get("/health/ready")
    def ready():
        if slot.ready:
            others = {"shadow": shadow, "canary": canary}
            at_work = {name: each.slot.version for name, each in others.items() if each and not each.is_over}
            return jsonify(success=True, model=slot.version, **at_work)
        error = f"the model has not answered yet ({slot.problem})" if slot.problem else "the model has not answered yet"
        return jsonify(success=False, error=error), 503

    if part is None:
        serve_metrics(app, guard, metrics)
    if own.has_platforms:
        add_platforms(app, slot, guard, ready, reader_of, _read_rows, _body)

    @app.get("/openapi.json")
    def openapi():
        document = describe(
            slot.current.signature,
            slot.version,
            api_key is not None,
            max_body_bytes,
            strict,
            unseen,
            canary is not None,
        )
        if part is not None:
            del document["paths"]["/metrics"]
            document["servers"] = [{"url": request.script_root}]
        return jsonify(document)

    for path, template in (("/", "index.html"), ("/docs", "docs.html")):
        view = functools.partial(_page, template, slot, needs_key=api_key is not None)
        app.add_url_rule(path, template, view)

    if metrics is not None:
        _count_models(slot, metrics, model_name)
    if warm_up:
        slot.warm_up()
    return app


def _add_other_versions(app: Flask, shadow: Shadow | None, canary: Canary | None, part: Part, rules: dict) -> None:
    """Let the application, in its `extensions`, ask the shadow and hand the canary its callers.

    Either is a whole application of its own, the `part`, without a socket, which reads requests by its own signature.
    """
    model_name, metrics = part.model, part.metrics
    slot, lane, inner = map(app.extensions.get, ("model", "lane", "inner"))
    for other in filter(None, (shadow, canary)):
        if reason := other_question(slot.current.signature.to_dict(), other.slot.current.signature.to_dict()):
            raise ValueError(f"{other.slot.version} cannot stand beside {slot.version}: {reason}")
        _end_where_promoted(slot, other, model_name)
    if shadow:
        asked = create_predict_app(shadow.slot, **rules | {"api_key": None}, part=replace(part, metrics=None))
        inner = shadow.beside(inner, asked, metrics.shadow(model_name, shadow.slot.version), part.asks)
        lane = ShadowedLane(lane, shadow)
    if canary:
        other = create_predict_app(canary.slot, **rules, part=part).extensions
        counts = [metrics.version(model_name, lambda each=each: each.version) for each in (slot, canary.slot)]
        lane.count, other["lane"].count = counts
        lane.canary = canary.lanes(lane, other["lane"])
        inner = Split(inner, other["inner"], canary, counts, part.asks)
        app.extensions["takes_long"] = lambda path: (slot.is_heavy or canary.slot.is_heavy) and part.asks(path)
    app.extensions |= {"lane": lane, "inner": inner}


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


# ---- reading a request ----


def _read_rows(reader: Reader) -> tuple[Rows, bool]:
    """The rows of a POST, and whether they came as a list. `?errors=rows` reads on where a row of a list is bad."""
    body = _body()
    if request.mimetype == MULTIPART:
        params = _texts_of_form(body) if reader.takes_files else _form().copy()
        for name, file in request.files.items(multi=True):
            # to a reader of features a file is no number, and is named so
            params.add(name, file.read() if reader.takes_files else file)
        return reader.read(params), False
    if body and reader.takes_files and reader.reads_body(request.mimetype, body):
        return reader.read_body(body), False
    keep_going = request.args.to_dict(flat=False) == {"errors": ["rows"]}
    if request.query_string and body and not keep_going:
        if set(request.args) == {"errors"}:
            says = "errors takes rows: ?errors=rows answers the good rows of a list, and names the bad ones"
            raise InvalidRequest(says, {"errors": "must be rows, once"})
        fields = {name: "in the query string of a request with a body" for name in request.args}
        raise InvalidRequest("send the features in the query string or in the body, not in both", fields)
    if not body:
        return reader.read_query(request.query_string), False
    if request.mimetype == FORM and not _looks_like_json(body):
        return reader.read_query(body), False
    return _rows_of(reader, _json_body(), keep_going)


def _rows_of(reader: Reader, content, keep_going: bool = False) -> tuple[Rows, bool]:
    """The rows of a decoded JSON body, and whether they came as a list."""
    instances = content.get("instances") if isinstance(content, dict) else None
    are_rows = isinstance(instances, list) and all(isinstance(row, dict) for row in instances)  # which no value is
    if isinstance(content, dict) and "instances" in content and (are_rows or reader.field("instances") is None):
        if not isinstance(instances, list):
            raise InvalidRequest('"instances" holds a list, of one row too', {"instances": "must be a list"})
        others = {name: "unknown" for name in content if name != "instances"}
        if others:
            raise InvalidRequest('send nothing beside "instances"', others)
        content = instances
    return reader.read(content, keep_going), isinstance(content, list)


def _body() -> bytes:
    """The request's body, whole. werkzeug cuts one without a Content-Length off at the limit instead of refusing it."""
    encoding = request.headers.get("Content-Encoding", "").lower()
    if encoding not in ("", "identity"):
        raise UnsupportedMediaType(
            f"the body is encoded as {encoding[:40]}: send it as it is, without Content-Encoding"
        )
    body = request.get_data()
    if request.content_length is None and len(body) >= request.max_content_length:
        raise RequestEntityTooLarge
    return body


def _form() -> MultiDict:
    """The fields of a form. A body in which the form's boundary does not occur has none, whatever it holds."""
    if request.mimetype == MULTIPART:
        if request.get_data() and not (request.form or request.files):
            raise BadRequest(_NO_PARTS)
        if None in request.form or None in request.files:
            raise InvalidRequest(
                'a part of the form has no name: send each with Content-Disposition: form-data; name="..."'
            )
    return request.form


def _texts_of_form(body: bytes) -> MultiDict:
    """The texts of a form in parts, those of other bytes than UTF-8 so that a reader finds them to be none.

    werkzeug puts U+FFFD for what it cannot decode: a text that held it from the beginning is in the body as it is.
    """
    texts = _form().items(multi=True)
    return MultiDict(
        (name, text if text.encode() in body else text.replace("\ufffd", "\udcff")) for name, text in texts
    )


def _json_body():
    """The decoded JSON body, of which no object may hold a name twice."""
    if not request.is_json:
        raise UnsupportedMediaType(_IS_JSON if _looks_like_json(request.get_data()) else None)
    return decode(request.get_data())


def _looks_like_json(body: bytes) -> bool:
    """Whether a body that calls itself something else, or nothing, is an object or a list in JSON."""
    text = unquote_to_bytes(body).removeprefix(BOM_UTF8).strip()  # as `curl --data-urlencode` sends it, too
    return text[:1] + text[-1:] in (b"{}", b"[]")


# ---- what both applications stand on ----


class _ReadableJSON(DefaultJSONProvider):
    """Flask's JSON with texts as they are: a field called Größe is named so, as the answers with 200 name theirs."""

    compact, sort_keys, ensure_ascii = True, False, False

    def dumps(self, obj, **kwargs) -> str:
        # half of a surrogate pair has no UTF-8: it becomes the escape that JSON has for it
        return super().dumps(obj, **kwargs).encode(errors="backslashreplace").decode()


def new_application(
    name: str,
    access_log: TextIO | None,
    paths: dict[str, str],
    metrics: Metrics | None,
    model_name: str = "",
    model_version: Callable[[], str] | None = None,
    nothing: str = "",
) -> Flask:
    """A Flask application without a path: errors in the services' one shape, counted, with an id on every answer.

    nothing: what is said of a path that there is not.
    """
    folder = str(Path(__file__).parent)  # by its name Flask would find a folder `models` that may lie on Python's path
    app = Flask(name, root_path=folder, instance_path=folder)
    app.json = _ReadableJSON(app)
    app.config["MAX_CONTENT_LENGTH"] = app.config["MAX_FORM_MEMORY_SIZE"] = BODY_BYTES
    app.wsgi_app = Observed(app.wsgi_app, metrics, paths, access_log, model_version)
    app.extensions["observed"] = app.wsgi_app
    app.extensions["each_second"] = metrics.fold if metrics is not None else lambda: None
    app.url_map.merge_slashes = False  # "//x" is another path than "/x", and no reason to send a caller elsewhere

    def refuse(code: int, error: str, kind: str | None = None, headers=(), **more):
        if metrics is not None:
            metrics.of(metrics.errors, model_name, kind or _KINDS.get(code, str(code))).inc()
        return jsonify(success=False, error=error, **more), code, list(headers)

    @app.errorhandler(InvalidRequest)
    def invalid(error: InvalidRequest):
        return refuse(422, str(error), fields=error.fields)

    @app.errorhandler(MalformedJSON)
    def malformed(error: MalformedJSON):
        return refuse(400, str(error))

    @app.errorhandler(HTTPException)
    def http(error: HTTPException):
        # the exception's own headers tell what is possible: Allow with 405, WWW-Authenticate with 401
        headers = [(key, value) for key, value in error.get_headers() if key.lower() != "content-type"]
        own = error.description if error.description != type(error).description else None  # not werkzeug's sentence
        usual = _SENTENCES.get(error.code, error.name).replace(" /", f" {request.script_root}/")
        if isinstance(error, MethodNotAllowed):
            takes = " and ".join(sorted({*(error.valid_methods or ())} - {"HEAD", "OPTIONS"}))
            usual = f"this path takes {takes}, not {request.method[:20]}"
        if error.code == 413:
            usual = too_large(request.max_content_length)
            if request.mimetype == MULTIPART and (request.content_length or 0) <= request.max_content_length:
                usual = f"the form has more than {request.max_form_parts:,} fields: send them as JSON ({JSON})"
        if error.code == 404 and nothing:
            usual = nothing
        return refuse(error.code or 500, own or usual, headers=headers)

    @app.errorhandler(Exception)
    def failed(error: Exception):
        request_id = request.environ["request.id"]
        log.error("request %s failed", request_id, exc_info=error)
        what, kind = (str(error), "model") if isinstance(error, ModelFailure) else ("internal error", "internal")
        return refuse(500, f"{what}; the cause is in the log under {request_id}", kind)

    return app


def serve_metrics(app: Flask, guard: Callable, metrics: Metrics) -> None:
    app.extensions["observed"].begin()

    @app.get("/metrics")
    @guard
    def prometheus():
        return Response(metrics.text(), mimetype="text/plain; version=0.0.4")


def key_check(api_key: str | None) -> Callable[[str | None, str | None], bool]:
    """Whether a request with these headers `X-API-Key` and `Authorization` may pass: any where no key is set."""
    if api_key is None:
        return lambda given, authorization: True
    if not (api_key.isascii() and api_key.isprintable()):
        raise ValueError(
            "the API key holds characters that a header cannot carry: use letters, digits and signs of ASCII"
        )
    expected = api_key.encode()

    def may_pass(given: str | None, authorization: str | None) -> bool:
        scheme, _, token = (authorization or "").partition(" ")
        given = given or (token.strip() if scheme.lower() == "bearer" else "")
        # compare_digest takes as long for a nearly right key as for any other
        return hmac.compare_digest(given.encode(), expected)

    return may_pass


def guarded_by(may_pass: Callable[[str | None, str | None], bool]) -> Callable:
    """A decorator that lets a request through to a view only with the key."""

    def decorate(view):
        @functools.wraps(view)
        def guarded():
            environ = request.environ
            if not may_pass(environ.get("HTTP_X_API_KEY"), environ.get("HTTP_AUTHORIZATION")):
                error = "send the service's key in the header X-API-Key or as Authorization: Bearer"
                raise Unauthorized(error, www_authenticate=WWWAuthenticate("bearer"))
            return view()

        return guarded

    return decorate


def _page(template: str, slot: ModelSlot, needs_key: bool) -> Response:
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
