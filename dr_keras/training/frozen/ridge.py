"""A linear head on a frozen backbone in closed form: ridge regression of the grade on pooled features."""

import dataclasses
from pathlib import Path

import numpy as np
from sklearn.model_selection import GroupKFold

from dr_keras.errors import InputError
from dr_keras.files import atomic_path
from dr_keras.models.grader_model import is_linear_unit, network_of
from dr_keras.training.build import build_model
from dr_keras.training.frozen.backbone_features import Changed, FeatureCache, trunk_of
from dr_keras.training.protocol import FitResult
from dr_keras.training.run_folder import MODEL

PENALTIES = np.logspace(1, 6, 26)  # on features of unit standard deviation
_PARTS = 10  # of the cross-validation


class RidgeFit:
    """Fits a linear `score` to the features of the layer before it; a `protocol.FitProtocol`.

    It is fitted to each photograph, its mirror image and `changed_copies` of it, all with the photograph's
    grade, so that the score follows the eye and not how the file was saved. The penalty is the one with the
    least error in a cross-validation by patient within the training photographs: validation photographs
    decide nothing. Of the hooks it calls `say`.

    Args:
        task: `FitTask` whose configuration's `freeze_through` names the layer before `score`.

    Raises:
        InputError: if that layer's output isn't what a linear `score` takes.
    """

    def __init__(self, task):
        self.run_dir, self.hooks = Path(task.run_dir), task.hooks
        self.grader = build_model(task.config, task.prepared, task.training)
        network = network_of(self.grader)
        self._score = network.layers[-1]
        trunk = trunk_of(network, task.config.freeze_through)
        if not self.suits(self._score) or self._score.input is not trunk.output:
            raise InputError(
                f"--freeze_through={task.config.freeze_through}: --optimizer={task.config.optimizer} needs "
                f"the layer whose output {self._score.name!r}, the score, takes"
            )
        cache = task.features or FeatureCache(task.prepared)
        self.features = cache.of(self.grader, trunk, task.training, Changed(task.config.changed_copies))
        self.grades, self.steadiness = task.prepared.grades[task.training], task.config.steadiness
        self.groups = task.groups_of(task.training)

    def suits(self, layer):
        """Tells whether a layer is what is fitted here."""
        return is_linear_unit(layer)

    def fit(self):
        """Returns the fitted `Ridge`, and the weights that `score` has by it."""
        fitted = fit_ridge(self.features, self.grades, self.groups, self.steadiness)
        return fitted, [fitted.kernel[:, None], np.array([fitted.intercept])]

    def run(self):
        """Fits the head and saves `model.keras`. Returns a `FitResult` with the cross-validated scores."""
        fitted, weights = self.fit()
        self._score.set_weights(weights)
        with atomic_path(self.run_dir / MODEL) as temporary:
            self.grader.save(temporary)
        error = np.mean((fitted.unseen_scores - self.grades) ** 2)
        self.hooks.say(
            f"{self.run_dir}: penalty {fitted.penalty:.3g}, squared error on patients left out {error:.3f}"
        )
        return FitResult([], fitted.unseen_scores)


@dataclasses.dataclass(frozen=True)
class Ridge:
    """A fitted ridge regression.

    Attributes:
        kernel, intercept: float64 (channels,) and a number: the score is `features @ kernel + intercept`.
        penalty: the one chosen.
        unseen_scores: float64 (n,), each photograph's score by a fit without its patient.
    """

    kernel: np.ndarray
    intercept: float
    penalty: float
    unseen_scores: np.ndarray


def fit_ridge(features, grades, groups, steadiness=1.0, penalties=PENALTIES):
    """Fits a ridge regression whose penalty is chosen by cross-validation over groups.

    Args:
        features: float (n, views, channels); the first view is the photograph itself. A photograph's views
            count together as much as one photograph.
        grades: (n,).
        groups: int (n,); photographs of one group, such as a patient's, are left out together.
        steadiness: weight of the variance of a photograph's score over its views, in the sum of squares that
            is minimised. At 1 each view is a sample like any other.
        penalties: those tried, on features of unit standard deviation.

    Returns:
        `Ridge`.
    """
    features, grades = np.asarray(features, "float64"), np.asarray(grades, "float64")
    mean, sd = moments(features)
    scaled = (features - mean) / sd
    parts, scores = min(_PARTS, len(np.unique(groups))), np.full((len(penalties), len(grades)), grades.mean())
    errors = np.zeros(len(penalties))
    for fitted, left in GroupKFold(parts).split(scaled, grades, groups) if parts > 1 else ():
        kernels, intercepts = _solve(scaled[fitted], grades[fitted], steadiness, penalties)
        predicted = scaled[left] @ kernels.T + intercepts
        errors += np.square(predicted - grades[left][:, None, None]).sum(axis=(0, 1))
        scores[:, left] = predicted[:, 0].T
    best = int(np.argmin(errors))
    (kernel,), (intercept,) = _solve(scaled, grades, steadiness, penalties[best : best + 1])
    kernel = kernel / sd
    return Ridge(kernel, float(intercept - mean @ kernel), float(penalties[best]), scores[best])


def moments(features):
    """Mean and deviation of each channel, (channels,) each, over photographs and views, to scale them with.

    Args:
        features: float64 (n, views, channels).
    """
    flat = features.reshape(-1, features.shape[-1])
    sd = flat.std(axis=0)
    # Channels that hardly ever fire aren't amplified.
    return flat.mean(axis=0), np.maximum(sd, np.quantile(sd, 0.25)) + 1e-9


def _solve(features, grades, steadiness, penalties):
    """Kernels (penalties, channels) and intercepts (penalties,), by one decomposition for all penalties."""
    own = features.mean(axis=1)  # of each photograph, over its views
    spread = (features - own[:, None]).reshape(-1, features.shape[-1])
    middle, level = own.mean(axis=0), grades.mean()
    centred = own - middle
    squares = centred.T @ centred + (steadiness / features.shape[1]) * (spread.T @ spread)
    values, vectors = np.linalg.eigh(squares)
    products = vectors.T @ (centred.T @ (grades - level))
    kernels = (vectors @ (products[:, None] / (np.maximum(values, 0)[:, None] + penalties))).T
    return kernels, level - kernels @ middle
