"""Referral: who is sent to a clinician, at which cut of the score, and how sure the shares are."""

import warnings

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import roc_curve

from dr_keras.evaluation.bootstrap import bootstrap_interval
from dr_keras.grades import REFERABLE_GRADE, score_to_grade
from dr_keras.metrics import quadratic_weighted_kappa

_KEPT = np.linspace(1, 0.05, 20)  # shares of the photographs at which a referral curve is drawn


def wilson_interval(successes, n, confidence=0.95):
    """Wilson's score interval of a share (Wilson 1927).

    Args:
        successes: how many of the n.
        n: number of trials.
        confidence: share of intervals that hold the true share, between 0 and 1.

    Returns:
        (low, high), floats from 0 to 1; NaN both if `n` is 0.

    Raises:
        ValueError: on more successes than trials, or arguments out of range.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"`successes` must be from 0 to `n`. Received: successes={successes}, n={n}")
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` must be between 0 and 1. Received: confidence={confidence}")
    if n == 0:
        return float("nan"), float("nan")
    interval = binomtest(int(successes), int(n)).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def proportion(successes, n):
    """A share with its 95 % Wilson interval: `{"value", "low", "high"}`, NaN where `n` is 0."""
    low, high = wilson_interval(successes, n)
    return {"value": float(successes / n) if n else float("nan"), "low": low, "high": high}


def share(hits, patients=None, seed=0):
    """A share of photographs with its 95 % interval over patients: `{"value", "low", "high"}`.

    Where every photograph is of a patient of its own, the interval is Wilson's. Where patients have several,
    which are alike, it is that of a bootstrap over patients; a share of 0 or 1, which every resample has too,
    gets Wilson's with the number of patients in place of photographs.

    Args:
        hits: bool array (n,).
        patients: array (n,) of patient identifiers, or None.
        seed: seed of the bootstrap.

    Returns:
        NaN throughout if `hits` is empty.
    """
    hits = np.asarray(hits, dtype=bool)
    num_patients = len(hits) if patients is None else len(np.unique(patients))
    if num_patients == len(hits):
        return proportion(int(hits.sum()), len(hits))
    if hits.all() or not hits.any():
        return proportion(num_patients if hits.all() else 0, num_patients)
    return bootstrap_interval(np.mean, hits, groups=patients, seed=seed)


def choose_operating_points(labels, scores, sensitivity=0.975, specificity=0.98):
    """Chooses two cuts of the score for referable disease (grade 2 and above).

    Args:
        labels: array (n,) of true grades.
        scores: array (n,) of scores; a score equal to a cut is referred.
        sensitivity: share of the referable that `high_sensitivity` has to refer, above 0, at most 1.
        specificity: share of the others that `high_specificity` has to leave, above 0, at most 1.

    Returns:
        `{"high_sensitivity", "high_specificity"}`: the highest cut that reaches the sensitivity, the lowest
        one that reaches the specificity; of the cuts at a score. Both NaN if a score is NaN, and, with a
        RuntimeWarning, if all photographs are on one side of grade 2; NaN with a RuntimeWarning where only
        a cut that refers nobody reaches the specificity.

    Raises:
        ValueError: on shares out of range.
    """
    for name, share in (("sensitivity", sensitivity), ("specificity", specificity)):
        if not 0 < share <= 1:
            raise ValueError(f"`{name}` must be above 0 and at most 1. Received: {name}={share}")
    scores, referable = np.asarray(scores, dtype="float64"), np.asarray(labels) >= REFERABLE_GRADE
    cuts = {"high_sensitivity": float("nan"), "high_specificity": float("nan")}
    if np.isnan(scores).any():
        return cuts
    if referable.all() or not referable.any():
        _warn("operating points can't be chosen without both sides of grade 2")
        return cuts
    false_alarms, found, candidates = roc_curve(referable, scores, drop_intermediate=False)
    rounding = 1e-12
    cuts["high_sensitivity"] = float(candidates[np.argmax(found >= sensitivity - rounding)])
    lowest = np.flatnonzero(1 - false_alarms >= specificity - rounding)[-1]
    if lowest == 0:  # scikit-learn's first candidate is infinity
        _warn(f"no cut that refers anybody reaches a specificity of {specificity:g}")
    else:
        cuts["high_specificity"] = float(candidates[lowest])
    return cuts


def apply_operating_point(labels, scores, cuts, patients=None, seed=0):
    """Counts whom a cut refers, beside who should be (grade 2 and above).

    Args:
        labels: array (n,) of true grades.
        scores: array (n,) of scores; a score equal to its cut is referred.
        cuts: one cut, or an array (n,) with one for each photograph.
        patients: array (n,) of patient identifiers, over whom the intervals are; None: a patient each.
        seed: seed of the bootstrap; see `share`.

    Returns:
        dict: `sensitivity`, `specificity`, `ppv` and `npv` (predictive values), each
        `{"value", "low", "high"}` with its 95 % interval (`share`); and the counts `true_positives`,
        `false_positives`, `true_negatives`, `false_negatives`. A photograph with a NaN score or cut is in
        no count, and makes the four shares NaN. A share of nobody is NaN, with a RuntimeWarning.

    Raises:
        ValueError: on no photographs, or arrays that differ in length.
    """
    labels, scores = np.asarray(labels), np.asarray(scores, dtype="float64")
    check_lengths(labels=labels, scores=scores)
    cuts = np.broadcast_to(np.asarray(cuts, dtype="float64"), scores.shape)
    known = ~(np.isnan(scores) | np.isnan(cuts))
    referable, referred = labels >= REFERABLE_GRADE, scores >= cuts
    counts = {
        "true_positives": int(np.sum(known & referable & referred)),
        "false_positives": int(np.sum(known & ~referable & referred)),
        "true_negatives": int(np.sum(known & ~referable & ~referred)),
        "false_negatives": int(np.sum(known & referable & ~referred)),
    }
    shares = {
        "sensitivity": (referable, referred),
        "specificity": (~referable, ~referred),
        "ppv": (referred, referable),
        "npv": (~referred, ~referable),
    }
    if not known.all():
        return {**{name: proportion(0, 0) for name in shares}, **counts}
    patients = np.arange(len(labels)) if patients is None else np.asarray(patients)
    found = {}
    for name, (among, hits) in shares.items():
        if not among.any():
            _warn(f"{name} is undefined: no photograph is on its side")
        found[name] = share(hits[among], patients[among], seed)
    return found | counts


def referral_curve(labels, scores, thresholds):
    """Kappa of the photographs that are kept when the least certain ones go to a person first.

    The score nearest to a threshold is the least certain.

    Args:
        labels: array (n,) of true grades.
        scores: array (n,) of scores.
        thresholds: four increasing cuts, or (n, 4), as `score_to_grade` takes them.

    Returns:
        (kept_fractions, kappas), two arrays (20,) from 1.0 down to 0.05. Kappa is NaN throughout if a
        score is NaN, and, with a RuntimeWarning, where those kept are all of one grade.

    Raises:
        ValueError: on no photographs, arrays that differ in length, wrong thresholds.
    """
    labels, scores = np.asarray(labels), np.asarray(scores, dtype="float64")
    check_lengths(labels=labels, scores=scores)
    grades = score_to_grade(scores, thresholds)
    if np.isnan(grades).any():
        return _KEPT.copy(), np.full(len(_KEPT), np.nan)
    certainty = np.abs(scores[:, None] - np.asarray(thresholds, dtype="float64")).min(axis=1)
    order = np.argsort(-certainty, kind="stable")
    kept = [order[: int(np.ceil(fraction * len(order) - 1e-9))] for fraction in _KEPT]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # said once, below
        kappas = np.array([quadratic_weighted_kappa(labels[rows], grades[rows]) for rows in kept])
    if np.isnan(kappas).any():
        first = _KEPT[np.isnan(kappas)].max()
        _warn(f"referral curve: the {first:.0%} of the photographs kept are of one grade, kappa is undefined")
    return _KEPT.copy(), kappas


def check_lengths(**arrays):
    """Raises `ValueError` unless the arrays have one dimension and one length, which isn't 0."""
    shapes = {name: np.shape(array) for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 or not shape[0] for shape in shapes.values()):
        names = " and ".join(f"`{name}`" for name in arrays)
        received = ", ".join(f"{name}.shape={shape}" for name, shape in shapes.items())
        raise ValueError(f"{names} must be of one length, with at least one row. Received: {received}")


def _warn(text):
    warnings.warn(text, RuntimeWarning, stacklevel=3)
