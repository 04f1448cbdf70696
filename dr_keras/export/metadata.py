"""Metadata of an exported model: how photographs are preprocessed for it, and what its scores mean."""

import io
import json
import zipfile
from importlib import metadata

from dr_keras import __version__
from dr_keras.inference.formats import METADATA
from dr_keras.models.grader_model import hash_weights, network_of


def describe(graders, rules, name):
    """Describes an exported model: a dict for JSON.

    Args:
        graders: models from `build_grader` of one image size.
        rules: `GradingRules`.
        name: name of the model.

    Returns:
        Dict of `name`, `image_size` (pixels), `rules` (of `GradingRules.to_dict`), `networks` (how many),
        `architecture`, `sha256` of their weights, `pixels`, `versions` and `intended_use`.
    """
    versions = {package: metadata.version(package) for package in ("keras", "numpy")}
    versions |= {"dr_keras": __version__, "tensorflow": _tensorflow_version()}
    return {
        "name": name,
        "image_size": graders[0].input_shape[1],
        "rules": rules.to_dict(),
        "networks": len(graders),
        "architecture": network_of(graders[0]).name,
        "sha256": hash_weights(graders),
        "pixels": "RGB, 0-255, the square around the field of view; the model standardises them",
        "versions": versions,
        "intended_use": "research use only; not a medical device",
    }


def into_tflite(content, described):
    """Appends metadata to the bytes of a .tflite file, as a zip archive.

    LiteRT stores its own metadata in the same way: interpreters ignore it, and `unzip MODEL.tflite` shows it.
    """
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(zipfile.ZipInfo(METADATA), json.dumps(described))  # without a time
    return file.getvalue()


def into_onnx(content, described):
    """Adds metadata to the bytes of an .onnx file, as one of its properties, and puts it in one order."""
    import onnx

    from dr_keras.export import onnx_order

    model = onnx_order.in_one_order(onnx.load_from_string(content))
    onnx.helper.set_model_props(model, {METADATA: json.dumps(described)})
    return model.SerializeToString(deterministic=True)


def _tensorflow_version():
    import tensorflow as tf

    return tf.__version__
