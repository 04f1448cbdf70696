import warnings

import numpy as np
import pytest

from dr_keras.evaluation.referral import (
    apply_operating_point,
    choose_operating_points,
    proportion,
    referral_curve,
    share,
    wilson_interval,
)
from dr_keras.grades import DEFAULT_THRESHOLDS, score_to_grade
from dr_keras.metrics import quadratic_weighted_kappa

# statsmodels 0.15.0: statsmodels.stats.proportion.proportion_confint(successes, n, 1 - confidence, "wilson")
STATSMODELS = [
    (0, 10, 0.95, 0.0, 0.27753279986288926),
    (10, 10, 0.95, 0.7224672001371106, 1.0),
    (1, 1, 0.95, 0.2065493143772374, 1.0),
    (7, 20, 0.95, 0.18119182410108203, 0.5671457233147638),
    (81, 263, 0.95, 0.2552885198782742, 0.36620957698280004),
    (81, 263, 0.90, 0.2633136171884814, 0.35656634960848815),
    (412, 413, 0.95, 0.9864139257363926, 0.999572451824946),
]
SHARES = ("sensitivity", "specificity", "ppv", "npv")


@pytest.mark.parametrize("successes, n, confidence, low, high", STATSMODELS)
def test_wilson_equals_statsmodels(successes, n, confidence, low, high):
    assert wilson_interval(successes, n, confidence) == pytest.approx((low, high), abs=1e-12)


def test_wilson_of_nobody_is_nan():
    assert np.isnan(wilson_interval(0, 0)).all()
    assert np.isnan(list(proportion(0, 0).values())).all()


def test_proportion():
    assert proportion(7, 20) == {
        "value": 0.35,
        "low": pytest.approx(0.181191824),
        "high": pytest.approx(0.567145723),
    }


def test_a_share_of_eyes_alike_in_each_patient_is_less_sure_than_one_of_as_many_patients():
    """Both eyes of a patient found or missed together: 40 photographs tell as much as 20."""
    found = np.repeat(np.arange(20) % 4 > 0, 2)
    each, both = share(found, np.arange(40)), share(found, np.repeat(np.arange(20), 2))
    assert each == proportion(30, 40) == share(found) and both["value"] == 0.75
    assert both["high"] - both["low"] > 1.25 * (each["high"] - each["low"])
    apart = share(np.tile(found[::2], 2), np.tile(np.arange(20), 2)[np.random.default_rng(0).permutation(40)])
    assert apart["high"] - apart["low"] < both["high"] - both["low"]


@pytest.mark.parametrize("value", [0, 1])
def test_a_share_of_all_or_nobody_has_an_interval_of_so_many_patients(value):
    found = share(np.full(40, value, bool), np.repeat(np.arange(20), 2))
    assert found == proportion(20 * value, 20) and found["high"] > found["low"]


def test_an_operating_points_intervals_are_over_patients():
    rng = np.random.default_rng(0)
    labels = np.repeat(rng.integers(0, 5, 60), 2)
    scores = labels + np.repeat(rng.normal(0, 1.2, 60), 2)
    own = apply_operating_point(labels, scores, 1.5)
    paired = apply_operating_point(labels, scores, 1.5, np.repeat(np.arange(60), 2))
    for name in SHARES:
        assert paired[name]["value"] == own[name]["value"]
        assert paired[name]["high"] - paired[name]["low"] > own[name]["high"] - own[name]["low"]


@pytest.mark.parametrize("arguments, message", [((3, 2), "successes=3, n=2"), ((1, 2, 95), "confidence=95")])
def test_wilson_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        wilson_interval(*arguments)


def test_operating_points_by_hand():
    labels = [2, 2, 2, 3, 4] + [0, 0, 0, 1, 1]
    scores = [1.0, 1.5, 2.0, 2.5, 3.0] + [0.2, 0.4, 0.8, 1.2, 2.2]
    # Four of five referable are at or above 1.5; four of five others are below 2.0, the next score above 1.2
    # being 1.5.
    cuts = choose_operating_points(labels, scores, sensitivity=0.8, specificity=0.8)
    assert cuts == {"high_sensitivity": 1.5, "high_specificity": 1.5}
    cuts = choose_operating_points(labels, scores, sensitivity=1, specificity=1)
    assert cuts == {"high_sensitivity": 1.0, "high_specificity": 2.5}


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9, 1.0])
def test_operating_points_are_the_extreme_cuts_that_reach(share):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 70)
    scores = np.round(0.7 * labels + rng.normal(0, 0.9, 70), 1)  # ties

    def reached(cut, name):
        return apply_operating_point(labels, scores, cut)[name]["value"] >= share

    cuts = choose_operating_points(labels, scores, share, share)
    candidates = np.unique(scores)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # predictive values of nobody
        assert cuts["high_sensitivity"] == max(c for c in candidates if reached(c, "sensitivity"))
        assert cuts["high_specificity"] == min(c for c in candidates if reached(c, "specificity"))


@pytest.mark.parametrize("labels", [[0, 1, 1], [2, 3, 4], []])
def test_operating_points_without_a_side(labels):
    with pytest.warns(RuntimeWarning, match="both sides of grade 2"):
        cuts = choose_operating_points(labels, np.arange(len(labels)))
    assert np.isnan(list(cuts.values())).all()


def test_operating_point_out_of_reach():
    with pytest.warns(RuntimeWarning, match="no cut that refers anybody reaches a specificity of 0.9"):
        cuts = choose_operating_points([2, 3, 0], [1.0, 1.1, 1.2])
    assert cuts["high_sensitivity"] == 1.0
    assert np.isnan(cuts["high_specificity"])


def test_operating_points_with_nan_score():
    assert np.isnan(list(choose_operating_points([0, 2, 3], [0.1, np.nan, 2.0]).values())).all()


@pytest.mark.parametrize("name", ["sensitivity", "specificity"])
def test_operating_points_refuse(name):
    with pytest.raises(ValueError, match=f"`{name}` must be above 0 and at most 1. Received: {name}=90"):
        choose_operating_points([0, 2], [0.1, 2.0], **{name: 90})


def test_apply_by_hand():
    labels, scores = [2, 3, 4, 2, 0, 1, 0], [1.5, 2.0, 3.0, 1.0, 0.3, 1.6, 1.4]
    point = apply_operating_point(labels, scores, 1.5)
    counts = {"true_positives": 3, "false_positives": 1, "true_negatives": 2, "false_negatives": 1}
    assert {name: point[name] for name in counts} == counts
    assert point["sensitivity"] == proportion(3, 4)
    assert point["specificity"] == proportion(2, 3)
    assert point["ppv"] == proportion(3, 4)
    assert point["npv"] == proportion(2, 3)


def test_each_photograph_has_its_own_cut():
    labels, scores = np.array([2, 2, 0, 0]), np.array([1.0, 2.0, 1.0, 2.0])
    point = apply_operating_point(labels, scores, [0.5, 2.5, 1.5, 1.5])
    assert point["sensitivity"]["value"] == 0.5
    assert point["specificity"]["value"] == 0.5
    assert point == apply_operating_point(labels, scores - [0.5, 2.5, 1.5, 1.5], 0)


@pytest.mark.parametrize(
    "scores, cuts", [([1.0, np.nan], 0.5), ([1.0, 2.0], [0.5, np.nan]), ([1, 2], np.nan)]
)
def test_a_failed_prediction_is_neither_referred_nor_not(scores, cuts):
    point = apply_operating_point([2, 0], scores, cuts)
    for name in SHARES:
        assert np.isnan(list(point[name].values())).all()
    known = np.sum(~np.isnan(np.add(scores, cuts)))
    assert point["true_positives"] == known
    assert point["true_negatives"] + point["false_positives"] + point["false_negatives"] == 0


def test_apply_with_one_side_only():
    with pytest.warns(RuntimeWarning, match="specificity is undefined"):
        point = apply_operating_point([2, 3], [1.0, 2.0], 1.5)
    assert np.isnan(list(point["specificity"].values())).all()
    assert point["sensitivity"]["value"] == 0.5


def test_apply_refuses():
    with pytest.raises(ValueError, match=r"`labels` and `scores` must be of one length.*scores.shape=\(1,\)"):
        apply_operating_point([0, 2], [1.0], 1.5)
    with pytest.raises(ValueError, match="with at least one row"):
        apply_operating_point([], [], 1.5)


def test_referral_by_hand():
    # Each pair of grades 0 and 2 is right but for the two nearest to a cut, which are confused.
    labels = np.array([0, 2] * 10)
    scores = np.where(labels == 0, 0.0, 2.0)
    scores[:2] = [1.52, 0.45]
    with pytest.warns(RuntimeWarning, match="5% of the photographs kept are of one grade"):  # one photograph
        kept, kappas = referral_curve(labels, scores, DEFAULT_THRESHOLDS)
    np.testing.assert_allclose(kept, np.arange(20, 0, -1) / 20)
    whole = quadratic_weighted_kappa(labels, score_to_grade(scores))
    first = quadratic_weighted_kappa(labels[1:], score_to_grade(scores[1:]))
    np.testing.assert_allclose(kappas[:3], [whole, first, 1])
    assert whole < first < 1


def test_referral_takes_a_threshold_row_for_each_photograph():
    rng = np.random.default_rng(0)
    labels, shifts = rng.integers(0, 5, 60), rng.normal(size=60)
    scores = labels + rng.normal(0, 0.6, 60)
    rows = np.array(DEFAULT_THRESHOLDS) + shifts[:, None]
    expected = referral_curve(labels, scores, DEFAULT_THRESHOLDS)
    np.testing.assert_allclose(referral_curve(labels, scores + shifts, rows), expected)


def test_referral_where_kappa_is_undefined():
    labels, scores = np.array([0, 0, 0, 1]), np.array([0.0, 0.1, 0.2, 0.6])
    with pytest.warns(RuntimeWarning, match="75% of the photographs kept are of one grade"):
        kept, kappas = referral_curve(labels, scores, DEFAULT_THRESHOLDS)
    assert kappas[0] == 1
    assert np.isnan(kappas[kept <= 0.75]).all()


def test_referral_with_nan_or_nobody():
    assert np.isnan(referral_curve([0, 1], [0.1, np.nan], DEFAULT_THRESHOLDS)[1]).all()
    with pytest.raises(ValueError, match="with at least one row"):
        referral_curve([], [], DEFAULT_THRESHOLDS)
