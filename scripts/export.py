"""Turns a trained model into one that serves: a SavedModel, a TFLite (LiteRT) model for phones, or ONNX.

  python scripts/export.py --model=RUN --format=savedmodel --output_dir=savedmodels/NAME
  python scripts/export.py --model=RUN --format=tflite --quantize=int8 --output_dir=savedmodels/NAME

Of a run with folds the score is the mean over its networks; for a smaller model name one fold, RUN/fold_0.
A SavedModel takes encoded photographs and becomes the next version, NAME/1, NAME/2, ...: none is overwritten.
A TFLite or ONNX model takes prepared images and is compared with Keras on photographs before it is written:
those that the run was trained with unless the data flags name others. Research use only.
"""

from pathlib import Path

from absl import flags

from dr_keras import cli_flags

cli_flags.define_model_flag()
cli_flags.define_output_dir("versions of the SavedModel, or model_QUANTIZE.tflite or model.onnx, and .json")
cli_flags.define_data_flags()
cli_flags.define_cache_dir()
cli_flags.define_thresholds(" Default: those of the run.")
cli_flags.define_seed(" Which photographs are taken.")
flags.DEFINE_enum("format", "savedmodel", ("savedmodel", "tflite", "onnx"), "What to make.")
flags.DEFINE_enum(
    "precision",
    "own",
    ("own", "float32"),
    "savedmodel: own computes as the run does, so that scores are equal; float32 suits a server without "
    "bfloat16. The others are always rebuilt in float32.",
)
flags.DEFINE_enum(
    "quantize",
    "none",
    ("none", "float16", "int8"),
    "tflite: float16 halves it; int8 makes it a third, and faster.",
)
flags.DEFINE_integer(
    "calibration_images", 100, "int8: photographs that ranges are taken from.", lower_bound=1
)
flags.DEFINE_integer(
    "check_images", 200, "tflite, onnx: photographs to compare with Keras on.", lower_bound=1
)
flags.DEFINE_float(
    "min_agreement",
    0.9,
    "tflite, onnx: share of photographs that must have the grade of Keras; with fewer nothing is written.",
    0,
    1,
)

FLAGS = flags.FLAGS


@flags.multi_flags_validator(
    ["format", "quantize", "precision"],
    message="--quantize is for --format=tflite, --precision for --format=savedmodel",
)
def _options_fit(values):
    defaults = {"tflite": {"precision": "own"}, "savedmodel": {"quantize": "none"}}
    defaults["onnx"] = defaults["tflite"] | defaults["savedmodel"]
    return all(values[name] == default for name, default in defaults[values["format"]].items())


def main(argv):
    cli_flags.refuse_arguments(argv)
    from dr_keras.training import run_folder

    run_folder.find_models(FLAGS.model)
    run_folder.check_report_dir(FLAGS.output_dir)
    of_run = run_folder.read_flags(FLAGS.model)
    cli_flags.take_from_run(["thresholds"], of_run)
    cli_flags.take_data_from_run(of_run)
    if FLAGS.format != "savedmodel":
        cli_flags.check_data()
    cli_flags.require_tensorflow()
    from dr_keras.inference import grading

    model = grading.GradingModel(FLAGS.model)
    if model.normalization:
        raise cli_flags.InputError(
            f"--model={FLAGS.model}: trained with --normalization={','.join(model.normalization)}, which "
            "exported models don't do; expected a run without it"
        )
    if FLAGS.format == "savedmodel":
        _export_saved_model(model)
    else:
        _export_file(model)


def _export_saved_model(model):
    from dr_keras.export import float32, saved_model

    graders = model.graders
    if FLAGS.precision == "float32":
        graders = [float32.rebuild_float32(grader) for grader in graders]
    version = saved_model.export_saved_model(graders, FLAGS.output_dir, cli_flags.parsed("thresholds"))
    print(f"{version}: {len(graders)} networks; saved_model_cli show --all --dir {version}")


def _export_file(model):
    from dr_keras.export import onnx, tflite

    if FLAGS.format == "tflite":
        name, export = f"model_{FLAGS.quantize.replace('none', 'float32')}.tflite", tflite.export_tflite
    else:
        name, export = "model.onnx", onnx.export_onnx
    path = Path(FLAGS.output_dir) / name
    report = export(
        model, cli_flags.open_prepared(model.image_size), path, quantize=FLAGS.quantize,
        thresholds=cli_flags.parsed("thresholds"), calibration_images=FLAGS.calibration_images,
        check_images=FLAGS.check_images, min_agreement=FLAGS.min_agreement, seed=FLAGS.seed,
    )  # fmt: skip
    print(f"{path}: {report}")


if __name__ == "__main__":
    cli_flags.run(main)
