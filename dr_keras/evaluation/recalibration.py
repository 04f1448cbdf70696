"""Fitting a model's thresholds and probabilities to another clinic, from some of its photographs with grades.

Cameras and patients move the level of scores far more than their order, so 50 to 200 graded photographs
of a clinic regain a good part of what a model loses there.
"""

import dataclasses

import numpy as np
from scipy.stats import kendalltau

from dr_keras.errors import InputError
from dr_keras.evaluation.agreement import evaluate_predictions
from dr_keras.evaluation.calibration import fit_calibration, thresholds_of
from dr_keras.evaluation.crossfit import EvaluationSet, cross_fit
from dr_keras.grades import score_to_grade

FEWEST = 20  # photographs; with fewer, the fit is mostly its prior
SURE = 0.01  # probability at most that scores which say nothing of the grades rise as much with them


def recalibrated_rules(rules, labels, scores):
    """Returns `GradingRules` with the thresholds and the calibration that suit these photographs.

    Args:
        rules: `GradingRules`.
        labels: array (n,) of true grades.
        scores: array (n,), the model's scores of photographs that it wasn't trained on.

    Raises:
        InputError: if there are fewer than `FEWEST` photographs, scores that aren't numbers, or grades that
            don't rise with the scores.
    """
    _check(labels, scores)
    calibration = fit_calibration(labels, scores)
    return dataclasses.replace(rules, thresholds=thresholds_of(calibration), calibration=calibration)


def gain(rules, labels, scores, seed=0, patients=None):
    """What the recalibration brings, on photographs that it wasn't fitted to.

    Returns:
        (before, after): as from `agreement.evaluate_predictions`, by the thresholds of `rules`, and by those
        fitted to the other four fifths of the patients. Where `patients`, an array (n,), is None, each
        photograph counts as one of its own.

    Raises:
        InputError: as `recalibrated_rules`.
    """
    _check(labels, scores)
    names = [str(number) for number in range(len(labels))]
    known = EvaluationSet(names, names if patients is None else patients, labels, scores)
    cuts = cross_fit(lambda labels, scores: thresholds_of(fit_calibration(labels, scores)), known, known)
    return tuple(
        evaluate_predictions(known.labels, known.scores, thresholds, known.patients, seed)
        for thresholds in (rules.thresholds, cuts)
    )


def _check(labels, scores):
    if len(labels) < FEWEST:
        raise InputError(f"{len(labels)} graded photographs: expected at least {FEWEST} to recalibrate with")
    if np.isnan(scores).any():
        raise InputError("a score isn't a number; expected photographs that the model could score")
    rank = kendalltau(scores, labels, alternative="greater")
    if not rank.pvalue <= SURE:  # NaN where all grades, or all scores, are one
        raise InputError(
            f"the grades don't rise with the scores (Kendall's tau {rank.statistic:.2f}): no thresholds part "
            "them; expected photographs of several grades, each with its own"
        )


def grades_not_given(rules, labels, scores):
    """Returns the grades that some photographs have and none would get, as a list of (grade, photographs)."""
    given, true = score_to_grade(scores, rules.thresholds), np.asarray(labels)
    return [(grade, np.sum(true == grade)) for grade in np.unique(true) if grade not in given]
