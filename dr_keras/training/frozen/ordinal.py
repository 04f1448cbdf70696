"""An ordinal head on a frozen backbone: logistic regressions, on pooled features, of "above grade k"."""

import dataclasses

import numpy as np
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from dr_keras.models.layers import STEPS, OrdinalScore
from dr_keras.training.frozen.ridge import RidgeFit, moments

STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3)  # of the data against the penalty, features having unit deviation
_PARTS = 5  # of the cross-validation
_ITERATIONS, _TOLERANCE = 300, 1e-3


class OrdinalFit(RidgeFit):
    """Fits an `OrdinalScore` as `RidgeFit` fits a linear unit, and to the same views of each photograph."""

    def suits(self, layer):
        """Tells whether a layer is what is fitted here."""
        return isinstance(layer, OrdinalScore)

    def fit(self):
        """Returns the fitted `Ordinal`, and the weights that `score` has by it."""
        fitted = fit_ordinal(self.features, self.grades, self.groups, self.steadiness)
        return fitted, [fitted.kernel, fitted.intercepts]


@dataclasses.dataclass(frozen=True)
class Ordinal:
    """Fitted logistic regressions.

    Attributes:
        kernel, intercepts: float64 (channels, 4) and (4,): the logit of the grade being above k is
            `features @ kernel[:, k] + intercepts[k]`.
        penalty: the one chosen.
        unseen_logits: float64 (n, 4), each photograph's by a fit without its patient.
    """

    kernel: np.ndarray
    intercepts: np.ndarray
    penalty: float
    unseen_logits: np.ndarray

    @property
    def unseen_scores(self):
        """Each photograph's score by a fit without its patient, float64 (n,)."""
        return expected_grades(self.unseen_logits)

    def scores(self, features):
        """Expected grades, float64 (n,), of features (n, channels)."""
        return expected_grades(features @ self.kernel + self.intercepts)


def fit_ordinal(features, grades, groups, steadiness=1.0, strengths=STRENGTHS):
    """Fits the logistic regressions; a cross-validation over groups chooses the penalty of all four.

    The error that decides is that of the expected grade, squared.

    Args:
        features: float (n, views, channels); the first view is the photograph itself. A photograph's views
            count together as much as one photograph.
        grades: int (n,), 0-4.
        groups: int (n,); photographs of one group, such as a patient's, are left out together.
        steadiness: weight of the differences among a photograph's views. 1 makes each view a sample like any
            other, as does less; more adds the variance of each logit over the views to the penalty.
        strengths: those tried, from the least; the penalty is half the squared kernel over it.

    Returns:
        `Ordinal`.
    """
    features, grades = np.asarray(features, "float64"), np.asarray(grades)
    mean, sd = moments(features)
    scaled = ((features - mean) / sd).astype("float32")
    alone = [_logit_of_share(grades > step) for step in range(STEPS)]
    parts, logits = min(_PARTS, len(np.unique(groups))), np.tile(alone, (len(strengths), len(grades), 1))
    for fitted, left in GroupKFold(parts).split(scaled, grades, groups) if parts > 1 else ():
        solved = _solve(scaled[fitted], grades[fitted], steadiness, strengths)
        for number, (kernel, intercepts) in enumerate(solved):
            logits[number, left] = scaled[left, 0] @ kernel + intercepts
    best = int(np.argmin(np.square(expected_grades(logits) - grades).sum(axis=1)))
    ((kernel, intercepts),) = _solve(scaled, grades, steadiness, strengths[best : best + 1])
    kernel = kernel / sd[:, None]
    return Ordinal(kernel, intercepts - mean @ kernel, 1 / strengths[best], logits[best])


def _solve(features, grades, steadiness, strengths):
    """Yields kernel (channels, 4), intercepts (4,) for each strength; each starts from the one before."""
    views, channels = features.shape[1:]
    # Along the axes of what a photograph's views differ by, the variance of a logit is a penalty on weights.
    # A logit's difference d costs up to d^2 / 8.
    differences = (features - features.mean(axis=1, keepdims=True)).reshape(-1, channels)
    variances, axes = np.linalg.eigh(differences.T @ differences / len(differences))
    costs = max(steadiness - 1, 0) / 4 * len(grades) * np.maximum(variances, 0)
    flat, repeated = features.reshape(-1, channels) @ axes, np.repeat(grades, views)
    options = {"max_iter": _ITERATIONS, "tol": _TOLERANCE, "warm_start": True}
    fits = [LogisticRegression(**options) for _ in range(STEPS)]
    for strength in strengths:
        kernel, intercepts = np.zeros((channels, STEPS)), np.zeros(STEPS)
        shrunk = 1 / np.sqrt(1 + strength * costs)
        samples = flat * shrunk
        for step, fit in enumerate(fits):
            is_above = repeated > step
            if is_above.all() or not is_above.any():
                intercepts[step] = _logit_of_share(is_above[::views])  # nothing to tell apart
                continue
            fit.set_params(C=strength / views).fit(samples, is_above)
            kernel[:, step], intercepts[step] = fit.coef_[0], fit.intercept_[0]
        yield axes @ (kernel * shrunk[:, None]), intercepts


def expected_grades(logits):
    """Scores, float64 (...), of the logits of the grade being above 0, 1, 2 and 3, (..., 4)."""
    return expit(np.asarray(logits, "float64")).sum(axis=-1)


def _logit_of_share(is_above):
    """The logit of what share of photographs is above a grade; of all or none, as sure as so many can be."""
    return logit((is_above.sum() + 0.5) / (len(is_above) + 1))
