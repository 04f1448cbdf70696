"""serve.py and client.py as a user runs them, and the files for TensorFlow Serving."""

import contextlib
import json
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from script_runs import SCRIPTS, check_refused, hear_ctrl_c, run

SERVING = SCRIPTS.parent / "serving"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_until_it_is_told_to_end(toy_path, number):
    command = [sys.executable, str(SCRIPTS / "serve.py"), f"--model={toy_path}", "--port=0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "preexec_fn": hear_ctrl_c}
    with subprocess.Popen(command, text=True, **pipes) as process:
        try:
            page = re.match(r"page: (http://127\.0\.0\.1:\d+/),", process.stdout.readline())[1]
            request = urllib.request.Request(
                f"{page}v1/models/half_plus_three:predict", b'{"instances": [1.0]}'
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert json.load(answer) == {"predictions": [3.5]}
        finally:
            process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    events = [json.loads(line)["event"] for line in errors.splitlines() if line.startswith("{")]
    assert events == ["serving", "request", "ended"] and "Traceback" not in errors


def test_connections_without_end_shut_nobody_out(toy_path, tmp_path):
    """Three times as many connections as the process may have file descriptors; none asks anything."""
    command = [sys.executable, str(SCRIPTS / "serve.py"), f"--model={toy_path}", "--port=0"]
    few = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))  # noqa: E731
    with open(tmp_path / "log", "wb") as log, contextlib.ExitStack() as held:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, preexec_fn=few)
        with process:
            try:
                host, port = re.search(r"http://([\d.]+):(\d+)/", process.stdout.readline()).groups()
                for _ in range(400):
                    silent = held.enter_context(socket.create_connection((host, port), timeout=10))
                    with contextlib.suppress(OSError):
                        silent.sendall(b"GET /healthz HTTP/1.1\r\n")
                start = time.monotonic()
                with urllib.request.urlopen(f"http://{host}:{port}/healthz", timeout=10) as answer:
                    assert json.load(answer) == {"status": "ok"}
                assert time.monotonic() - start < 5 and process.poll() is None
            finally:
                process.send_signal(signal.SIGTERM)
    assert process.returncode == 0 and (tmp_path / "log").stat().st_size < 10_000


@pytest.mark.parametrize(
    "options, expected",
    [
        (["--host=0.0.0.0"], "--host=0.0.0.0: others can reach it"),
        (["--token_file=gone.txt"], "--token_file=gone.txt: can't be read"),
        (["--model=nowhere"], "nowhere: no SavedModel there"),
        (["--port=70000"], "port"),
    ],
)
def test_mistakes_end_in_one_line(toy_path, options, expected):
    check_refused(run("serve", f"--model={toy_path}", *options), expected)


def test_client_without_a_server_ends_in_one_line(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    options = ["--server=http://127.0.0.1:1", "--model=m", "--tries=1", f"--output={tmp_path}/grades.csv"]
    check_refused(run("client", *options, tmp_path / "a.jpg"), "127.0.0.1:1", "(after 1 tries)")
    assert not (tmp_path / "grades.csv").exists()


def test_list_of_models_is_tensorflow_servings_message():
    config = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    from google.protobuf import text_format

    models = text_format.Parse((SERVING / "models.config").read_text(), config.ModelServerConfig())
    assert [model.base_path for model in models.model_config_list.config] == ["/models/dr"]


@pytest.mark.skipif(not shutil.which("tensorflow_model_server"), reason="no tensorflow_model_server here")
def test_tensorflow_serving_gives_the_same_numbers(tiny, tiny_model, photographs):
    import base64

    import numpy as np

    with socket.create_server(("127.0.0.1", 0)) as free:
        free_port = free.getsockname()[1]
    command = ["tensorflow_model_server", f"--rest_api_port={free_port}", "--port=0", "--model_name=tiny"]
    with subprocess.Popen([*command, f"--model_base_path={tiny_model}"]) as process:
        try:
            content = {"instances": [{"b64": base64.b64encode(data).decode()} for data in photographs]}
            address = f"http://127.0.0.1:{free_port}/v1/models/tiny:predict"
            for _ in range(60):
                try:
                    answer = json.load(
                        urllib.request.urlopen(address, json.dumps(content).encode(), timeout=60)
                    )
                    break
                except OSError:
                    time.sleep(1)
            rows = [{"image_bytes": np.array(data, object)} for data in photographs]
            expected = [row["score"] for row in tiny.run("serving_default", rows)]
            np.testing.assert_allclose([row["score"] for row in answer["predictions"]], expected, atol=1e-4)
        finally:
            process.terminate()
