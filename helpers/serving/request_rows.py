"""What a request that Flask has parsed holds: a form, JSON or bytes, and the rows of a model in them."""

from __future__ import annotations

from codecs import BOM_UTF8
from urllib.parse import unquote_to_bytes

from flask import request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from helpers.data.parameters import Reader, Rows
from helpers.data.refusals import InvalidRequest
from helpers.serving.json_bodies import decode
from helpers.serving.media_types import FORM, JSON, MULTIPART

_NO_PARTS = (
    "the body holds no whole part of a form: the boundary between its parts must be the one in Content-Type, a header "
    "that most clients set by themselves"
)
_IS_JSON = f"this is JSON: send it with the header Content-Type: {JSON}"


def read_rows(reader: Reader) -> tuple[Rows, bool]:
    """The rows of a POST, and whether they came as a list. `?errors=rows` reads on where a row of a list is bad."""
    body = whole_body()
    if request.mimetype == MULTIPART:
        params = _texts_of_form(body) if reader.takes_files else form_fields().copy()
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
    return rows_of(reader, json_body(), keep_going)


def rows_of(reader: Reader, content, keep_going: bool = False) -> tuple[Rows, bool]:
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


def whole_body() -> bytes:
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


def form_fields() -> MultiDict:
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
    texts = form_fields().items(multi=True)
    return MultiDict(
        (name, text if text.encode() in body else text.replace("\ufffd", "\udcff")) for name, text in texts
    )


def json_body():
    """The decoded JSON body, of which no object may hold a name twice."""
    if not request.is_json:
        raise UnsupportedMediaType(_IS_JSON if _looks_like_json(request.get_data()) else None)
    return decode(request.get_data())


def _looks_like_json(body: bytes) -> bool:
    """Whether a body that calls itself something else, or nothing, is an object or a list in JSON."""
    text = unquote_to_bytes(body).removeprefix(BOM_UTF8).strip()  # as `curl --data-urlencode` sends it, too
    return text[:1] + text[-1:] in (b"{}", b"[]")
