"""The check that tells a retina from other pictures."""

import cv2
import numpy as np
import pytest
from non_eyes import non_eyes

from dr_keras.data import retina_check
from dr_keras.data.photograph import Photograph
from dr_keras.data.synthetic import draw_fundus


@pytest.fixture(scope="module")
def eyes():
    return [Photograph(draw_fundus(seed, seed % 5, 300).image).prepare(256).pixels for seed in range(6)]


def test_eyes_are_likelier_than_anything_else(eyes):
    odds = [retina_check.retina_log_odds(eye) for eye in eyes]
    others = [
        retina_check.retina_log_odds(Photograph(one).prepare(256).pixels) for one in non_eyes().values()
    ]
    assert min(odds) > 0 and np.mean(np.array(others) < -3) > 0.8


def test_structure_is_the_same_for_any_exposure_and_white_balance(eyes):
    plain = retina_check.structure(eyes[0])
    assert plain.shape == (128, 128, 2) and plain.dtype == np.float32
    other = retina_check.structure(np.clip(eyes[0] * [0.8, 1.2, 0.5], 0, 255).astype(np.uint8))
    inside = cv2.circle(np.zeros((128, 128)), (64, 64), 58, 1, -1) > 0
    for channel in range(2):
        assert np.corrcoef(plain[inside][:, channel], other[inside][:, channel])[0, 1] > 0.97
    assert np.all(plain[0, 0] == 0)  # outside the circle


def test_what_shows_nothing_has_finite_odds():
    for level in (0, 2, 255):
        assert np.isfinite(retina_check.retina_log_odds(np.full((256, 256, 3), level, np.uint8)))


def test_the_network_computes_what_its_layers_say():
    """One position of the first layer by hand, and the last layer on the mean of what comes before."""
    (kernel, bias, stride), *_ = retina_check.convolutions()
    x = np.random.default_rng(0).normal(size=(20, 24, 2)).astype("float32")
    result = retina_check._convolved(x, kernel, stride)
    window = x[3 * stride : 3 * stride + kernel.shape[0], 2 * stride : 2 * stride + kernel.shape[1]]
    np.testing.assert_allclose(result[3, 2], np.einsum("hwc,hwcf->f", window, kernel), rtol=1e-4, atol=1e-5)
    steps = [(length - kernel.shape[0]) // stride + 1 for length in (20, 24)]
    assert result.shape == (*steps, len(bias))
    assert retina_check.convolutions()[-1][0].shape[-1] == 1
