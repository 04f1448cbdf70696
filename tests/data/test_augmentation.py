import json
import math
from pathlib import Path

import keras
import numpy as np
import pytest

from dr_keras.data.augmentation import (
    NUM_NORMAL,
    NUM_UNIFORM,
    AugmentationConfig,
    FundusAugmentation,
    affine_transforms,
    warp,
)
from dr_keras.training.hosts.devices import precision_scope

GOLDEN = "tensorflow_addons_0_23.json"
# rotation, flip, shift y, shift x, log-scale y, log-scale x
IDENTITY = (0.0, 0.0, 0.5, 0.5, 0.5, 0.5)


def draw(**changes):
    """The identity's draws, with some of them changed: float32 (1, 6)."""
    names = ("rotation", "flip", "shift_y", "shift_x", "scale_y", "scale_x")
    return np.array([[changes.get(name, value) for name, value in zip(names, IDENTITY)]], "float32")


def image_of(side=9, seed=0):
    return np.random.default_rng(seed).integers(1, 256, (1, side, side, 3)).astype("float32")


def warped(image, config=None, **changes):
    """Warps one square image by the draws; (side, side, 3)."""
    transforms = affine_transforms(draw(**changes), image.shape[1], config or AugmentationConfig())
    return np.asarray(warp(image, transforms))[0]


def dot_image(side, y, x):
    """A Gaussian dot of SD 1.5 pixels round (y, x): float32 (1, side, side, 1)."""
    rows, columns = np.mgrid[:side, :side]
    return np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 4.5)[None, :, :, None].astype("float32")


def centroid(image):
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    weight = image[..., 0] / image[..., 0].sum()
    return (rows * weight).sum(), (columns * weight).sum()


# One parameter at a time


def test_identity_draws_change_nothing():
    image = image_of()
    np.testing.assert_allclose(warped(image), image[0], atol=1e-3)
    np.testing.assert_allclose(
        np.asarray(affine_transforms(draw(), 9, AugmentationConfig())), [[1, 0, 0, 0, 1, 0, 0, 0]], atol=1e-6
    )


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("side", [8, 9])
def test_quarter_turns_are_counterclockwise(quarters, side):
    image = image_of(side)
    turned = warped(image, rotation=quarters / 4)
    np.testing.assert_allclose(turned, np.rot90(image[0], quarters), atol=0.05)


def test_flip_mirrors_left_and_right():
    image = image_of()
    np.testing.assert_allclose(warped(image, flip=0.5), image[0, :, ::-1], atol=1e-3)
    np.testing.assert_allclose(warped(image, flip=0.49), image[0], atol=1e-3)
    np.testing.assert_allclose(warped(image, AugmentationConfig(flip=False), flip=0.9), image[0], atol=1e-3)


def test_shift_is_forty_pixels_at_512():
    config = AugmentationConfig()
    transform = np.asarray(affine_transforms(draw(shift_y=0.0, shift_x=1.0), 512, config))[0]
    np.testing.assert_allclose(transform, [1, 0, 40, 0, 1, -40, 0, 0], atol=1e-4)
    transform = np.asarray(affine_transforms(draw(shift_y=0.75), 128, config))[0]
    np.testing.assert_allclose(transform[[2, 5]], [0, 5], atol=1e-5)


def test_shift_moves_by_whole_pixels_and_fills_with_black():
    image = image_of(16)
    config = AugmentationConfig(shift=3 / 16)
    left = warped(image, config, shift_x=1.0)
    np.testing.assert_allclose(left[:, :13], image[0, :, 3:], atol=1e-3)
    assert (left[:, 13:] == 0).all()
    down = warped(image, config, shift_y=0.0)
    np.testing.assert_allclose(down[3:], image[0, :13], atol=1e-3)
    assert (down[:3] == 0).all()


def test_stretch_scales_each_axis_about_the_centre():
    side, middle = 65, 32
    # Upper ends of the draws enlarge by 1.15: a dot 16 pixels from the centre lands at 18.4.
    for changes, expected in (
        ({"scale_y": 1.0}, (middle - 18.4, middle + 10)),
        ({"scale_x": 1.0}, (middle - 16, middle + 11.5)),
        ({"scale_y": 0.0, "scale_x": 0.0}, (middle - 16 / 1.15, middle + 10 / 1.15)),
    ):
        found = centroid(warped(dot_image(side, middle - 16, middle + 10), **changes))
        np.testing.assert_allclose(found, expected, atol=0.05)


def test_stretch_follows_the_turned_eye():
    """Scale and flip act on the window's axes, after the rotation: a dot turned to the top moves in y."""
    dot = dot_image(65, 32, 48)
    np.testing.assert_allclose(centroid(warped(dot, rotation=0.25)), (16, 32), atol=0.05)
    np.testing.assert_allclose(centroid(warped(dot, rotation=0.25, scale_y=1.0)), (32 - 18.4, 32), atol=0.05)
    np.testing.assert_allclose(
        centroid(warped(dot, rotation=0.125, flip=1.0)), (32 - 11.31, 32 - 11.31), atol=0.05
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_dot_lands_where_the_matrix_says(seed):
    side = 97
    uniform = np.random.default_rng(seed).random((1, NUM_UNIFORM)).astype("float32")
    a0, a1, a2, b0, b1, b2, *rest = np.asarray(affine_transforms(uniform, side, AugmentationConfig()))[0]
    assert rest == [0, 0]
    y, x = 40, 61
    to_input = np.array([[a0, a1, a2], [b0, b1, b2], [0, 0, 1]], "float64")
    expected_x, expected_y, _ = np.linalg.inv(to_input) @ [x, y, 1]
    result = np.asarray(warp(dot_image(side, y, x), affine_transforms(uniform, side, AugmentationConfig())))[
        0
    ]
    np.testing.assert_allclose(centroid(result), (expected_y, expected_x), atol=0.1)


def test_warp_keeps_height_and_width_apart():
    image = np.random.default_rng(0).random((1, 5, 9, 1)).astype("float32")
    result = np.asarray(warp(image, np.array([[1, 0, 2, 0, 1, 1, 0, 0]], "float32")))[0]
    np.testing.assert_allclose(result[:4, :7], image[0, 1:, 2:], atol=1e-6)
    assert (result[4] == 0).all() and (result[:, 7:] == 0).all()


@pytest.mark.parametrize("shape", [(17, 17), (12, 19), (21, 10)])
def test_warp_equals_kerass_affine_transform(shape):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, *shape, 3), dtype=np.uint8)
    transforms = rng.normal(0, 1, (20, 8)).astype("float32")
    transforms[:, [2, 5]] *= 15  # from well inside to all outside
    transforms[:, 6:] = 0
    expected = keras.ops.image.affine_transform(
        images.astype("float32"), transforms, interpolation="bilinear"
    )
    found = np.asarray(warp(images, transforms))
    np.testing.assert_allclose(found, np.asarray(expected), atol=0.02)
    outside = (found == 0).all(axis=(1, 2, 3))
    assert 0 < outside.sum() < 20


# Recorded outputs of tensorflow-addons


def check_recorded(path):
    recorded = json.loads(path.read_text())
    image = np.array(recorded["image"], "float32")
    assert recorded["affine"]
    for case in recorded["affine"]:
        result = warp(image, np.array([case["transform"]], "float32"))
        np.testing.assert_allclose(
            np.asarray(result), case["result"], atol=1e-5, err_msg=str(case["transform"])
        )


def test_warp_equals_tensorflow_addons():
    check_recorded(Path(__file__).resolve().parents[1] / "golden" / GOLDEN)


def test_warp_equals_tensorflow_addons_on_the_full_record(shared_dir):
    path = shared_dir / "golden" / GOLDEN
    if not path.is_file():
        pytest.skip("no recorded outputs in ../shared/golden")
    check_recorded(path)


# The layer


def layer_of(size=32, window=24, **arguments):
    return FundusAugmentation(size, window, **arguments)


def batch_of(count=4, size=32, seed=0):
    rng = np.random.default_rng(seed)
    return (
        rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8),
        rng.random((count, NUM_UNIFORM)).astype("float32"),
        rng.normal(size=(count, NUM_NORMAL)).astype("float32"),
    )


def test_inference_cuts_out_the_centre_and_ignores_the_draws():
    images, uniform, normal = batch_of()
    layer = layer_of(color_components=np.eye(3))
    expected = images[:, 4:28, 4:28].astype("float32")
    np.testing.assert_array_equal(np.asarray(layer(images, uniform, normal)), expected)
    np.testing.assert_array_equal(np.asarray(layer(images, uniform, normal, training=False)), expected)
    np.testing.assert_array_equal(np.asarray(layer(images)), expected)


def test_identity_draws_in_training_are_the_centre_crop():
    images, _, _ = batch_of()
    uniform = np.repeat(draw(), 4, axis=0)
    layer = layer_of(color_components=np.diag([20.0, 10.0, 5.0]))
    windows = layer(images, uniform, np.zeros((4, 3), "float32"), training=True)
    np.testing.assert_allclose(np.asarray(windows), images[:, 4:28, 4:28], atol=5e-3)


def test_colour_shift_by_hand():
    images, _, normal = batch_of()
    uniform = np.repeat(draw(), 4, axis=0)
    components = np.array([[30.0, 5.0, 1.0], [20.0, -5.0, 2.0], [10.0, 3.0, -3.0]])
    layer = layer_of(config=AugmentationConfig(color_sigma=0.25), color_components=components)
    windows = np.asarray(layer(images, uniform, normal, training=True))
    for image, window, draws in zip(images, windows, normal):
        shift = 0.25 * (
            components[:, 0] * draws[0] + components[:, 1] * draws[1] + components[:, 2] * draws[2]
        )
        np.testing.assert_allclose(window - image[4:28, 4:28], np.broadcast_to(shift, (24, 24, 3)), atol=0.01)


def test_window_is_the_centre_of_the_warped_image():
    images, uniform, normal = batch_of()
    layer = layer_of()
    whole = np.asarray(warp(images, affine_transforms(uniform, 32, AugmentationConfig())))
    windows = layer(images, uniform, normal, training=True)
    assert windows.shape == (4, 24, 24, 3)
    np.testing.assert_allclose(np.asarray(windows), whole[:, 4:28, 4:28], atol=1e-3)


def test_samples_do_not_depend_on_their_neighbours():
    images, uniform, normal = batch_of()
    layer = layer_of(color_components=np.eye(3) * 20)
    windows = np.asarray(layer(images, uniform, normal, training=True))
    order = [2, 0, 3, 1]
    shuffled = np.asarray(layer(images[order], uniform[order], normal[order], training=True))
    np.testing.assert_array_equal(shuffled, windows[order])
    alone = np.asarray(layer(images[1:2], uniform[1:2], normal[1:2], training=True))
    np.testing.assert_allclose(alone[0], windows[1], atol=1e-4)
    np.testing.assert_array_equal(np.asarray(layer(images, uniform, normal, training=True)), windows)


def test_stays_in_float32_under_bfloat16():
    with precision_scope("mixed_bfloat16"):
        layer = layer_of()
    images, uniform, normal = batch_of()
    windows = layer(images, uniform, normal, training=True)
    assert keras.backend.standardize_dtype(windows.dtype) == "float32"
    np.testing.assert_array_equal(
        np.asarray(windows), np.asarray(layer_of()(images, uniform, normal, training=True))
    )


@pytest.mark.parametrize("components", [None, [[30.0, 5.0, 1.0], [20.0, -5.0, 2.0], [10.0, 3.0, -3.0]]])
def test_config_round_trip(components):
    config = AugmentationConfig(rotation=90.0, flip=False, shift=0.05, stretch=1.3, color_sigma=0.25)
    layer = layer_of(
        config=config, color_components=None if components is None else np.array(components), name="a"
    )
    text = json.dumps(keras.saving.serialize_keras_object(layer))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    assert again.config == config and again.name == "a" and (again.image_size, again.window) == (32, 24)
    batch = batch_of()
    np.testing.assert_array_equal(
        np.asarray(again(*batch, training=True)), np.asarray(layer(*batch, training=True))
    )
    assert again.compute_output_shape((7, 32, 32, 3)) == (7, 24, 24, 3)


# What the draws amount to


def test_ranges_of_the_recipe():
    uniform = np.random.default_rng(0).random((4000, NUM_UNIFORM)).astype("float32")
    transforms = np.asarray(affine_transforms(uniform, 512, AugmentationConfig()), "float64")
    linear = transforms[:, [0, 1, 3, 4]].reshape(-1, 2, 2)  # input = linear @ output + offset
    flipped = np.linalg.det(linear) < 0
    assert 0.47 < flipped.mean() < 0.53
    scale_x, scale_y = (
        1 / np.linalg.norm(linear[:, :, 0], axis=1),
        1 / np.linalg.norm(linear[:, :, 1], axis=1),
    )
    for scale in (scale_x, scale_y):
        assert 1 / 1.15 - 1e-5 <= scale.min() < 0.875 and 1.145 < scale.max() <= 1.15 + 1e-5
        assert abs(np.log(scale).mean()) < 0.005  # log-uniform: symmetric about no change ...
        np.testing.assert_allclose(
            np.log(scale).std(), math.log(1.15) / math.sqrt(3), rtol=0.05
        )  # ... and flat
    assert abs(np.corrcoef(scale_x, scale_y)[0, 1]) < 0.06
    angle = np.degrees(np.arctan2(-linear[:, 0, 1], linear[:, 1, 1])) % 360
    counts = np.histogram(angle, bins=12, range=(0, 360))[0]
    assert counts.min() > 270 and counts.max() < 400  # 4000 / 12 = 333
    centre = np.array([255.5, 255.5])
    shift = linear @ centre + transforms[:, [2, 5]] - centre
    assert np.abs(shift).max() <= 40.001 and np.abs(shift).max(axis=0).min() > 39.5
    assert (np.abs(shift.mean(axis=0)) < 1.2).all()
