"""Cuts out abnormal patches: windows of a photograph that lower the score when hidden (P1 section 3.3).

  python scripts/segment_patches.py --model=RUN --data_dir=FOLDER --output_dir=patches

Writes the patches as PNG files, and patches.csv with each patch's photograph, true grade, score, drop of the
score and box in the photograph's pixels. In a run with folds, each photograph is searched by the network that
wasn't trained on it. Research use only.
"""

import _installed  # noqa: F401  isort: skip
from absl import flags

from dr_keras import cli_flags

cli_flags.define_model_flag(required=True)
cli_flags.define_data_flags()
cli_flags.define_cache_dir()
cli_flags.define_split()
cli_flags.define_output_dir("patches.csv and the folder patches")
cli_flags.define_batch_size()
flags.DEFINE_string("layer", "pool5", "Layer of which windows are hidden, across all channels.")
flags.DEFINE_integer("window", 2, "Side of the hidden window, in cells of --layer.", lower_bound=1)
flags.DEFINE_float("threshold", 0.2, "Least drop of the score, on a scale where a grade is 0.25.")
flags.DEFINE_bool("merge", False, "Merge overlapping windows into one patch.")

FLAGS = flags.FLAGS


def main(argv):
    cli_flags.refuse_arguments(argv)
    from dr_keras.training import run_folder

    run_folder.find_models(FLAGS.model)
    run_folder.check_report_dir(FLAGS.output_dir)
    cli_flags.take_data_from_run(run_folder.read_flags(FLAGS.model))
    cli_flags.check_data()
    cli_flags.require_tensorflow()
    from dr_keras.evaluation import model_evaluation
    from dr_keras.papers.alexnet import patch_search

    done = model_evaluation.evaluate_model(
        FLAGS.model, cli_flags.open_prepared, FLAGS.split, FLAGS.batch_size, cli_flags.progress("grading")
    )
    found = patch_search.search(
        done, FLAGS.threshold, FLAGS.window, FLAGS.layer, FLAGS.merge, FLAGS.batch_size,
        cli_flags.progress("occluding"),
    )  # fmt: skip
    if found.advice:
        print(found.advice)
    print(f"{found.write(FLAGS.output_dir)}: {found.summary()}")


if __name__ == "__main__":
    cli_flags.run(main)
