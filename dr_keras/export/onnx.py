"""Export to ONNX, for ONNX Runtime and servers: preprocessed images in, scores out, any batch size.

The file holds the metadata of `metadata.describe` as its property `dr_keras.json`; `NAME.json` beside
`NAME.onnx` has the same and the comparison with Keras. The model takes `image`, float32 (batch, size, size,
3), RGB, 0-255, and returns scores, float32 (batch, 1), in grade units, the means over its networks.
"""

import contextlib
import gc
import importlib.util
import tempfile
from pathlib import Path

import keras

from dr_keras.errors import InputError
from dr_keras.export import check
from dr_keras.export.float32 import rebuild_float32
from dr_keras.export.metadata import into_onnx
from dr_keras.inference.runtimes import ONNXRuntime

NEEDED = "ONNX isn't installed: pip install 'dr-keras[onnx]'"


def convert(graders, quantize="none", representative=None):
    """Converts networks, rebuilt in float32, to one ONNX model whose score is their mean.

    Args:
        graders: models from `build_grader` of one image size.
        quantize: must be "none".
        representative: not used.

    Returns:
        The file's content as bytes.

    Raises:
        InputError: if the converter isn't installed.
    """
    if quantize != "none":
        raise ValueError(f"`quantize` must be 'none'. Received: quantize={quantize!r}")
    if importlib.util.find_spec("tf2onnx") is None:
        raise InputError(NEEDED)
    image = keras.Input(graders[0].input_shape[1:], name="image", dtype="float32")
    scores = []
    for number, grader in enumerate(graders):
        rebuilt = rebuild_float32(grader)
        rebuilt.name = f"grader_{number}"  # the layers of one model need distinct names
        scores.append(rebuilt(image))
    mean = keras.layers.Average(name="score")(scores) if len(scores) > 1 else scores[0]
    whole = keras.Model(image, mean)
    whole(image)  # the exporter refuses a model that was never called
    with garbage_collected(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        whole.export(path, format="onnx", verbose=False)
        return path.read_bytes()


@contextlib.contextmanager
def garbage_collected():
    """Keeps the copies of a graph from piling up in memory that tf2onnx makes at each step.

    They refer to themselves, so Python frees them when it looks for such garbage: once there are a quarter as
    many new objects as old ones. Here old ones don't count.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.collect()


def export_onnx(grader, prepared, path, **options):
    """Exports a grader to an .onnx file, if its grades agree with those of Keras.

    Arguments and result as for `check.export_checked`.
    """
    return check.export_checked(convert, into_onnx, ONNXRuntime, grader, prepared, path, **options)
