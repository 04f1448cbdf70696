"""An ordinal head on a frozen backbone: logistic regressions, on pooled features, of "above grade k"."""

import dataclasses

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from dr_keras.models.layers import OrdinalScore
from dr_keras.training.frozen.ridge import RidgeFit, moments

STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3)  # of the data against the penalty, features having unit deviation
_STEPS = range(4)  # from one grade to the next
_PARTS = 5  # of the cross-validation
_ITERATIONS, _TOLERANCE = 300, 1e-3


class OrdinalFit(RidgeFit):
    """Fits an `OrdinalScore` as `RidgeFit` fits a linear unit, and to the same views of each photograph.

    Each view is a sample like any other: the configuration's `steadiness` doesn't count.
    """

    def suits(self, layer):
        """Tells whether a layer is what is fitted here."""
        return isinstance(layer, OrdinalScore)

    def fit(self):
        """Returns the fitted `Ordinal`, and the weights that `score` has by it."""
        fitted = fit_ordinal(self.features, self.grades, self.groups)
        return fitted, [fitted.kernel, fitted.intercepts]


@dataclasses.dataclass(frozen=True)
class Ordinal:
    """Fitted logistic regressions.

    Attributes:
        kernel, intercepts: float64 (channels, 4) and (4,): the logit of the grade being above k is
            `features @ kernel[:, k] + intercepts[k]`.
        penalty: the one chosen.
        unseen_scores: float64 (n,), each photograph's score by a fit without its patient.
    """

    kernel: np.ndarray
    intercepts: np.ndarray
    penalty: float
    unseen_scores: np.ndarray

    def scores(self, features):
        """Expected grades, float64 (n,), of features (n, channels)."""
        return _expected_grades(features @ self.kernel + self.intercepts)


def fit_ordinal(features, grades, groups, strengths=STRENGTHS):
    """Fits the logistic regressions; a cross-validation over groups chooses the penalty of all four.

    The error that decides is that of the expected grade, squared.

    Args:
        features: float (n, views, channels); the first view is the photograph itself. A photograph's views
            count together as much as one photograph.
        grades: int (n,), 0-4.
        groups: int (n,); photographs of one group, such as a patient's, are left out together.
        strengths: those tried, from the least; the penalty is half the squared kernel over it.

    Returns:
        `Ordinal`.
    """
    features, grades = np.asarray(features, "float64"), np.asarray(grades)
    mean, sd = moments(features)
    scaled = ((features - mean) / sd).astype("float32")
    parts, scores = min(_PARTS, len(np.unique(groups))), np.full((len(strengths), len(grades)), grades.mean())
    for fitted, left in GroupKFold(parts).split(scaled, grades, groups) if parts > 1 else ():
        for number, (kernel, intercepts) in enumerate(_solve(scaled[fitted], grades[fitted], strengths)):
            scores[number, left] = _expected_grades(scaled[left, 0] @ kernel + intercepts)
    best = int(np.argmin(np.square(scores - grades).sum(axis=1)))
    ((kernel, intercepts),) = _solve(scaled, grades, strengths[best : best + 1])
    kernel = kernel / sd[:, None]
    return Ordinal(kernel, intercepts - mean @ kernel, 1 / strengths[best], scores[best])


def _solve(features, grades, strengths):
    """Yields kernel (channels, 4) and intercepts (4,) for each strength; each starts from the one before."""
    views, channels = features.shape[1:]
    flat, repeated = features.reshape(-1, channels), np.repeat(grades, views)
    options = {"max_iter": _ITERATIONS, "tol": _TOLERANCE, "warm_start": True}
    fits = [LogisticRegression(**options) for _ in _STEPS]
    for strength in strengths:
        kernel, intercepts = np.zeros((channels, len(fits))), np.zeros(len(fits))
        for step, fit in enumerate(fits):
            is_above = repeated > step
            if is_above.all() or not is_above.any():
                # Nothing to tell apart: as sure as so many photographs are.
                share = (is_above[::views].sum() + 0.5) / (len(grades) + 1)
                intercepts[step] = np.log(share / (1 - share))
                continue
            fit.set_params(C=strength / views).fit(flat, is_above)
            kernel[:, step], intercepts[step] = fit.coef_[0], fit.intercept_[0]
        yield kernel, intercepts


def _expected_grades(logits):
    return (1 / (1 + np.exp(-np.asarray(logits, "float64")))).sum(axis=-1)
