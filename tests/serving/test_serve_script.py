"""serve.py and client.py as a user runs them, and the files for TensorFlow Serving."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from script_runs import SCRIPTS, check_refused, run

SERVING = SCRIPTS.parent / "serving"


def test_serves_until_it_is_told_to_end(toy_path):
    command = [sys.executable, str(SCRIPTS / "serve.py"), f"--model={toy_path}", "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            page = re.match(r"page: (http://127\.0\.0\.1:\d+/),", process.stdout.readline())[1]
            request = urllib.request.Request(
                f"{page}v1/models/half_plus_three:predict", b'{"instances": [1.0]}'
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert json.load(answer) == {"predictions": [3.5]}
        finally:
            process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    events = [json.loads(line)["event"] for line in errors.splitlines() if line.startswith("{")]
    assert events == ["serving", "request", "ended"] and "Traceback" not in errors


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
    import time

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
