"""Export to TFLite (LiteRT), for phones: one preprocessed image in, its score out.

The file holds the metadata of `metadata.describe` as `dr_keras.json`, in a zip archive behind the model that
`unzip` can read; `NAME.json` beside `NAME.tflite` has the same and the comparison with Keras. The model takes
`image`, float32 (1, size, size, 3), RGB, 0-255, and returns `score`, float32 (1,), in grade units, the mean
over its networks.
"""

import tempfile

import keras
import numpy as np
import tensorflow as tf

from dr_keras.export import check
from dr_keras.export.float32 import rebuild_float32
from dr_keras.export.metadata import describe, into_tflite
from dr_keras.inference.runtimes import TFLiteRuntime
from dr_keras.models.grader_model import network_of, rules_of
from dr_keras.training.scoring import scoring_step

QUANTIZATIONS = ("none", "float16", "int8")
# Operations that stay in float32 in an int8 model.
_FLOAT32_OPS = ["CONCATENATION", "DIV", "MEAN", "MUL", "STRIDED_SLICE", "SUB"]


def convert(graders, quantize="none", representative=None):
    """Converts networks, rebuilt in float32, to one TFLite model whose score is their mean.

    Args:
        graders: models from `build_grader` of one image size.
        quantize: "none", "float16" (weights only) or "int8" (weights and activations of the convolutions;
            pooling and a linear head stay float32, and the mean shift of the scores is corrected).
        representative: for int8, images (n, size, size, 3), RGB, 0-255, from which the activations' ranges
            and the mean shift of the scores are measured.

    Returns:
        The file's content as bytes.
    """
    if quantize not in QUANTIZATIONS:
        raise ValueError(f"`quantize` must be one of {QUANTIZATIONS}. Received: quantize={quantize!r}")
    if quantize != "int8":
        return _convert([rebuild_float32(grader) for grader in graders], quantize)
    graders = [rebuild_float32(grader, split_biases=True) for grader in graders]
    images = np.asarray(representative, "uint8")
    scores = np.mean([scoring_step(grader)(images) for grader in graders], axis=0)
    unshifted = into_tflite(
        _convert(graders, quantize, images), describe(graders, rules_of(graders[0]), "unshifted")
    )
    shift = np.mean(TFLiteRuntime(unshifted).score(images) - scores)
    return _convert(graders, quantize, images, shift)


def _convert(graders, quantize, images=None, shift=0.0):
    size = graders[0].input_shape[1]
    signature = [tf.TensorSpec((1, size, size, 3), tf.float32, name="image")]

    def score(image):
        return {"score": tf.add_n([grader(image)[:, 0] for grader in graders]) / len(graders) - shift}

    with tempfile.TemporaryDirectory() as folder:
        archive = keras.export.ExportArchive()
        archive.add_endpoint("pixels", score, signature)
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["pixels"])
        if quantize != "none":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if quantize == "int8":
            converter.representative_dataset = lambda: (
                {"image": image[None].astype("float32")} for image in images
            )
            return _selectively_quantized(converter, graders)
        return converter.convert()


def _selectively_quantized(converter, graders):
    """Quantises all but pooling and a linear head, which in 8 bits made scores wrong by 0.22 on average."""
    layers = [layer for grader in graders for layer in network_of(grader).layers]
    is_linear = sum(isinstance(layer, keras.layers.Dense) for layer in layers) == len(graders)
    heads = ["FULLY_CONNECTED"] if is_linear else []  # hidden layers are large: quantised
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=_FLOAT32_OPS + heads)
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=lambda: iter(()), debug_options=options
    )
    return debugger.get_nondebug_quantized_model()


def export_tflite(grader, prepared, path, quantize="none", **options):
    """Exports a grader to a .tflite file, if its grades agree with those of Keras.

    Arguments and result as for `check.export_checked`; `quantize` as for `convert`.
    """
    return check.export_checked(
        convert, into_tflite, TFLiteRuntime, grader, prepared, path, quantize, **options
    )
