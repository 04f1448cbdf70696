"""Grades photographs: a row each of image, score, grade, grade_name, referable, error, gradable, reason.

  python scripts/predict.py --model=RUN --output=grades.csv IMAGE_OR_FOLDER ...

`--model` also takes what scripts/export.py made: a .tflite or .onnx file, or the folder of a SavedModel.

Folders are searched for photographs, subfolders too. A file that can't be read has a row with the error.
`gradable` is 0 for a photograph too bad to be graded, with the reason (no visible retina, too dark, too
bright, cut off, out of focus): its score means nothing. A SavedModel leaves the two empty. Of a run with
folds the score is the mean over its networks. The exit status is 0, or 2 if nothing could be graded.
Research use only: no output may guide the care of a patient.
"""

from absl import flags

from dr_keras import cli_flags

cli_flags.define_model_flag(shipped=True)
cli_flags.define_output("the grades as CSV")
cli_flags.define_thresholds(" Default: those of the run.")
cli_flags.define_batch_size()

FLAGS = flags.FLAGS


def main(argv):
    from dr_keras.data.layouts import photograph_files
    from dr_keras.export import exported

    if len(argv) < 2:
        raise cli_flags.InputError("expected photographs, or folders of them, after the flags")
    paths = photograph_files.list_photographs(argv[1:])
    cli_flags.take_from_run(["thresholds"], exported.read_flags(FLAGS.model))
    cli_flags.require_tensorflow()
    from dr_keras.inference import graded, grading

    if exported.is_exported(FLAGS.model):
        results = exported.score_files(FLAGS.model, paths, FLAGS.batch_size)
    else:
        model = grading.GradingModel(FLAGS.model)
        if len(model.graders) > 1:
            print(f"{FLAGS.model}: {len(model.graders)} networks, one per fold: scores are their mean")
        results = grading.score_files(model, paths, FLAGS.batch_size)
    results = cli_flags.progress("grading")(results, total=len(paths))
    failed = graded.write_grades(FLAGS.output, results, cli_flags.parsed("thresholds"))
    cli_flags.say_graded(failed, len(paths))


if __name__ == "__main__":
    cli_flags.run(main)
