"""Extracts what a run's networks pool of each photograph under quasi-random augmentations, for blending.

  python scripts/extract_features.py --model=RUN --output_dir=FEATURES
  python scripts/blend.py --flagfile=flags/blend.cfg --features=FEATURES

Of a run with folds, every fold's network sees every photograph, since each fold's blend learns from its own
network's features; a backbone that the folds share sees them once. Without any of --data_dir, --dataset,
--synthetic_images the photographs are those that the run was trained with. Stopped or killed, it goes on when
started again with the same flags.
"""

import _installed  # noqa: F401  isort: skip
from absl import flags

from dr_keras import cli_flags

cli_flags.define_model_flag(required=True)
cli_flags.define_data_flags()
cli_flags.define_cache_dir()
cli_flags.define_output_dir("features.json and the features")
cli_flags.define_batch_size(16)
cli_flags.define_seed()
flags.DEFINE_integer(
    "augmentations", 50, "Number of augmentations of each photograph, from a Halton sequence.", lower_bound=2
)
flags.DEFINE_enum(
    "weights", "all", ("all", "best"),
    "best: the weights of the best kappa; all: also those of the least loss and the last, if kept.",
)  # fmt: skip

FLAGS = flags.FLAGS


def main(argv):
    cli_flags.refuse_arguments(argv)
    from dr_keras.training import run_folder

    models = run_folder.find_models(FLAGS.model)
    cli_flags.take_data_from_run(run_folder.read_flags(FLAGS.model))
    cli_flags.check_data()
    cli_flags.require_tensorflow()
    from dr_keras.evaluation import crossfit
    from dr_keras.models.grader_model import load_model
    from dr_keras.papers.blending.extraction import PooledExtraction
    from dr_keras.training import interrupt
    from dr_keras.training.protocol import Interrupted

    choosing = crossfit.read_choosing_set(FLAGS.model)
    if choosing is None:
        raise cli_flags.InputError(
            f"--model={FLAGS.model}: expected a finished run, with its predictions.csv"
        )
    prepared = cli_flags.open_prepared(load_model(models[0]).input_shape[1])
    with interrupt.StopRequest() as stop:
        extraction = PooledExtraction(
            FLAGS.model, prepared, FLAGS.output_dir, dict(zip(choosing.images, choosing.scores, strict=True)),
            FLAGS.augmentations, FLAGS.weights == "all", FLAGS.batch_size, FLAGS.seed,
            cli_flags.progress("pooled features"), stop,
        )  # fmt: skip
        try:
            extraction.run()
        except Interrupted:
            print(f"stopped; saved in {FLAGS.output_dir}. The same command goes on from there.")
            raise SystemExit(130) from None
    print(f"{FLAGS.output_dir}: features of {len(prepared)} photographs by {len(models)} networks")


if __name__ == "__main__":
    cli_flags.run(main)
