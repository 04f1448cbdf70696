"""Graders whose scores can be worked out by hand: a factor times the mean of the prepared image."""

import keras
import numpy as np

from dr_keras.models.grader_model import build_grader

SIZE = 16


def mean_grader(factor, rules=None, size=SIZE):
    """A grader of `size` px, with a map, whose score is `factor` times the mean of the image, 0-255."""
    windows = keras.Input((size, size, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(windows))
    score = keras.layers.Dense(1, name="score")
    network = keras.Model(windows, score(pooled), name="mean")
    score.set_weights([np.full((3, 1), factor / 3, "float32"), np.zeros(1, "float32")])
    return build_grader(network, size, (0, 0, 0), (1, 1, 1), rules)


def save_mean_grader(path, factor, rules=None, size=SIZE):
    """Saves a `mean_grader` as `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mean_grader(factor, rules, size).save(path)
