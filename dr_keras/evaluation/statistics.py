"""The figures of a report, beyond kappa: by grade, for referral, of calibration and of thresholds.

What has to be chosen (operating points, calibration, thresholds other than the model's) is chosen on the
choosing set, for each photograph without the part of it that the photograph is in (`crossfit`).
Intervals, `{"value", "low", "high"}`, are 95 % and over patients: by `referral.share` for shares, else by
bootstrap.
"""

import functools
import warnings

import numpy as np

from dr_keras.evaluation import calibration, crossfit, referral
from dr_keras.evaluation.agreement import accuracy
from dr_keras.evaluation.bootstrap import bootstrap_interval
from dr_keras.evaluation.ranking import average_precision, roc_auc
from dr_keras.evaluation.thresholds import kappa_optimal, range_separation
from dr_keras.grades import (
    DEFAULT_THRESHOLDS,
    GRADE_NAMES,
    NUM_GRADES,
    REFERABLE_GRADE,
    grade_probabilities,
    likely_range,
    score_to_grade,
)
from dr_keras.metrics import confusion_matrix, quadratic_weighted_kappa

# Sensitivity and specificity that the two operating points aim at, near to what screening programmes ask for.
TARGETS = {"high_sensitivity": 0.975, "high_specificity": 0.98}


def describe(scored, choosing=None, thresholds=DEFAULT_THRESHOLDS, seed=0, num_resamples=2000, targets=None):
    """Describes a model's scores of graded photographs.

    `cut`, `cuts`, `slope` and `intercept` in the result are chosen on all of the choosing set: those to use
    on new photographs. The figures beside them are cross-fitted.

    Args:
        scored: `EvaluationSet`, the photographs to describe.
        choosing: `EvaluationSet`, the photographs to choose on; None chooses on five groups of those
            described.
        thresholds: the model's four increasing cuts between the grades.
        seed, num_resamples: seed and number of resamples of the bootstrap.
        targets: dict of `high_sensitivity`, `high_specificity` to what these operating points aim at; those
            left out have the value in `TARGETS`.

    Returns:
        dict of plain numbers, lists and dicts: `chosen_on`: `source` ("run" or "evaluated"), `n`,
        `num_parts`, and `cross_fitted`, how many of the described photographs are in it; `grades`,
        `referable`, `calibration`, `threshold_schemes` and `referral`: see the functions below; `notes`: why
        some figure is NaN, a line each, which are also given as warnings.

    Raises:
        ValueError: on labels that aren't grades 0-4, or wrong thresholds.
    """
    source = "evaluated" if choosing is None else "run"
    choosing = scored if choosing is None else choosing
    interval = functools.partial(
        bootstrap_interval, groups=scored.patients, seed=seed, num_resamples=num_resamples
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        description = {
            "chosen_on": {
                "source": source,
                "n": len(choosing.labels),
                "num_parts": len(np.unique(choosing.parts)),
                "cross_fitted": int(np.sum(crossfit.parts_to_leave_out(choosing, scored) >= 0)),
            },
            "grades": by_grade(scored, thresholds, interval, seed),
            "referable": referable_figures(scored, choosing, interval, TARGETS | (targets or {}), seed),
            "calibration": calibration_figures(scored, choosing, interval),
            "threshold_schemes": compare_thresholds(scored, choosing, thresholds, interval),
            "referral": _referral(scored, thresholds),
        }
    messages = {str(one.message): one.message for one in caught}
    for message in messages.values():
        warnings.warn(message, stacklevel=2)
    return {**description, "notes": list(messages)}


def nearness(scores, grade):
    """What the one-vs-all ROC of a grade ranks photographs by (P1, Figure 8): how near the score is to it.

    For the two ends of the scale it is the score itself, downwards or upwards.
    """
    scores = np.asarray(scores, dtype="float64")
    if grade == 0:
        return -scores
    return scores if grade == NUM_GRADES - 1 else -np.abs(scores - grade)


def by_grade(scored, thresholds, interval, seed=0):
    """Figures of each grade, by the model's thresholds.

    Args:
        scored: `EvaluationSet`.
        thresholds: four increasing cuts between the grades.
        interval: `bootstrap_interval` with its patients and seed given.

    Returns:
        A list with a dict for each grade: `grade`, `name`, `n`, `num_predicted`, and the intervals
        `precision`, `recall`, `auc` (one-vs-all, see `nearness`), `signed_error` (mean of score - truth).
    """
    grades = score_to_grade(scored.scores, thresholds)
    matrix = confusion_matrix(scored.labels, grades)
    all_scored = not np.isnan(grades).any()

    def shared(among, hits):
        return referral.share(hits[among], scored.patients[among], seed)

    rows = []
    for grade, name in enumerate(GRADE_NAMES):
        has_it = scored.labels == grade
        given_it = grades == grade
        n, predicted = int(has_it.sum()), int(matrix[:, grade].sum())
        if all_scored and not predicted:
            _warn(f"precision of grade {grade} is undefined: no photograph was given it")
        if not n:
            _warn(f"recall, AUC and signed error of grade {grade} are undefined: no photograph has it")
        figures = {
            "precision": shared(given_it, has_it) if all_scored else _undefined(),
            "recall": shared(has_it, given_it) if all_scored else _undefined(),
            "auc": interval(roc_auc, has_it, nearness(scored.scores, grade)) if n else _undefined(),
            "signed_error": interval(_mean_where, has_it, scored.scores - grade) if n else _undefined(),
        }
        rows.append({"grade": grade, "name": name, "n": n, "num_predicted": predicted, **figures})
    return rows


def referable_figures(scored, choosing, interval, targets, seed=0):
    """Figures for referable disease (grade 2 and above).

    Returns:
        dict: `n` with it, their share `prevalence`, the intervals `roc_auc` and `average_precision`, and
        `operating_points`: `high_sensitivity` and `high_specificity`, each `target`, `cut`, and what
        `apply_operating_point` returns.
    """

    def choose(labels, scores):
        return list(
            referral.choose_operating_points(
                labels, scores, targets["high_sensitivity"], targets["high_specificity"]
            ).values()
        )

    referable = scored.labels >= REFERABLE_GRADE
    points = {}
    frozen, fitted = choose(choosing.labels, choosing.scores), crossfit.cross_fit(choose, choosing, scored)
    for (name, target), cut, cuts in zip(targets.items(), frozen, fitted.T, strict=True):
        counted = referral.apply_operating_point(scored.labels, scored.scores, cuts, scored.patients, seed)
        points[name] = {"target": target, "cut": cut, **counted}
    return {
        "n": int(referable.sum()),
        "prevalence": float(referable.mean()),
        "roc_auc": interval(roc_auc, referable, scored.scores),
        "average_precision": interval(average_precision, referable, scored.scores),
        "operating_points": points,
    }


def calibration_figures(scored, choosing, interval):
    """Calibration of the referable probability: `slope`, `intercept`, the interval `ece`, and `bins`."""
    fit = calibration.fit_referable_probability
    referable = scored.labels >= REFERABLE_GRADE
    coefficients = crossfit.cross_fit(fit, choosing, scored)
    probabilities = calibration.referable_probability(scored.scores, coefficients)
    slope, intercept = fit(choosing.labels, choosing.scores)
    return {
        "slope": slope,
        "intercept": intercept,
        "ece": interval(calibration.expected_calibration_error, referable, probabilities),
        "bins": calibration.reliability(referable, probabilities),
    }


def own_probabilities(scored, rules, seed=0, num_resamples=2000):
    """How far the probabilities that a model itself gives can be believed; nothing is fitted.

    Args:
        scored: `EvaluationSet`.
        rules: the model's `GradingRules`.
        seed, num_resamples: of the bootstrap.

    Returns:
        None if the model isn't calibrated. Else a dict: `referable_ece`, the interval of the expected
        calibration error of the probability of referable disease; `mean_probability` of it, beside
        `prevalence`; `range_share`, the interval of the share of photographs whose grade lies in the range
        that the model gives (`grades.likely_range`), which should be `LIKELY_SHARE` or more; and
        `range_grades`, how many grades that range has on average.
    """
    if rules.calibration is None or np.isnan(scored.scores).any():
        return None
    interval = functools.partial(
        bootstrap_interval, groups=scored.patients, seed=seed, num_resamples=num_resamples
    )
    probabilities = grade_probabilities(scored.scores, rules.calibration)
    of_referable = probabilities[:, rules.referable_grade :].sum(axis=1)
    outcomes = scored.labels >= rules.referable_grade
    lowest, highest = likely_range(probabilities)
    return {
        "referable_ece": interval(
            calibration.expected_calibration_error, outcomes, np.minimum(of_referable, 1)
        ),
        "mean_probability": float(of_referable.mean()),
        "prevalence": float(outcomes.mean()),
        "range_share": interval(np.mean, (lowest <= scored.labels) & (scored.labels <= highest)),
        "range_grades": float(np.mean(highest - lowest + 1)),
    }


def compare_thresholds(scored, choosing, fixed, interval):
    """Compares ways to cut scores into grades.

    Returns:
        dict of `fixed`, `kappa_optimal` and `range_separation`, each with `cuts`, the intervals
        `quadratic_weighted_kappa` and `accuracy`, and `confusion_matrix`.
    """
    choosers = {
        "fixed": lambda labels, scores: np.array(fixed, dtype="float64"),
        "kappa_optimal": kappa_optimal,
        "range_separation": range_separation,
    }
    schemes = {}
    for name, choose in choosers.items():
        grades = score_to_grade(scored.scores, crossfit.cross_fit(choose, choosing, scored))
        schemes[name] = {
            "cuts": choose(choosing.labels, choosing.scores).tolist(),
            "quadratic_weighted_kappa": interval(quadratic_weighted_kappa, scored.labels, grades),
            "accuracy": interval(accuracy, scored.labels, grades),
            "confusion_matrix": confusion_matrix(scored.labels, grades).tolist(),
        }
    return schemes


def _referral(scored, thresholds):
    kept, kappas = referral.referral_curve(scored.labels, scored.scores, thresholds)
    return {"kept_fractions": kept.tolist(), "kappas": kappas.tolist()}


def _mean_where(chosen, values):
    return float(values[chosen].mean()) if chosen.any() else float("nan")


def _undefined():
    return {key: float("nan") for key in ("value", "low", "high")}


def _warn(text):
    warnings.warn(text, RuntimeWarning, stacklevel=3)
