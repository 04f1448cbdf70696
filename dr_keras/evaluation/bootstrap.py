"""How sure a figure is: bootstrap intervals over patients."""

import warnings

import numpy as np


def bootstrap_interval(
    statistic, *arrays, groups=None, num_resamples=2000, seed=0, confidence=0.95
) -> dict[str, float]:
    """Computes a statistic and its percentile bootstrap interval (Efron & Tibshirani 1993, chapter 13).

    Both eyes of a patient are alike, so it is patients that are redrawn, each with all of their rows.
    Resamples for which the statistic isn't defined (NaN: a single grade was drawn) are skipped.

    Args:
        statistic: function of as many arrays as are given, returning a float. It must not depend on the
            order of rows.
        *arrays: arrays of n rows each.
        groups: array (n,) of patient identifiers; None redraws single rows.
        num_resamples: number of resamples.
        seed: seed of the redraws.
        confidence: share of resamples inside the interval, between 0 and 1.

    Returns:
        `{"value", "low", "high"}`: floats. `low` and `high` are NaN if the value is, if there is only one
        patient, or if more than half of the resamples are NaN.

    Raises:
        ValueError: on no arrays, no rows, arrays that differ in length, or arguments out of range.
    """
    arrays = [np.asarray(array) for array in arrays]
    _check(arrays, num_resamples, confidence)
    num_rows = len(arrays[0])
    members = np.arange(num_rows) if groups is None else _number_groups(groups, num_rows)
    value = float(statistic(*arrays))
    num_groups = members.max() + 1
    if np.isnan(value) or num_groups == 1:
        return {"value": value, "low": float("nan"), "high": float("nan")}

    rng = np.random.default_rng(seed)
    resampled = np.empty(num_resamples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of statistics that aren't defined: expected here
        for index in range(num_resamples):
            times_drawn = np.bincount(rng.integers(num_groups, size=num_groups), minlength=num_groups)
            rows = np.repeat(np.arange(num_rows), times_drawn[members])
            resampled[index] = statistic(*(array[rows] for array in arrays))

    defined = resampled[~np.isnan(resampled)]
    if 2 * len(defined) < num_resamples:
        return {"value": value, "low": float("nan"), "high": float("nan")}
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return {"value": value, "low": float(low), "high": float(high)}


def _check(arrays, num_resamples, confidence):
    lengths = [len(array) for array in arrays]
    if not lengths or len(set(lengths)) > 1 or lengths[0] == 0:
        raise ValueError(
            f"`arrays` must be of one length, with at least one row. Received: lengths={lengths}"
        )
    if num_resamples < 1:
        raise ValueError(f"`num_resamples` must be positive. Received: num_resamples={num_resamples}")
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` must be between 0 and 1. Received: confidence={confidence}")


def _number_groups(groups, num_rows):
    groups = np.asarray(groups)
    if groups.shape != (num_rows,):
        raise ValueError(f"`groups` must have shape ({num_rows},). Received: groups.shape={groups.shape}")
    return np.unique(groups, return_inverse=True)[1]
