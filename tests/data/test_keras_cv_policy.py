import importlib.util

import numpy as np
import pytest

from dr_keras.data.keras_cv_policy import KerasCVAugmentation
from dr_keras.errors import InputError

INSTALLED = importlib.util.find_spec("keras_cv") is not None
needs_keras_cv = pytest.mark.skipif(
    not INSTALLED, reason="keras-cv is an extra: pip install 'dr-keras[keras-cv]'"
)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(1, 255, (4, 32, 32, 3)).astype(np.uint8)


@pytest.mark.skipif(INSTALLED, reason="keras-cv is installed")
def test_names_the_remedy_where_keras_cv_is_missing():
    with pytest.raises(InputError, match=r"pip install 'dr-keras\[keras-cv\]'"):
        KerasCVAugmentation(32, 28)


@needs_keras_cv
def test_cuts_out_the_centre_unless_training(images):
    windows = np.array(KerasCVAugmentation(32, 28)(images))
    assert windows.dtype == np.float32
    np.testing.assert_array_equal(windows, images[:, 2:30, 2:30])


@needs_keras_cv
def test_each_image_of_a_batch_is_changed_in_its_own_way(images):
    same = np.repeat(images[:1], 4, axis=0)
    windows = np.array(KerasCVAugmentation(32, 28, seed=3)(same, training=True))
    assert windows.shape == (4, 28, 28, 3)
    assert windows.min() >= 0 and windows.max() <= 255
    assert all(np.abs(windows[0] - other).mean() > 5 for other in windows[1:])


@needs_keras_cv
def test_grey_stays_grey_in_the_middle():
    grey = np.full((8, 32, 32, 3), 128, np.uint8)
    middle = np.array(KerasCVAugmentation(32, 28, seed=1)(grey, training=True))[:, 10:18, 10:18]
    assert np.ptp(middle, axis=(1, 2, 3)).max() < 0.01  # warps of a constant, saturation of no colour
    assert np.abs(middle - 128).max() <= 0.1 * 255 + 0.01  # the brightness alone
    assert np.ptp(middle[:, 0, 0, 0]) > 5


@needs_keras_cv
def test_the_seed_decides_inside_a_compiled_step(images):
    import tensorflow as tf

    def two_batches(seed):
        policy = KerasCVAugmentation(32, 28, seed)
        step = tf.function(lambda batch: policy(batch, training=True))
        return np.stack([step(images), step(images)])

    first, again, other = two_batches(5), two_batches(5), two_batches(6)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 5
    assert np.abs(first[0] - first[1]).mean() > 5
