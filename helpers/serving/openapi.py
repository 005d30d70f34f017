"""The prediction service in OpenAPI 3.1, made from the signature of the model that answers."""

from __future__ import annotations

from helpers.data.fields import LARGEST, SOURCES, shown, usual_in_words
from helpers.data.images import NAMES
from helpers.data.input_kinds import is_one_value
from helpers.data.inputs import InputSignature, name_in_requests
from helpers.data.outputs import ARRAY, CLASSES, MOST_LABELS, NUMBER, ONE_PROBABILITY, Output
from helpers.data.signature import BINARY, CATEGORY, REAL, Feature, Signature
from helpers.serving.callers import CALLER

_JSON = "application/json"
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_ARRAY = {"type": "array", "items": {}}  # of numbers, or of such arrays
_TEXT = {"text/plain": {"schema": {"type": "string"}}}
_HTML = {"text/html": {"schema": {"type": "string"}}}
_HEADERS = {
    "X-Request-ID": {
        "description": "the id under which the service's log knows this request",
        "schema": {"type": "string"},
    },
    "X-Model-Version": {"description": "the version of the model that answers", "schema": {"type": "string"}},
}
_ERRORS = {
    "name": "errors",
    "in": "query",
    "required": False,
    "description": "rows: the good rows of a list are answered, and the bad ones named",
    "schema": {"type": "string", "enum": ["rows"]},
}
_CALLER = {
    "name": CALLER,
    "in": "header",
    "required": False,
    "description": "who asks: the same caller is answered by the same version; without it the address counts",
    "schema": {"type": "string"},
}


def describe(
    signature: Signature | InputSignature,
    version: str,
    needs_key: bool = False,
    max_body_bytes: int = 1024 * 1024,
    strict: bool = False,
    unseen: str = "refuse",
    has_canary: bool = False,
) -> dict:
    """The OpenAPI document as plain JSON types.

    needs_key: whether `/predict` and `/metrics` want an API key. max_body_bytes: the limit that 413 speaks of.
    strict, unseen: how `create_predict_app` treats what is outside of ranges and categories. has_canary: whether
    callers say who they are, to be answered by the same version each time.
    """
    values = _Values(strict, unseen, signature.values_from)
    example = signature.example()
    locked = {"security": [{"key": []}, {"bearer": []}]} if needs_key else {}
    refusals = {
        "422": _refusal("A field is missing, unknown, repeated, or not what it may be; each is named."),
        "500": _refusal("The model failed. The cause is in the service's log under the request id."),
        **({"401": _refusal("The API key is missing or wrong.")} if needs_key else {}),
    }
    body_refusals = {
        "400": _refusal("The body is not valid JSON."),
        "413": _refusal(f"The body is larger than {max_body_bytes:,} bytes."),
        "415": _refusal(f"The body is neither JSON nor a form{', nor a picture' * signature.takes_pictures}."),
    }
    row, item = _ref("Row"), _ref(_item(signature))
    takes = "feature" if isinstance(signature, Signature) else "input"
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": f"Predictions of {signature.outcome}",
            "version": version,
            "description": _in_words(signature, takes),
        },
        "paths": {
            "/predict": {
                "get": {
                    "operationId": "predictOne",
                    "summary": "One prediction, the features in the query string",
                    "parameters": [values.parameter(feature, example[feature.name]) for feature in signature.features],
                    "responses": {"200": _answer("Prediction"), **refusals},
                    **locked,
                },
                "post": {
                    "operationId": "predict",
                    "summary": "One prediction, or a list of them in the order sent",
                    "parameters": [_ERRORS],
                    "requestBody": {
                        "required": True,
                        "content": {
                            _JSON: {
                                "schema": {"anyOf": [row, _list(item), _ref("Instances")]},
                                "examples": {"one": {"value": example}, "list": {"value": [example, example]}},
                            },
                            "application/x-www-form-urlencoded": {"schema": _ref("Form")},
                        },
                    },
                    "responses": {"200": _answer("Prediction", "Predictions"), **refusals, **body_refusals},
                    **locked,
                },
            },
            "/health/live": {"get": _plain("live", "Whether the process answers", {"200": _answer("Live")})},
            "/health/ready": {
                "get": _plain(
                    "ready",
                    "Whether the model has answered once",
                    {"200": _answer("Ready"), "503": _refusal("The model has not answered yet.")},
                )
            },
            "/metrics": {
                "get": {
                    **_plain("metrics", "Metrics in Prometheus' text format", {"200": _content(_TEXT)}),
                    **locked,
                }
            },
            "/openapi.json": {
                "get": _plain("openapi", "This description", {"200": _content({_JSON: {"schema": {"type": "object"}}})})
            },
            "/docs": {"get": _plain("docs", "This description as a page", {"200": _content(_HTML)})},
            "/": {"get": _plain("page", f"A page with a control for each {takes}", {"200": _content(_HTML)})},
        },
        "components": {"schemas": _schemas(signature, values)},
    }
    if isinstance(signature, InputSignature):
        _describe_inputs(document["paths"]["/predict"], signature)
    if has_canary:
        for operation in document["paths"]["/predict"].values():
            operation["parameters"] = [*operation.get("parameters", ()), _CALLER]
    if needs_key:
        document["paths"]["/metrics"]["get"]["responses"]["401"] = refusals["401"]
        document["components"]["securitySchemes"] = {
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "bearer": {"type": "http", "scheme": "bearer"},
        }
    return document


def _in_words(signature: Signature | InputSignature, takes: str) -> str:
    """What is answered, and what to. takes: "feature", or "input"."""
    if signature.outputs == ONE_PROBABILITY:
        what = f"The probability of {signature.outcome}"
        if isinstance(signature, Signature) and signature.display_name:
            what += f" (`{signature.label}` = {signature.positive or 1})"
    else:
        several = len(signature.outputs) > 1
        answers = [f"{each.name}: {each.in_words}" if several else each.in_words for each in signature.outputs]
        what = f"`{signature.label}`, {', '.join(answers)}"
    if signature.n == 1:
        return f"{what}, given one {takes}, `{next(iter(signature.example()))}`."
    return f"{what}, given {signature.n} {takes}s. They are matched by name, in any case and any order."


def _describe_inputs(path: dict, signature: InputSignature) -> None:
    """What /predict takes where it is no row of features: bodies only, but for texts and single numbers."""
    in_an_address = all(map(is_one_value, signature.inputs))
    if in_an_address:
        path["get"]["parameters"] = [
            {"name": name, "in": "query", "required": True, "schema": each.schema(), "example": value}
            for each, (name, value) in zip(signature.inputs, signature.example().items(), strict=True)
        ]
    else:
        del path["get"]
    content = path["post"]["requestBody"]["content"]
    if None in signature.example().values():  # an array too long to be shown
        del content[_JSON]["examples"]
    if in_an_address:
        content["application/x-www-form-urlencoded"]["schema"] = _ref("Row")
    else:
        del content["application/x-www-form-urlencoded"]
    if signature.takes_pictures:
        file = {"type": "string", "contentMediaType": "application/octet-stream", "description": f"a file: {NAMES}"}
        fields = {
            name_in_requests(signature, each): file if each.kind == "image" else {"type": "string"}
            for each in signature.inputs
        }
        content["multipart/form-data"] = {"schema": _object(fields)}
        if signature.n == 1:
            content["image/*"] = {"schema": file}


def _item(signature: Signature | InputSignature) -> str:
    """The name of the schema of what stands for a row in a list: of one input the value alone, too."""
    return "Item" if isinstance(signature, InputSignature) and signature.n == 1 else "Row"


def _row_of_inputs(signature: InputSignature) -> dict:
    return _object({name_in_requests(signature, each): each.schema() for each in signature.inputs})


def _answer_alone(output: Output) -> dict:
    """The properties of an answer to one row."""
    if output.kind == CLASSES:
        every = {"type": "object", "additionalProperties": _SHARE, "description": "of each class"}
        return {"prediction": _one_of(output), "probability": _SHARE, "probabilities": every}
    if output.kind == ARRAY:
        return {"prediction": _ARRAY}
    text = {"type": "string", "description": "the float32 written in full"}
    return {"prediction": text, **({"value": {"type": "number"}} if output.kind == NUMBER else {"probability": _SHARE})}


def _answer_listed(output: Output) -> dict:
    """What stands for a row in the answer to a list."""
    if output.kind == CLASSES:
        return _object({"label": _one_of(output), "probability": _SHARE})
    return _ARRAY if output.kind == ARRAY else {"type": "number"}


def _one_of(output: Output) -> dict:
    return {"type": "string", "enum": list(output.classes)}


def _answers(signature: Signature | InputSignature) -> tuple[dict, dict]:
    """What an answer to one row holds, and what stands for a row in the answer to a list."""
    outputs = signature.outputs
    if len(outputs) > 1:
        by_name = {output.name: _object(_answer_alone(output)) for output in outputs}
        return {"outputs": _object(by_name)}, _object(by_name)
    listed = _answer_listed(outputs[0])
    if outputs[0].kind == CLASSES and signature.takes_pictures:
        best = {"type": "array", "items": listed, "maxItems": MOST_LABELS, "description": "best first"}
        return {"predictions": best}, listed
    return _answer_alone(outputs[0]), _SHARE if outputs == ONE_PROBABILITY else listed


def _schemas(signature: Signature | InputSignature, values: _Values) -> dict:
    needed = [feature.name for feature in signature.features if not feature.missing]
    alone, listed = _answers(signature)
    success = {"type": "boolean", "const": True}
    sentences = {"type": "object", "additionalProperties": {"type": "string"}}
    notes = {**sentences, "description": "what lies outside of the ranges and texts that are known, by field"}

    def row(value):
        properties = {feature.name: value(feature) for feature in signature.features}
        return {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}

    takes_inputs, version = isinstance(signature, InputSignature), {"type": "string", "description": "its version"}
    return {
        "Row": _row_of_inputs(signature) if takes_inputs else row(values.in_json),
        **({} if takes_inputs else {"Form": row(values.in_text)}),
        **({"Item": {"anyOf": [_ref("Row"), signature.inputs[0].schema()]}} if _item(signature) == "Item" else {}),
        "Instances": _object({"instances": _list(_ref(_item(signature)))}),
        "Prediction": _object({**alone, "success": success}, notes=notes),
        "Predictions": _object(
            {
                "predictions": {"type": "array", "items": {"anyOf": [listed, {"type": "null"}]}},
                "success": success,
            },
            notes=notes,
            errors={**sentences, "description": "with ?errors=rows, what is wrong with the rows answered by null"},
        ),
        "Live": _object({"success": success}),
        "Ready": _object({"success": success, "model": version}, shadow=version, canary=version),
        "Refusal": {
            "type": "object",
            "properties": {
                "success": {"type": "boolean", "const": False},
                "error": {"type": "string"},
                "fields": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            "required": ["success", "error"],
            "additionalProperties": False,
        },
    }


class _Values:
    """What a feature may be, in a query string or form, and in JSON."""

    def __init__(self, strict: bool, unseen: str, values_from: str):
        self.strict, self.unseen = strict, unseen
        self.source = SOURCES[values_from]

    def in_text(self, feature: Feature) -> dict:
        if feature.kind == REAL:
            schema = {"type": "integer" if feature.whole else "number"}
            if self.strict or feature.whole:
                schema |= {"minimum": feature.low, "maximum": feature.high}
            else:
                schema |= {"minimum": -LARGEST, "maximum": LARGEST}
                if feature.usual:
                    schema["description"] = f"usually {usual_in_words(feature.usual)}"
                elif not feature.is_unbounded:
                    schema["description"] = f"{self.source.told_by} {shown(feature.low)} to {shown(feature.high)}"
        elif feature.kind == BINARY and not feature.values:
            schema = {"type": "integer", "enum": [0, 1]}
        elif feature.kind == CATEGORY and self.unseen == "answer":
            schema = {"type": "string", "examples": [*feature.values], "pattern": r"\S"}
        else:
            schema = {"type": "string", "enum": [*feature.values, *feature.pooled]}
        return schema

    def in_json(self, feature: Feature) -> dict:
        """In JSON a yes or no may also be `true` and the article's `"1"`, and what may be missing `null`."""
        if feature.kind == BINARY and not feature.values:
            # each of its types apart: an enum of several has no type in the languages of generated clients
            numbers, texts = {"type": "integer", "enum": [0, 1]}, {"type": "string", "enum": ["0", "1"]}
            schema = {"anyOf": [numbers, {"type": "boolean"}, texts]}
        else:
            schema = self.in_text(feature)
        return {"anyOf": [schema, {"type": "null"}]} if feature.missing else schema

    def parameter(self, feature: Feature, example) -> dict:
        return {
            "name": feature.name,
            "in": "query",
            "required": not feature.missing,
            "schema": self.in_text(feature),
            "example": example,
        }


def _ref(schema: str) -> dict:
    return {"$ref": f"#/components/schemas/{schema}"}


def _plain(operation: str, summary: str, responses: dict) -> dict:
    return {"operationId": operation, "summary": summary, "responses": responses}


def _object(properties: dict, **optional: dict) -> dict:
    return {
        "type": "object",
        "properties": properties | optional,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(items: dict) -> dict:
    return {"type": "array", "items": items, "minItems": 1}


def _content(content: dict, description: str = "The answer") -> dict:
    return {"description": description, "headers": _HEADERS, "content": content}


def _answer(*schemas: str) -> dict:
    refs = [_ref(schema) for schema in schemas]  # a picture's classes, and a list of them, may look alike
    return _content({_JSON: {"schema": refs[0] if len(refs) == 1 else {"anyOf": refs}}})


def _refusal(description: str) -> dict:
    return _content({_JSON: {"schema": _ref("Refusal")}}, description)
