"""Agreement of predicted with true grades: quadratic kappa, accuracy, referable AUC, with intervals."""

import numpy as np

from dr_keras.evaluation.bootstrap import bootstrap_interval
from dr_keras.evaluation.ranking import roc_auc
from dr_keras.grades import DEFAULT_THRESHOLDS, NUM_GRADES, REFERABLE_GRADE, score_to_grade
from dr_keras.metrics import confusion_matrix, quadratic_weighted_kappa


def evaluate_predictions(labels, scores, thresholds=DEFAULT_THRESHOLDS, patients=None, seed=0):
    """Compares regression scores with true grades.

    Args:
        labels: array (n,) of true grades 0-4.
        scores: array (n,) of scores in grade units. One NaN makes every figure it enters NaN.
        thresholds: four increasing cuts between the grades, or an array (n, 4) of each photograph's own.
        patients: array (n,) of patient identifiers, which the intervals redraw; None redraws photographs.
        seed: seed of the bootstrap.

    Returns:
        dict: `quadratic_weighted_kappa`, `accuracy` and `referable_auc` (area under the ROC curve of the
        score for grade 2 and above), each `{"value", "low", "high"}` with its 95 % bootstrap interval;
        `n`; `num_unscored`, photographs with a NaN score; `signed_error`, for each true grade the mean of
        score - truth, NaN where there is none (below 0: under-graded); `confusion_matrix`, rows true and
        columns predicted, of the scored photographs; `thresholds`.

    Raises:
        ValueError: on no rows, arrays that differ in length, labels out of 0-4, wrong thresholds.
    """
    labels = np.asarray(labels, dtype="float64")
    scores = np.asarray(scores, dtype="float64")
    grades = score_to_grade(scores, thresholds)
    matrix = confusion_matrix(labels, grades)
    if np.isnan(labels).any():
        raise ValueError("`labels` must hold grades only. Received: NaN among them")

    def interval(statistic, predicted):
        return bootstrap_interval(statistic, labels, predicted, groups=patients, seed=seed)

    return {
        "quadratic_weighted_kappa": interval(quadratic_weighted_kappa, grades),
        "accuracy": interval(accuracy, grades),
        "referable_auc": interval(referable_auc, scores),
        "n": len(labels),
        "num_unscored": int(np.isnan(scores).sum()),
        "signed_error": [_mean(scores[labels == grade] - grade) for grade in range(NUM_GRADES)],
        "confusion_matrix": matrix.tolist(),
        "thresholds": np.asarray(thresholds, dtype="float64").tolist(),
    }


def accuracy(labels, grades):
    """Share of photographs with the right grade; NaN if a grade is NaN."""
    return float("nan") if np.isnan(grades).any() else float(np.mean(labels == grades))


def referable_auc(labels, scores):
    """Area under the ROC curve of the score for referable disease (grade 2 and above); see `roc_auc`."""
    return roc_auc(np.asarray(labels) >= REFERABLE_GRADE, scores)


def summary(metrics):
    """One line of a report's figures, with their 95 % intervals; `metrics` may come from `metrics.json`."""
    names = {"quadratic_weighted_kappa": "kappa", "accuracy": "accuracy", "referable_auc": "referable AUC"}
    parts = []
    for name, short in names.items():
        value, low, high = (
            float("nan" if (v := metrics[name][k]) is None else v) for k in ("value", "low", "high")
        )
        parts.append(f"{short} {value:.3f} ({low:.3f} to {high:.3f})")
    return f"{', '.join(parts)}, n = {metrics['n']}"


def _mean(values):
    return float(np.mean(values)) if len(values) else float("nan")
