"""The graph's circle and square against those of `data.fundus`."""

import cv2
import numpy as np
import pytest
import tensorflow as tf

from dr_keras.data import decoding, fundus
from dr_keras.export import graph_fundus


@pytest.fixture(scope="module")
def find_and_crop():
    @tf.function(input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)])
    def step(image):
        circle, found = graph_fundus.find_field_of_view(image)
        return circle, found, graph_fundus.crop_square(image, circle, found, 96)

    return step


def check_same(find_and_crop, image, most_levels, most_share):
    circle, found, square = (value.numpy() for value in find_and_crop(image))
    view = fundus.find_field_of_view(image)
    assert found == view.found
    np.testing.assert_allclose(circle, (view.center_y, view.center_x, view.radius), atol=2e-3)
    difference = np.abs(square - fundus.crop_square(image, view, 96))
    assert difference.max() <= most_levels
    assert np.mean(difference > 0) <= most_share


@pytest.mark.parametrize("height, width", [(240, 320), (512, 512), (331, 211), (700, 1100)])
def test_drawn_photographs(find_and_crop, draw_photograph, height, width):
    for seed in range(3):
        check_same(find_and_crop, draw_photograph(seed, height, width), 1, 1e-3)


def test_enlarging_rounds_down_as_opencv_does(find_and_crop, draw_photograph):
    check_same(find_and_crop, draw_photograph(0, 60, 80), 1, 2e-3)


def test_a_photograph_cut_off_on_one_side_is_filled_with_black(find_and_crop, draw_photograph):
    image = draw_photograph(1, 240, 320)[60:]
    check_same(find_and_crop, image, 1, 1e-3)
    assert find_and_crop(image)[0][0] < 62  # the centre lies 60 rows higher


@pytest.mark.parametrize("level", [0, 5, 128])
def test_nothing_to_find(find_and_crop, level):
    check_same(find_and_crop, np.full((100, 150, 3), level, np.uint8), 0, 0)


def test_real_photographs(find_and_crop, shared_dir):
    paths = (
        sorted((shared_dir / "idrid").rglob("*.jpg"))[:4]
        + sorted((shared_dir / "eyepacs").rglob("*.jp*g"))[:4]
    )
    for path in paths:
        check_same(find_and_crop, decoding.read_image(path, 256), 1, 1e-3)


def test_area_rounds_halves_as_opencv():
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    for height, width in ((20, 30), (10, 15), (17, 23)):
        expected = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        difference = np.abs(graph_fundus.reduce_by_area(image, (height, width)) - expected)
        assert difference.max() <= 1 and np.mean(difference > 0) < 0.002


def test_area_leaves_out_slivers_as_opencv():
    """Of 809 pixels' borders in 640 cells some cut off less than a thousandth of a pixel."""
    image = np.random.default_rng(0).integers(0, 256, (809, 811, 3), np.uint8)
    expected = cv2.resize(image, (640, 640), interpolation=cv2.INTER_AREA)
    difference = np.abs(graph_fundus.reduce_by_area(image, (640, 640)) - expected)
    assert difference.max() <= 1 and np.mean(difference > 0) < 5e-5


def test_blur_mirrors_borders_as_opencv():
    picture = np.random.default_rng(0).normal(0, 50, (31, 47)).astype("float32")
    for sigma in (1.0, 2.0):
        expected = cv2.GaussianBlur(picture, (0, 0), sigma)
        np.testing.assert_allclose(graph_fundus.blur(picture, sigma), expected, atol=1e-4)
    assert graph_fundus.blur(picture[:1], 1.0).shape == (1, 47)


def test_a_bright_surround_is_blackened_as_in_python(draw_photograph):
    image = draw_photograph(3, 240, 320)
    outside = image.max(axis=2, keepdims=True) == 0
    surrounded = [np.where(outside, np.uint8(colour), image) for colour in (255, 128, (40, 90, 120))]
    grey = np.repeat(surrounded[1][..., 1:2], 3, axis=2)
    for picture in (image, *surrounded, grey):
        np.testing.assert_array_equal(
            graph_fundus.without_bright_surround(tf.constant(picture)),
            fundus.without_bright_surround(picture),
        )
