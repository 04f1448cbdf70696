"""The score as a probability of each grade or of referable disease, and whether that can be believed."""

import warnings

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from dr_keras.evaluation.referral import check_lengths, proportion
from dr_keras.grades import NUM_GRADES, REFERABLE_GRADE, grade_probabilities

_PRIOR = 1.0  # photographs of each grade at its own score; a quarter of it a grade away, and so on
_INVERSE_PENALTY = 1e3  # weak: only where the score parts the two sides perfectly does it bound the slope


def fit_referable_probability(labels, scores):
    """Fits the probability of referable disease (grade 2 and above) to the score: logistic regression.

    Args:
        labels: array (n,) of true grades.
        scores: array (n,) of scores.

    Returns:
        (slope, intercept), floats: the probability is 1 / (1 + exp(-(slope * score + intercept))). NaN if
        a score is NaN, and, with a RuntimeWarning, if all photographs are on one side of grade 2.
    """
    scores, referable = np.asarray(scores, dtype="float64"), np.asarray(labels) >= REFERABLE_GRADE
    if np.isnan(scores).any():
        return float("nan"), float("nan")
    if referable.all() or not referable.any():
        warnings.warn(
            "the referable probability can't be fitted without both sides of grade 2",
            RuntimeWarning,
            stacklevel=2,
        )
        return float("nan"), float("nan")
    fitted = LogisticRegression(C=_INVERSE_PENALTY, max_iter=1000).fit(scores[:, None], referable)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def fit_calibration(labels, scores):
    """Fits probabilities of the grades to the score: a proportional-odds model, by maximum likelihood.

    Grades that are missing are no fault: a weak prior, worth a few photographs whose scores are near their
    grades, holds slope and cuts in bounds.

    Args:
        labels: array (n,) of true grades 0-4.
        scores: array (n,) of scores, in grade units.

    Returns:
        (slope, cut_1, cut_2, cut_3, cut_4), as `grades.grade_probabilities` takes it.

    Raises:
        ValueError: if a score is NaN.
    """
    labels, scores = np.asarray(labels, dtype=int), np.asarray(scores, dtype="float64")
    if np.isnan(scores).any():
        raise ValueError("`scores` must be numbers. Received: NaN among them")
    prior, level = np.meshgrid(np.arange(NUM_GRADES), np.arange(NUM_GRADES))
    weights = np.r_[np.ones(len(labels)), (_PRIOR / 4 ** np.abs(prior - level)).ravel()]
    labels, scores = np.r_[labels, prior.ravel()], np.r_[scores, level.ravel()]

    def calibration(parameters):
        first, *gaps = np.exp(parameters[0]) * np.r_[parameters[1], np.exp(parameters[2:])]
        return float(np.exp(parameters[0])), *map(float, first + np.cumsum(np.r_[0, gaps]))

    def loss(parameters):
        chosen = grade_probabilities(scores, calibration(parameters))[np.arange(len(labels)), labels]
        return -np.sum(weights * np.log(np.maximum(chosen, 1e-12))) / weights.sum()

    start = np.r_[np.log(2.0), 0.5, np.zeros(3)]  # slope 2, the grades parted at scores 0.5 to 3.5
    return calibration(minimize(loss, start, method="BFGS").x)


def thresholds_of(calibration):
    """The four scores at which the expected grade passes 0.5, 1.5, 2.5 and 3.5, by a calibration.

    Grades by these thresholds are the nearest to the expected ones, which is what a quadratic loss asks for,
    and need far fewer photographs than thresholds of the highest kappa.
    """
    slope, *cuts = calibration
    grid = np.linspace((cuts[0] - 20) / slope, (cuts[-1] + 20) / slope, 44001)  # all but 0 to all but 4
    expected = grade_probabilities(grid, calibration) @ np.arange(NUM_GRADES)
    return tuple(float(np.interp(level, expected, grid)) for level in (0.5, 1.5, 2.5, 3.5))


def referable_probability(scores, coefficients):
    """Probability of referable disease.

    Args:
        scores: array (n,) of scores.
        coefficients: (slope, intercept) of `fit_referable_probability`, or an array (n, 2) with a row for
            each score.

    Returns:
        float64 (n,), from 0 to 1; NaN where the score or a coefficient is NaN.
    """
    slope, intercept = np.moveaxis(np.asarray(coefficients, dtype="float64"), -1, 0)
    return expit(slope * np.asarray(scores, dtype="float64") + intercept)


def expected_calibration_error(outcomes, probabilities, num_bins=10):
    """Mean distance of predicted from observed shares, over bins of equal width (Naeini et al. 2015).

    A finite sample errs from its own probabilities by chance, so even perfect ones have an error above 0.

    Args:
        outcomes: bool array (n,): whether the condition is there.
        probabilities: array (n,), from 0 to 1.
        num_bins: number of bins.

    Returns:
        float, 0 (best) to 1: the absolute differences of the bins, weighted by their photographs. NaN if a
        probability is NaN.

    Raises:
        ValueError: on no rows, arrays that differ in length, probabilities or `num_bins` out of range.
    """
    counts, predicted, observed = _sums(outcomes, probabilities, num_bins)
    if counts.sum() < len(probabilities):
        return float("nan")
    return float(np.abs(predicted - observed).sum() / counts.sum())


def reliability(outcomes, probabilities, num_bins=10):
    """Predicted beside observed shares in bins of equal width.

    Args:
        outcomes, probabilities, num_bins: as for `expected_calibration_error`; NaN is in no bin.

    Returns:
        A list with a dict for each bin: `from` and `to` (a probability equal to `to` is in the bin), `n`,
        `mean_probability` (NaN where n is 0), and `observed`, the share with the condition as
        `{"value", "low", "high"}` with its 95 % Wilson interval (NaN where n is 0).

    Raises:
        ValueError: as `expected_calibration_error`.
    """
    edges = np.linspace(0, 1, num_bins + 1)
    return [
        {
            "from": float(low),
            "to": float(high),
            "n": int(n),
            "mean_probability": float(predicted / n) if n else float("nan"),
            "observed": proportion(int(observed), int(n)),
        }
        for low, high, n, predicted, observed in zip(
            edges[:-1], edges[1:], *_sums(outcomes, probabilities, num_bins), strict=True
        )
    ]


def _sums(outcomes, probabilities, num_bins):
    """Of each bin the photographs, the sum of their probabilities, and those with the condition."""
    outcomes, probabilities = np.asarray(outcomes, bool), np.asarray(probabilities, dtype="float64")
    check_lengths(outcomes=outcomes, probabilities=probabilities)
    if num_bins < 1:
        raise ValueError(f"`num_bins` must be positive. Received: num_bins={num_bins}")
    known = ~np.isnan(probabilities)
    outcomes, probabilities = outcomes[known], probabilities[known]
    wrong = probabilities[(probabilities < 0) | (probabilities > 1)]
    if wrong.size:
        raise ValueError(f"`probabilities` must be from 0 to 1. Received: {wrong[0]:g} among them")
    bins = np.searchsorted(np.linspace(0, 1, num_bins + 1)[1:-1], probabilities)
    return tuple(
        np.bincount(bins, weights=weights, minlength=num_bins) for weights in (None, probabilities, outcomes)
    )
