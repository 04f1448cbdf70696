"""Shows the progression of the disease according to a model: photographs in increasing order of score.

  python scripts/progression.py --model=RUN --data_dir=FOLDER --output_dir=FOLDER

Writes progression.png, and progression.csv with the names, scores and true grades of its photographs. In a
run with folds, each photograph is scored by the network that it was held out from. Without any of --data_dir,
--dataset and --synthetic_images, the photographs are those that the run was trained on.
"""

import _installed  # noqa: F401  isort: skip
from absl import flags

from dr_keras import cli_flags

cli_flags.define_model_flag()
cli_flags.define_data_flags()
cli_flags.define_cache_dir()
cli_flags.define_split()
cli_flags.define_output_dir("progression.png and progression.csv")
cli_flags.define_thresholds(default=None)
cli_flags.define_seed()
cli_flags.define_batch_size()
flags.DEFINE_enum(
    "selection", "even", ("even", "random"), "even: spread over the range of scores; random: at random."
)
flags.DEFINE_integer("count", 20, "Number of photographs.", lower_bound=1, upper_bound=200)

FLAGS = flags.FLAGS


def main(argv):
    cli_flags.refuse_arguments(argv)
    from dr_keras.training import run_folder

    model = cli_flags.find_model()
    run_folder.check_report_dir(FLAGS.output_dir)
    cli_flags.take_data_from_run(run_folder.read_flags(model))
    cli_flags.check_data()
    cli_flags.require_tensorflow()
    from dr_keras.evaluation import model_evaluation
    from dr_keras.report import progression

    done = model_evaluation.evaluate_model(
        model, cli_flags.open_prepared, FLAGS.split, FLAGS.batch_size, cli_flags.progress("grading"),
        cli_flags.parsed("thresholds"),
    )  # fmt: skip
    shown = progression.progression(done.prepared, done.scores, FLAGS.count, FLAGS.selection, FLAGS.seed)
    if not shown.images:
        raise cli_flags.InputError(f"{model}: none of its scores is a number; expected a trained model")
    progression.write_progression(FLAGS.output_dir, shown, done.model.rules.thresholds)
    print(done.photographs())
    print(
        f"{FLAGS.output_dir}/progression.png: {len(shown.images)} of them, "
        f"scores {shown.scores[0]:.2f} to {shown.scores[-1]:.2f}"
    )


if __name__ == "__main__":
    cli_flags.run(main)
