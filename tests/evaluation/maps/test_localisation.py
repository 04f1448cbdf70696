import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from dr_keras.data.fundus import FieldOfView
from dr_keras.evaluation.maps.localisation import MEASURES, centre_prior, score_map, summarise

HEIGHT, WIDTH = 80, 120
VIEW = FieldOfView(40, 60, 38, HEIGHT, WIDTH, found=True)


def spot(y, x, radius):
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def test_map_that_is_the_mask_is_perfect():
    mask = spot(30, 50, 6)
    scores = score_map(np.where(mask, 2.0, -1.0), mask, VIEW)
    assert scores["auprc"] == scores["pointing_game"] == scores["best_iou"] == scores["energy_inside"] == 1
    assert scores["prevalence"] == pytest.approx(mask.sum() / VIEW.mask().sum())


def test_map_of_the_rest_is_wrong_everywhere():
    mask = spot(30, 50, 6)
    scores = score_map(np.where(mask, -1.0, 2.0), mask, VIEW, tolerance=0)
    assert scores["pointing_game"] < 0.02 and scores["energy_inside"] < 0.05
    assert scores["best_iou"] == pytest.approx(scores["prevalence"])


def test_area_is_scikit_learns_with_and_without_ties():
    rng = np.random.default_rng(0)
    mask, seen = spot(45, 70, 9), VIEW.mask()
    for heat in (rng.normal(size=mask.shape) + mask, rng.integers(0, 4, mask.shape) + 2.0 * mask):
        expected = average_precision_score(mask[seen], heat[seen])
        assert score_map(heat, mask, VIEW)["auprc"] == pytest.approx(expected, rel=1e-9)


def test_best_iou_by_hand():
    mask, heat = np.zeros((HEIGHT, WIDTH), bool), np.zeros((HEIGHT, WIDTH))
    mask[40, 60:64] = True
    heat[40, 61:67] = [5, 4, 3, 2, 1, 0.5]  # cut at 3: 3 of the 4, none besides
    assert score_map(heat, mask, VIEW)["best_iou"] == pytest.approx(3 / 4)


def test_tolerance_is_a_share_of_the_diameter():
    mask, heat = spot(40, 60, 2), np.zeros((HEIGHT, WIDTH))
    heat[40, 60 + 2 + 6] = 1  # six pixels outside; 8 % of the diameter of 76
    assert score_map(heat, mask, VIEW, tolerance=0.06)["pointing_game"] == 0
    near = score_map(heat, mask, VIEW, tolerance=0.08)
    assert near["pointing_game"] == near["energy_inside"] == 1


def test_nothing_outside_the_field_of_view_counts():
    mask = spot(30, 50, 6)
    heat = np.where(VIEW.mask(), mask, 9.0)
    assert score_map(heat, mask, VIEW)["auprc"] == 1
    assert np.isnan(list(score_map(heat, ~VIEW.mask(), VIEW).values())).all()


def test_map_without_positive_values_has_no_energy():
    scores = score_map(-np.ones((HEIGHT, WIDTH)), spot(30, 50, 6), VIEW)
    assert np.isnan(scores["energy_inside"]) and scores["auprc"] == pytest.approx(scores["prevalence"])


def test_centre_prior_is_highest_in_the_middle():
    prior = centre_prior(VIEW)
    assert prior.shape == (HEIGHT, WIDTH)
    assert np.unravel_index(prior.argmax(), prior.shape) in {(39, 59), (39, 60), (40, 59), (40, 60)}
    assert prior[40, 98] == pytest.approx(np.exp(-2 * (38.5**2 + 0.5**2) / 38**2))


def test_summary_is_the_mean_over_photographs_with_its_interval():
    rows = [dict.fromkeys(MEASURES, value) for value in (0.2, 0.4, 0.9)]
    result = summarise(rows)
    assert result["n"] == 3 and result["auprc"]["value"] == pytest.approx(0.5)
    assert 0.2 <= result["auprc"]["low"] < 0.5 < result["auprc"]["high"] <= 0.9
    assert np.isnan(summarise([])["best_iou"]["value"]) and summarise([])["n"] == 0
