"""The graph's judgement of a photograph against that of `data.quality`."""

import functools

import cv2
import numpy as np
import pytest
import tensorflow as tf
from non_eyes import non_eyes

from dr_keras.data.fundus import FieldOfView, crop_square, find_field_of_view
from dr_keras.data.photograph import Photograph
from dr_keras.data.quality import QualityLimits, gradability
from dr_keras.data.retina_check import retina_log_odds
from dr_keras.data.synthetic import draw_fundus
from dr_keras.export import graph_quality


@functools.lru_cache
def compiled(size):
    signature = [tf.TensorSpec((size, size, 3), tf.float32), tf.TensorSpec((), tf.bool)]
    judge = functools.partial(graph_quality.fault, limits=QualityLimits())
    return tf.function(judge, input_signature=signature)


def judge_both(square, found=True):
    """What the graph and what Python say of a prepared square."""
    expected = gradability(square, FieldOfView.of_square(len(square), found))[1]
    return compiled(len(square))(square.astype("float32"), found).numpy().decode(), expected


def exposed(image, factor):
    return np.clip(image * float(factor), 0, 255).astype(np.uint8)


def half_dark(image):
    return np.concatenate([image[:, : image.shape[1] // 3], exposed(image[:, image.shape[1] // 3 :], 0.1)], 1)


def without_left(image):
    return np.concatenate([np.zeros_like(image[:, : len(image) // 2]), image[:, len(image) // 2 :]], 1)


def grey(image):
    return np.repeat(image[..., 1:2], 3, axis=2)


def filtered(image):
    """Ben Graham's filter."""
    mean = cv2.GaussianBlur(image, (0, 0), len(image) / 30).astype("float32")
    inside = cv2.circle(
        np.zeros(image.shape[:2], np.uint8), (len(image) // 2,) * 2, int(0.45 * len(image)), 1, -1
    )
    return np.clip(4.0 * image - 4 * mean + 128, 0, 255).astype(np.uint8) * inside[..., None]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda image: image, ""),
        (lambda image: cv2.GaussianBlur(image, (0, 0), 3), "out of focus"),
        (half_dark, "too dark"),
        (lambda image: exposed(image, 5), "too bright"),
        (lambda image: exposed(image, 0.04), "no visible retina"),
        (np.zeros_like, "no visible retina: the photograph is black"),
        (
            lambda image: cv2.GaussianBlur(image, (0, 0), 60),
            "no visible retina: the photograph has no detail",
        ),
        (lambda image: image[..., ::-1], "no visible retina: nothing in the photograph is red"),
        (without_left, "cut off: 50%"),
        (grey, "not a colour photograph"),
        (filtered, "not as a camera made it"),
    ],
    ids=["whole", "blur", "half dark", "bright", "dark", "black", "flat", "blue", "cut", "grey", "filtered"],
)
def test_the_same_words_for_the_same_fault(change, reason):
    drawn = draw_fundus(1, 1, 400).image
    prepared = {size: crop_square(drawn, find_field_of_view(drawn), size) for size in (256, 320)}
    for size, square in prepared.items():
        told, expected = judge_both(np.ascontiguousarray(change(square)))
        assert told == expected and expected.startswith(reason), (size, told, expected)


def test_no_field_of_view_and_no_tissue():
    noise = np.random.default_rng(0).integers(60, 200, (96, 96, 3), np.uint8)
    noise[..., 0] = np.maximum(noise[..., 0], noise[..., 1])  # red enough, but blue is brighter
    noise[..., 2] = 220
    told, expected = judge_both(cv2.GaussianBlur(noise, (0, 0), 1.0), found=False)
    assert told == expected and expected.startswith("not a fundus photograph")
    assert judge_both(crop_square(draw_fundus(0, 0, 200).image, FieldOfView.of_square(200), 128)) == ("", "")


def test_real_photographs_and_what_blurs_and_light_make_of_them(shared_dir):
    """Decisions flip at the same places: each photograph is made worse step by step."""
    paths = (
        sorted((shared_dir / "idrid").rglob("*.jpg"))[::120]
        + sorted((shared_dir / "eyepacs").rglob("*.jp*g"))[::80]
    )
    seen = set()
    for path in paths:
        prepared = Photograph(path).prepare(320)
        square, found = prepared.pixels, prepared.field_of_view.found
        worse = [cv2.GaussianBlur(square, (0, 0), sigma) for sigma in (0.6, 0.9, 1.2, 2.5)]
        worse += [exposed(square, factor) for factor in (0.15, 0.3, 2.5, 4)]
        for image in [square, *worse]:
            told, expected = judge_both(image, found)
            assert told == expected, path.name
            seen.add(expected.partition(":")[0])
    assert len(seen) >= 4


def test_the_check_for_a_retina_has_the_same_odds():
    judge = tf.function(graph_quality._retina_log_odds, [tf.TensorSpec((256, 256, 3), tf.float32)])
    pictures = [draw_fundus(seed, seed, 300).image for seed in range(4)]
    for picture in [*pictures, *non_eyes().values()]:
        square = Photograph(picture).prepare(256).pixels
        assert float(judge(square.astype("float32"))) == pytest.approx(retina_log_odds(square), abs=0.02)


def test_the_same_answer_for_what_is_no_eye():
    for name, picture in non_eyes().items():
        prepared = Photograph(picture).prepare(256)
        got, expected = judge_both(prepared.pixels, prepared.field_of_view.found)
        assert got == expected != "", name
