"""A run as an ONNX model, for servers that run ONNX: prepared pixels in, the score out, any batch size.

The file holds what `metadata.describe` says, as its property `dr_keras.json`; beside `NAME.onnx` lies
`NAME.json` with the same and how far it is from Keras. The model takes `image`, float32 (batch, size, size,
3), RGB, 0-255, and returns scores, float32 (batch, 1), in grade units: means over its networks.
"""

import importlib.util
import tempfile
from pathlib import Path

import keras
import numpy as np

from dr_keras.errors import InputError
from dr_keras.export import check
from dr_keras.export.float32 import rebuild_float32
from dr_keras.export.metadata import into_onnx
from dr_keras.inference.runtimes import ONNXRuntime

_NEEDED = "ONNX isn't installed: pip install 'dr-keras[onnx]'"


def convert(graders, quantize="none", representative=None):
    """Converts networks, rebuilt in float32, to one ONNX model whose score is their mean.

    Args:
        graders: models from `build_grader` of one image size.
        quantize: "none".
        representative: not needed.

    Returns:
        bytes.

    Raises:
        InputError: if the converter isn't installed.
    """
    if quantize != "none":
        raise ValueError(f"`quantize` must be 'none'. Received: quantize={quantize!r}")
    if importlib.util.find_spec("tf2onnx") is None:
        raise InputError(_NEEDED)
    image = keras.Input(graders[0].input_shape[1:], name="image", dtype="float32")
    scores = []
    for number, grader in enumerate(graders):
        rebuilt = rebuild_float32(grader)
        rebuilt.name = f"grader_{number}"  # layers of one model need names of their own
        scores.append(rebuilt(image))
    mean = keras.layers.Average(name="score")(scores) if len(scores) > 1 else scores[0]
    whole = keras.Model(image, mean)
    whole(np.zeros((1, *image.shape[1:]), "float32"))  # the exporter refuses what was never called
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        whole.export(path, format="onnx", verbose=False)
        return path.read_bytes()


def export_onnx(grader, prepared, path, **options):
    """Writes a grader as `path`, ending in .onnx, if it grades as Keras does.

    Args:
        grader, prepared, path, options: see `check.export_checked`.

    Returns:
        What was found, in one line.
    """
    return check.export_checked(convert, into_onnx, ONNXRuntime, grader, prepared, path, **options)
