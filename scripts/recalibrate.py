"""Fits a model's thresholds and probabilities to a clinic, from its photographs with grades (50 to 200 do).

  python scripts/evaluate.py --model=MODEL --data_dir=CLINIC --output_dir=report
  python scripts/recalibrate.py --model=MODEL --predictions=report/predictions.csv --output=clinic.keras

The network stays as it is; clinic.keras is used like any model. Prints agreement before and after, the latter
by thresholds that were fitted to other photographs than those judged. The photographs must not be among
those that the model was trained on. Research use only: no output may guide the care of a patient.
"""

import _installed  # noqa: F401  isort: skip
from absl import flags

from dr_keras import cli_flags

cli_flags.define_model_flag()
flags.DEFINE_string("predictions", None, "predictions.csv of scripts/evaluate.py.", required=True)
cli_flags.define_output("the model with the new thresholds", ".keras")
cli_flags.define_seed()

FLAGS = flags.FLAGS


def main(argv):
    cli_flags.refuse_arguments(argv)
    from dr_keras.evaluation.predictions import read_predictions

    model, table = cli_flags.find_model(), read_predictions(FLAGS.predictions)
    cli_flags.require_tensorflow()
    from dr_keras import files
    from dr_keras.evaluation import agreement, recalibration
    from dr_keras.inference.grader import load_grader
    from dr_keras.models.grader_model import with_rules

    loaded = load_grader(model)
    if len(loaded.networks) != 1:
        raise cli_flags.InputError(f"--model={model}: expected a .keras file, or a run without folds")
    _refuse_other_model(loaded)
    labels, scores = table["label"], table["score"]
    fitted = recalibration.recalibrated_rules(loaded.rules, labels, scores)
    gain = recalibration.gain(loaded.rules, labels, scores, FLAGS.seed, table["patient"])
    for name, metrics in zip(("before", "after"), gain, strict=True):
        print(f"{name}: {agreement.summary(metrics)}")
    with files.atomic_path(FLAGS.output) as temporary:
        with_rules(loaded.networks[0], fitted).save(temporary)
    cuts = ", ".join(f"{cut:.2f}" for cut in fitted.thresholds)
    print(f"{FLAGS.output}: thresholds {cuts}, fitted to {len(labels)} photographs")
    for grade, count in recalibration.grades_not_given(fitted, labels, scores):
        print(
            f"warning: by these thresholds no photograph gets grade {grade}, which {count} have: too few of "
            "them, or too many of the others for a clinic's share, to tell it from its neighbours"
        )


def _refuse_other_model(loaded):
    """Predictions of `evaluate.py` must be this model's; those of a training's folds say nothing of it."""
    from dr_keras.report import metrics_report

    made_by = metrics_report.model_of(FLAGS.predictions)
    if made_by and made_by != loaded.sha256:
        raise cli_flags.InputError(
            f"--predictions={FLAGS.predictions}: of another model (SHA-256 {made_by[:12]}...) than "
            f"--model={loaded.name} ({loaded.sha256[:12]}...)"
        )


if __name__ == "__main__":
    cli_flags.run(main)
