"""Sends photographs to a server that speaks TensorFlow Serving's REST or gRPC, ours or that one."""

import base64
import functools
import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request

import numpy as np

from dr_keras.data import decoding
from dr_keras.data.parallel import batches_ahead
from dr_keras.errors import InputError
from dr_keras.inference.graded import Graded

SIGNATURE = "serving_default"
PHOTOGRAPHS = "image_bytes"
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0  # seconds
_AHEAD = 8  # photographs in a group; two groups are under way


class Busy(Exception):
    """The server can't be reached, or has no room: worth another try.

    Args:
        message: why.
        wait: seconds that the server asks to wait, or 0.
    """

    def __init__(self, message, wait=0.0):
        super().__init__(message)
        self.wait = wait


class RestClient:
    """Grades photographs over REST.

    Args:
        server: address, "http://HOST:PORT".
        model: its name.
        token: for `Authorization: Bearer`, or None.
        seconds: for one answer.

    Raises:
        InputError: if `server` is no such address.
    """

    def __init__(self, server, model, token=None, seconds=60.0):
        parts = urllib.parse.urlsplit(server)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise InputError(f"--server={server}: expected http://HOST:PORT")
        name = urllib.parse.quote(model, safe="")
        self._url = f"{server.rstrip('/')}/v1/models/{name}:predict"
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._seconds = seconds

    def __call__(self, data):
        """Grades one photograph.

        Args:
            data: bytes of its file.

        Returns:
            (score, grade, error, fault): a float, an int, "" and why the photograph is too bad to be graded
            or ""; or NaN, -1, why it can't be read, and None.

        Raises:
            Busy: if another try may help.
            InputError: if none will, whatever the photograph.
        """
        content = {"instances": [{"b64": base64.b64encode(data).decode()}]}
        request = urllib.request.Request(self._url, json.dumps(content).encode(), self._headers)
        try:
            with urllib.request.urlopen(request, timeout=self._seconds) as answer:
                row = json.load(answer)["predictions"][0]
            return _result(row["score"], row["grade"], row["message"])
        except urllib.error.HTTPError as error:
            return _refused(error.code, _reason(error), float(error.headers.get("Retry-After") or 0))
        except (OSError, http.client.HTTPException) as error:
            raise Busy(f"{self._url}: {getattr(error, 'reason', None) or error}") from None
        except (ValueError, KeyError, IndexError, TypeError):
            raise InputError(f"{self._url}: not the answer of a model made by export.py") from None


class GrpcClient:
    """Grades photographs over gRPC, with the package tensorflow-serving-api; arguments as for `RestClient`.

    Args:
        server: address, "HOST:PORT".
        model, token, seconds: as for `RestClient`.
        certificate: bytes of a root certificate, for an encrypted connection; None for a plain one.
    """

    def __init__(self, server, model, token=None, seconds=60.0, certificate=None):
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

        if certificate is None:
            channel = grpc.insecure_channel(server)
        else:
            channel = grpc.secure_channel(server, grpc.ssl_channel_credentials(certificate))
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        options = {"timeout": seconds, "metadata": [("authorization", f"Bearer {token}")] if token else None}
        self._predict, self._error = functools.partial(stub.Predict, **options), grpc.RpcError
        self._request, self._server, self._model = predict_pb2.PredictRequest, server, model
        self._encode, self._decode = tf.make_tensor_proto, tf.make_ndarray

    def __call__(self, data):
        """Grades one photograph; see `RestClient`."""
        request = self._request()
        request.model_spec.name, request.model_spec.signature_name = self._model, SIGNATURE
        request.inputs[PHOTOGRAPHS].CopyFrom(self._encode([data]))
        try:
            outputs = self._predict(request).outputs
        except self._error as error:
            status = {"UNAVAILABLE": 503, "INVALID_ARGUMENT": 400, "RESOURCE_EXHAUSTED": 413}
            known = status.get(error.code().name, 0)
            return _refused(known, error.details() if known == 400 else f"{self._server}: {error.details()}")
        row = {name: self._decode(outputs[name])[0] for name in ("score", "grade", "message")}
        return _result(row["score"], row["grade"], row["message"].decode())


def _result(score, grade, message):
    # The float of single precision that was sent, as predict.py writes it.
    return float(np.float32(score)), int(grade), message


def _refused(status, reason, wait=0.0):
    if status == 503:
        raise Busy(reason, wait)
    if status in (400, 413):
        return float("nan"), -1, reason.removeprefix("photograph 0: ")
    raise InputError(reason)


def _reason(error):
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError, OSError):
        return f"{error.url}: {error.code} {error.reason}"


def score_files(client, paths, tries=8):
    """Scores photographs, several at a time.

    Args:
        client: `RestClient` or `GrpcClient`.
        paths: files.
        tries: of each photograph; between them the wait doubles.

    Yields:
        `graded.Graded` of each file, in order.

    Raises:
        InputError: if the server doesn't answer, or not as expected.
    """
    score = functools.partial(_score_file, client, tries)
    for batch in batches_ahead(score, paths, _AHEAD):
        for path, answer in batch:
            yield Graded.of_answer(path, *answer)


def _score_file(client, tries, path):
    try:
        data = decoding.read_bytes(path)
    except InputError as error:
        return float("nan"), -1, str(error).removeprefix(f"{path}: ")
    wait = _FIRST_WAIT
    for left in reversed(range(tries)):
        try:
            return client(data)
        except Busy as busy:
            if not left:
                raise InputError(f"{busy} (after {tries} tries)") from None
            # Spread, so that those who were turned away together don't come back together.
            time.sleep(max(busy.wait, wait * np.random.default_rng().uniform(0.5, 1.5)))
            wait = min(2 * wait, _LONGEST_WAIT)
