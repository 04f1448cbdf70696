"""Scores whose truth is known by hand: the brightness of a spot, or a sum over pixels."""

import json

import numpy as np
import pytest

from dr_keras.data.fundus import FieldOfView
from dr_keras.evaluation.maps.faithfulness import (
    CURVES,
    FRACTIONS,
    MEASURES,
    areas,
    deletion_insertion,
    random_order,
    road,
    summarise_faithfulness,
)
from dr_keras.evaluation.maps.imputation import retina
from dr_keras.explain.geometry import Grid, place_on_square

SIZE = 48
ROWS, COLUMNS = np.ogrid[:SIZE, :SIZE]
EYE = FieldOfView.of_square(SIZE).mask()
SPOT = (ROWS - 16) ** 2 + (COLUMNS - 30) ** 2 <= 4**2  # 49 of some 1800 pixels: under a tenth
CELLS = 12  # on a side: each of 4 pixels


def eye_with_spot(spot=200, rest=100):
    """An eye of one brightness with a brighter spot."""
    grey = np.where(SPOT, spot, rest) * EYE
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


def spot_score(images):
    """Mean brightness of the spot, 1 per 50 grey levels."""
    return images[:, SPOT, 1].mean(axis=1) / 50


def all_areas(score, image, heat, seed=0):
    return areas(deletion_insertion(score, image, heat, seed=seed) | road(score, image, heat, seed=seed))


def random_heat(seed):
    cells = random_order(np.arange(CELLS**2).reshape(CELLS, CELLS), seed)
    return np.kron(cells, np.ones((SIZE // CELLS, SIZE // CELLS)))


def test_map_of_the_spot_by_hand():
    curves = deletion_insertion(spot_score, eye_with_spot(), SPOT.astype("float32"))
    whole = curves["deletion"][0]
    assert 1 < whole < 2  # the blur leaves a little of the spot's 100 grey levels
    np.testing.assert_allclose(curves["deletion"], [whole] + [0] * 10)  # a tenth holds the spot
    np.testing.assert_allclose(curves["insertion"], [0] + [whole] * 10)
    # the trapezoids below the straight line: a tenth of 0.9 + 0.8 + ... + 0.1
    measured = areas(curves | {"morf": np.zeros(11), "lerf": np.zeros(11)})
    assert measured["deletion"] == pytest.approx(0.45 * whole)
    assert measured["insertion"] == pytest.approx(0.45 * whole)
    assert measured["road"] == 0


def test_road_by_hand():
    image = eye_with_spot()
    curves = road(spot_score, image, SPOT.astype("float32"), noise=0)
    mean = image[EYE][:, 1].mean().round() / 50
    np.testing.assert_allclose(curves["morf"], [4 - mean] + [2 - mean] * 9 + [0])  # imputed: the 100 around
    np.testing.assert_allclose(curves["lerf"], [4 - mean] * 10 + [0])
    assert areas(curves | {"deletion": np.zeros(11), "insertion": np.zeros(11)})["road"] == pytest.approx(
        0.45 * 2
    )


def test_true_map_beats_random_ones_and_the_inverted_one_is_worst():
    image, truth = eye_with_spot(), SPOT.astype("float32")
    best, worst = all_areas(spot_score, image, truth), all_areas(spot_score, image, -truth)
    others = [all_areas(spot_score, image, random_heat(seed)) for seed in range(8)]
    for measure in MEASURES:
        values = np.array([areas_of[measure] for areas_of in others])
        assert worst[measure] < values.min() and values.max() < best[measure]
        assert abs(values.mean()) < 0.4 * best[measure]


def test_what_lowers_the_score_belongs_last():
    """A dark spot lowers this score, so that deleting all of the eye raises it; the true map is negative."""
    image, truth = eye_with_spot(spot=20), -SPOT.astype("float32")
    curves = deletion_insertion(spot_score, image, truth)
    assert curves["deletion"][0] < -1
    best, worst = all_areas(spot_score, image, truth), all_areas(spot_score, image, -truth)
    assert all(best[measure] > 0.4 and worst[measure] < -0.4 for measure in MEASURES)


def test_sum_over_pixels_the_measures_agree_and_turn_with_the_map():
    rng = np.random.default_rng(0)
    image = eye_with_spot()
    image[EYE] = rng.integers(60, 200, (EYE.sum(), 3))
    weights = rng.normal(size=(SIZE, SIZE, 1)) / 1000

    def score(images):
        return (images * weights).sum(axis=(1, 2, 3))

    heat = rng.normal(size=(SIZE, SIZE))
    for measured in (heat, weights[..., 0]):
        forth = areas(deletion_insertion(score, image, measured) | road(score, image, measured))
        back = areas(deletion_insertion(score, image, -measured) | road(score, image, -measured))
        assert forth["deletion"] == pytest.approx(forth["insertion"], abs=1e-2)
        assert back["deletion"] == pytest.approx(
            -forth["deletion"], rel=0.1, abs=0.01
        )  # a pixel more or less
        assert back["road"] == pytest.approx(-forth["road"], rel=0.1, abs=0.01)


def test_equal_values_are_taken_at_random():
    """A flat map knows nothing: it must not delete from the top down."""
    image, flat = eye_with_spot(), np.full((SIZE, SIZE), 3.0)
    image[EYE] = np.random.default_rng(0).integers(60, 200, (EYE.sum(), 3))
    changed = []

    def score(images):
        changed.append((images[5] != image).any(axis=2))  # half is deleted
        return spot_score(images)

    first, again, other = (deletion_insertion(score, image, flat, seed=seed) for seed in (1, 1, 2))
    above, below = changed[0][: SIZE // 2].sum(), changed[0][SIZE // 2 :].sum()
    assert above == pytest.approx(below, rel=0.15) and above + below == pytest.approx(EYE.sum() / 2, rel=0.05)
    np.testing.assert_array_equal(first["deletion"], again["deletion"])
    assert (first["deletion"] != other["deletion"]).any()


def test_nothing_outside_the_eye_is_changed_or_counted():
    seen = []

    def score(images):
        seen.append(images)
        return spot_score(images)

    image = eye_with_spot()
    image[:6] = 0  # cut off above
    heat = np.where(retina(image), SPOT, 9.0)
    assert not retina(image)[:7].any() and retina(image)[7].any()
    curves = deletion_insertion(score, image, heat) | road(score, image, heat)
    assert areas(curves)["deletion"] == pytest.approx(0.45 * curves["deletion"][0])
    for images in seen:
        np.testing.assert_array_equal(
            images[:, ~retina(image)], image[None, ~retina(image)].repeat(len(images), 0)
        )
        assert images[:, retina(image)].min() > 85  # no dark mixed in


def test_map_is_laid_over_the_square_and_shuffled_by_cell():
    cells = np.arange(9.0).reshape(3, 3)
    grid = Grid((6.0, 6.0), (6.0, 6.0), (0, 0, 18, 18), 18)
    heat = place_on_square(cells, grid)
    assert heat.shape == (18, 18) and heat[5:7, 11:13].mean() == pytest.approx(1, abs=0.2)
    shuffled = random_order(cells, seed=1)
    assert sorted(shuffled.ravel()) == sorted(cells.ravel()) and (shuffled != cells).any()


def test_summary_has_means_intervals_and_the_random_baseline():
    rng = np.random.default_rng(0)
    images = [eye_with_spot(spot) for spot in (150, 180, 200, 220)]

    def rows_of(heats):
        pairs = zip(images, heats, strict=True)
        return [deletion_insertion(spot_score, *pair) | road(spot_score, *pair) for pair in pairs]

    rows = rows_of([SPOT + 0.1 * rng.random((SIZE, SIZE)) for _ in images])
    blind = rows_of([random_heat(seed) for seed in range(4)])
    summary = json.loads(json.dumps(summarise_faithfulness(rows, blind)))
    assert summary["n"] == summary["random"]["n"] == 4
    for measure in MEASURES:
        mean = np.mean([areas(row)[measure] for row in rows])
        chance = np.mean([areas(row)[measure] for row in blind])
        interval = summary[measure]
        assert interval["value"] == pytest.approx(mean) and interval["low"] < mean < interval["high"]
        assert summary["random"][measure]["value"] == pytest.approx(chance)
        assert summary["above_random"][measure]["value"] == pytest.approx(mean - chance)
        assert summary["above_random"][measure]["low"] > 0
    assert summary["curves"]["fractions"] == pytest.approx(FRACTIONS)
    for name in CURVES:
        assert summary["curves"][name] == pytest.approx(np.mean([row[name] for row in rows], axis=0))


def test_summary_of_nothing_and_of_a_score_that_is_no_number():
    nothing = summarise_faithfulness([])
    assert nothing["n"] == 0 and np.isnan(nothing["road"]["value"])
    image, truth = eye_with_spot(), SPOT.astype("float32")

    def score(images):
        return np.full(len(images), np.nan)

    row = deletion_insertion(score, image, truth) | road(score, image, truth)
    assert np.isnan(summarise_faithfulness([row])["deletion"]["value"])


@pytest.mark.parametrize("measure", [deletion_insertion, road])
def test_wrong_arguments_are_named(measure):
    heat = np.zeros((SIZE, SIZE))
    with pytest.raises(ValueError, match="`image` must be uint8"):
        measure(spot_score, eye_with_spot().astype("float32"), heat)
    with pytest.raises(ValueError, match=r"`image` must be uint8 \(size, size, 3\)"):
        measure(spot_score, eye_with_spot()[:40], heat)
    with pytest.raises(ValueError, match=r"`heat` must be finite, of shape \(48, 48\)"):
        measure(spot_score, eye_with_spot(), heat[:40])
    with pytest.raises(ValueError, match="1 values that aren't numbers"):
        measure(spot_score, eye_with_spot(), np.where(ROWS + COLUMNS == 0, np.nan, heat))
    with pytest.raises(ValueError, match="must show something"):
        measure(spot_score, np.zeros((SIZE, SIZE, 3), np.uint8), heat)
