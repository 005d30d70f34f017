"""The paths under which platforms ask a container for predictions: SageMaker, Vertex AI, KServe.

| platform | is it ready | predictions |
|---|---|---|
| SageMaker | `GET /ping` | `POST /invocations`, CSV, JSON or JSON lines, answered as `Accept` asks |
| Vertex AI | the path in `AIP_HEALTH_ROUTE` | the path in `AIP_PREDICT_ROUTE`, `{"instances": [...]}` |
| KServe | `GET /v1/models/NAME` | `POST /v1/models/NAME:predict`, `{"instances": [...]}` |

Of these KServe alone names the model: each of several is asked so, and a service of one under any name.

Requests are read by the reader and answered by the functions of `/predict`: the same rows, numbers, and errors.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence

from flask import Flask, Response, request
from werkzeug.exceptions import NotAcceptable, UnsupportedMediaType

from helpers.data.delimited import read_csv
from helpers.data.outputs import CLASSES, NUMBER, PROBABILITY, Output
from helpers.data.parameters import Reader, Rows
from helpers.data.refusals import InvalidRequest
from helpers.serving.answers import answer
from helpers.serving.json_bodies import MalformedJSON, decode
from helpers.serving.lane import PATH
from helpers.serving.media_types import CSV, JSON, LINES, LINES_TYPES
from helpers.serving.model_slot import version_of
from helpers.serving.observability import ANY_NAME
from helpers.serving.request_rows import read_rows, whole_body

PING, INVOCATIONS = "/ping", "/invocations"
PASSED_ON = "X-Amzn-SageMaker-Custom-Attributes"  # what a caller gives along, and gets back


def add_platforms(
    app: Flask,
    slot,
    guard: Callable,
    ready: Callable,
    reader_of: Callable[[Callable], Reader],
    model_name: str = "",
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Let `app` answer under the platforms' paths.

    guard, ready, reader_of: the key's check, the view of readiness, and what reads a model's requests.
    model_name: of one of several models, which answers where it is named; environ: where Vertex AI says under which
    paths it will ask.
    """

    def read(model: Callable) -> tuple[Rows, bool]:
        kind, reader = request.mimetype, reader_of(model)
        if kind != CSV and kind not in LINES_TYPES:
            try:
                return read_rows(reader)
            except UnsupportedMediaType as error:
                if error.description != UnsupportedMediaType.description:
                    raise
                csv_too = f", {CSV}" if reader.takes_cells else ""
                raise UnsupportedMediaType(f"send {JSON}{csv_too} or {LINES}, and say which in Content-Type") from None
        content = whole_body()
        if kind in LINES_TYPES:
            return read_rows_of_lines(reader, content), True
        if not reader.takes_cells:
            raise UnsupportedMediaType(f"a CSV holds rows of features, which this model does not take: send {JSON}")
        return read_csv(reader, content.decode("utf-8", "replace")), True

    @guard
    def invoke():
        wanted, model = _wanted(), slot.current
        rows, is_list = read(model)
        request.environ["model.version"] = version_of(model)
        if wanted == JSON:
            content = answer(slot, model, rows, is_list)
        else:
            content = _as_lines(model, answer(slot, model, rows, True), wanted)
        response = Response(content, content_type=f"{wanted}; charset=utf-8" if wanted == CSV else wanted)
        if PASSED_ON in request.headers:
            response.headers[PASSED_ON] = request.headers[PASSED_ON]
        return response

    def known(name: str = model_name):
        response = app.make_response(ready())
        if response.status_code == 200:
            response.set_data(json.dumps({"name": name, "ready": True, **response.json}))
        return response

    about, predict = kserve_paths(model_name or "<name>")
    app.add_url_rule(about, "kserve_model", known)
    app.add_url_rule(predict, "kserve_predict", lambda name="": invoke(), methods=["POST"])
    if model_name:
        return
    app.add_url_rule(PING, "ping", ready)
    app.add_url_rule(INVOCATIONS, "invocations", invoke, methods=["POST"])
    there = {rule.rule for rule in app.url_map.iter_rules()}
    for variable, view, method in (("AIP_HEALTH_ROUTE", ready, "GET"), ("AIP_PREDICT_ROUTE", invoke, "POST")):
        path = environ.get(variable, "")
        if path.startswith("/") and path not in there:  # those of this service do what is asked of them as they are
            app.add_url_rule(path, variable.lower(), view, methods=[method])


def kserve_paths(name: str) -> tuple[str, str]:
    """Where KServe asks whether a model is ready, and for its predictions."""
    return f"/v1/models/{name}", f"/v1/models/{name}:predict"


def platform_paths(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The paths under which platforms may ask a service of one model, which KServe calls by any name."""
    routes = (environ.get(variable, "") for variable in ("AIP_HEALTH_ROUTE", "AIP_PREDICT_ROUTE"))
    return [PING, INVOCATIONS, *kserve_paths(ANY_NAME), *(path for path in routes if path.startswith("/"))]


def may_predict(path: str, model_name: str = "", environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a model may be asked under a path, `/predict` or that of a platform. Flask reads //x as /x.

    model_name: of one of several models.
    """
    path = f"/{path.lstrip('/')}"
    if model_name:
        return path in (PATH, kserve_paths(model_name)[1])
    return path in (PATH, INVOCATIONS, environ.get("AIP_PREDICT_ROUTE")) or path.endswith(":predict")


def read_rows_of_lines(reader: Reader, content: bytes) -> Rows:
    """The rows of a body that holds a JSON value on each line. Raises `InvalidRequest`, by lines counted from 0."""
    rows = []
    for i, line in enumerate(filter(bytes.strip, content.splitlines())):  # of a text it would cut at U+2028 as well
        try:
            rows.append(decode(line, i))
        except MalformedJSON as error:
            raise InvalidRequest(str(error), {f"[{i}]": "not valid JSON"}) from error
    return reader.read(rows)


def _wanted() -> str:
    """How the caller wants to be answered; JSON where it does not say."""
    offered = [JSON, CSV, *sorted(LINES_TYPES)]
    found = request.accept_mimetypes.best_match(offered, JSON if not request.accept_mimetypes else None)
    if found is None:
        raise NotAcceptable(f"the answer comes as {JSON}, {CSV} or {LINES}: ask for one of them in Accept")
    return found


def _as_lines(model: Callable, content: bytes, kind: str) -> str:
    """A list's answer as a line for each row."""
    outputs = model.signature.outputs
    if len(outputs) == 1 and outputs[0].kind == PROBABILITY:
        inside = content.partition(b"[")[2].partition(b"]")[0].decode()
        if kind == CSV:
            return inside.replace(",", "\n") + "\n"
        return "".join(f'{{"probability":{each}}}\n' for each in inside.split(","))
    found = json.loads(content)["predictions"]
    if kind != CSV:
        key = "value" if outputs[0].kind == NUMBER else "prediction"
        return "".join(_json(each if isinstance(each, dict) else {key: each}) + "\n" for each in found)
    if not fits_in_csv(outputs):
        raise NotAcceptable(f"a line of CSV cannot hold what this model answers: ask for {JSON} in Accept")
    lines = io.StringIO()
    write = csv.writer(lines, lineterminator="\n").writerow
    for each in found:
        write(each.values() if isinstance(each, dict) else [each])  # a class and its probability, or a number
    return lines.getvalue()


def fits_in_csv(outputs: Sequence[Output]) -> bool:
    """Whether a line of CSV holds what a model answers to a row."""
    return len(outputs) == 1 and outputs[0].kind in (PROBABILITY, CLASSES, NUMBER)


def content_of(answer: bytes, kind: str):
    """What an answer holds: the objects of JSON lines, the cells of CSV, of which the last of a row is a number."""
    kind = kind.partition(";")[0]
    if kind in LINES_TYPES:
        return list(map(json.loads, answer.splitlines()))
    if kind == CSV:
        return [[*cells[:-1], float(cells[-1])] for cells in csv.reader(io.StringIO(answer.decode()))]
    return json.loads(answer)


def _json(content) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
