"""Harmless changes: the eye stays, the surround stays black, and the draws come from the generator alone."""

import cv2
import numpy as np

from dr_keras.data.fundus import disc
from dr_keras.data.harmless_changes import (  # fmt: skip
    Changes,
    changed_copy,
    degrade,
    recolour,
    save_again,
    shade,
    sharpen,
)
from dr_keras.data.synthetic import draw_named, synthetic_dataset

SIZE = 160
RETINA = disc(SIZE).astype(bool)


def eye():
    pixels = np.full((SIZE, SIZE, 3), (150, 90, 40), np.uint8)
    cv2.circle(pixels, (120, 80), 10, (230, 200, 120), -1)
    pixels[~RETINA] = 0
    return pixels


def test_the_surround_stays_black():
    rng = np.random.default_rng(0)
    for _ in range(20):
        for change in (lambda x: recolour(x, rng, Changes()), lambda x: shade(x, rng)):
            changed = change(eye())
            assert changed.dtype == np.uint8 and not changed[~RETINA].any()
    assert np.all(degrade(eye(), np.random.default_rng(1), 1.0)[:10, :10] < 12)
    assert not sharpen(eye(), rng)[:10, :10].any()


def test_a_copy_is_the_same_eye_turned():
    """However it is turned and recoloured, the disc is brightest, at its distance from the middle."""
    for seed in range(30):
        copy = changed_copy(eye(), np.random.default_rng(seed))
        assert copy.shape == (SIZE, SIZE, 3) and copy.dtype == np.uint8
        smooth = cv2.GaussianBlur(copy.mean(axis=2), (0, 0), 4)
        y, x = np.unravel_index(smooth.argmax(), smooth.shape)
        assert abs(np.hypot(y - 80, x - 80) - 40) < 14


def test_a_photograph_saved_again_is_the_same_in_its_place_but_for_fine_detail():
    image = np.repeat(
        np.repeat(np.random.default_rng(0).integers(60, 200, (80, 80, 3), np.uint8), 2, 0), 2, 1
    )
    saved = [save_again(image, np.random.default_rng(seed)) for seed in range(12)]
    assert all(copy.shape == image.shape and copy.dtype == np.uint8 for copy in saved)
    coarse = [cv2.GaussianBlur(copy, (0, 0), 6).astype(int) for copy in (image, *saved)]
    assert all(np.abs(copy - coarse[0]).mean() < 2 for copy in coarse[1:])
    differences = [np.abs(copy.astype(int) - image).mean() for copy in saved]
    assert min(differences) == 0 and np.median(differences) > 5  # one in thirteen stays as it is


def test_copies_differ_and_a_seed_repeats_one():
    copies = [changed_copy(eye(), np.random.default_rng(seed)) for seed in (1, 2, 1)]
    assert np.abs(copies[0].astype(int) - copies[1]).mean() > 2
    np.testing.assert_array_equal(copies[0], copies[2])


def test_without_any_change_a_copy_is_turned_only():
    still = Changes(zoom=1, shift=0, colour=0, gamma=1, degrade_share=0, save_share=0)
    image = draw_named(synthetic_dataset(1).records[0].path, SIZE).image
    side = min(image.shape[:2])
    image = np.ascontiguousarray(image[:side, :side])
    copy = changed_copy(image, np.random.default_rng(3), still)
    assert abs(float(copy.mean()) - float(image.mean())) < 3
