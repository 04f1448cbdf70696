"""How well a score ranks photographs with a condition above those without.

Counted directly rather than by scikit-learn, since a bootstrap does it some thousand times; the figures
equal scikit-learn's.
"""

import warnings

import numpy as np


def roc_auc(outcomes, scores):
    """Area under the ROC curve.

    It is the share of pairs, one with the condition and one without, that the score ranks rightly; ties
    count half.

    Args:
        outcomes: bool array (n,): whether the condition is there.
        scores: array (n,), the higher the likelier.

    Returns:
        float; NaN if a score is NaN, and, with a RuntimeWarning, if all outcomes are the same.
    """
    outcomes, scores = np.asarray(outcomes, bool), np.asarray(scores)
    if np.isnan(scores).any():
        return float("nan")
    positive, negative = np.sort(scores[outcomes]), np.sort(scores[~outcomes])
    if not len(positive) or not len(negative):
        warnings.warn(
            "area under the ROC curve is undefined where all photographs are on one side",
            RuntimeWarning,
            stacklevel=2,
        )
        return float("nan")
    below = np.searchsorted(negative, positive, side="left").mean()
    not_above = np.searchsorted(negative, positive, side="right").mean()
    return float((below + not_above) / 2 / len(negative))


def average_precision(outcomes, scores):
    """Average precision: the precision at each cut, weighted by the recall that the cut adds.

    Args:
        outcomes: bool array (n,): whether the condition is there.
        scores: array (n,), the higher the likelier.

    Returns:
        float; NaN if a score is NaN, and, with a RuntimeWarning, if no photograph has the condition.
    """
    outcomes, scores = np.asarray(outcomes, bool), np.asarray(scores)
    if np.isnan(scores).any():
        return float("nan")
    if not outcomes.any():
        warnings.warn(
            "average precision is undefined where no photograph has the condition",
            RuntimeWarning,
            stacklevel=2,
        )
        return float("nan")
    order = np.argsort(-scores)
    last_of_ties = np.append(np.diff(scores[order]) != 0, True)
    found = np.cumsum(outcomes[order])[last_of_ties]
    called = np.flatnonzero(last_of_ties) + 1
    return float(np.sum(np.diff(found, prepend=0) * found / called) / found[-1])
