"""What every Flask application of this package stands on, before it has a path.

Errors have one JSON shape; every answer carries an id and is counted; what a key guards is let through only with it.
"""

from __future__ import annotations

import functools
import hmac
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from flask import Flask, Response, jsonify, request
from flask.json.provider import DefaultJSONProvider
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import HTTPException, MethodNotAllowed, Unauthorized

from helpers.data.refusals import InvalidRequest
from helpers.serving import log
from helpers.serving.answers import ModelFailure
from helpers.serving.framing import too_large
from helpers.serving.json_bodies import MalformedJSON
from helpers.serving.media_types import FORM, JSON, MULTIPART
from helpers.serving.observability import Metrics, Observed
from helpers.serving.wiring import Wiring, wire, wiring_of

BODY_BYTES = 1024 * 1024  # a list of some 10,000 rows of ten features

_KINDS = {400: "malformed", 401: "unauthorized", 404: "not_found", 405: "method", 413: "too_large",
          415: "media_type", 422: "invalid"}  # fmt: skip
_SENTENCES = {
    400: "the header Host names no host",
    415: f"send JSON ({JSON}) or a form ({FORM} or {MULTIPART})",
    416: "the file has no such bytes: ask for one range that it has, or for all of it",
}


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
    there_are: str,
    model_name: str = "",
    model_version: Callable[[], str] | None = None,
    max_body_bytes: int = BODY_BYTES,
) -> Flask:
    """A Flask application without a path: errors in the services' one shape, counted, with an id on every answer.

    there_are: the paths that it will have, as a caller of another one is told.
    """
    folder = str(Path(__file__).parent)  # by its name Flask would find a folder `models` that may lie on Python's path
    app = Flask(name, root_path=folder, instance_path=folder)
    app.json = _ReadableJSON(app)
    app.config["MAX_CONTENT_LENGTH"] = app.config["MAX_FORM_MEMORY_SIZE"] = max_body_bytes
    app.wsgi_app = Observed(app.wsgi_app, metrics, paths, access_log, model_version)
    wire(app, Wiring(app.wsgi_app, each_second=metrics.fold if metrics is not None else lambda: None))
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
        usual = _SENTENCES.get(error.code, error.name)
        if isinstance(error, MethodNotAllowed):
            takes = " and ".join(sorted({*(error.valid_methods or ())} - {"HEAD", "OPTIONS"}))
            usual = f"this path takes {takes}, not {request.method[:20]}"
        if error.code == 413:
            usual = too_large(request.max_content_length)
            if request.mimetype == MULTIPART and (request.content_length or 0) <= request.max_content_length:
                usual = f"the form has more than {request.max_form_parts:,} fields: send them as JSON ({JSON})"
        if error.code == 404:
            usual = f"there is no such path: {there_are}".replace(" /", f" {request.script_root}/")
        return refuse(error.code or 500, own or usual, headers=headers)

    @app.errorhandler(Exception)
    def failed(error: Exception):
        request_id = request.environ["request.id"]
        log.error("request %s failed", request_id, exc_info=error)
        what, kind = (str(error), "model") if isinstance(error, ModelFailure) else ("internal error", "internal")
        return refuse(500, f"{what}; the cause is in the log under {request_id}", kind)

    return app


def serve_metrics(app: Flask, guard: Callable, metrics: Metrics) -> None:
    wiring_of(app).observed.begin()

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
