import itertools

import numpy as np
import pytest
from scipy.stats import gaussian_kde

from dr_keras.evaluation.thresholds import kappa_optimal, range_separation, score_densities
from dr_keras.grades import score_to_grade
from dr_keras.metrics import quadratic_weighted_kappa


def normal_scores(means, deviations, count=400):
    """Labels and scores of each grade at the quantiles of a normal distribution: no chance in them."""
    quantiles = np.sort(np.random.default_rng(0).normal(size=20 * count))[10::20]
    symmetric = (quantiles - quantiles[::-1]) / 2
    scores = [mean + deviation * symmetric for mean, deviation in zip(means, deviations, strict=True)]
    return np.repeat(np.arange(5), count), np.concatenate(scores)


def kappa(labels, scores, cuts):
    return quadratic_weighted_kappa(labels, score_to_grade(scores, cuts))


@pytest.mark.parametrize("seed", range(4))
def test_no_cuts_have_a_higher_kappa(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, 12)
    scores = 0.6 * labels + rng.normal(0, 1, 12)
    edges = np.concatenate([[scores.min() - 1], np.sort(scores), [scores.max() + 1]])
    gaps = (edges[:-1] + edges[1:]) / 2
    fine = np.arange(4) * 1e-9  # several cuts may part the same two scores
    best = max(kappa(labels, scores, gaps[list(four)] + fine)
               for four in itertools.combinations_with_replacement(range(len(gaps)), 4))  # fmt: skip
    cuts = kappa_optimal(labels, scores)
    assert kappa(labels, scores, cuts) == pytest.approx(best, abs=1e-12)
    assert np.all(np.diff(cuts) > 0)


def test_separable_grades_are_separated_midway():
    cuts = kappa_optimal([0, 1, 2, 3, 4], [0.3, 1.0, 1.6, 2.6, 2.8])
    np.testing.assert_allclose(cuts, [0.65, 1.3, 2.1, 2.7])


def test_cuts_of_absent_grades_share_a_gap():
    cuts = kappa_optimal([0, 0, 4, 4], [0.1, 0.2, 0.7, 0.9])
    np.testing.assert_allclose(cuts, [0.3, 0.4, 0.5, 0.6])
    np.testing.assert_array_equal(score_to_grade([0.1, 0.2, 0.7, 0.9], cuts), [0, 0, 4, 4])


def test_optimum_of_many_is_the_middle_of_normal_grades():
    labels, scores = normal_scores([0, 0.8, 1.6, 2.4, 3.2], [0.3] * 5)
    np.testing.assert_allclose(kappa_optimal(labels, scores), [0.4, 1.2, 2.0, 2.8], atol=0.06)


def test_order_of_rows_is_nothing():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 5, 80)
    scores = np.round(labels + rng.normal(0, 1, 80), 1)
    order = rng.permutation(80)
    for choose in (kappa_optimal, range_separation):
        np.testing.assert_allclose(choose(labels, scores), choose(labels[order], scores[order]), atol=1e-9)


def test_range_separation_divides_by_the_deviations():
    labels, scores = normal_scores([0.5, 1.1, 2.0, 2.6, 3.0], [0.1, 0.2, 0.1, 0.2, 0.2])
    # From 0.5 to 1.1 as 1 to 2, from 1.1 to 2.0 as 2 to 1, from 2.0 to 2.6 as 1 to 2, from 2.6 to 3.0 halved.
    np.testing.assert_allclose(range_separation(labels, scores), [0.7, 1.7, 2.2, 2.8], atol=0.01)


def test_the_peak_counts_not_the_mean():
    labels, scores = normal_scores([0, 1, 2, 3, 4], [0.1] * 5)
    scores[:60] -= 10  # a tail of grade 0 moves its mean by 1.5, and raises its deviation
    cuts = range_separation(labels, scores)
    deviation = np.std(scores[:400], ddof=1)
    assert cuts[0] == pytest.approx(deviation / (deviation + 0.1), abs=0.03)
    np.testing.assert_allclose(cuts[1:], [1.5, 2.5, 3.5], atol=0.02)


def test_peaks_out_of_order_leave_an_empty_range():
    labels, scores = normal_scores([0.5, 2.0, 1.0, 2.5, 3.5], [0.2] * 5)
    cuts = range_separation(labels, scores)
    np.testing.assert_allclose(cuts, [1.0, 1.5, 2.0, 3.0], atol=0.02)
    labels, scores = normal_scores([4, 3, 2, 1, 0], [0.2] * 5)
    cuts = range_separation(labels, scores)
    np.testing.assert_allclose(cuts, [2] * 4, atol=0.02)
    assert set(score_to_grade(scores, cuts)) == {0, 4}


def test_too_little_to_choose_from():
    for labels, scores in [([], []), ([1, 1], [0.5, 1.5])]:
        with pytest.warns(RuntimeWarning, match="fewer than two true grades"):
            assert np.isnan(kappa_optimal(labels, scores)).all()
    for labels, scores in [([], []), ([0] * 5, np.arange(5)), (np.arange(10) % 5, np.arange(10) % 5)]:
        with pytest.warns(RuntimeWarning, match="two distinct scores of each grade"):
            assert np.isnan(range_separation(labels, scores)).all()


@pytest.mark.parametrize("choose", [kappa_optimal, range_separation])
def test_nan_score_gives_nan(choose):
    labels, scores = normal_scores([0, 1, 2, 3, 4], [0.1] * 5, count=4)
    scores[3] = np.nan
    assert np.isnan(choose(labels, scores)).all()


def test_densities():
    labels = np.array([0, 0, 0, 1, 2, 2, 3, 3, 3, 3])
    scores = np.array([0.1, 0.4, 0.9, 1.0, 2.0, 2.0, 2.5, 3.0, 3.1, np.nan])
    at = np.linspace(-4, 8, 500)
    densities = score_densities(labels, scores, at)
    assert list(densities) == [0, 3]
    np.testing.assert_allclose(densities[3], gaussian_kde([2.5, 3.0, 3.1])(at))
    assert densities[0].sum() * (at[1] - at[0]) == pytest.approx(1, abs=1e-3)
