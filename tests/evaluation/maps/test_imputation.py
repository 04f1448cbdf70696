import numpy as np
import pytest

from dr_keras.data.fundus import FieldOfView
from dr_keras.evaluation.maps.imputation import NoisyLinearImputer, retina

SIZE = 40
ROWS, COLUMNS = np.ogrid[:SIZE, :SIZE]
EYE = FieldOfView.of_square(SIZE).mask()


def slope(size=SIZE):
    """An eye whose brightness rises evenly: red across, green down, blue both ways."""
    rows, columns = np.mgrid[:size, :size] * SIZE / size
    colors = np.stack([40 + 2 * columns, 60 + 3 * rows, 50 + rows + columns], axis=2)
    return (colors.round() * FieldOfView.of_square(size).mask()[..., None]).astype(np.uint8)


def test_hole_in_an_even_slope_is_filled_with_the_slope():
    image, hole = slope(), (ROWS - 18) ** 2 + (COLUMNS - 22) ** 2 <= 8**2
    filled = NoisyLinearImputer(image, noise=0)(hole)
    np.testing.assert_array_equal(filled, image)


def test_known_pixels_stay_and_removed_ones_are_unknown():
    image, hole = slope(), (abs(ROWS - 20) < 5) & (abs(COLUMNS - 20) < 5)
    other = image.copy()
    other[hole] = 255
    filled, again = (NoisyLinearImputer(picture)(hole) for picture in (image, other))
    np.testing.assert_array_equal(filled, again)
    np.testing.assert_array_equal(filled[~hole], image[~hole])


def test_single_pixel_by_hand():
    image = slope()
    image[20, 20] = 0
    image[19:22, 19:22, 0] = [[12, 24, 36], [48, 0, 60], [72, 84, 96]]
    hole = (ROWS == 20) & (COLUMNS == 20)
    expected = (24 + 48 + 60 + 84) / 6 + (12 + 36 + 72 + 96) / 12
    assert NoisyLinearImputer(image, noise=0)(hole)[20, 20, 0] == expected == 54


def test_everything_removed_is_the_mean_colour_and_noise():
    image = slope()
    plain, noisy = (NoisyLinearImputer(image, noise, seed=3)(EYE) for noise in (0, 4))
    np.testing.assert_array_equal(plain[EYE], np.tile(image[EYE].mean(axis=0).round(), (EYE.sum(), 1)))
    difference = noisy[EYE].astype(float) - image[EYE].mean(axis=0)
    assert difference.std() == pytest.approx(4, rel=0.05) and abs(difference.mean()) < 0.3
    assert not noisy[~EYE].any()


def test_nothing_removed_changes_nothing():
    np.testing.assert_array_equal(NoisyLinearImputer(slope())(np.zeros((SIZE, SIZE), bool)), slope())


def test_surround_is_not_mixed_in():
    image = slope()
    image[EYE] = 120
    image[:7] = 0
    image[7] //= 2
    assert not retina(image)[7].any() and retina(image)[8].any()
    removed = ROWS + 0 * COLUMNS < 18
    filled = NoisyLinearImputer(image, noise=0)(removed)
    np.testing.assert_array_equal(filled, image)


def test_large_photograph_is_imputed_at_a_lower_size():
    image = slope(160)
    imputer = NoisyLinearImputer(image, noise=0)
    assert imputer.seen.shape == (128, 128)
    hole = np.zeros((128, 128), bool)
    hole[48:80, 48:80] = True
    filled = imputer(hole)
    assert filled.shape == image.shape
    np.testing.assert_allclose(filled.astype(int), image, atol=3)
    np.testing.assert_array_equal(filled[:58], image[:58])
