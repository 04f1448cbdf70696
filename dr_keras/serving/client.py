"""Client that grades photographs on a server that speaks TensorFlow Serving's REST or gRPC."""

import base64
import collections
import concurrent.futures
import functools
import itertools
import threading
import urllib.parse

import numpy as np
import urllib3
from urllib3.exceptions import HTTPError, InvalidHeader, MaxRetryError, ReadTimeoutError

from dr_keras.data import decoding, dicom
from dr_keras.errors import InputError
from dr_keras.inference.graded import Graded
from dr_keras.serving.plain_photographs import plain_bytes

SIGNATURE = "serving_default"
PHOTOGRAPHS = "image_bytes"
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0  # seconds between two tries
_AT_ONCE = 8  # photographs under way
_BUSY = (429, 503)
# HTTP's numbers for gRPC's; what isn't among them concerns every photograph.
_STATUSES = {"INVALID_ARGUMENT": 400, "RESOURCE_EXHAUSTED": 413, "INTERNAL": 500, "UNKNOWN": 500}
_STATUSES |= {"UNAVAILABLE": 503, "DEADLINE_EXCEEDED": 504}


class _Retry(urllib3.util.Retry):
    """Waits as long as the server asks, and at least twice as long after each try; until `stopped` is set."""

    def __init__(self, *args, stopped=None, **options):
        super().__init__(*args, **options)
        self.stopped = stopped or threading.Event()

    def new(self, **options):
        """Returns a copy for the next try."""
        return super().new(stopped=self.stopped, **options)

    def sleep(self, response=None):
        """Waits before the next try, at random: callers turned away together don't return together."""
        try:
            asked = (response and self.get_retry_after(response)) or 0
        except InvalidHeader:
            asked = 0
        wait = min(self.backoff_factor * 2 ** (len(self.history) - 1), self.backoff_max)
        if self.stopped.wait(max(asked, wait * np.random.default_rng().uniform(0.5, 1.5))):
            raise InputError("stopped")


class Unanswered(Exception):
    """The server failed on one photograph; it may grade others."""


class RestClient:
    """Grades photographs over REST.

    Args:
        server: address, "http://HOST:PORT".
        model: its name; None asks the server for its only one, which TensorFlow Serving doesn't tell.
        token: for `Authorization: Bearer`, or None.
        seconds: to wait for one answer.

    Raises:
        InputError: if `server` is no such address, or doesn't tell the name of its one model.
    """

    def __init__(self, server, model=None, token=None, seconds=60.0):
        parts = urllib.parse.urlsplit(server)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise InputError(f"--server={server}: expected http://HOST:PORT")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # Redirects aren't followed: photographs go to the server that was named and to no other.
        pool = urllib3.PoolManager(1, headers, maxsize=_AT_ONCE, timeout=seconds)
        self._request = functools.partial(pool.request, redirect=False)
        self._models = f"{server.rstrip('/')}/v1/models"
        name = urllib.parse.quote(self._find_model() if model is None else model, safe="")
        self._url = f"{self._models}/{name}:predict"

    def _find_model(self):
        try:
            models = self._request("GET", self._models, retries=False).json()["models"]
            (name,) = (model["name"] for model in models)
        except HTTPError as error:
            raise InputError(f"{self._models}: {_cause(error)}") from None
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{self._models}: doesn't tell the one model there; expected --model") from None
        return name

    def __call__(self, data, retry):
        """Grades one photograph.

        Args:
            data: bytes of its file.
            retry: `urllib3.util.Retry`.

        Returns:
            (score, grade, message, probabilities): a float, an int, "" or why the photograph can't be graded,
            and the five of a calibrated model or None; of an unreadable photograph NaN, -1, why, and None.

        Raises:
            Unanswered: if the server failed on this photograph, or took too long.
            InputError: if the server can't be reached, stays busy, or can grade no photograph at all.
        """
        content = {"instances": [{"b64": base64.b64encode(data).decode()}]}
        try:
            answer = self._request("POST", self._url, json=content, retries=retry)
        except HTTPError as error:
            is_slow = isinstance(getattr(error, "reason", None), ReadTimeoutError)
            kind = Unanswered if is_slow else InputError
            raise kind(f"{self._url}: {_cause(error)} (after {retry.total + 1} tries)") from None
        try:
            document = answer.json()
            if answer.status == 200:
                row = document["predictions"][0]
                return _result(row["score"], row["grade"], row["message"], row.get("probabilities"))
            reason = str(document["error"])
        except (ValueError, KeyError, IndexError, TypeError):
            if answer.status == 200:
                raise InputError(f"{self._url}: not the answer of a model made by export.py") from None
            reason = f"{self._url}: {answer.status} {answer.reason}"
        return _refused(answer.status, reason, retry)


class GrpcClient:
    """Grades photographs over gRPC, with the package tensorflow-serving-api.

    Args:
        server: address, "HOST:PORT".
        model, token, seconds: as for `RestClient`; gRPC lists no models, so the name is needed.
        certificate: bytes of a root certificate, for an encrypted connection; None for a plain one.
    """

    def __init__(self, server, model, token=None, seconds=60.0, certificate=None):
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

        if model is None:
            raise InputError("gRPC doesn't list the models of a server; expected --model")
        if certificate is None:
            channel = grpc.insecure_channel(server)
        else:
            channel = grpc.secure_channel(server, grpc.ssl_channel_credentials(certificate))
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        options = {"timeout": seconds, "metadata": [("authorization", f"Bearer {token}")] if token else None}
        self._predict, self._error = functools.partial(stub.Predict, **options), grpc.RpcError
        self._request, self._server, self._model = predict_pb2.PredictRequest, server, model
        self._encode, self._decode = tf.make_tensor_proto, tf.make_ndarray

    def __call__(self, data, retry):
        """Grades one photograph; see `RestClient`."""
        request, left = self._request(), retry
        request.model_spec.name, request.model_spec.signature_name = self._model, SIGNATURE
        request.inputs[PHOTOGRAPHS].CopyFrom(self._encode([data]))
        while True:
            try:
                outputs = self._predict(request).outputs
                break
            except self._error as error:
                status, reason = _STATUSES.get(error.code().name, 0), error.details()
            try:
                left = left.increment() if status == 503 else None
            except MaxRetryError:
                left = None
            if left is None:
                return _refused(status, reason if status == 400 else f"{self._server}: {reason}", retry)
            left.sleep()
        row = {name: self._decode(output)[0] for name, output in outputs.items()}
        return _result(row["score"], row["grade"], row["message"].decode(), row.get("probabilities"))


def _result(score, grade, message, probabilities):
    # The float of single precision that was sent, as predict.py writes it.
    shares = None if message or probabilities is None else [float(share) for share in probabilities]
    return float(np.float32(score)), int(grade), message, shares


def _failed(reason):
    return float("nan"), -1, reason, None


def _refused(status, reason, retry):
    if status in (400, 413):
        return _failed(reason.removeprefix("photograph 0: "))
    if status in _BUSY:
        raise InputError(f"{reason} (after {retry.total + 1} tries)")
    if status >= 500 or status == 408:
        raise Unanswered(reason)
    raise InputError(reason)


def _cause(error):
    reason = getattr(error, "reason", None) or error
    return reason.__cause__ or reason


def score_files(client, paths, tries=8):
    """Scores photographs, several at a time.

    Args:
        client: `RestClient` or `GrpcClient`.
        paths: iterable of files.
        tries: of each photograph, while the server is busy or away; between them the wait doubles.

    Yields:
        `graded.Graded` of each file, in order.

    Raises:
        InputError: if the server can't be reached, stays busy, isn't what was expected, or fails on every
            photograph; what was yielded before holds.
    """
    stopped = threading.Event()
    retry = _Retry(
        tries - 1, other=0, allowed_methods=None, status_forcelist=_BUSY, raise_on_status=False,
        backoff_factor=_FIRST_WAIT, backoff_max=_LONGEST_WAIT, stopped=stopped,
    )  # fmt: skip
    pool = concurrent.futures.ThreadPoolExecutor(_AT_ONCE)
    submitted = ((path, pool.submit(_score_file, client, retry, path)) for path in paths)
    answered, failure, waiting = False, None, collections.deque()
    try:
        waiting.extend(itertools.islice(submitted, 2 * _AT_ONCE))
        while waiting:
            path, future = waiting[0]
            try:
                result, answered = future.result(), True
            except Unanswered as error:
                result, failure = _failed(str(error)), error
            waiting.popleft()
            yield Graded.of_answer(path, *result)
            waiting.extend(itertools.islice(submitted, 1))
    except (InputError, KeyboardInterrupt):
        stopped.set()
        pool.shutdown(cancel_futures=True)
        for path, future in waiting:
            if not future.cancelled() and not future.exception():
                yield Graded.of_answer(path, *future.result())
        raise
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)
    if failure and not answered:
        raise InputError(str(failure))


def _score_file(client, retry, path):
    """Of a DICOM file the picture alone is sent, without what it says of the patient."""
    file, frame = dicom.split_frame(path)
    try:
        data = plain_bytes(decoding.read_bytes(file), frame)
    except InputError as error:
        return _failed(str(error).removeprefix(f"{path}: "))
    return client(data, retry)
