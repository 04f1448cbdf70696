"""What travels with an exported model: how images are made for it, and what its scores mean."""

import hashlib
from importlib import metadata

import numpy as np

from dr_keras import __version__
from dr_keras.grades import GRADE_NAMES, REFERABLE_GRADE


def describe(graders, thresholds, name):
    """Describes an exported model: a dict for JSON.

    Args:
        graders: models from `build_grader` of one image size.
        thresholds: four cuts from score to grade.
        name: of the model.

    Returns:
        Dict of `name`, `image_size` (pixels), `thresholds`, `grade_names`, `referable_grade`, `networks` (how
        many), `architecture`, `sha256` of their weights, `pixels`, `versions` and `intended_use`.
    """
    versions = {package: metadata.version(package) for package in ("keras", "numpy")}
    versions |= {"dr_keras": __version__, "tensorflow": _tensorflow_version()}
    return {
        "name": name,
        "image_size": graders[0].input_shape[1],
        "thresholds": list(thresholds),
        "grade_names": list(GRADE_NAMES),
        "referable_grade": REFERABLE_GRADE,
        "networks": len(graders),
        "architecture": [layer.name for layer in graders[0].layers][-1],
        "sha256": hash_weights(graders),
        "pixels": "RGB, 0-255, the square around the field of view; the model standardises them",
        "versions": versions,
        "intended_use": "research use only; not a medical device",
    }


def hash_weights(graders):
    """SHA-256 of all weights in order, as little-endian float32: the same for the same numbers."""
    digest = hashlib.sha256()
    for grader in graders:
        for weight in grader.get_weights():
            digest.update(np.ascontiguousarray(weight, "<f4").tobytes())
    return digest.hexdigest()


def _tensorflow_version():
    import tensorflow as tf

    return tf.__version__
