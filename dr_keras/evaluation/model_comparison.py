"""A model beside others, on the photographs that both were judged on."""

import functools

import numpy as np

from dr_keras.errors import InputError
from dr_keras.evaluation.agreement import accuracy, referable_auc
from dr_keras.evaluation.bootstrap import bootstrap_interval
from dr_keras.evaluation.paired import paired_difference
from dr_keras.grades import score_to_grade
from dr_keras.metrics import confusion_matrix, quadratic_weighted_kappa

# What is compared, and whether of grades (True) or of scores.
_FIGURES = {
    "quadratic_weighted_kappa": (quadratic_weighted_kappa, True),
    "accuracy": (accuracy, True),
    "referable_auc": (referable_auc, False),
}


def compare(scored, thresholds, other, other_thresholds, name, seed=0):
    """Compares two models, each with its own thresholds, by paired bootstrap over patients.

    Args:
        scored, other: `EvaluationSet` of the two; the photographs that only one has are left out.
        thresholds, other_thresholds: four increasing cuts of each.
        name: name of the other model.
        seed: seed of the bootstrap.

    Returns:
        dict: `model`, its name; `n`, photographs in common; and for `quadratic_weighted_kappa`, `accuracy`
        and `referable_auc` `{"this", "other", "difference"}`, the difference with its 95 % interval.

    Raises:
        InputError: if they have no photograph in common.
    """
    _, mine, theirs = np.intersect1d(scored.images, other.images, return_indices=True)
    if not len(mine):
        raise InputError(
            f"--model={name}: none of its photographs is among the {len(scored.images)} of the first model; "
            "models are compared on photographs that neither was trained on"
        )
    labels, patients = scored.labels[mine], scored.patients[mine]
    scores, other_scores = scored.scores[mine], other.scores[theirs]
    grades, other_grades = score_to_grade(scores, thresholds), score_to_grade(other_scores, other_thresholds)
    result = {"model": str(name), "n": len(mine)}
    for figure, (statistic, of_grades) in _FIGURES.items():
        pair = (grades, other_grades) if of_grades else (scores, other_scores)
        result[figure] = {
            "this": statistic(labels, pair[0]),
            "other": statistic(labels, pair[1]),
            "difference": paired_difference(statistic, labels, *pair, groups=patients, seed=seed),
        }
    return result


def classifier_figures(path, table, scored, seed=0):
    """Figures of a classifier's predictions of the same photographs (P1 figure 6a).

    Args:
        path: the file that they come from, for errors.
        table: as from `read_predictions`; its grades count, its labels don't.
        scored: `EvaluationSet` of the photographs that are reported.
        seed: seed of the bootstrap.

    Returns:
        dict: `file`, `n`, `confusion_matrix`, `quadratic_weighted_kappa` and `accuracy` with their intervals.

    Raises:
        InputError: if it has none of the photographs.
    """
    _, mine, theirs = np.intersect1d(scored.images, table["image"], return_indices=True)
    if not len(mine):
        raise InputError(f"--classifier={path}: none of the photographs of this report is in it")
    labels, grades = scored.labels[mine], table["grade"][theirs]
    interval = functools.partial(bootstrap_interval, groups=scored.patients[mine], seed=seed)
    return {
        "file": str(path),
        "n": len(mine),
        "confusion_matrix": confusion_matrix(labels, grades).tolist(),
        "quadratic_weighted_kappa": interval(quadratic_weighted_kappa, labels, grades),
        "accuracy": interval(accuracy, labels, grades),
    }
