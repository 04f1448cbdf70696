"""What a choice among recipes is worth: each run's figure, and that of a choice made inside the folds.

  python benchmarks/nested_choice.py --model=RUN --model=RUN ...

The runs have the same data, `--folds` and `--seed`; they are ridge regressions (`--optimizer=ridge`) or
lesion networks, whose training photographs have scores by fits without their patient. For each fold the run
with the least such error judges the photographs held out.
"""

import collections

from absl import flags

from dr_keras import cli_flags

cli_flags.define_models_flag()
cli_flags.define_thresholds()
FLAGS = flags.FLAGS


def main(argv):
    cli_flags.refuse_arguments(argv)
    from dr_keras.evaluation import agreement, nested
    from dr_keras.evaluation.predictions import PREDICTIONS, read_predictions

    thresholds = cli_flags.parsed("thresholds")

    def line(name, table):
        metrics = agreement.evaluate_predictions(table["label"], table["score"], thresholds, table["patient"])
        print(f"{name}: {agreement.summary(metrics)}")

    table, chosen = nested.choose_inside_folds(FLAGS.model)
    for run in FLAGS.model:
        line(run, read_predictions(f"{run}/{PREDICTIONS}"))
    counted = ", ".join(f"{run} in {count}" for run, count in collections.Counter(chosen).items())
    line(f"chosen inside the folds ({counted})", table)


if __name__ == "__main__":
    cli_flags.run(main)
