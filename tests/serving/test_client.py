"""The client against servers that are busy, away, or something else."""

import contextlib
import csv
import email.utils
import http.server
import json
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from script_runs import SCRIPTS, hear_ctrl_c

from dr_keras.errors import InputError
from dr_keras.serving import client
from dr_keras.serving.client import RestClient, score_files

FINE = {"predictions": [{"score": 1.9395084, "grade": 2, "message": ""}]}


@contextlib.contextmanager
def answering(answers):
    """A server that gives one (status, headers, content) after the other, the last again and again."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"null")
            seen.append((time.monotonic(), self.path, dict(self.headers), body))
            status, headers, content = answers[min(len(seen), len(answers)) - 1]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        do_GET = do_POST

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


def test_retry_after_may_be_a_date_and_429_is_busy_too(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "_FIRST_WAIT", 0.01)
    (tmp_path / "a.jpg").write_bytes(b"photograph")
    soon = {"Retry-After": email.utils.formatdate(time.time() + 2, usegmt=True)}
    with answering([(429, soon, {}), (503, {"Retry-After": "soon"}, {}), (200, {}, FINE)]) as (address, seen):
        (result,) = score_files(RestClient(address, "m"), [str(tmp_path / "a.jpg")])
    assert result.grade == 2 and len(seen) == 3
    assert 0.9 < seen[1][0] - seen[0][0] < 2.5 and seen[2][0] - seen[1][0] < 0.5


@pytest.mark.parametrize("status", [504, 500, 502, 408])
def test_failure_on_one_photograph_is_its_row(tmp_path, status):
    paths = [str(tmp_path / f"{number}.jpg") for number in range(30)]
    for path in paths:
        open(path, "wb").write(b"photograph")
    with answering([(status, {}, {"error": "no answer"}), (200, {}, FINE)]) as (address, seen):
        results = list(score_files(RestClient(address, "m"), paths))
    assert [result.image for result in results] == paths and len(seen) == 30
    assert sorted(result.reason for result in results) == [""] * 29 + ["no answer"]


def test_photograph_that_takes_too_long_is_its_row(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "_FIRST_WAIT", 0.01)
    for name in "ab":
        (tmp_path / f"{name}.jpg").write_bytes(name.encode())

    class Ask(RestClient):
        def __call__(self, data, retry):
            if data == b"a":  # to a port where nobody answers
                return RestClient(f"http://127.0.0.1:{deaf.getsockname()[1]}", "m", seconds=0.2)(data, retry)
            return super().__call__(data, retry)

    with socket.create_server(("127.0.0.1", 0)) as deaf, answering([(200, {}, FINE)]) as (address, _):
        paths = [str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")]
        slow, fine = score_files(Ask(address, "m"), paths, tries=2)
    assert "timed out (after 2 tries)" in slow.reason and fine.grade == 2


def test_what_is_done_when_the_server_is_lost_was_yielded(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(b"photograph")
    results = []
    with answering([(200, {}, FINE)] + [(401, {}, {"error": "token expired"})]) as (address, _):
        ask = RestClient(address, "m")
        with pytest.raises(InputError, match="token expired"):
            for result in score_files(ask, sorted(map(str, tmp_path.iterdir()))):
                results.append(result)
    assert len(results) <= 1  # whichever of the three was asked first


def test_stopping_waits_for_no_further_try(tmp_path):
    """Ctrl-C closes the generator while its threads wait half a minute for a busy server."""
    (tmp_path / "a.jpg").write_bytes(b"photograph")
    with answering([(503, {"Retry-After": "30"}, {})]) as (address, seen):
        results = score_files(RestClient(address, "m"), ["missing.jpg"] + [str(tmp_path / "a.jpg")] * 20)
        assert "can't be read" in next(results).reason
        while len(seen) < 8:
            time.sleep(0.01)
        start = time.monotonic()
        results.close()
    assert time.monotonic() - start < 5


def test_name_of_the_only_model_is_asked_for(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"photograph")
    listed = 200, {}, {"models": [{"name": "a grader", "version": "3"}]}
    with answering([listed, (200, {}, FINE)]) as (address, seen):
        (result,) = score_files(RestClient(address, token="secret"), [str(tmp_path / "a.jpg")])
    assert result.grade == 2 and [path for _, path, *_ in seen] == [
        "/v1/models", "/v1/models/a%20grader:predict"
    ]  # fmt: skip
    assert seen[0][2]["Authorization"] == "Bearer secret"
    several = 200, {}, {"models": [{"name": "a"}, {"name": "b"}]}
    for answer in (several, (400, {}, {"error": "Malformed request"}), (200, {}, [1])):
        with answering([answer]) as (address, _), pytest.raises(InputError, match="expected --model"):
            RestClient(address)
    with pytest.raises(InputError, match="refused"):
        RestClient("http://127.0.0.1:1")


def test_photographs_follow_no_redirect(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"photograph")
    with answering([(200, {}, FINE)]) as (elsewhere, seen):
        with answering([(307, {"Location": elsewhere}, {})]) as (address, _):
            with pytest.raises(InputError, match="307"):
                list(score_files(RestClient(address, "m"), [str(tmp_path / "a.jpg")]))
    assert not seen


@pytest.mark.parametrize("then, ends", [((503, {"Retry-After": "60"}, {}), 130), ((401, {}, {}), 2)])
def test_rows_that_are_done_are_kept_when_the_run_ends_early(tmp_path, then, ends):
    """By Ctrl-C while the server is busy, or because the server turns the client away."""
    for number in range(40):
        (tmp_path / f"{number:02d}.jpg").write_bytes(b"photograph")
    with answering([(200, {}, FINE)] * 20 + [then]) as (address, seen):
        command = [sys.executable, SCRIPTS / "client.py", f"--server={address}", "--model=m"]
        command += [f"--output={tmp_path}/grades.csv", tmp_path]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "preexec_fn": hear_ctrl_c}
        with subprocess.Popen(command, text=True, **pipes) as process:
            while len(seen) < 21:
                assert process.poll() is None
                time.sleep(0.05)
            time.sleep(0.5)
            if ends == 130:
                process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
    assert process.returncode == ends and "Traceback" not in errors, errors
    with open(tmp_path / "grades.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert "grades.csv: 20 graded, 0 not gradable, 0 unreadable before it was stopped" in errors
    assert len(rows) == 20 and {row["grade"] for row in rows} == {"2"}
