"""Networks whose maps are known beforehand."""

import keras
import numpy as np
import pytest

from dr_keras.models.grader_model import build_grader, network_of


@pytest.fixture
def blurring():
    """Turns a network into one that adds up brightness: every kernel an average, every bias 0.

    Its map can only be high where the picture is bright.
    """

    def make(network, image_size):
        for layer in network.layers:
            if isinstance(layer, keras.layers.Conv2D):
                layer.kernel.assign(np.full(layer.kernel.shape, 1 / np.prod(layer.kernel.shape[:3])))
            elif layer.name.endswith("_bias"):
                layer.bias.assign(np.zeros(layer.bias.shape))
        score = network.get_layer("score")
        score.kernel.assign(np.ones(score.kernel.shape))
        grader = build_grader(network, image_size, (0, 0, 0), (1, 1, 1))
        assert network_of(grader) is network
        return grader

    return make
