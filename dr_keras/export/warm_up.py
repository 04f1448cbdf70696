"""Warm-up requests for TF Serving: a TFRecord of `tensorflow.serving.PredictionLog` messages.

Written without the package tensorflow-serving-api, which asks for another TensorFlow: of these messages only
a few fields are needed, all of them nested messages and strings.
"""

import cv2
import tensorflow as tf

from dr_keras.data import synthetic

FILE = "tf_serving_warmup_requests"
SIGNATURES = (
    "serving_default",
    "explain",
)  # the occlusion test would take too long, pixels take no photograph
# Field numbers of prediction_log.proto, predict.proto and model.proto.
_PREDICT_LOG, _REQUEST, _MODEL_SPEC, _INPUTS, _KEY, _VALUE, _NAME, _SIGNATURE = 6, 1, 1, 2, 1, 2, 1, 3


def write_requests(path, name, signatures):
    """Writes one request of a synthetic photograph for each signature that answers quickly.

    Args:
        path: the file.
        name: name of the model.
        signatures: names of its signatures.
    """
    encoded = tf.make_tensor_proto([photograph()], tf.string).SerializeToString()
    inputs = _field(_KEY, b"image_bytes") + _field(_VALUE, encoded)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature in signatures:
            if signature not in SIGNATURES:
                continue
            model = _field(_NAME, name.encode()) + _field(_SIGNATURE, signature.encode())
            request = _field(_MODEL_SPEC, model) + _field(_INPUTS, inputs)
            writer.write(_field(_PREDICT_LOG, _field(_REQUEST, request)))


def photograph():
    """A synthetic photograph as JPEG, of the size that small fundus cameras make."""
    image = synthetic.draw_fundus(seed=0, grade=2, size=1024).image
    return cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()


def _field(number, content):
    """A length-delimited field of the protocol-buffer wire format: tag, length, content."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value):
    low = b""
    while value > 127:
        low += bytes([value & 127 | 128])
        value >>= 7
    return low + bytes([value])
