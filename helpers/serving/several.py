"""Several models behind one address: `/games/predict`, `/titanic/predict`, each with its own page, docs and health.

Each model is a whole application of `services.create_predict_app`, mounted under its name, with a swap of its own. What
concerns them all, the list of them at `/`, `/metrics` and `/health/...`, stands beside them. KServe asks for each at
`/v1/models/NAME:predict`.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import TextIO
from urllib.parse import urlencode

from flask import Flask, jsonify, render_template, request

from helpers.data.inputs import InputSignature
from helpers.serving.addresses import check_names
from helpers.serving.application import guarded_by, key_check, new_application, serve_metrics
from helpers.serving.callers import CallerCheck, Callers
from helpers.serving.canary import Canary
from helpers.serving.observability import Metrics
from helpers.serving.pages import facts_of, page_response
from helpers.serving.platforms import kserve_paths
from helpers.serving.services import MODEL_PATHS, Part, create_predict_app
from helpers.serving.shadow import Shadow
from helpers.serving.wiring import prediction_of, wiring_of

_KSERVE = re.compile(r"/+v1/models(?:/([^/:]+)(?::predict)?)?")  # before the paths of a model called v1
_CURL_BYTES = 400  # of the line that the page shows


def create_models_app(
    models: Mapping[str, Callable],
    *,
    shadows: Mapping[str, Shadow] | None = None,
    canaries: Mapping[str, Canary] | None = None,
    strict: bool = False,
    unseen: str = "refuse",
    api_key: str | None = None,
    allow_hosts: Iterable[str] | None = None,
    allow_origins: Iterable[str] = (),
    access_log: TextIO | None = None,
    warm_up: bool = True,
    max_body_bytes: int | None = None,
) -> Flask:
    """The service of several models: `models` are predictors, or `ModelSlot`s, by the name each is called under.

    shadows, canaries: by the name of the model that they stand beside. The rest is as `create_predict_app` takes it,
    and holds for every model. Raises ValueError for a name that no address can hold.
    """
    check_names(models)
    metrics = Metrics(several=True)
    rules = {"api_key": api_key, "warm_up": warm_up, "strict": strict, "unseen": unseen}
    rules["max_body_bytes"] = max_body_bytes
    parts = {
        name: create_predict_app(
            model,
            **rules,
            shadow=(shadows or {}).get(name),
            canary=(canaries or {}).get(name),
            part=Part(name, metrics),
        )
        for name, model in models.items()
    }
    there_are = f"the models are at {', '.join(f'/{name}/' for name in parts)}"
    largest = max(part.config["MAX_CONTENT_LENGTH"] for part in parts.values())
    app = new_application("models", access_log, paths_of(parts), metrics, there_are, max_body_bytes=largest)
    wiring = wiring_of(app)
    wiring.callers = Callers(allow_hosts, allow_origins)
    lanes = [prediction_of(part).lane for part in parts.values()]
    wiring.lanes = {lane.path.encode(): lane for lane in lanes}
    wiring.takes_long = _takes_long(parts)
    wiring.observed.app = CallerCheck(_Mounted(wiring.observed.app, parts), wiring.callers)

    @app.get("/health/live")
    def live():
        return jsonify(success=True)

    @app.get("/health/ready")
    def ready():
        slots = {name: prediction_of(part).slot for name, part in parts.items()}
        late = [name for name, slot in slots.items() if not slot.ready]
        if late:
            return jsonify(success=False, error=f"not every model has answered yet: {', '.join(late)}"), 503
        return jsonify(success=True, models={name: slot.version for name, slot in slots.items()})

    @app.get("/v1/models")
    def kserve_models():
        return jsonify(models=list(parts))

    @app.get("/")
    def index():
        shown = [{"name": name, **_shown(name, part, api_key is not None)} for name, part in parts.items()]
        return page_response(render_template("models.html", models=shown))

    serve_metrics(app, guarded_by(key_check(api_key)), metrics)
    return app


def paths_of(models: Iterable[str]) -> dict[str, str]:
    """The paths of a service of several models, each with the name of the model that it belongs to."""
    own = dict.fromkeys(["/", "/health/live", "/health/ready", "/metrics"], "")
    paths = {name: (*(f"/{name}{path}" for path in MODEL_PATHS), *kserve_paths(name)) for name in models}
    return own | {path: name for name, its in paths.items() for path in its}


class _Mounted:
    """A WSGI application that hands what lies under the name of a model to its application, and the rest to `app`."""

    def __init__(self, app: Callable, parts: Mapping[str, Flask]):
        self.app, self.parts = app, parts

    def __call__(self, environ: dict, start_response: Callable):
        name, root, path = _parted(environ["PATH_INFO"])
        part = self.parts.get(name)
        if part is None:
            return self.app(environ, start_response)
        if not path:  # a page's own addresses are relative to the slash; this one to wherever the service lies
            query = f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else ""
            start_response("308 PERMANENT REDIRECT", [("Location", f"{name}/{query}"), ("Content-Length", "0")])
            return [b""]
        inner = {**environ, "SCRIPT_NAME": environ["SCRIPT_NAME"] + root, "PATH_INFO": path}

        def respond(status, headers, *exc_info):
            environ["model.version"] = inner.get("model.version") or prediction_of(part).slot.version
            return start_response(status, headers, *exc_info)

        return prediction_of(part).inner(inner, respond)


def _takes_long(parts: Mapping[str, Flask]) -> Callable[[str], bool]:
    def takes_long(path: str) -> bool:
        name, _, path = _parted(path)
        return name in parts and wiring_of(parts[name]).takes_long(path)

    return takes_long


def _parted(path: str) -> tuple[str, str, str]:
    """The name of the model that a path asks, the part of the path that leads to its application, and the path there.

    Flask reads //x as /x.
    """
    if found := _KSERVE.fullmatch(path):
        return found[1] or "", "", path
    name, slash, rest = path.lstrip("/").partition("/")
    return name, f"/{name}", slash + rest


def _shown(name: str, part: Flask, needs_key: bool) -> dict:
    """What the page says of a model."""
    slot = prediction_of(part).slot
    signature = slot.current.signature
    takes = "inputs" if isinstance(signature, InputSignature) else "features"
    count = f"{signature.n} {takes if signature.n > 1 else takes.removesuffix('s')}"
    key = ("-H", "X-API-Key: YOUR-KEY") if needs_key else ()
    line = _curl_line(signature, f"{request.url_root}{name}/predict", key)
    return {**facts_of(slot), "takes": count, "ready": slot.ready, "curl": line}


def _curl_line(signature, url: str, key: tuple[str, ...]) -> str:
    """What asks a model once, as it is typed; dots stand for what is too long to be shown."""
    example = signature.example()
    if not isinstance(signature, InputSignature):
        what = (f"{url}?{urlencode({name: value for name, value in example.items() if value is not None})}",)
    elif signature.takes_pictures and signature.n == 1:
        what = ("-F", f"{next(iter(example))}=@picture.jpg", url)
    else:
        body = json.dumps(example, ensure_ascii=False)
        body = "..." if None in example.values() or len(body) > _CURL_BYTES // 2 else body
        what = ("-H", "Content-Type: application/json", "-d", body, url)
    line = shlex.join(("curl", *key, *what))
    return line if len(line) <= _CURL_BYTES else f"{shlex.join(('curl', *key))} ... {url}"
