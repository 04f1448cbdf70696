"""Whether an exported model gives the grades of the networks that it was made of."""

import time

import numpy as np

from dr_keras.errors import InputError
from dr_keras.grades import score_to_grade
from dr_keras.metrics import quadratic_weighted_kappa


def compare(scores, reference, grades, thresholds):
    """Compares an exported model's scores with those of the Keras networks on the same photographs.

    Args:
        scores, reference: float arrays (n,), in grade units.
        grades: true grades (n,).
        thresholds: four cuts from score to grade.

    Returns:
        Dict of `photographs`, `max_score_difference` and `mean_score_difference` (grade units), `agreement`
        (share of equal grades), `kappa` of the model and `kappa_change`.
    """
    ours, theirs = score_to_grade(scores, thresholds), score_to_grade(reference, thresholds)
    difference = np.abs(np.asarray(scores, "float64") - reference)
    kappa = quadratic_weighted_kappa(grades, ours)
    return {
        "photographs": len(difference),
        "max_score_difference": float(difference.max()),
        "mean_score_difference": float(difference.mean()),
        "agreement": float(np.mean(ours == theirs)),
        "kappa": kappa,
        "kappa_change": kappa - quadratic_weighted_kappa(grades, theirs),
    }


def describe(compared):
    """One line of what `compare` found."""
    return (
        f"{compared['photographs']} photographs: score difference at most "
        f"{compared['max_score_difference']:.4f}, mean {compared['mean_score_difference']:.4f}; "
        f"same grade {100 * compared['agreement']:.1f} %; "
        f"kappa {compared['kappa']:.3f} ({compared['kappa_change']:+.4f})"
    )


def require_agreement(compared, least):
    """Raises `InputError` if fewer photographs than the share `least` got the grade that they should."""
    if not compared["agreement"] >= least:
        raise InputError(
            f"--min_agreement={least:g}: only {100 * compared['agreement']:.1f} % of "
            f"{compared['photographs']} photographs have the grade that Keras gives them; nothing was written"
        )


def latency(score, image, runs=30):
    """Median seconds that `score` takes for one image, (1, size, size, 3)."""
    seconds = []
    for _ in range(runs + 2):
        start = time.perf_counter()
        score(image)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[2:]))
