"""A run as an ONNX model, for servers that run ONNX: prepared pixels in, the score out, any batch size.

Beside `NAME.onnx` lies `NAME.json`, what `metadata.describe` says. The model takes `image`, float32 (batch,
size, size, 3), RGB, 0-255, and returns scores, float32 (batch, 1), in grade units: means over its networks.
"""

import importlib.util
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from dr_keras.errors import InputError
from dr_keras.export import check
from dr_keras.export.float32 import rebuild_float32

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


def export_onnx(model, prepared, path, **options):
    """Writes a model as `path`, ending in .onnx, if it grades as Keras does.

    Args:
        model, prepared, path, options: see `check.export_checked`.

    Returns:
        What was found, in one line.
    """
    return check.export_checked(convert, ONNXModel, model, prepared, path, **options)


class ONNXModel:
    """A converted model, run by ONNX Runtime.

    Args:
        model: path of an .onnx file, or its bytes.

    Attributes:
        image_size: side of the images that it takes, in pixels.
        normalization: none; models with one aren't exported.

    Raises:
        InputError: if ONNX Runtime isn't installed, or the file isn't such a model.
    """

    normalization = ()

    def __init__(self, model):
        try:
            import onnxruntime
        except ImportError:
            raise InputError(_NEEDED) from None
        try:
            self._session = onnxruntime.InferenceSession(model if isinstance(model, bytes) else str(model))
            (image,) = self._session.get_inputs()
            self.image_size = int(image.shape[1])
        except Exception as error:  # its errors have no class in common
            raise InputError(
                f"{model}: not a model made by scripts/export.py ({str(error).splitlines()[0]})"
            ) from None

    def __call__(self, images):
        """Scores prepared images: (n, size, size, 3), RGB, 0-255, any dtype -> float32 tensor (n,)."""
        images = np.asarray(images, "float32")
        return tf.constant(self._session.run(None, {"image": images})[0][:, 0], tf.float32)

    def scoring_steps(self):
        """As `GradingModel.scoring_steps`."""
        return [self]
