"""Blends both eyes of a patient with small networks on the features of scripts/extract_features.py (P2).

  python scripts/blend.py --flagfile=flags/blend.cfg --features=FEATURES

The folds are those of the run. Prints kappa and AUC of the run's own scores, of blends and of ridge
regressions, with one eye and with both, and their differences, all out of fold with 95 % intervals over
patients. Writes metrics.json, predictions.csv and confusion_matrix.png of the blend of both eyes, and its
networks. If --features is given several times, for runs with the same folds, the networks use the features in
turn. If no patient has photographs of both eyes, it says so and uses one eye. Research use only: no output
may guide the care of a patient.
"""

import _installed  # noqa: F401  isort: skip
from absl import flags

from dr_keras import cli_flags

flags.DEFINE_multi_string(
    "features", None, "Output folder of extract_features.py; may be given again for other runs."
)
cli_flags.define_output_dir("metrics.json, predictions.csv, confusion_matrix.png and the networks")
cli_flags.define_thresholds(default=None)
cli_flags.define_seed()
cli_flags.define_batch_size(128)
flags.DEFINE_integer("blends", 6, "Number of networks whose scores are averaged.", lower_bound=1)
flags.DEFINE_integer("epochs", 100, "Epochs of each network.", lower_bound=1)
flags.DEFINE_float("learning_rate", 0.0005, "Initial learning rate of Adam.", lower_bound=0.0)
cli_flags.numbers(
    "learning_rate_drops", (60, 80, 90), "Epochs after which the learning rate falls to a tenth.", int, low=0
)
flags.DEFINE_float("balanced", 0.2, "Probability of a batch with classes equally likely.", 0.0, 1.0)
flags.DEFINE_float("redrawn", 0.3, "Probability of a batch drawn uniformly, with replacement.", 0.0, 1.0)

FLAGS = flags.FLAGS


def main(argv):
    cli_flags.refuse_arguments(argv)
    if not FLAGS.features:
        raise cli_flags.InputError("--features: expected a folder of scripts/extract_features.py")
    cli_flags.require_tensorflow()
    from dr_keras.evaluation import agreement
    from dr_keras.papers.blending import blend_comparison, networks, pooled_features
    from dr_keras.report import metrics_report
    from dr_keras.training import run_folder

    run_folder.check_report_dir(FLAGS.output_dir)
    pooled = [pooled_features.read_features(folder) for folder in FLAGS.features]
    pooled_features.check_together(pooled)
    thresholds = cli_flags.parsed("thresholds") or pooled[0].thresholds
    config = networks.BlendConfig(
        FLAGS.blends, FLAGS.epochs, FLAGS.batch_size, FLAGS.learning_rate,
        cli_flags.parsed("learning_rate_drops", int), FLAGS.balanced, FLAGS.redrawn, FLAGS.seed,
    )  # fmt: skip
    rows = blend_comparison.score_blends(pooled, config, FLAGS.output_dir, cli_flags.progress)
    figures = blend_comparison.compare_blends(pooled[0], rows, thresholds, FLAGS.seed)
    for line in blend_comparison.lines(figures):
        print(line)
    scored = blend_comparison.as_scored(pooled[0], list(rows.values())[-1])
    metrics = metrics_report.write_report(
        FLAGS.output_dir, scored.images, scored.labels, scored.scores, thresholds, scored.patients,
        FLAGS.seed, {"blending": figures},
    )  # fmt: skip
    print(f"{FLAGS.output_dir}: {list(figures)[-1]}: {agreement.summary(metrics)}")


if __name__ == "__main__":
    cli_flags.run(main)
