"""The ICDR severity scale: grades, names, thresholds, referable disease."""

import numpy as np

GRADE_NAMES = ("no DR", "mild NPDR", "moderate NPDR", "severe NPDR", "proliferative DR")
NUM_GRADES = len(GRADE_NAMES)
REFERABLE_GRADE = 2
DEFAULT_THRESHOLDS = (0.5, 1.5, 2.5, 3.5)


def score_to_grade(scores, thresholds=DEFAULT_THRESHOLDS):
    """Cuts regression scores into grades.

    Args:
        scores: array of any shape, in grade units (0 is no DR, 4 proliferative).
        thresholds: four increasing cuts; a score equal to a cut belongs to the grade above it.

    Returns:
        float64 array of the same shape with grades 0-4. NaN stays NaN.

    Raises:
        ValueError: if `thresholds` aren't four increasing numbers.
    """
    cuts = np.asarray(thresholds, dtype="float64")
    if cuts.shape != (NUM_GRADES - 1,) or not np.all(np.diff(cuts) > 0):
        raise ValueError(
            f"`thresholds` must be {NUM_GRADES - 1} increasing numbers. Received: thresholds={thresholds}"
        )
    scores = np.asarray(scores, dtype="float64")
    grades = np.searchsorted(cuts, scores, side="right").astype("float64")
    return np.where(np.isnan(scores), np.nan, grades)
