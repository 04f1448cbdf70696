"""Colours, outlines and captions: the same value looks the same everywhere."""

import dataclasses

import numpy as np
import pytest
from handmade_explanations import explanation

from dr_keras.explain.overlay import blend, caption, color_bar, overlay, panels, top_regions

GREY = np.full((4, 5, 3), 110, np.uint8)


def blended(value, image=GREY, limit=4.0):
    """The one colour that a map of one value has."""
    result = blend(image, np.full(image.shape[:2], value), limit, np.zeros(image.shape[:2], bool))
    assert (result == result[0, 0]).all() and result.dtype == np.uint8
    return result[0, 0].astype(int)


def test_zero_is_transparent_and_shows_the_green_channel():
    image = np.random.default_rng(0).integers(0, 255, (6, 9, 3), dtype=np.uint8)
    np.testing.assert_array_equal(blend(image, np.zeros((6, 9))), np.repeat(image[..., 1:2], 3, axis=2))


def test_colors_by_hand():
    # opacity 0.8 at the limit, and 0.8 * 0.5 ** 0.8 at half of it, over a grey of 110
    half = 0.8 * 0.5**0.8
    np.testing.assert_array_equal(blended(4), np.rint(0.2 * 110 + 0.8 * np.array([240, 30, 10])))
    np.testing.assert_array_equal(blended(-4), np.rint(0.2 * 110 + 0.8 * np.array([10, 90, 255])))
    np.testing.assert_allclose(blended(2), (1 - half) * 110 + half * np.array([240, 30, 10]), atol=0.51)


def test_colors_end_at_the_limit_and_scale_with_it():
    np.testing.assert_array_equal(blended(9), blended(4))
    np.testing.assert_array_equal(blended(-np.inf), blended(-4))
    np.testing.assert_array_equal(blended(0.5, limit=1.0), blended(2, limit=4.0))
    np.testing.assert_array_equal(blended(np.nan), (110, 110, 110))


def test_red_raises_and_blue_lowers_the_more_the_stronger():
    raising = [blended(value) for value in (0, 0.5, 1, 2, 4)]
    lowering = [blended(-value) for value in (0, 0.5, 1, 2, 4)]
    assert np.all(np.diff([red - blue for red, _, blue in raising]) > 0)
    assert np.all(np.diff([blue - red for red, _, blue in lowering]) > 0)


def test_one_value_has_one_color_whatever_else_the_map_holds():
    low, high = np.full((4, 5), 0.3), np.full((4, 5), 0.3)
    high[0, 0] = 4.0
    nowhere = np.zeros((4, 5), bool)
    np.testing.assert_array_equal(blend(GREY, low, inside=nowhere)[1:], blend(GREY, high, inside=nowhere)[1:])


def test_lesions_show_through_the_strongest_color():
    image = GREY.copy()
    image[1, 1] = 200
    red = blend(image, np.full((4, 5), 4.0), inside=np.zeros((4, 5), bool)).astype(int)
    assert red[1, 1].sum() - red[0, 0].sum() > 60


def test_top_regions_are_two_percent_of_the_field_of_view():
    heat = np.zeros((20, 30), "float32")
    heat[:, :10] = 9.0  # outside
    inside = np.ones((20, 30), bool)
    inside[:, :10] = False
    heat[3, 12:20] = np.linspace(1.0, 1.7, 8)
    top = top_regions(heat, 4.0, inside)
    assert np.argwhere(top).tolist() == [[3, column] for column in range(12, 20)]  # 2 % of 400
    heat[5, 10:30] = 3.0
    assert np.argwhere(top_regions(heat, 4.0, inside)).tolist() == [[5, column] for column in range(10, 30)]


@pytest.mark.parametrize("value, expected", [(0.4, 0), (0.5, 400), (-2.0, 0)])
def test_next_to_nothing_is_no_top_region(value, expected):
    assert top_regions(np.full((20, 20), value), 4.0).sum() == expected


def test_outline_runs_around_the_top_region_only():
    heat = np.zeros((100, 160), "float32")
    heat[20:30, 40:60] = 3.0
    picture = blend(np.full((100, 160, 3), 50, np.uint8), heat)
    white = np.argwhere((picture == 255).all(axis=-1))
    assert white.min(axis=0).tolist() == [19, 39] and white.max(axis=0).tolist() == [30, 60]
    assert not (picture[20:30, 40:60] == 255).all(axis=-1).any()  # around it, not on it
    assert not (blend(np.full((100, 160, 3), 50, np.uint8), heat / 10) == 255).all(axis=-1).any()


@pytest.mark.parametrize("height, width", [(150, 200), (200, 133), (683, 1024), (1024, 700), (40, 1000)])
def test_overlay_of_any_size(height, width):
    picture = overlay(explanation(height, width), "eye.jpg", 3)
    scale = max(1.0, 512 / max(height, width))
    assert picture.dtype == np.uint8
    assert picture.shape[0] > round(height * scale) and picture.shape[1] > 2 * round(width * scale)
    alone = overlay(explanation(height, width), "eye.jpg", 3, with_original=False)
    assert round(width * scale) < alone.shape[1] < 2 * round(width * scale) + 200


def test_overlay_keeps_the_photograph_and_lays_the_map_at_its_place():
    heat = np.zeros((600, 800), "float32")
    heat[100:140, 500:560] = 4.0
    made = explanation(600, 800, heat)
    picture = overlay(made, "eye.jpg", limit=4.0)
    np.testing.assert_array_equal(picture[:600, :800], made.image)
    left = 800 + 8
    inner = picture[106:134, left + 506 : left + 554].astype(int)
    assert (inner[..., 0] - inner[..., 2] > 100).all()
    np.testing.assert_array_equal(picture[300, left + 400], (110, 110, 110))


def test_long_names_do_not_widen_the_picture():
    short, long = (overlay(explanation(), name) for name in ("eye.jpg", "eye " * 80 + "x" * 400 + ".jpg"))
    assert long.shape[1] == short.shape[1] and long.shape[0] > short.shape[0]


def test_panels_at_another_size():
    photograph, map_ = panels(explanation(120, 200), 4.0, 100)
    assert photograph.shape == map_.shape == (60, 100, 3)


def test_caption():
    assert caption(explanation(score=2.25, scores=(2.25,))) == "Score 2.25: grade 2, moderate NPDR"
    assert caption(explanation(score=2.25, scores=(2.0, 2.5)), 4) == (
        "Score 2.25: grade 2, moderate NPDR (2.00 at 128 px, 2.50 at 128 px). True grade 4, proliferative DR"
    )
    assert caption(explanation(score=float("nan"), scores=(1.0,))) == "Score nan"
    assert caption(explanation(score=2.25, scores=(1.0,)), None, (1, 2, 2.2, 2.3)).startswith(
        "Score 2.25: grade 3"
    )


def test_color_bar_has_the_colors_of_the_map():
    bar = color_bar(400, 14, 4.0)
    column = bar[35:386, 3].astype(int)
    np.testing.assert_array_equal(column[0], blended(4))
    np.testing.assert_array_equal(column[-1], blended(-4))
    np.testing.assert_array_equal(column[len(column) // 2], (110, 110, 110))
    assert (color_bar(400, 14, 1.0) != bar).any()  # other labels


def test_map_outside_the_eye_is_told_of():
    few, many = explanation(), dataclasses.replace(explanation(), energy_outside=0.75)
    assert (overlay(few) != overlay(many)).any()
