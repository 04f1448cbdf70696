"""Exports a trained model: SavedModel for servers, TFLite (LiteRT) for phones, ONNX, a page for browsers.

  python scripts/export.py --model=RUN --format=savedmodel --output_dir=savedmodels/NAME
  python scripts/export.py --model=RUN --format=tflite --quantize=int8 --output_dir=savedmodels/NAME
  python scripts/export.py --model=RUN --format=web --output_dir=SITE && python -m http.server -d SITE

The score of a run with folds is the mean over its networks; for a smaller model, name one fold, RUN/fold_0.
A SavedModel takes encoded photographs; it is written as the next version (NAME/1, NAME/2, ...) and overwrites
none. A TFLite or ONNX model takes preprocessed images. A page grades in the browser that opens it, offline
too, and sends no photograph anywhere. Before these three are written, they are compared with Keras on the
photographs that the run was trained on, or on those that the data flags name, or else on 60 drawn ones; int8
wants real ones, from which the ranges of its numbers are taken. Research use only.
"""

import _installed  # noqa: F401  isort: skip
import os
from pathlib import Path

from absl import flags

from dr_keras import cli_flags

cli_flags.define_model_flag()
cli_flags.define_output_dir(
    "versions of the SavedModel; model_QUANTIZE.tflite or model.onnx, and .json; or the page"
)
cli_flags.define_data_flags()
cli_flags.define_cache_dir()
cli_flags.define_thresholds(default=None)
cli_flags.define_seed(" Which photographs are taken.")
flags.DEFINE_enum("format", "savedmodel", ("savedmodel", "tflite", "onnx", "web"), "Format to export to.")
flags.DEFINE_enum(
    "precision",
    "own",
    ("own", "float32"),
    "savedmodel: own keeps the run's precision, so that scores are equal; float32 suits a server without "
    "bfloat16. The other formats always compute in float32.",
)
flags.DEFINE_enum(
    "quantize",
    "none",
    ("none", "float16", "int8"),
    "tflite: float16 halves the file; int8 makes it a third as large, and faster.",
)
flags.DEFINE_integer(
    "calibration_images", 100, "int8: photographs from which activations' ranges are measured.", lower_bound=1
)
flags.DEFINE_string(
    "node_modules",
    None,
    "web: folder of npm's packages that has onnxruntime-web already. Default: npm fetches it.",
)
flags.DEFINE_integer(
    "check_images", 200, "tflite, onnx, web: photographs on which to compare with Keras.", lower_bound=1
)
flags.DEFINE_float(
    "min_agreement",
    0.9,
    "tflite, onnx, web: least share of photographs with the grade of Keras; below it nothing is written.",
    0,
    1,
)

FLAGS = flags.FLAGS
_DRAWN = 60  # photographs, where none are named: to see that the conversion went well


@flags.multi_flags_validator(
    ["format", "quantize", "precision", "node_modules"],
    message="--quantize is for --format=tflite, --precision for --format=savedmodel, --node_modules for "
    "--format=web",
)
def _options_fit(values):
    defaults = {"quantize": "none", "precision": "own", "node_modules": None}
    own = {"tflite": "quantize", "savedmodel": "precision", "web": "node_modules"}.get(values["format"])
    return all(values[name] == default for name, default in defaults.items() if name != own)


def main(argv):
    cli_flags.refuse_arguments(argv)
    from dr_keras.training import run_folder

    path = cli_flags.find_model()
    run_folder.check_report_dir(FLAGS.output_dir)
    of_run = run_folder.read_flags(path)
    if os.path.exists(of_run.get("data_dir") or ""):  # a shipped model's photographs aren't here
        cli_flags.take_data_from_run(of_run)
    elif not cli_flags.data_named():
        FLAGS.set_default("synthetic_images", _DRAWN)
    if FLAGS.format != "savedmodel":
        cli_flags.check_data()
    cli_flags.require_tensorflow()
    from dr_keras.inference.grader import load_grader

    grader = load_grader(path, cli_flags.parsed("thresholds"))
    if not grader.networks:
        raise cli_flags.InputError(
            f"--model={path}: is exported already; expected a run folder or a .keras file"
        )
    if FLAGS.format in ("tflite", "onnx"):
        _export_file(grader)
    elif grader.rules.normalization:
        raise cli_flags.InputError(
            f"--model={path}: trained with --normalization={','.join(grader.rules.normalization)}, which the "
            f"graph of --format={FLAGS.format} doesn't do; expected a model without it"
        )
    elif FLAGS.format == "web":
        _export_web(grader)
    else:
        _export_saved_model(grader)


def _export_saved_model(grader):
    from dr_keras.export import float32, saved_model

    networks = grader.networks
    if FLAGS.precision == "float32":
        networks = [float32.rebuild_float32(network) for network in networks]
    version = saved_model.export_saved_model(networks, FLAGS.output_dir, grader.rules)
    print(f"{version}: {len(networks)} networks; saved_model_cli show --all --dir {version}")


def _export_web(grader):
    from dr_keras.export import web

    found = web.export_web(
        grader, grader.open(cli_flags.open_prepared), FLAGS.output_dir, FLAGS.node_modules,
        check_images=FLAGS.check_images, min_agreement=FLAGS.min_agreement, seed=FLAGS.seed,
    )  # fmt: skip
    print(f"{FLAGS.output_dir}: {found}; python -m http.server -d {FLAGS.output_dir}")


def _export_file(grader):
    from dr_keras.export import onnx, tflite

    if FLAGS.format == "tflite":
        name, export = f"model_{FLAGS.quantize.replace('none', 'float32')}.tflite", tflite.export_tflite
    else:
        name, export = "model.onnx", onnx.export_onnx
    path = Path(FLAGS.output_dir) / name
    report = export(
        grader, grader.open(cli_flags.open_prepared), path, quantize=FLAGS.quantize,
        calibration_images=FLAGS.calibration_images,
        check_images=FLAGS.check_images, min_agreement=FLAGS.min_agreement, seed=FLAGS.seed,
    )  # fmt: skip
    print(f"{path}: {report}")


if __name__ == "__main__":
    cli_flags.run(main)
