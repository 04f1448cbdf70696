"""TensorFlow Serving's gRPC services, on the message classes of the package tensorflow-serving-api."""

import math

import grpc
import numpy as np
import tensorflow as tf

from dr_keras.errors import InputError
from dr_keras.serving import status
from dr_keras.serving.forms import DEFAULT_SIGNATURE
from dr_keras.serving.gateway import bears
from dr_keras.serving.refusal import Refused

try:
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )
except ImportError:
    raise InputError(
        "gRPC needs the package tensorflow-serving-api: pip install --no-deps tensorflow-serving-api"
    ) from None

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE


async def start(predictor, settings):
    """Starts the gRPC server.

    Args:
        predictor: `Predictor`.
        settings: `Settings`.

    Returns:
        The `grpc.aio.Server`, and its port.

    Raises:
        InputError: if the port is taken.
    """
    limits = predictor.limits
    server = grpc.aio.server(
        options=[("grpc.max_receive_message_length", limits.max_body), ("grpc.so_reuseport", 0)],
        maximum_concurrent_rpcs=limits.max_queue + limits.max_batch,
    )
    service = _Service(predictor, settings.token)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(service, server)
    address = f"{settings.host}:{settings.grpc_port}"
    try:
        if settings.tls_cert:
            pair = tuple(open(path, "rb").read() for path in (settings.tls_key, settings.tls_cert))
            port = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        else:
            port = server.add_insecure_port(address)
    except RuntimeError:
        raise InputError(f"--grpc_port={settings.grpc_port}: can't listen there") from None
    await server.start()
    return server, port


class _Service(
    prediction_service_pb2_grpc.PredictionServiceServicer, model_service_pb2_grpc.ModelServiceServicer
):
    def __init__(self, predictor, token):
        self._predictor, self._token = predictor, token

    async def Predict(self, request, context):
        """Answers `PredictRequest` with `PredictResponse`."""
        async with _Answering(context, self._token):
            self._check(request.model_spec)
            signature = request.model_spec.signature_name or DEFAULT_SIGNATURE
            inputs = self._read_inputs(request, self._predictor.servable.inputs(signature))
            outputs = await self._predictor.predict(signature, inputs)
            wanted = set(request.output_filter) or set(outputs)
            if not wanted <= set(outputs):
                raise Refused(
                    400, f"output tensor alias not found in signature: {min(wanted - set(outputs))}"
                )
            answer = predict_pb2.PredictResponse()
            self._fill(answer.model_spec, signature)
            for name in wanted:
                answer.outputs[name].CopyFrom(_proto(outputs[name]))
            return answer

    async def GetModelMetadata(self, request, context):
        """Answers with the signatures."""
        async with _Answering(context, self._token):
            self._check(request.model_spec)
            if list(request.metadata_field) != ["signature_def"]:
                raise Refused(400, "metadata_field must be signature_def")
            signatures = get_model_metadata_pb2.SignatureDefMap()
            for name, definition in self._predictor.servable.definitions.items():
                signatures.signature_def[name].CopyFrom(definition)
            answer = get_model_metadata_pb2.GetModelMetadataResponse()
            self._fill(answer.model_spec)
            answer.metadata["signature_def"].Pack(signatures)
            return answer

    async def GetModelStatus(self, request, context):
        """Answers with the one version."""
        async with _Answering(context, self._token):
            self._check(request.model_spec, wants_status=True)
            answer = get_model_status_pb2.GetModelStatusResponse()
            answer.model_version_status.add(version=self._predictor.servable.version, state=_AVAILABLE)
            return answer

    def _check(self, spec, wants_status=False):
        version = spec.version.value if spec.HasField("version") else None
        status.check_served(self._predictor.servable, spec.name, version, wants_status)

    def _fill(self, spec, signature=""):
        spec.name, spec.signature_name = self._predictor.servable.name, signature
        spec.version.value = self._predictor.servable.version

    def _read_inputs(self, request, specs):
        if set(request.inputs) != set(specs):
            raise Refused(400, f"expected the inputs {sorted(specs)} but got: {sorted(request.inputs)}")
        return {name: self._read_tensor(name, request.inputs[name], spec) for name, spec in specs.items()}

    def _read_tensor(self, name, proto, spec):
        expected = tf.dtypes.as_dtype(spec.dtype)
        if proto.dtype != expected.as_datatype_enum:
            raise Refused(400, f"input {name}: expected to be {spec.dtype}")
        # A tensor may state a shape and one value for all elements: the size that it expands to is limited.
        sizes = [dim.size for dim in proto.tensor_shape.dim]
        limits = self._predictor.limits
        most = limits.max_queue if spec.dtype == "string" else limits.max_body // expected.size
        if proto.tensor_shape.unknown_rank or min(sizes, default=0) < 0 or math.prod(sizes) > most:
            raise Refused(400, f"input {name}: expected a shape of at most {most} values")
        try:
            return np.asarray(tf.make_ndarray(proto))
        except (TypeError, ValueError, IndexError):
            raise Refused(400, f"input {name}: values and shape don't fit") from None


def _proto(array):
    return tf.make_tensor_proto(array.tolist() if array.dtype == object else array)


class _Answering:
    """Context of one call: checks the token, and turns a refusal into a gRPC status."""

    def __init__(self, context, token):
        self._context, self._token = context, token

    async def __aenter__(self):
        given = dict(self._context.invocation_metadata() or ()).get("authorization", "")
        if self._token is not None and not bears(given, self._token):
            await self._context.abort(
                grpc.StatusCode.UNAUTHENTICATED, "expected the metadata authorization: Bearer TOKEN"
            )

    async def __aexit__(self, kind, error, trace):
        if isinstance(error, Refused):
            await self._context.abort(_CODES.get(error.status, grpc.StatusCode.UNKNOWN), str(error))
