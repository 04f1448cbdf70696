"""The client against servers that are busy, away, or something else."""

import contextlib
import http.server
import json
import socket
import threading
import time

import pytest

from dr_keras.errors import InputError
from dr_keras.serving import client
from dr_keras.serving.client import Busy, RestClient, score_files

FINE = {"predictions": [{"score": 1.9395084, "grade": 2, "message": ""}]}


@contextlib.contextmanager
def answering(answers):
    """A server that gives one (status, headers, content) after the other, the last again and again."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((time.monotonic(), self.path, dict(self.headers), body))
            status, headers, content = answers[min(len(seen), len(answers)) - 1]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,)).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", seen
    finally:
        server.shutdown()
        server.server_close()


def test_busy_server_is_asked_again_ever_more_slowly(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "_FIRST_WAIT", 0.1)
    (tmp_path / "a.jpg").write_bytes(b"photograph")
    busy = 503, {}, {"error": "the queue is full"}
    with answering([busy, busy, (503, {"Retry-After": "1"}, busy[2]), (200, {}, FINE)]) as (address, seen):
        results = list(score_files(RestClient(address, "my model", "secret"), [str(tmp_path / "a.jpg")]))
    (result,) = results
    assert (result.image, result.grade, result.reason) == (str(tmp_path / "a.jpg"), 2, "")
    assert result.score == pytest.approx(1.9395084) and result.gradable
    times = [moment for moment, *_ in seen]
    waits = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
    assert waits[0] > 0.04 and waits[1] > 0.09 and waits[2] >= 1
    _, path, headers, body = seen[0]
    assert path == "/v1/models/my%20model:predict" and headers["Authorization"] == "Bearer secret"
    assert body == {"instances": [{"b64": "cGhvdG9ncmFwaA=="}]}


def test_server_that_stays_busy_or_away_ends_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "_FIRST_WAIT", 0.01)
    (tmp_path / "a.jpg").write_bytes(b"photograph")
    paths = [str(tmp_path / "a.jpg")]
    with answering([(503, {}, {"error": "the queue is full"})]) as (address, seen):
        with pytest.raises(InputError, match=r"the queue is full \(after 3 tries\)"):
            list(score_files(RestClient(address, "m"), paths, tries=3))
    assert len(seen) == 3
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(InputError, match=rf"127.0.0.1:{port}.*refused.*\(after 2 tries\)"):
        list(score_files(RestClient(f"http://127.0.0.1:{port}", "m"), paths, tries=2))


@pytest.mark.parametrize(
    "answer, reason",
    [
        ((404, {}, {"error": "Servable not found for request: Latest(m)"}), "Servable not found"),
        ((401, {}, {"error": "expected the header Authorization"}), "expected the header"),
        ((200, {}, {"predictions": [[0.1, 0.9]]}), "not the answer of a model made by export.py"),
        ((200, {}, {"hello": 1}), "not the answer of a model made by export.py"),
        ((500, {}, "?"), "500 Internal Server Error"),
    ],
)
def test_what_no_other_try_helps_ends_at_once(tmp_path, answer, reason):
    (tmp_path / "a.jpg").write_bytes(b"photograph")
    with answering([answer]) as (address, seen), pytest.raises(InputError, match=reason):
        list(score_files(RestClient(address, "m"), [str(tmp_path / "a.jpg")]))
    assert len(seen) == 1


def test_photograph_that_is_refused_has_its_reason(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"photograph")
    paths = [str(tmp_path / "a.jpg"), str(tmp_path / "gone.jpg")]
    with answering([(400, {}, {"error": "photograph 0: the JPEG file is truncated"})]) as (address, _):
        refused, gone = score_files(RestClient(address, "m"), paths)
    assert refused.reason == "the JPEG file is truncated" and "can't be read" in gone.reason
    assert not refused.readable and not gone.readable


def test_address_is_checked():
    for server in ("127.0.0.1:8501", "ftp://x", "http://"):
        with pytest.raises(InputError, match="expected http://HOST:PORT"):
            RestClient(server, "m")
    with pytest.raises(Busy):
        RestClient("http://127.0.0.1:1", "m")(b"x")
