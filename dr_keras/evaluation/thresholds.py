"""Cuts between the grades chosen from scores: for the best kappa, or by range separation."""

import warnings

import numpy as np
from scipy.stats import gaussian_kde
from sklearn.isotonic import isotonic_regression

from dr_keras.grades import NUM_GRADES

_NUM_CUTS = NUM_GRADES - 1
_PEAK_GRID = 500  # points between a grade's least and greatest score at which its density is compared
_LEAST_GAP = 1e-6  # between two cuts that would fall together, in grade units


def kappa_optimal(labels, scores):
    """The cuts with the highest quadratic weighted kappa of all, exactly.

    Kappa is 1 - observed / expected disagreement. Each of the two is a sum over the four cuts, once it is
    known how many photographs of each grade lie below a cut. So for a given ratio r the cuts that minimise
    observed - r * expected follow from one pass over the scores (dynamic programming), and raising kappa
    until r is its own optimum gives the best ratio (Dinkelbach 1967).

    Args:
        labels: array (n,) of true grades.
        scores: array (n,) of scores in grade units.

    Returns:
        float64 (4,), increasing; each cut lies midway between the scores it parts, cuts that part the same
        two evenly between them. NaN if a score is NaN, and, with a RuntimeWarning, if there are fewer than
        two true grades.
    """
    labels, scores = np.asarray(labels, dtype="int64"), np.asarray(scores, dtype="float64")
    if np.isnan(scores).any():
        return np.full(_NUM_CUTS, np.nan)
    if len(np.unique(labels)) < 2:
        return _undefined("kappa-optimal thresholds can't be chosen from fewer than two true grades")
    distinct, position = np.unique(scores, return_inverse=True)
    below = np.zeros((len(distinct) + 1, NUM_GRADES))  # photographs of each grade below each gap of scores
    np.add.at(below, (position + 1, labels), 1)
    below = below.cumsum(axis=0)
    grades = np.arange(NUM_GRADES)
    weights = np.square(grades[:, None] - grades)
    observed = below @ weights
    expected = below.sum(axis=1)[:, None] * (below[-1] @ weights / len(labels))
    ratio, best = np.inf, 1.0  # 1 is what any one grade for all gives
    while best < ratio - 1e-12:
        ratio = best
        gaps = _cheapest_gaps(-np.diff(observed - ratio * expected, axis=1))
        best = _total(observed, gaps) / _total(expected, gaps)
    return _inside(distinct, gaps)


def _cheapest_gaps(costs):
    """Column by column, rows that never decrease and whose costs (gaps, 4) have the least sum."""
    total, choices = np.zeros(len(costs)), []
    for column in costs.T:
        least = np.minimum.accumulate(total)
        choices.append(np.maximum.accumulate(np.where(total == least, np.arange(len(total)), 0)))
        total = least + column
    gaps = [int(np.argmin(total))]
    for choice in choices[:0:-1]:
        gaps.append(int(choice[gaps[-1]]))
    return np.array(gaps[::-1])


def _total(table, gaps):
    """Sum over the grades of what lies between a grade's two gaps, of a table counted from below."""
    ends = [0, *gaps, len(table) - 1]
    return sum(table[ends[grade + 1], grade] - table[ends[grade], grade] for grade in range(NUM_GRADES))


def _inside(distinct, gaps):
    """Cuts inside the gaps between distinct scores; the outer two gaps reach one grade further."""
    edges = np.concatenate([distinct[:1] - 1, distinct, distinct[-1:] + 1])
    same = gaps[:, None] == gaps
    place = np.tril(same).sum(axis=1) / (same.sum(axis=1) + 1)
    return edges[gaps] + (edges[gaps + 1] - edges[gaps]) * place


def range_separation(labels, scores):
    """Cuts by range separation (P1, section 3.2 and Figure 7).

    From the peak of its density each grade's range grows to both sides in proportion to its standard
    deviation, until it meets the range of the next grade: a cut divides the way between two peaks in the
    ratio of the two deviations. Where peaks aren't in the order of the grades, those in disorder get their
    mean, weighted by their photographs (isotonic regression), and the ranges between them are empty.

    Args:
        labels: array (n,) of true grades, of the photographs to choose from.
        scores: array (n,) of scores in grade units.

    Returns:
        float64 (4,), increasing. NaN if a score is NaN, and, with a RuntimeWarning, if a grade has fewer
        than two distinct scores.
    """
    labels, scores = np.asarray(labels), np.asarray(scores, dtype="float64")
    if np.isnan(scores).any():
        return np.full(_NUM_CUTS, np.nan)
    of_grade = [scores[labels == grade] for grade in range(NUM_GRADES)]
    for grade, some in enumerate(of_grade):
        if len(np.unique(some)) < 2:
            return _undefined(
                f"range separation needs two distinct scores of each grade: grade {grade} hasn't"
            )
    peaks = isotonic_regression(
        [_peak(some) for some in of_grade], sample_weight=[len(some) for some in of_grade]
    )
    deviations = np.array([np.std(some, ddof=1) for some in of_grade])
    cuts = peaks[:-1] + np.diff(peaks) * deviations[:-1] / (deviations[:-1] + deviations[1:])
    return cuts + _LEAST_GAP * np.arange(_NUM_CUTS)


def _peak(scores):
    at = np.linspace(scores.min(), scores.max(), _PEAK_GRID)
    return at[np.argmax(gaussian_kde(scores)(at))]


def score_densities(labels, scores, at):
    """Density of each grade's scores (P1, Figure 6b): Gaussian kernels of Scott's width.

    Args:
        labels: array (n,) of true grades.
        scores: array (n,) of scores; NaN ones are left out.
        at: array (m,) of scores at which the densities are wanted.

    Returns:
        dict of grade to float64 (m,), in ascending order; grades with fewer than two distinct scores aren't
        in it.
    """
    labels, scores = np.asarray(labels), np.asarray(scores, dtype="float64")
    of_grade = {grade: scores[(labels == grade) & ~np.isnan(scores)] for grade in range(NUM_GRADES)}
    return {
        grade: gaussian_kde(some)(np.asarray(at, dtype="float64"))
        for grade, some in of_grade.items()
        if len(np.unique(some)) > 1
    }


def _undefined(reason):
    warnings.warn(reason, RuntimeWarning, stacklevel=3)
    return np.full(_NUM_CUTS, np.nan)
