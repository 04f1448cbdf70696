"""The server with the model of TensorFlow Serving's documentation: its examples, limits, and end."""

import base64
import concurrent.futures
import itertools
import json
import logging
import socket
import time

import pytest
from running_server import serving

from dr_keras.errors import InputError

PREDICT = "/v1/models/half_plus_three:predict"
TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def server(half_plus_three):
    with serving(half_plus_three) as running:
        yield running


def limits(**options):
    from dr_keras.serving.settings import Limits

    return Limits(**options)


def test_documented_examples(server):
    assert server.get("/v1/models/half_plus_three")[1] == {
        "model_version_status": [
            {"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }
    assert server.post(PREDICT, b'{"instances": [1.0,2.0,5.0]}') == (200, {"predictions": [3.5, 4.0, 5.5]})
    assert server.post(PREDICT, {"inputs": [1.0, 2.0]}) == (200, {"outputs": [3.5, 4.0]})
    answer = server.ask("POST", "/v1/models/half:predict", b'{"instances": [1.0,5.0]}')
    assert answer[0] == 404 and answer[1]["Content-Type"] == "application/json"
    assert json.loads(answer[2]) == {"error": "Servable not found for request: Latest(half)"}


def test_versions(server):
    path = "/v1/models/half_plus_three/versions/"
    assert server.post(f"{path}123:predict", {"instances": [1]}) == (200, {"predictions": [3.5]})
    missing = {"error": "Servable not found for request: Specific(half_plus_three, 7)"}
    assert server.post(f"{path}7:predict", {"instances": [1]}) == (404, missing)
    assert server.get(f"{path}123")[0] == 200
    assert server.get(f"{path}7") == (404, {"error": "Could not find version 7 of model half_plus_three"})
    assert server.get("/v1/models/half") == (404, {"error": "Could not find any versions of model half"})
    assert server.get(f"{path}{'9' * 40}")[0] == 400


def test_signature_of_several_inputs(server):
    rows = [
        {"tag": "foo", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]},
        {"tag": "bar", "signal": [3, 4, 1, 2, 5], "sensor": [[4, 5], [6, 8]]},
    ]
    status, answer = server.post(PREDICT, {"signature_name": "mirror", "instances": rows})
    assert status == 200
    assert answer["predictions"][1] == {
        "tag": "bar", "tag_bytes": {"b64": "YmFy"}, "signal": [3, 4, 1, 2, 5], "total": 23.0
    }  # fmt: skip
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    status, answer = server.post(PREDICT, {"signature_name": "mirror", "inputs": columns})
    assert (
        status == 200
        and answer["outputs"]["total"] == [10, 23]
        and answer["outputs"]["tag"] == ["foo", "bar"]
    )


def test_metadata_has_the_signatures(server):
    status, answer = server.get("/v1/models/half_plus_three/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": "half_plus_three", "signature_name": "", "version": "123"}
    definition = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert definition["method_name"] == "tensorflow/serving/predict"
    assert definition["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert definition["inputs"]["x"]["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]


@pytest.mark.parametrize(
    "path, content, status, reason",
    [
        (PREDICT, b"{", 400, "JSON Parse error"),
        (PREDICT, {"signature_name": "nope", "instances": [1]}, 400, '"nope" not found in signature def'),
        (PREDICT, {"inputs": 5}, 400, "input x: expected shape [-1] but got: []"),
        (PREDICT, {"inputs": []}, 400, "no values"),
        (PREDICT, {"instances": [[1, 2]]}, 400, "expected shape [-1] but got: [1, 2]"),
        (PREDICT, {"instances": [0] * 65}, 413, "65 photographs in a request, expected at most 64"),
        (PREDICT.replace("predict", "classify"), {"examples": []}, 400, "Expected classify signature"),
        (PREDICT.replace("predict", "explain"), {}, 400, "Malformed request: POST"),
        ("/v1/models/half_plus_three", {}, 400, "Malformed request: POST"),
        ("/v1/models/half_plus_three/labels/stable:predict", {}, 400, "label: stable"),
        ("/v1/models/..%2f..%2fetc%2fpasswd:predict", {}, 400, "Malformed request"),
        ("/v1/models/../../etc/passwd:predict", {}, 400, "Malformed request"),
        ("/v1/models/%00%1b:predict", {}, 404, "Servable not found"),
        ("/v1/models/%0d%0a:predict", {}, 404, "Not Found"),
        ("/v1/models/" + "a" * 2000 + ":predict", {}, 404, "Servable not found"),
        ("/nope", {}, 404, "Not Found"),
        ("/healthz", {}, 405, "Method Not Allowed"),
    ],
)
def test_wrong_requests_end_in_one_line(server, path, content, status, reason):
    got, answer = server.post(path, content)
    assert got == status and list(answer) == ["error"]
    assert reason in answer["error"] and "\n" not in answer["error"] and len(answer["error"]) <= 300


def test_different_shapes_at_once_are_not_mixed(server):
    def ask(length):
        sensor = [[[length, 0], [0, 0]]]
        columns = {"tag": ["x"], "signal": [[1.0] * length], "sensor": sensor}
        return server.post(PREDICT, {"signature_name": "mirror", "inputs": columns})

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for length, (status, answer) in zip(range(1, 17), pool.map(ask, range(1, 17)), strict=True):
            assert status == 200 and answer["outputs"]["signal"] == [[1.0] * length]
            assert answer["outputs"]["total"] == [length]


def test_only_its_own_address_is_answered_without_a_token(server):
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", ""):
        assert server.ask("GET", "/healthz", headers={"Host": host})[0] == 421
    for host in ("localhost:1", "127.0.0.1", "[::1]:8501"):
        assert server.ask("GET", "/healthz", headers={"Host": host})[0] == 200


def test_other_sites_get_no_permission(server):
    headers = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    for method in ("OPTIONS", "GET"):
        answer = server.ask(method, "/v1/models/half_plus_three", headers=headers)
        assert not [name for name in answer[1] if name.lower().startswith("access-control")]


@pytest.mark.parametrize("path", ["/grade", "/occlude", "/report", PREDICT, "/v1/models/other:predict"])
def test_pages_from_elsewhere_can_send_nothing(server, path):
    """A form or script on any page could otherwise make a browser on this machine post here."""
    host = server.page.split("/")[2]
    elsewhere = (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site", "Origin": f"http://{host}"},
    )
    for headers in elsewhere:
        status, answer = server.post(path, b"x", headers=headers)
        assert status == 403 and "a page from elsewhere" in answer["error"], headers
    for headers in ({}, {"Origin": f"http://{host}"}, {"Sec-Fetch-Site": "same-origin", "Origin": "null"}):
        assert server.ask("POST", path, b"x", headers)[0] != 403, headers
    assert server.ask("GET", "/", headers=elsewhere[0])[0] == 200  # a link


def test_token_is_asked_for(half_plus_three):
    with serving(half_plus_three, token=TOKEN) as server:
        for path in ("/", "/page.js", "/source.js", "/page.css", "/healthz"):
            assert server.ask("GET", path)[0] == 200
        for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
            for method, path in (
                ("GET", "/metrics"),
                ("POST", PREDICT),
                ("POST", "/grade"),
                ("GET", "/nope"),
            ):
                status, headers, answer = server.ask(method, path, headers=header)
                assert status == 401 and headers["WWW-Authenticate"] == "Bearer"
                assert "Authorization: Bearer" in json.loads(answer)["error"]
        status, answer = server.post(
            PREDICT, {"instances": [1]}, headers={"Authorization": f"Bearer {TOKEN}"}
        )
        assert status == 200 and answer == {"predictions": [3.5]}


@pytest.mark.parametrize(
    "settings, reason",
    [
        ({"host": "0.0.0.0"}, "--host=0.0.0.0: others can reach it; expected --token_file"),
        ({"host": "example.org"}, "others can reach it"),
        ({"token": "short"}, "5 characters, expected at least 16"),
        ({"tls_cert": "gone.pem"}, "--tls_cert and --tls_key together"),
        ({"tls_cert": "gone.pem", "tls_key": "gone.pem"}, "--tls_cert=gone.pem: no such file"),
    ],
)
def test_unsafe_settings_are_refused(half_plus_three, settings, reason):
    with pytest.raises(InputError, match=reason):
        with serving(half_plus_three, **settings):
            pass


def test_taken_port_is_told(half_plus_three):
    from dr_keras.serving.server import _listen
    from dr_keras.serving.settings import Settings

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"--port={port}: can't listen there"):
            _listen(Settings(port=port))


def test_body_is_limited_in_size_and_time(half_plus_three):
    with serving(half_plus_three, limits=limits(max_body=1 << 20, body_seconds=1)) as server:
        status, answer = server.post(PREDICT, b" " * (1 << 20) + b"x")
        assert status == 413 and "at most 1 MiB" in answer["error"]

        with server.connect() as endless:
            endless.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\n".encode())
            endless.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
            for _ in range(17):
                endless.sendall(b"10000\r\n" + b" " * (1 << 16) + b"\r\n")
            assert endless.makefile("rb").read().startswith(b"HTTP/1.1 413")
        with server.connect() as slow:
            slow.sendall(
                f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{{".encode()
            )
            answer = slow.makefile("rb").read()
            assert answer.startswith(b"HTTP/1.1 408") and b"didn't arrive within 1 seconds" in answer
        with server.connect() as silent:
            silent.sendall(b"POST / HTTP/1.1\r\nHo")
            assert silent.recv(4096) == b""
        assert server.post(PREDICT, {"instances": [1]})[0] == 200


def test_next_request_is_waited_for_no_longer_than_the_first(half_plus_three):
    with serving(half_plus_three, limits=limits(body_seconds=1)) as server:
        with server.connect() as trickling:
            trickling.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert trickling.recv(4096).startswith(b"HTTP/1.1 200")
            trickling.settimeout(0.1)
            start, ended = time.monotonic(), False
            for letter in itertools.cycle("GET /healthz"):
                try:
                    trickling.sendall(letter.encode())
                    ended = trickling.recv(4096) == b""
                except TimeoutError:
                    pass
                except OSError:
                    ended = True
                if ended or time.monotonic() - start > 10:
                    break
        assert ended and 0.5 < time.monotonic() - start < 4
        with server.connect() as pipelining:  # the second request is under way when the first is answered
            request = json.dumps(work(150_000)).encode()
            head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(request)}\r\n\r\n"
            pipelining.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" + head.encode() + request)
            assert pipelining.makefile("rb").read().count(b"HTTP/1.1 200 OK\r\n") == 2


def test_ten_million_empty_strings_are_refused_at_once(half_plus_three):
    body = b'{"instances": [' + b'"",' * 10_000_000 + b'""]}'
    with serving(half_plus_three) as server:
        start = time.monotonic()
        status, answer = server.post(PREDICT, body)
        assert status == 413 and "expected at most 64 rows" in answer["error"]
        assert time.monotonic() - start < 3


def test_time_for_an_answer_holds_for_parsing_too(half_plus_three):
    rows = {"tag": "x", "signal": [1.5] * 2_000_000, "sensor": [[1, 2], [3, 4]]}
    with serving(half_plus_three, limits=limits(seconds=0.3)) as server:
        status, answer = server.post(PREDICT, {"signature_name": "mirror", "instances": [rows]})
        assert status == 504 and answer["error"] == "not answered within 0.3 seconds"


def work(steps, rows=1):
    return {"signature_name": "work", "instances": [steps] * rows}


def test_answer_that_takes_too_long_is_given_up(half_plus_three):
    with serving(half_plus_three, limits=limits(seconds=0.2)) as server:
        status, answer = server.post(PREDICT, work(100_000))
        assert status == 504 and answer["error"] == "not answered within 0.2 seconds"


def test_callers_share_a_batch_and_a_flood_is_turned_away(half_plus_three):
    with serving(half_plus_three, limits=limits(max_batch=4, max_queue=8)) as server:
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            first = pool.submit(server.ask, "POST", PREDICT, json.dumps(work(60_000)))
            time.sleep(0.1)
            rest = [pool.submit(server.ask, "POST", PREDICT, json.dumps(work(1))) for _ in range(39)]
            answers = [future.result() for future in rest]
            assert first.result()[0] == 200
        statuses = [status for status, _, _ in answers]
        assert set(statuses) == {200, 503} and statuses.count(200) >= 8
        for status, headers, body in answers:
            if status == 503:
                assert headers["Retry-After"] == "1" and "try again" in json.loads(body)["error"]
        rows = [json.loads(body)["predictions"][0]["rows"] for status, _, body in answers if status == 200]
        assert max(rows) == 4
        assert server.post(PREDICT, work(1))[0] == 200


def test_who_is_turned_away_while_it_sends_hears_why(half_plus_three):
    """A connection that is closed on a sender resets, and the answer is lost: so the rest is read first."""
    large = json.dumps(work(1)).encode() + b" " * (6 << 20)
    with serving(half_plus_three, limits=limits(max_batch=1, max_queue=1), token=TOKEN) as server:
        token = {"Authorization": f"Bearer {TOKEN}"}
        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            asked = [pool.submit(server.ask, "POST", PREDICT, large, token) for _ in range(24)]
            answers = [future.result() for future in asked]
        assert {status for status, _, _ in answers} == {200, 503}
        assert server.ask("POST", PREDICT, large)[0] == 401
        assert server.ask("POST", "/v1/models/other:predict", large, token)[0] == 404


def test_what_waits_is_answered_before_the_end(half_plus_three):
    with serving(half_plus_three, limits=limits(max_batch=1)) as server:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(server.post, PREDICT, work(10_000)) for _ in range(8)]
            time.sleep(0.2)
            server.stop()
            assert [call.result()[0] for call in calls] == [200] * 8
        with pytest.raises(ConnectionRefusedError):
            server.get("/healthz")


def test_metrics_and_log_count_and_tell_nothing_of_the_photograph(half_plus_three, caplog):
    from dr_keras.serving.telemetry import JsonLines

    secret = base64.b64encode(b"Jane Doe").decode()
    with serving(half_plus_three) as server, caplog.at_level(logging.INFO, "dr_keras.serving"):
        server.post(PREDICT, {"instances": [1.0, 2.0]})
        server.post(PREDICT, {"instances": [secret]})
        server.post(f"/v1/models/{secret}:predict", {"instances": [1]})
        metrics = server.ask("GET", "/metrics")[2].decode()
    route = 'route="/v1/{path:path}"'
    assert f'dr_keras_requests_total{{{route},status="200"}} 1.0' in metrics
    assert f'dr_keras_requests_total{{{route},status="400"}} 1.0' in metrics
    assert "dr_keras_batch_size_sum 2.0" in metrics and "dr_keras_queue_length 0.0" in metrics
    lines = [JsonLines().format(record) for record in caplog.records if record.name == "dr_keras.serving"]
    fields = [json.loads(line) for line in lines]
    graded = next(line for line in fields if line.get("rows"))
    assert graded["rows"] == 2 and graded["status"] == 200 and graded["signature"] == "serving_default"
    assert secret not in metrics + "".join(lines)


def test_unexpected_error_is_500_without_its_words(half_plus_three, caplog):
    from dr_keras.serving.telemetry import JsonLines

    with serving(half_plus_three) as server, caplog.at_level(logging.INFO, "dr_keras.serving"):
        status, answer = server.post("/grade", b"\xff\xd8\xff")  # this model takes no photographs
        assert status == 500 and answer["error"] == "unexpected error; the server's log has it"
        assert server.post(PREDICT, {"instances": [1]})[0] == 200
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records]
    error = next(line for line in lines if line["event"] == "unexpected error")
    assert error["error"] == "KeyError" and any(place.startswith("predictor.py:") for place in error["at"])
    assert "image_bytes" not in json.dumps(lines)
