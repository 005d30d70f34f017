"""The HTTP contract of both services, over a real socket, with `requests` and with real curl."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import requests

from helpers.export.predictors import load_predictor
from helpers.serving.notebook_server import serve
from helpers.serving.services import create_echo_app, create_predict_app

ARTICLE = {"g1": 1, **{f"g{i}": 0 for i in range(2, 11)}}  # the article's request


@pytest.fixture(scope="module")
def predictor(exported):
    return load_predictor(exported)


@pytest.fixture(scope="module")
def expected(predictor):
    """The probability of the article's request, asked of the model itself."""
    return predictor(predictor.signature.parse(ARTICLE))[0]


@pytest.fixture(scope="module")
def service(predictor):
    with serve(create_predict_app(predictor), port=0) as server:
        yield server.url


@pytest.fixture(scope="module")
def echo():
    with serve(create_echo_app(), port=0) as server:
        yield server.url


def curl(*arguments: str) -> dict:
    assert shutil.which("curl"), "these tests call the real curl: install it"
    done = subprocess.run(["curl", "--silent", "--show-error", *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def refusal(answer: requests.Response, status: int) -> dict:
    """The content of an error, which is JSON of one shape and shows nothing of the code."""
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json"
    content = answer.json()
    assert content["success"] is False and content["error"]
    assert set(content) <= {"success", "error", "fields"}
    assert "Traceback" not in answer.text and ".py" not in answer.text
    return content


# ---- the echo ----


def test_echo_repeats_the_message_by_get_json_and_form(echo):
    want = {"response": "Hello", "success": True}
    assert requests.get(f"{echo}/predict", params={"msg": "Hello"}).json() == want
    assert requests.post(f"{echo}/predict", json={"msg": "Hello"}).json() == want
    assert requests.post(f"{echo}/predict", data={"msg": "Hello"}).json() == want
    assert requests.post(f"{echo}/predict", files={"msg": (None, "Hello")}).json() == want


def test_the_articles_curl_lines_to_the_echo_work(echo):
    assert curl("-X", "GET", f"{echo}/predict?msg=HelloWorld!")["response"] == "HelloWorld!"
    line = ("-X", "POST", "-H", "Content-Type: application/json", "-d", '{ "msg": "Hello World" }')
    assert curl(*line, f"{echo}/predict") == {"response": "Hello World", "success": True}


def test_an_echo_without_a_message_names_it(echo):
    for answer in (
        requests.get(f"{echo}/predict"),
        requests.post(f"{echo}/predict"),
        requests.post(f"{echo}/predict", json={"message": "Hello"}),
        requests.post(f"{echo}/predict", json=["Hello"]),
        requests.post(f"{echo}/predict", data={"m": 1}),
    ):
        assert refusal(answer, 422)["fields"] == {"msg": "missing"}


def test_the_echos_errors_have_the_same_shape(echo):
    headers = {"Content-Type": "application/json"}
    refusal(requests.post(f"{echo}/predict", data=b"{", headers=headers), 400)
    refusal(requests.get(f"{echo}/"), 404)
    refusal(requests.put(f"{echo}/predict"), 405)
    refusal(requests.post(f"{echo}/predict", data=b"<a/>", headers={"Content-Type": "text/xml"}), 415)


# ---- one prediction ----


def test_the_articles_request_is_answered_as_the_article_shows(service, expected):
    answer = requests.get(f"{service}/predict", params=ARTICLE)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/json"
    content = answer.json()
    assert set(content) == {"prediction", "probability", "success"} and content["success"] is True
    assert content["prediction"] == str(expected)
    assert np.float32(content["probability"]) == expected
    assert content["probability"] == float(content["prediction"])


def test_the_articles_curl_lines_and_browser_url_give_the_same_answer(service):
    url = f"{service}/predict?g1=1&g2=0&g3=0&g4=0&g5=0&g6=0&g7=0&g8=0&g9=0&g10=0"
    body = '{ "g1":"1", "g2":"0", "g3":"0", "g4":"0", "g5":"0", "g6":"0", "g7":"0", "g8":"0", "g9":"0", "g10":"0" }'
    by_post = curl("-X", "POST", "-H", "Content-Type: application/json", "-d", body, f"{service}/predict")
    browser = requests.get(url, headers={"Accept": "text/html"}).json()
    assert curl("-X", "GET", url) == by_post == browser


def test_get_json_and_both_kinds_of_form_give_the_same_bytes(service):
    bodies = {
        requests.get(f"{service}/predict", params=ARTICLE).content,
        requests.post(f"{service}/predict", params=ARTICLE).content,
        requests.post(f"{service}/predict", json=ARTICLE).content,
        requests.post(f"{service}/predict", data=ARTICLE).content,
        requests.post(f"{service}/predict", files={k: (None, str(v)) for k, v in ARTICLE.items()}).content,
    }
    assert len(bodies) == 1


def test_features_are_matched_by_name_in_any_case_and_order(service, predictor):
    row = dict(zip(predictor.signature.names, [1, 0, 1, 1, 0, 0, 0, 1, 0, 0], strict=True))
    plain = requests.get(f"{service}/predict", params=row).content
    backwards = dict(reversed(row.items()))
    assert requests.get(f"{service}/predict", params=backwards).content == plain
    assert requests.get(f"{service}/predict", params={k.upper(): v for k, v in backwards.items()}).content == plain
    assert requests.post(f"{service}/predict", json=backwards).content == plain
    # by position these would be two different rows
    assert (
        predictor(np.array([list(row.values())], "f4"))[0] != predictor(np.array([list(backwards.values())], "f4"))[0]
    )


def test_every_possible_request_gets_the_answer_of_the_model(service, predictor):
    rows = predictor.signature.every_input()
    names = predictor.signature.names
    with requests.Session() as session:
        for row, answer in zip(rows[::8], predictor(rows)[::8], strict=True):
            params = dict(zip(names, row.astype(int).tolist(), strict=True))
            got = session.get(f"{service}/predict", params=params).json()["probability"]
            assert np.float32(got) == pytest.approx(answer, abs=1e-6)


# ---- lists ----


def test_a_list_is_answered_in_the_order_sent(service, predictor):
    rows = predictor.signature.sample(50, seed=3)
    names = predictor.signature.names
    content = [dict(zip(names, row.tolist(), strict=True)) for row in rows]
    plain = requests.post(f"{service}/predict", json=content).json()
    assert set(plain) == {"predictions", "success"}
    np.testing.assert_allclose(plain["predictions"], predictor(rows), atol=1e-6)
    assert requests.post(f"{service}/predict", json={"instances": content}).json() == plain
    assert requests.post(f"{service}/predict", json=content[::-1]).json()["predictions"] == plain["predictions"][::-1]


def test_a_list_of_one_is_answered_with_a_list(service):
    assert len(requests.post(f"{service}/predict", json=[ARTICLE]).json()["predictions"]) == 1


# ---- refusals ----

LEFT_OUT = {name: value for name, value in ARTICLE.items() if name != "g7"}


@pytest.mark.parametrize(
    ("change", "field", "problem"),
    [
        (LEFT_OUT, "g7", "missing"),
        ({**ARTICLE, "g11": 0}, "g11", "unknown"),
        ({**ARTICLE, "g3": "abc"}, "g3", "must be 0 or 1"),
        ({**ARTICLE, "g3": ""}, "g3", "missing"),
        ({**ARTICLE, "g3": "nan"}, "g3", "must be 0 or 1"),
        ({**ARTICLE, "g3": "1e999"}, "g3", "must be 0 or 1"),
        ({**ARTICLE, "g3": 2}, "g3", "must be 0 or 1"),
        ({**ARTICLE, "g3": 0.5}, "g3", "must be 0 or 1"),
        ({**ARTICLE, "G1": 1}, "g1", "repeated"),
    ],
)
def test_a_bad_field_is_named_by_get_json_and_form(service, change, field, problem):
    for answer in (
        requests.get(f"{service}/predict", params=change),
        requests.post(f"{service}/predict", json=change),
        requests.post(f"{service}/predict", data=change),
    ):
        assert refusal(answer, 422)["fields"] == {field: problem}


def test_every_bad_field_is_named_at_once(service):
    wrong = {**LEFT_OUT, "g1": "x", "g2": 7, "colour": "red"}
    want = {"g1": "must be 0 or 1", "g2": "must be 0 or 1", "g7": "missing", "colour": "unknown"}
    for answer in (requests.get(f"{service}/predict", params=wrong), requests.post(f"{service}/predict", json=wrong)):
        assert refusal(answer, 422)["fields"] == want


def test_a_name_that_occurs_twice_is_refused_even_with_equal_values(service):
    twice = [*ARTICLE.items(), ("g1", 1)]
    assert refusal(requests.get(f"{service}/predict", params=twice), 422)["fields"] == {"g1": "repeated"}
    assert refusal(requests.post(f"{service}/predict", data=twice), 422)["fields"] == {"g1": "repeated"}
    text = json.dumps(ARTICLE)[:-1] + ', "g1": 1}'
    answer = requests.post(f"{service}/predict", data=text, headers={"Content-Type": "application/json"})
    assert refusal(answer, 422)["fields"] == {"g1": "repeated"}


def test_an_empty_body_names_every_field(service):
    for answer in (
        requests.post(f"{service}/predict"),
        requests.post(f"{service}/predict", headers={"Content-Type": "application/json"}),
        requests.post(f"{service}/predict", json={}),
        requests.post(f"{service}/predict", data={}, headers={"Content-Type": "application/x-www-form-urlencoded"}),
        requests.get(f"{service}/predict"),
    ):
        assert refusal(answer, 422)["fields"] == {name.upper(): "missing" for name in ARTICLE}  # as the table spells


def test_features_in_the_address_of_a_request_with_a_body_are_refused(service):
    answer = requests.post(f"{service}/predict", params={"g1": 1}, json=ARTICLE)
    assert list(refusal(answer, 422)["fields"]) == ["g1"]
    answer = requests.post(f"{service}/predict", params={"errors": "row"}, json=[ARTICLE])
    assert "?errors=rows" in refusal(answer, 422)["error"]


def test_half_a_letter_in_the_name_of_a_row_that_is_left_out_stays_what_it_was(service):
    """JSON can hold one half of a surrogate pair, which UTF-8 cannot."""
    headers = {"Content-Type": "application/json"}
    body = json.dumps([ARTICLE, {**ARTICLE, "\ud800": 1}])
    answer = requests.post(f"{service}/predict?errors=rows", data=body, headers=headers)
    assert answer.status_code == 200 and answer.json()["errors"] == {"[1].\ud800": "unknown"}


def test_a_text_of_the_caller_is_repeated_as_it_was_written(service):
    """A refusal is read in a terminal; only half a letter has to be spelled as an escape."""
    answer = requests.post(f"{service}/predict", json={**ARTICLE, "Größe": 1, "\ud800": 1})
    assert '"Größe":"unknown","\\ud800":"unknown"' in answer.content.decode()
    assert list(refusal(answer, 422)["fields"]) == ["Größe", "\ud800"]


def test_rows_that_are_no_list_are_named_as_such(service):
    for content in ({"instances": ARTICLE}, {"instances": None}):
        assert refusal(requests.post(f"{service}/predict", json=content), 422)["fields"] == {
            "instances": "must be a list"
        }


def test_rows_of_values_alone_are_shown_with_the_names_in_their_order(service):
    values = list(ARTICLE.values())
    shown = ", ".join(f'"{name.upper()}": {value}' for name, value in ARTICLE.items())
    says = "must be an object of names and values, as nothing is matched by its place: {%s} if that is their order"
    answers = [
        requests.post(f"{service}{path}", json=content)
        for path in ("/predict", "/invocations", "/v1/models/games:predict")
        for content in ({"instances": [values]}, [values])
    ]
    assert refusal(answers[0], 422)["fields"] == {"[0]": says % shown}
    assert len({answer.content for answer in answers}) == 1


@pytest.mark.parametrize("content", ["text", 5, None, True, [], ["text"], [[1, 0]], [None], {"instances": []}])
def test_json_of_the_wrong_thing_is_a_422(service, content):
    refusal(requests.post(f"{service}/predict", json=content, headers={"Content-Type": "application/json"}), 422)


def test_a_bad_row_of_a_list_is_named_by_its_number(service):
    answer = requests.post(f"{service}/predict", json=[ARTICLE, {**ARTICLE, "g7": 3}, "row", LEFT_OUT])
    fields = refusal(answer, 422)["fields"]
    assert fields["[1].g7"] == "must be 0 or 1" and fields["[3].g7"] == "missing"
    assert set(fields) == {"[1].g7", "[2]", "[3].g7"}


def test_a_file_is_no_number(service):
    answer = requests.post(f"{service}/predict", data=LEFT_OUT, files={"g7": ("g7.txt", b"1")})
    assert refusal(answer, 422)["fields"] == {"g7": "must be 0 or 1"}


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=y"])
@pytest.mark.parametrize("end", [b"--x--\r\n", b""])
def test_a_form_without_its_boundary_is_told_what_is_missing(service, echo, kind, end):
    body = b'--x\r\nContent-Disposition: form-data; name="g1"\r\n\r\n1\r\n' + end
    for url in (service, echo):
        answer = requests.post(f"{url}/predict", data=body, headers={"Content-Type": kind})
        assert "must be the one in Content-Type" in refusal(answer, 400)["error"]


def test_a_part_without_a_name_is_no_field_called_none(service):
    body = b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--\r\n"
    answer = requests.post(f"{service}/predict", data=body, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert "has no name" in refusal(answer, 422)["error"]


def test_an_encoding_without_a_name_is_none(service):
    assert requests.post(f"{service}/predict", json=ARTICLE, headers={"Content-Encoding": ""}).ok


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "column 2"),
        (b"nothing", "column 1"),
        (b'{"g1": 1 "g2": 2}', "column 10"),
        (b'{"g1', "Unterminated string starting at line 1, column 2"),
        (b'{"\xe9": 1}', "UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 5000, "too many digits"),
    ],
)
def test_malformed_json_is_a_400_that_says_what_is_wrong_with_it(service, body, says):
    answer = requests.post(f"{service}/predict", data=body, headers={"Content-Type": "application/json"})
    assert says in refusal(answer, 400)["error"]


def test_wrong_path_method_and_media_type_are_told(service):
    refusal(requests.get(f"{service}/nothing"), 404)
    for call in (requests.put, requests.delete, requests.patch):
        answer = call(f"{service}/predict", json=ARTICLE)
        assert f"takes GET and POST, not {answer.request.method}" in refusal(answer, 405)["error"]
        assert {"GET", "POST"} <= {method.strip() for method in answer.headers["Allow"].split(",")}
    refusal(requests.post(f"{service}/predict", data=b"g1=1", headers={"Content-Type": "text/plain"}), 415)
    refusal(requests.get(f"{service}/static/page.js", headers={"Range": "bytes=999999999-"}), 416)


def test_a_body_beyond_the_limit_is_a_413(service):
    headers = {"Content-Type": "application/json"}
    for body in (b" " * 1_100_000, (b" " * 65536 for _ in range(20))):
        answer = requests.post(f"{service}/predict", data=body, headers=headers)
        assert "the 1,048,576 bytes that" in refusal(answer, 413)["error"]


def test_of_a_form_in_parts_the_number_of_fields_is_limited_and_the_length_of_each_as_the_body_is(service):
    answer = requests.post(f"{service}/predict", files={f"x{i}": (None, "1") for i in range(1001)})
    assert "more than 1,000 fields: send them as JSON" in refusal(answer, 413)["error"]
    refusal(requests.post(f"{service}/predict", files={"g1": (None, "1" * 600_000)}), 422)


def test_headers_beyond_the_limit_are_refused_in_the_same_shape(service):
    assert 400 <= requests.get(f"{service}/predict", headers={"X-Long": "x" * 20_000}).status_code < 500
    refusal(requests.get(f"{service}/predict", headers={"X-Long": "x" * 20_000}), 431)
    refusal(requests.get(f"{service}/predict?" + "g1=1&" * 5_000), 414)


def test_the_same_connection_serves_right_and_wrong_requests_in_turn(service):
    with requests.Session() as session:
        for _ in range(3):
            assert session.get(f"{service}/predict", params=ARTICLE).status_code == 200
            assert session.get(f"{service}/predict").status_code == 422
            assert session.post(f"{service}/predict", json=[ARTICLE]).status_code == 200
            assert session.get(f"{service}/nothing").status_code == 404


# ---- health, description, pages ----


def test_health_and_readiness(service, predictor):
    assert requests.get(f"{service}/health/live").json() == {"success": True}
    assert requests.get(f"{service}/health/ready").json() == {"success": True, "model": predictor.version}


def test_head_and_options_are_answered(service):
    head = requests.head(f"{service}/predict", params=ARTICLE)
    assert head.status_code == 200 and head.content == b"" and head.headers["Content-Type"] == "application/json"
    assert "POST" in requests.options(f"{service}/predict").headers["Allow"]


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_pages_load_nothing_from_another_host(service, path):
    answer = requests.get(service + path)
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assets = ["/static/service.css", "/static/page.js" if path == "/" else "/static/docs.js"]
    texts = [answer.text]
    for asset in assets:
        assert asset[1:] in answer.text
        texts.append(requests.get(service + asset).text)
    for text in texts:
        assert "http://" not in text and "https://" not in text and "//cdn" not in text


def test_every_answer_carries_a_request_id(service):
    answers = [requests.get(service + path) for path in ("/predict", "/nothing", "/health/live", "/", "/metrics")]
    ids = [answer.headers["X-Request-ID"] for answer in answers]
    assert len(set(ids)) == len(ids)
    mine = requests.get(f"{service}/predict", headers={"X-Request-ID": "order-17"})
    assert mine.headers["X-Request-ID"] == "order-17"
    forged = requests.get(f"{service}/predict", headers={"X-Request-ID": 'a" b'})
    assert forged.headers["X-Request-ID"] != 'a" b'
