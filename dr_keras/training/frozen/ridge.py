"""A linear head on a frozen trunk in closed form: ridge regression of the grade on pooled features."""

import numpy as np
from sklearn.linear_model import RidgeCV

from dr_keras.errors import InputError
from dr_keras.files import atomic_path
from dr_keras.models.grader import is_linear_unit, network_of
from dr_keras.training.build import build_model
from dr_keras.training.frozen.features import MIRRORED, trunk_of
from dr_keras.training.run_folder import MODEL

PENALTIES = np.logspace(1, 6, 26)  # on features of unit standard deviation


class RidgeFit:
    """Fits `score` to the features of the layer before it; used as `fit.Fit`, whose arguments it takes.

    A photograph's features are the mean of its own and of its mirror image's; those of more orientations
    would have to be seen at inference too, or the map, which is of the upright image, suffers. The penalty
    is the one with the least leave-one-out error on the training photographs, so validation photographs
    decide nothing.

    Args:
        config: `TrainingConfig` whose `freeze_through` names the layer before `score`.
        prepared: `PreparedDataset` of the configuration's image size.
        training: int array of photographs.
        run_dir: folder of the run.
        cache: `trunk_features.FeatureCache` of `prepared`.
        hooks: `fit.Hooks`, of which `say` counts.

    Raises:
        InputError: if that layer's output isn't what a linear `score` takes.
    """

    def __init__(self, config, prepared, training, run_dir, cache, hooks):
        self.run_dir, self.hooks = run_dir, hooks
        self.grader = build_model(config, prepared, training)
        network = network_of(self.grader)
        self._score = network.layers[-1]
        trunk = trunk_of(network, config.freeze_through)
        if not is_linear_unit(self._score) or self._score.input is not trunk.output:
            raise InputError(
                f"--freeze_through={config.freeze_through}: --optimizer=ridge needs the layer whose output "
                f"{self._score.name!r}, a linear unit, takes"
            )
        self._features = cache.of(self.grader, trunk, training, MIRRORED).astype("float64").mean(axis=1)
        self._grades = prepared.grades[training]

    def run(self):
        """Fits and saves `model.keras`.

        Returns:
            float64 (n,): the score of each training photograph by a fit of all the others.
        """
        mean, sd = self._features.mean(axis=0), self._features.std(axis=0)
        sd = np.maximum(sd, np.quantile(sd, 0.25)) + 1e-9  # channels that hardly ever fire aren't blown up
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
        return scores
