"""Warm-up requests for TF Serving: a TFRecord of `tensorflow.serving.PredictionLog` messages.

The messages are encoded here and not by the package tensorflow-serving-api, which requires another version of
TensorFlow. Only a few of their fields are needed, all of them nested messages and strings.
"""

import cv2
import tensorflow as tf

from dr_keras.data import synthetic

FILE = "tf_serving_warmup_requests"
SIGNATURES = ("serving_default", "explain")  # `occlude` would take too long; `pixels` takes no photograph
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
    """Returns a synthetic photograph as JPEG bytes, as large as those of small fundus cameras."""
    image = synthetic.draw_fundus(seed=0, grade=2, size=1024).image
    return cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()


def _field(number, content):
    """Encodes a length-delimited field in the protocol-buffer wire format: tag, length, content."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value):
    low = b""
    while value > 127:
        low += bytes([value & 127 | 128])
        value >>= 7
    return low + bytes([value])
