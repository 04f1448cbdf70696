"""The regression activation map is native to the backbones for transfer too."""

import numpy as np
import pytest

from dr_keras.explain.gradcam import grad_cam, grad_cam_grid
from dr_keras.explain.ram import ram_grid, regression_activation_map, score_bias
from dr_keras.models.efficientnet import MEAN, SD, efficientnet_lite0, efficientnet_lite2
from dr_keras.models.grader_model import build_grader
from dr_keras.training.hosts.devices import precision_scope


def grader(build, size):
    network = build(size)
    rng = np.random.default_rng(0)
    network.get_layer("score").set_weights([rng.normal(size=(1280, 1)) / 10, np.array([0.3])])
    return build_grader(network, size, MEAN, SD)


def images_of(size):
    return np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("build, size, side", [(efficientnet_lite0, 96, 3), (efficientnet_lite2, 64, 2)])
def test_mean_of_the_map_and_bias_are_the_score(policy, build, size, side):
    with precision_scope(policy):
        model = grader(build, size)
    images = images_of(size)
    scores, maps = regression_activation_map(model, images)
    assert maps.shape == (2, side, side) and maps.dtype == np.float32 and np.ptp(maps) > 0.1
    np.testing.assert_allclose(maps.mean(axis=(1, 2)) + score_bias(model), scores, atol=1e-4)
    # bfloat16 has eight bits, and a compiled step rounds elsewhere than an eager one
    tolerance = {"atol": 0.05, "rtol": 0.05} if "16" in policy else {"atol": 1e-4}
    np.testing.assert_allclose(scores, np.asarray(model(images))[:, 0], **tolerance)


def test_grad_cam_of_the_last_activation_is_the_ram():
    model = grader(efficientnet_lite0, 64)
    scores, maps = regression_activation_map(model, images_of(64))
    again, cams = grad_cam(model, images_of(64))
    np.testing.assert_allclose(again, scores, atol=1e-5)
    np.testing.assert_allclose(cams, maps, atol=1e-4)
    assert grad_cam_grid(model) == ram_grid(model)


def test_where_the_cells_lie():
    """32 pixels apart. On even sides "same" pads behind more than before, which moves the first cell: by one
    of its input's pixels at each of five strides of 2, 1 + 2 + 4 + 8 + 16 = 31, and half a pixel.
    """
    grid = ram_grid(grader(efficientnet_lite0, 64))
    assert grid.step == (32, 32) and grid.offset == (31.5, 31.5)
