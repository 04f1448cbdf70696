"""The ICDR severity scale: grades, names, thresholds, referable disease."""

import numpy as np

GRADE_NAMES = ("no DR", "mild NPDR", "moderate NPDR", "severe NPDR", "proliferative DR")
NUM_GRADES = len(GRADE_NAMES)
REFERABLE_GRADE = 2
DEFAULT_THRESHOLDS = (0.5, 1.5, 2.5, 3.5)
LIKELY_SHARE = 0.8  # probability that the grades of `likely_range` have together, at least


def score_to_grade(scores, thresholds=DEFAULT_THRESHOLDS):
    """Turns regression scores into grades.

    Args:
        scores: array of any shape, in grade units (0 is no DR, 4 proliferative).
        thresholds: four increasing numbers; a score equal to a threshold belongs to the grade above it.
            Or an array (..., 4) with four thresholds for each score; all four are NaN where unknown.

    Returns:
        float64 array of the same shape with grades 0-4. NaN scores and unknown thresholds give NaN.

    Raises:
        ValueError: if `thresholds` are neither four increasing numbers nor four for each score.
    """
    cuts = np.asarray(thresholds, dtype="float64")
    scores = np.asarray(scores, dtype="float64")
    right_shape = cuts.shape in ((NUM_GRADES - 1,), (*scores.shape, NUM_GRADES - 1))
    unknown = np.isnan(cuts).all(axis=-1) & (cuts.ndim > 1)
    if not right_shape or not np.all((np.diff(cuts, axis=-1) > 0).all(axis=-1) | unknown):
        raise ValueError(
            f"`thresholds` must be {NUM_GRADES - 1} increasing numbers. Received: thresholds={thresholds}"
        )
    grades = np.sum(scores[..., None] >= cuts, axis=-1, dtype="float64")
    return np.where(np.isnan(scores) | unknown, np.nan, grades)


def grade_probabilities(scores, calibration):
    """Turns scores into probabilities of the grades, by a proportional-odds model.

    The odds that the grade is k or higher are `exp(slope * score - cut_k)`.

    Args:
        scores: array of any shape, in grade units.
        calibration: (slope, cut_1, cut_2, cut_3, cut_4), the cuts increasing.

    Returns:
        float64, of the shape of `scores` and (5,): probabilities of grades 0 to 4, whose sum is 1. NaN for
        NaN scores.
    """
    slope, *cuts = calibration
    scores = np.asarray(scores, dtype="float64")[..., None]
    at_least = 1 / (1 + np.exp(-np.clip(slope * scores - np.asarray(cuts), -500, 500)))
    ends = np.ones_like(scores), np.zeros_like(scores)
    return -np.diff(np.concatenate([ends[0], at_least, ends[1]], axis=-1), axis=-1) + 0 * scores


def likely_range(probabilities, share=LIKELY_SHARE):
    """The grades from the lowest to the highest that have most of the probability.

    Args:
        probabilities: array (..., 5) of grades 0 to 4, as from `grade_probabilities`.
        share: probability that they have together, at least; half of the rest is the most that lies beyond
            each end.

    Returns:
        (lowest, highest): int arrays of the shape of `probabilities` without its last axis.
    """
    below, tail = np.cumsum(probabilities, axis=-1), (1 - share) / 2
    return np.argmax(below > tail, axis=-1), np.argmax(below >= 1 - tail - 1e-12, axis=-1)
