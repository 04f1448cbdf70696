"""The history of a training: one row per epoch."""

import math
import warnings

from dr_keras import files
from dr_keras.grades import score_to_grade
from dr_keras.metrics import quadratic_weighted_kappa

HISTORY = "history.csv"


def is_best(row, history, key, sign):
    """Whether a row is better than all before it: the first row is, and NaN never beats a number."""
    value = sign * row[key]
    return not history or value > max(
        (sign * r[key] for r in history if not math.isnan(r[key])), default=-math.inf
    )


def kappa_of_scores(labels, scores, thresholds):
    """Quadratic weighted kappa of scores (n,) under four thresholds; NaN, silently, of a single grade."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return quadratic_weighted_kappa(labels, score_to_grade(scores, thresholds))


def write_history(path, history):
    """Writes the rows of a history as CSV, atomically."""
    columns = list(history[0])
    with files.csv_rows(path, columns) as write:
        for row in history:
            write([row[name] for name in columns])
