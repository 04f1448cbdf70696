"""Logistic regressions of "above grade k" on evidence of disease: the more of it, the higher the score."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.model_selection import GroupKFold

from dr_keras.models.layers import STEPS

_PENALTY = 1.0  # on half the squared weights, features having unit deviation
_LEAST_DEVIATION = 0.1  # what a feature that hardly shows in training is scaled by: not to a huge weight
_PARTS = 10  # of the cross-validation


def fit_evidence(features, grades, weights, counts):
    """Fits four logistic regressions whose weights aren't negative, half their squares being the penalty.

    Args:
        features: float (n, channels).
        grades: int (n,), 0-4.
        weights: float (n,), how much each photograph counts.
        counts: bool (channels, 4), which features each step from one grade to the next depends on.

    Returns:
        kernel float64 (channels, 4), all of it at least 0, and bias (4,), as an `OrdinalScore` has them.
    """
    features = np.asarray(features, "float64")
    deviation = np.maximum(features.std(axis=0), _LEAST_DEVIATION)
    surest = np.log(2 * weights.sum() + 1)  # a bias alone says no more than so many photographs of one kind
    kernel, bias = np.zeros((features.shape[1], STEPS)), np.zeros(STEPS)
    for step in range(STEPS):
        chosen, is_above = np.flatnonzero(counts[:, step]), grades > step
        scaled = np.column_stack([features[:, chosen] / deviation[chosen], np.ones(len(grades))])

        def loss_and_gradient(values):
            logits = scaled @ values
            loss = weights @ (np.logaddexp(0, logits) - is_above * logits)
            gradient = scaled.T @ (weights * (expit(logits) - is_above))
            gradient[:-1] += _PENALTY * values[:-1]
            return loss + _PENALTY / 2 * np.square(values[:-1]).sum(), gradient

        bounds = [(0, None)] * len(chosen) + [(-surest, surest)]
        values = minimize(loss_and_gradient, np.zeros(len(bounds)), jac=True, bounds=bounds).x
        kernel[chosen, step], bias[step] = values[:-1] / deviation[chosen], values[-1]
    return kernel, bias


def unseen_logits(features, grades, weights, counts, groups):
    """Logits, float64 (n, 4), of each photograph by fits without its group; None if there is only one group.

    Args:
        features, grades, weights, counts: as for `fit_evidence`.
        groups: int (n,); photographs of one group, such as a patient's, are left out together.
    """
    parts = min(_PARTS, len(np.unique(groups)))
    if parts < 2:
        return None
    logits = np.zeros((len(grades), STEPS))
    for fitted, left in GroupKFold(parts).split(features, grades, groups):
        kernel, bias = fit_evidence(features[fitted], grades[fitted], weights[fitted], counts)
        logits[left] = features[left] @ kernel + bias
    return logits
