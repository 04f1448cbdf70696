import keras
import numpy as np
import pytest

from dr_keras.lesion_kinds import CHANNELS, LESIONS
from dr_keras.models.lesion_layers import LesionShares, LocalContrast
from dr_keras.models.lesion_nets import fold_normalization, lesion_net, lesion_segmenter

WIDTHS = (4, 6, 8, 8, 8)


def photograph(height=128, width=160, seed=0):
    """A retina with texture and a dark surround: float32 (1, height, width, 3)."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal((150, 80, 40), 8, (height, width, 3))
    y, x = np.ogrid[:height, :width]
    pixels[((y - height / 2) / height) ** 2 + ((x - width / 2) / width) ** 2 > 0.2] = 0
    return np.clip(pixels, 0, 255)[None].astype("float32")


def test_probabilities_of_each_pixel_at_any_size():
    network = lesion_segmenter(widths=WIDTHS)
    found = np.asarray(network(photograph(), training=False))
    assert found.shape == (1, 128, 160, len(CHANNELS)) and found.dtype == np.float32
    assert 0 <= found.min() < found.max() <= 1
    assert network.count_params() < 4e6


def test_the_real_network_is_small_enough_for_a_phone():
    assert 4 * lesion_net(128).count_params() < 16e6  # bytes


def test_folding_the_normalisation_changes_nothing():
    trained, folded = lesion_segmenter(widths=WIDTHS), lesion_segmenter(widths=WIDTHS, folded=True, seed=5)
    rng = np.random.default_rng(0)
    for layer in trained.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, each.shape) for each in layer.get_weights()])
    fold_normalization(trained, folded)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in folded.layers)
    images = photograph()
    np.testing.assert_allclose(trained(images, training=False), folded(images), atol=1e-4)


@pytest.mark.parametrize("size", (16, 100))
def test_sizes_that_do_not_divide(size):
    with pytest.raises(
        ValueError, match=f"`image_size` must be a multiple of 32. Received: image_size={size}"
    ):
        lesion_segmenter(size)


# Local contrast


def test_contrast_does_not_depend_on_exposure():
    """Twice the light: the same contrasts, but for the floor under the deviation and the limit of black."""
    images = photograph() * 0.5
    layer = LocalContrast()
    dim, bright = (np.asarray(layer(scale * images))[0] for scale in (1.0, 2.0))
    inside = images[0].max(axis=-1) > 60
    correlation = np.corrcoef(dim[inside, 0], bright[inside, 0])[0, 1]
    assert correlation > 0.99
    assert np.abs(dim[inside, 0]).mean() / np.abs(bright[inside, 0]).mean() == pytest.approx(1, abs=0.35)


def test_the_surround_says_nothing():
    images = photograph()
    lit = images.copy()
    lit[images.max(axis=-1) == 0] = 7  # a surround that isn't quite black
    layer = LocalContrast()
    plain, noisy = np.asarray(layer(images)), np.asarray(layer(lit))
    np.testing.assert_allclose(plain, noisy, atol=1e-5)
    assert not plain[images.max(axis=-1) == 0].any()


def test_a_spot_stands_out_from_what_is_around_it():
    images = np.full((1, 128, 128, 3), 100, "float32")
    images += np.random.default_rng(0).normal(0, 3, images.shape).astype("float32")
    images[0, 60:64, 60:64] -= 40
    contrast = np.asarray(LocalContrast()(images))[0, ..., 0]
    assert contrast[61, 61] < -4 and abs(np.median(contrast)) < 0.3


# Shares


def test_the_mean_over_cells_is_the_logarithm_of_the_amount():
    """One square of 16 x 16 pixels at probability 1 in one quadrant of 128 x 128."""
    probabilities = np.zeros((1, 128, 128, 5), "float32")
    probabilities[0, 16:32, 80:96, 1] = 1
    probabilities[0, 64:, :, 4] = 1  # the optic disc doesn't count
    layer = LesionShares(least=(0.5, 0.5, 0.5, 0.5), unit=2e-3, cell=8)
    shares = np.asarray(layer(probabilities))
    assert shares.shape == (1, 16, 16, 2 * len(LESIONS))
    means = shares.mean(axis=(0, 1, 2))
    counted = np.log1p((256 / 128**2) / 2e-3)
    np.testing.assert_allclose(means[[1, 5]], [counted, counted / 4], rtol=1e-5)
    assert not np.delete(means, [1, 5]).any()
    assert np.count_nonzero(shares[0, ..., 1]) == 4  # the four cells it covers


def test_the_same_amount_counts_more_if_it_is_spread_over_quadrants():
    one, four = np.zeros((2, 1, 128, 128, 5), "float32")
    one[0, 0:32, 0:32, 1] = 1
    for y in (0, 64):
        for x in (0, 64):
            four[0, y : y + 16, x : x + 16, 1] = 1
    layer = LesionShares()
    once, spread = (np.asarray(layer(each)).mean(axis=(0, 1, 2)) for each in (one, four))
    assert spread[1] == pytest.approx(once[1], rel=1e-5) and spread[5] > 2 * once[5]


def test_what_is_below_the_least_probability_counts_nothing():
    probabilities = np.full((1, 64, 64, 5), 0.6, "float32")
    shares = np.asarray(LesionShares(least=(0.7, 0.5, 0.7, 0.7))(probabilities))
    assert shares[..., [1, 5]].all() and not np.delete(shares, [1, 5], axis=-1).any()


def test_layers_survive_saving(tmp_path):
    network = lesion_net(64, widths=WIDTHS)
    network.get_layer("shares").least = (0.1, 0.2, 0.3, 0.4)
    network.get_layer("score").set_weights([np.ones((8, 4)), np.zeros(4)])
    images = photograph(64, 64)
    network.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("shares").least == (0.1, 0.2, 0.3, 0.4)
    np.testing.assert_allclose(loaded(images), network(images), rtol=1e-6)
