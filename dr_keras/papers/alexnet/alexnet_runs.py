"""P1's two networks on one frozen backbone's features: trained, judged on the same photographs, compared."""

import dataclasses
import warnings
from pathlib import Path

import numpy as np

from dr_keras.evaluation import agreement, crossfit, model_comparison, model_evaluation, statistics
from dr_keras.evaluation.bootstrap import bootstrap_interval
from dr_keras.evaluation.thresholds import range_separation
from dr_keras.grades import NUM_GRADES, score_to_grade
from dr_keras.metrics import confusion_matrix, quadratic_weighted_kappa
from dr_keras.papers.alexnet import classifier
from dr_keras.report import gallery, metrics_report, report_page
from dr_keras.training import run_folder
from dr_keras.training.config import SplitPlan, TrainingConfig
from dr_keras.training.scoring import DatasetScorer
from dr_keras.training.stages import train_stages

REGRESSOR, CLASSIFIER = "regressor", "classifier"
CAPS = (3000, 2443, 2000, 873, 708)  # greatest number of photographs of each grade (P1 section 3.2)
_FIELDS = (
    "architecture", "trunk_weights", "freeze_through", "head", "hidden", "image_size", "epochs", "batch_size",
    "optimizer", "learning_rate", "loss", "l2", "seed",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What flags/alexnet.cfg leaves open.

    Attributes:
        trunk_weights: as of `TrainingConfig`.
        init_from: run with a backbone for each fold (`scripts/distil.py --folds`), or None.
        folds: of a cross-validation; 0: the dataset's test part, or 10 %, is held out (P1 section 3.2).
        epochs, seed: of the heads.
        precision: Keras dtype policy.
    """

    trunk_weights: str
    init_from: str | None = None
    folds: int = 0
    epochs: int = 200
    seed: int = 0
    precision: str = "float32"

    def config(self, name):
        """Returns the `TrainingConfig` of the regressor or the classifier."""
        of_head = {REGRESSOR: ("regression", "euclidean"), CLASSIFIER: ("classification", "cross_entropy")}
        head, loss = of_head[name]
        return TrainingConfig(
            architecture="alexnet", trunk_weights=self.trunk_weights, freeze_through="pool5", head=head,
            hidden=256, image_size=256, epochs=self.epochs, optimizer="adam", learning_rate=0.0001, loss=loss,
            l2=0.0, resample=False, seed=self.seed, precision=self.precision,
        )  # fmt: skip

    def plan(self):
        """Returns the `SplitPlan`: 80, 10 and 10 % of the balanced subset, or folds that validate on 10 %."""
        if self.folds:
            return SplitPlan(self.folds, 0.1, self.seed, caps=CAPS)
        return SplitPlan(0, 0.1111, self.seed, 0.1, CAPS)

    def flagfile(self, name, data_flags):
        """Returns a flag file with which `scripts/train.py` repeats the training.

        Args:
            name: `REGRESSOR` or `CLASSIFIER`.
            data_flags: dict of flag -> value.
        """
        config, plan = self.config(name), self.plan()
        lines = {field: getattr(config, field) for field in _FIELDS} | data_flags
        lines |= {"folds": plan.folds, "validation_fraction": plan.validation_fraction}
        lines |= {"test_fraction": plan.test_fraction, "caps": ",".join(map(str, CAPS))}
        lines |= {"init_from": self.init_from, "thresholds": ",".join(map(str, config.thresholds))}
        text = [f"--{field}={value:g}" if isinstance(value, float) else f"--{field}={value}"
                for field, value in sorted(lines.items()) if value is not None]  # fmt: skip
        return "# python scripts/train.py --flagfile=THIS_FILE\n" + "\n".join([*text, "--noresample", ""])


def train(recipe, output_dir, open_prepared, data_flags, strategy, hooks):
    """Trains the regressor and the classifier, unless they are trained already; both share one feature cache.

    Args:
        recipe: `Recipe`.
        output_dir: folder for the runs `regressor` and `classifier`.
        open_prepared: takes an image size and returns the `PreparedDataset` of that size.
        data_flags: dict of flag -> value, for the runs' `run.cfg`.
        strategy, hooks: as for `train_stages`.

    Raises:
        InputError: if a run in the folder has other flags.
    """
    for name in (REGRESSOR, CLASSIFIER):
        run_dir = Path(output_dir) / name
        run_folder.claim_run_dir(run_dir, recipe.flagfile(name, data_flags))
        train_stages(
            [recipe.config(name)], open_prepared, run_dir, recipe.plan(), strategy, hooks, recipe.init_from
        )


def compare(output_dir, open_prepared, seed=0, progress=None):
    """Judges both networks on the photographs held out, and writes the report.

    Args:
        output_dir: folder with the runs; `report` is written there.
        open_prepared: as for `model_evaluation.evaluate_model`.
        seed: seed of the bootstrap.
        progress: wraps the grading as `tqdm.tqdm` does, called with `total`.

    Returns:
        (`ModelEvaluation` of the regressor, probabilities (n, 5) of the classifier, dict of figures).
    """
    output_dir = Path(output_dir)
    done, other = (
        model_evaluation.evaluate_model(str(output_dir / name), open_prepared, progress=progress)
        for name in (REGRESSOR, CLASSIFIER)
    )
    scored, thresholds = done.scored, done.model.rules.thresholds
    probabilities = classifier.grade_probabilities(other)
    table = {"image": np.array(other.scored.images), "grade": probabilities.argmax(axis=1)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # undefined figures are reported as notes
        further = statistics.describe(scored, crossfit.read_choosing_set(done.path), thresholds, seed)
        cuts, grades = separate_ranges(done)
        further["classifier"] = model_comparison.classifier_figures(CLASSIFIER, table, scored, seed)
        metrics = metrics_report.write_report(
            output_dir / "report", scored.images, scored.labels, scored.scores, thresholds, scored.patients,
            seed, further,
        )  # fmt: skip
        rows = classifier.one_against_all(scored, probabilities, seed)
    shown = gallery.report_photographs(done, 4)
    report_page.write_page(output_dir / "report", scored, metrics, done.facts(), shown)

    def interval(statistic):
        return bootstrap_interval(statistic, scored.labels, grades, groups=scored.patients, seed=seed)

    of_grade = [scored.scores[scored.labels == grade] for grade in range(NUM_GRADES)]
    separated = confusion_matrix(scored.labels, grades)
    figures = {
        "n": len(scored.labels),
        "photographs": done.photographs(),
        "kappa": {"regressor": metrics["quadratic_weighted_kappa"],
                  "classifier": metrics["classifier"]["quadratic_weighted_kappa"]},
        "accuracy": {"regressor": metrics["accuracy"], "classifier": metrics["classifier"]["accuracy"]},
        "stage_errors": {"regressor": classifier.stage_errors(metrics["confusion_matrix"]),
                         "classifier": classifier.stage_errors(metrics["classifier"]["confusion_matrix"])},
        "mean_score": [float(some.mean()) if len(some) else float("nan") for some in of_grade],
        "one_against_all": rows,
        "range_separation": {
            "cuts": cuts.tolist(),
            "confusion_matrix": separated.tolist(),
            "stage_errors": classifier.stage_errors(separated),
            "accuracy": interval(agreement.accuracy),
            "kappa": interval(quadratic_weighted_kappa),
        },
    }  # fmt: skip
    return done, probabilities, figures


def separate_ranges(done):
    """Range separation of the scores that a network gives its own training photographs (P1, figure 7).

    Args:
        done: `ModelEvaluation`.

    Returns:
        cuts: float64 (4,), the mean over the networks.
        grades: (n,) of the judged photographs, each by the cuts of its own networks.
    """
    cuts, prepared = [], done.prepared
    for path, grader in zip(done.model.model_files, done.model.networks, strict=True):
        splits = run_folder.splits_of(path.parent / run_folder.SPLIT, prepared.records)
        training = np.flatnonzero(splits == "train")
        cuts.append(range_separation(prepared.grades[training], DatasetScorer(grader, prepared)(training)))
    cuts, who = np.array(cuts), done.scores.scored_by
    own = who.T @ cuts / who.sum(axis=0)[:, None]
    return cuts.mean(axis=0), score_to_grade(done.scored.scores, own)
