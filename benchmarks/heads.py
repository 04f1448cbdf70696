"""What stands behind a frozen backbone: the ordinal regression that is shipped beside other heads.

  python benchmarks/heads.py --model=RUN --data_dir=IDRID

RUN is a run with folds of `scripts/train.py --flagfile=flags/dr_grader_fast.cfg`. Each head is fitted to the
same features, of each training photograph, its mirror image and `--copies` of its changed copies, in the
run's own folds; its penalty is the one with the least squared error on patients left out inside the fold.
"""

import itertools

import numpy as np
from absl import flags

from dr_keras import cli_flags

cli_flags.define_model_flag(required=True)
cli_flags.define_data_flags()
cli_flags.define_cache_dir()
cli_flags.define_thresholds()
flags.DEFINE_integer("copies", 4, "Changed copies of each photograph.", lower_bound=0)
FLAGS = flags.FLAGS
PARTS = 5  # of the cross-validation inside a fold


class Kernel:
    """Ridge regression with a Gaussian kernel, the mean of a Gaussian process."""

    choices = [
        {"alpha": alpha, "width": width}
        for alpha, width in itertools.product((0.01, 0.03, 0.1, 0.3), (3, 10, 30))
    ]

    def __init__(self, features, grades, weight, alpha, width):
        from sklearn.kernel_ridge import KernelRidge

        self._mean = grades.mean()
        gamma = 1 / (width * features.shape[1])
        self._fit = KernelRidge(alpha=alpha / weight, kernel="rbf", gamma=gamma).fit(
            features, grades - self._mean
        )

    def scores(self, features):
        """Returns float (n,)."""
        return self._fit.predict(features) + self._mean


def fit_kernel(features, grades, groups):
    """Fits a `Kernel` to photographs' views, its penalties chosen over patients left out; returns it."""
    from sklearn.model_selection import GroupKFold

    def fitted(rows, choice):
        views = features.shape[1]
        flat = features[rows].reshape(-1, features.shape[-1])
        return Kernel(flat, np.repeat(grades[rows], views), 1 / views, **choice)

    errors = np.zeros(len(Kernel.choices))
    for rows, left in GroupKFold(PARTS).split(grades, groups=groups):
        for number, choice in enumerate(Kernel.choices):
            errors[number] += np.square(fitted(rows, choice).scores(features[left, 0]) - grades[left]).sum()
    return fitted(slice(None), Kernel.choices[int(np.argmin(errors))])


def main(argv):
    cli_flags.refuse_arguments(argv)
    cli_flags.require_tensorflow()
    from dr_keras.evaluation import agreement
    from dr_keras.models.grader_model import load_model, network_of
    from dr_keras.training import run_folder
    from dr_keras.training.division import HELD_OUT
    from dr_keras.training.frozen.backbone_features import Changed, FeatureCache, trunk_of
    from dr_keras.training.frozen.ordinal import fit_ordinal
    from dr_keras.training.frozen.ridge import fit_ridge

    folds = run_folder.fold_dirs(FLAGS.model)
    if not folds:
        raise cli_flags.InputError(f"--model={FLAGS.model}: expected a run with folds")
    grader = load_model(folds[0] / run_folder.MODEL)
    prepared = cli_flags.open_prepared(grader.input_shape[1])
    cache = FeatureCache(prepared, cli_flags.progress("features of the frozen backbone"))
    trunk = trunk_of(network_of(grader), network_of(grader).layers[-2].name)
    features = cache.of(grader, trunk, np.arange(len(prepared)), Changed())[:, : 2 + FLAGS.copies]
    patients = np.array([record.patient for record in prepared.records])
    groups, grades = np.unique(patients, return_inverse=True)[1], prepared.grades
    scores = {name: np.full(len(grades), np.nan) for name in ("ridge", "ordinal", "kernel")}
    for fold in folds:
        held_out = run_folder.splits_of(fold / run_folder.SPLIT, prepared.records) == HELD_OUT
        known, unknown = features[~held_out].astype("float64"), features[held_out, 0].astype("float64")
        mean, sd = known.mean(axis=(0, 1)), known.std(axis=(0, 1)) + 1e-3
        known, unknown = (known - mean) / sd, (unknown - mean) / sd
        ridge = fit_ridge(known, grades[~held_out], groups[~held_out])
        scores["ridge"][held_out] = unknown @ ridge.kernel + ridge.intercept
        for name, fit in (("ordinal", fit_ordinal), ("kernel", fit_kernel)):
            scores[name][held_out] = fit(known, grades[~held_out], groups[~held_out]).scores(unknown)
    for name, found in scores.items():
        metrics = agreement.evaluate_predictions(grades, found, cli_flags.parsed("thresholds"), patients)
        print(f"{name}: {agreement.summary(metrics)}", flush=True)


if __name__ == "__main__":
    cli_flags.run(main)
