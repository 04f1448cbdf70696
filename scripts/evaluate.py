"""Compares a model's grades with true ones, in numbers and in a report to read.

  python scripts/evaluate.py --model=RUN --data_dir=FOLDER --output_dir=REPORT
  python scripts/evaluate.py --model=RUN --model=OTHER_RUN --output_dir=REPORT

Writes metrics.json, predictions.csv and confusion_matrix.png, and with --report (the default) report.html,
one file that needs no other, with its figures as PNG. Of several models the first is the one reported; the
others are compared with it. A run with folds grades each of its own photographs by the network that it was
held out from. Without any of --data_dir, --dataset, --synthetic_images, the photographs are those that the
first run was trained with. Research use only: no output may guide the care of a patient.
"""

import _installed  # noqa: F401  isort: skip
import warnings

from absl import flags

from dr_keras import cli_flags

cli_flags.define_models_flag()
cli_flags.define_data_flags()
cli_flags.define_cache_dir()
cli_flags.define_split()
cli_flags.define_output_dir("metrics.json, predictions.csv, report.html and its figures")
cli_flags.define_thresholds(default=None)
cli_flags.define_seed(" Default: that of the (first) run.")
cli_flags.define_batch_size()
flags.DEFINE_boolean("report", True, "Write report.html and its figures too.")
flags.DEFINE_string(
    "classifier", None, "Predictions of a classifier (predictions.csv) to show beside the model's scores."
)
flags.DEFINE_float(
    "target_sensitivity", 0.975, "Sensitivity for referable disease that one operating point aims at.", 0.1, 1
)
flags.DEFINE_float(
    "target_specificity", 0.98, "Specificity for referable disease that the other one aims at.", 0.1, 1
)
flags.DEFINE_integer("gallery", 8, "How many of the worst errors the report shows.", 0, 100)

FLAGS = flags.FLAGS


def main(argv):
    cli_flags.refuse_arguments(argv)
    from dr_keras.evaluation import predictions
    from dr_keras.training import run_folder

    paths = cli_flags.find_models()
    run_folder.check_report_dir(FLAGS.output_dir)
    of_run = run_folder.read_flags(paths[0])
    cli_flags.take_from_run(["seed"], of_run)
    cli_flags.take_data_from_run(of_run)
    cli_flags.check_data()
    classifier = predictions.read_predictions(FLAGS.classifier) if FLAGS.classifier else None
    cli_flags.require_tensorflow()
    from dr_keras.evaluation import agreement, model_comparison, statistics
    from dr_keras.report import gallery, metrics_report, report_page

    first, *others = [_evaluate(path, paths) for path in paths]
    scored, thresholds = first.scored, first.model.rules.thresholds
    further = {metrics_report.MODEL_SHA256: first.model.sha256} | _describe(first, thresholds)
    if (own := statistics.own_probabilities(scored, first.model.rules, FLAGS.seed)) is not None:
        further["own_probabilities"] = own
    if classifier:
        further["classifier"] = model_comparison.classifier_figures(
            FLAGS.classifier, classifier, scored, FLAGS.seed
        )
    if others:
        further["compared_with"] = [
            model_comparison.compare(
                scored, thresholds, other.scored, other.model.rules.thresholds, other.path, FLAGS.seed
            )
            for other in others
        ]
    metrics = metrics_report.write_report(
        FLAGS.output_dir, scored.images, scored.labels, scored.scores, thresholds, scored.patients,
        FLAGS.seed, further,
    )  # fmt: skip
    if FLAGS.report:
        shown = gallery.report_photographs(first, FLAGS.gallery, progress=cli_flags.progress("explaining"))
        report_page.write_page(FLAGS.output_dir, scored, metrics, first.facts(), shown)
        print(f"{FLAGS.output_dir}/report.html: open it in any browser; it needs no other file")
    print(f"{FLAGS.output_dir}: {agreement.summary(metrics)}")


def _evaluate(path, paths):
    from dr_keras.evaluation import model_evaluation

    done = model_evaluation.evaluate_model(
        path, cli_flags.open_prepared, FLAGS.split, FLAGS.batch_size, cli_flags.progress("grading"),
        cli_flags.parsed("thresholds"),
    )  # fmt: skip
    if path == paths[0]:
        for image, reason in done.prepared.unreadable:
            print(f"left out: {image}: {reason}")
    print(done.photographs() if len(paths) == 1 else f"{path}: {done.photographs()}")
    return done


def _describe(done, thresholds):
    """The statistics; what isn't defined is printed as a line each."""
    from dr_keras.evaluation import crossfit, statistics

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # they are the notes
        description = statistics.describe(
            done.scored, crossfit.read_choosing_set(done.path), thresholds, FLAGS.seed,
            targets={
                "high_sensitivity": FLAGS.target_sensitivity, "high_specificity": FLAGS.target_specificity
            },
        )
    for note in description["notes"]:
        print(f"note: {note}")
    return description


if __name__ == "__main__":
    cli_flags.run(main)
