import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from dr_keras.evaluation.calibration import (
    expected_calibration_error,
    fit_referable_probability,
    referable_probability,
    reliability,
)
from dr_keras.evaluation.referral import proportion


def test_fit_finds_the_probability():
    # Of ten photographs with score 1 three are referable, of ten with score 2 six: two points, two numbers.
    labels = [2] * 3 + [0] * 7 + [4] * 6 + [1] * 4
    coefficients = fit_referable_probability(labels, [1.0] * 10 + [2.0] * 10)
    np.testing.assert_allclose(referable_probability([1.0, 2.0], coefficients), [0.3, 0.6], atol=1e-3)
    slope, intercept = coefficients
    assert slope == pytest.approx(np.log(0.6 / 0.4) - np.log(0.3 / 0.7), abs=5e-3)
    assert intercept == pytest.approx(np.log(0.3 / 0.7) - slope, abs=5e-3)


def test_perfect_separation_has_a_finite_slope():
    slope, intercept = fit_referable_probability([0, 1, 2, 3], [0.0, 1.0, 2.0, 3.0])
    assert np.isfinite([slope, intercept]).all()
    low, high = referable_probability([1.0, 2.0], (slope, intercept))
    assert low < 0.02 and high > 0.98


def test_probability_takes_a_row_for_each_score():
    probabilities = referable_probability(
        [0.0, 0.0, np.nan, 1.0], [(1, 0), (5, np.log(3)), (1, 0), (np.nan, 0)]
    )
    np.testing.assert_allclose(probabilities, [0.5, 0.75, np.nan, np.nan])
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(referable_probability([1e6, -1e6], (1.0, 0.0))[0], 1)


@pytest.mark.parametrize("labels", [[0, 1], [2, 3], []])
def test_fit_without_a_side(labels):
    with pytest.warns(RuntimeWarning, match="both sides of grade 2"):
        assert np.isnan(fit_referable_probability(labels, np.arange(len(labels)))).all()


def test_fit_with_nan_score():
    assert np.isnan(fit_referable_probability([0, 2], [0.1, np.nan])).all()


def test_error_by_hand():
    outcomes = [True, False, True, True]
    # Bins: 0.1 and 0.1 (one of two), 0.85 and 0.95 (each alone): (|0.2 - 1| + 0.15 + 0.05) / 4
    assert expected_calibration_error(outcomes, [0.08, 0.12 - 0.03, 0.85, 0.95], 10) == pytest.approx(
        (abs(0.17 - 1) + 0.15 + 0.05) / 4
    )
    assert expected_calibration_error(outcomes, [0.5] * 4, 1) == pytest.approx(0.25)
    assert expected_calibration_error([True, False], [1.0, 0.0]) == 0


def test_bins_equal_scikit_learn():
    rng = np.random.default_rng(0)
    probabilities = np.append(rng.random(200) ** 2, [0.0, 0.1, 0.5, 1.0])  # also on edges
    outcomes = rng.random(204) < probabilities
    bins = [one for one in reliability(outcomes, probabilities) if one["n"]]
    observed, predicted = calibration_curve(outcomes, probabilities, n_bins=10)
    np.testing.assert_allclose([one["mean_probability"] for one in bins], predicted)
    np.testing.assert_allclose([one["observed"]["value"] for one in bins], observed)
    shares = np.array([one["n"] for one in bins]) / 204
    error = expected_calibration_error(outcomes, probabilities)
    assert error == pytest.approx(np.sum(shares * np.abs(observed - predicted)))


def test_reliability_by_hand():
    bins = reliability([True, False, False], [0.9, 0.7, np.nan], num_bins=2)
    assert bins[1] == {
        "from": 0.5,
        "to": 1.0,
        "n": 2,
        "mean_probability": pytest.approx(0.8),
        "observed": proportion(1, 2),
    }
    assert bins[0]["n"] == 0
    assert np.isnan([bins[0]["mean_probability"], *bins[0]["observed"].values()]).all()


def test_nan_probability_makes_the_error_nan():
    assert np.isnan(expected_calibration_error([True, False], [0.5, np.nan]))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([], []), "at least one row"),
        (([True], [0.5, 0.5]), r"outcomes.shape=\(1,\), probabilities.shape=\(2,\)"),
        (([True], [1.5]), "`probabilities` must be from 0 to 1. Received: 1.5 among them"),
        (([True], [0.5], 0), "num_bins=0"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        expected_calibration_error(*arguments)
