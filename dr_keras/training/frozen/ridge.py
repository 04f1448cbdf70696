"""A linear head on a frozen backbone in closed form: ridge regression of the grade on pooled features."""

from pathlib import Path

import numpy as np
from sklearn.linear_model import RidgeCV

from dr_keras.errors import InputError
from dr_keras.files import atomic_path
from dr_keras.models.grader_model import is_linear_unit, network_of
from dr_keras.training.build import build_model
from dr_keras.training.frozen.backbone_features import MIRRORED, FeatureCache, trunk_of
from dr_keras.training.protocol import FitResult
from dr_keras.training.run_folder import MODEL

PENALTIES = np.logspace(1, 6, 26)  # on features of unit standard deviation


class RidgeFit:
    """Fits a linear `score` to the features of the layer before it; a `protocol.FitProtocol`.

    A photograph's features are the mean of its own and of its mirror image's. Those of more orientations
    would have to be computed at inference too; otherwise the map, which is of the upright image, suffers. The
    penalty is the one with the least leave-one-out error on the training photographs: validation photographs
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
        if not is_linear_unit(self._score) or self._score.input is not trunk.output:
            raise InputError(
                f"--freeze_through={task.config.freeze_through}: --optimizer=ridge needs the layer whose "
                f"output {self._score.name!r}, a linear unit, takes"
            )
        cache = task.features or FeatureCache(task.prepared)
        features = cache.of(self.grader, trunk, task.training, MIRRORED)
        self._features = features.astype("float64").mean(axis=1)
        self._grades = task.prepared.grades[task.training]

    def run(self):
        """Fits the head and saves `model.keras`. Returns a `FitResult` with the leave-one-out scores."""
        mean, sd = self._features.mean(axis=0), self._features.std(axis=0)
        sd = np.maximum(sd, np.quantile(sd, 0.25)) + 1e-9  # channels that hardly ever fire aren't amplified
        # With a named score, `cv_results_` holds the leave-one-out predictions.
        fitted = RidgeCV(PENALTIES, scoring="neg_mean_squared_error", store_cv_results=True)
        fitted.fit((self._features - mean) / sd, self._grades)
        kernel = fitted.coef_ / sd
        self._score.set_weights([kernel[:, None], np.array([fitted.intercept_ - mean @ kernel])])
        with atomic_path(self.run_dir / MODEL) as temporary:
            self.grader.save(temporary)
        scores = fitted.cv_results_[:, PENALTIES.tolist().index(fitted.alpha_)]
        error = np.mean((scores - self._grades) ** 2)
        self.hooks.say(
            f"{self.run_dir}: penalty {fitted.alpha_:.3g}, leave-one-out squared error {error:.3f}"
        )
        return FitResult([], scores)
