"""An embedded server of a model, in a process of its own, for the benchmarks that ask it."""

import base64
import contextlib
import http.client
import json
import subprocess
import sys
import urllib.parse
from pathlib import Path

from dr_keras.errors import InputError

_SERVE = Path(__file__).resolve().parents[1] / "scripts" / "serve.py"
_NAME = "measured"


@contextlib.contextmanager
def running(model, *options):
    """Runs serve.py; yields its process, whose `address` is (host, port, path of Predict)."""
    command = [sys.executable, str(_SERVE), f"--model={model}", f"--name={_NAME}", "--port=0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            line = process.stdout.readline()
            if not line.startswith("page: "):
                raise InputError(f"--model={model}: serve.py didn't start; run it by hand")
            where = urllib.parse.urlsplit(line.split()[1].rstrip(","))
            process.address = where.hostname, where.port, f"/v1/models/{_NAME}:predict"
            yield process
        finally:
            process.terminate()


def request_body(photographs, signature="serving_default"):
    """A request for encoded photographs, in the row form."""
    instances = [{"b64": base64.b64encode(data).decode()} for data in photographs]
    return json.dumps({"signature_name": signature, "instances": instances}).encode()


def connect(address, seconds=120):
    """A connection to a server; and the function of a body that asks it: status and bytes of the answer."""
    host, port, path = address
    connection = http.client.HTTPConnection(host, port, timeout=seconds)

    def ask(body):
        connection.request("POST", path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()

    return connection, ask
