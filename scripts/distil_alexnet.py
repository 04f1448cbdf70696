"""Teaches AlexNet's backbone EfficientNet-Lite0's ImageNet features on fundus photographs, without grades.

  python scripts/distil_alexnet.py --data_dir=FOLDER --output_dir=savedmodels/alexnet_trunk
  python scripts/distil_alexnet.py --data_dir=FOLDER --folds=5 --output_dir=runs/distilled

It learns from the training part of --data_dir and from synthetic photographs, eyes other than those that
training draws. With --folds, one backbone for each fold that never saw the photographs held out there:
`train.py --trunk_weights=none --init_from=runs/distilled` with the same --folds, --seed and
--validation_fraction starts from them. Needs the extra `imagenet`.
"""

import _installed  # noqa: F401  isort: skip
from absl import flags

from dr_keras import cli_flags

cli_flags.define_data_flags()
cli_flags.define_cache_dir()
cli_flags.define_output_dir("alexnet_trunk.weights.h5 and distillation.json, or with --folds a run folder")
cli_flags.define_batch_size()
cli_flags.define_seed()
cli_flags.define_folds("Backbones for a cross-validation by patient; 0: one backbone.")
flags.DEFINE_float("validation_fraction", 0.1, "Share of patients for validation, as in train.py.", 0.01, 0.5)
flags.DEFINE_integer("epochs", 20, "Passes over the photographs.", lower_bound=1)
flags.DEFINE_integer(
    "max_steps", None, "Stop after this number of batches, to try the script or its speed.", lower_bound=1
)
flags.DEFINE_float("learning_rate", 0.001, "Initial learning rate of Adam.", lower_bound=0.0)
flags.DEFINE_enum(
    "precision", "auto", ("auto", "float32", "mixed_bfloat16"), "auto: bfloat16 if the device supports it."
)

FLAGS = flags.FLAGS


def main(argv):
    cli_flags.refuse_arguments(argv)
    cli_flags.check_data([256])
    cli_flags.require_tensorflow()
    from dr_keras.papers.alexnet import distilled_runs
    from dr_keras.papers.alexnet.distillation import DistillationConfig
    from dr_keras.training.hosts import devices

    config = DistillationConfig(
        FLAGS.epochs, FLAGS.batch_size, FLAGS.learning_rate, FLAGS.seed,
        devices.choose_precision(FLAGS.precision),
    )  # fmt: skip
    distilled_runs.distil(
        config,
        cli_flags.open_prepared(256) if FLAGS.data_dir else None,
        FLAGS.synthetic_images,
        FLAGS.output_dir,
        FLAGS.folds,
        FLAGS.validation_fraction,
        FLAGS.cache_dir,
        cli_flags.progress,
        FLAGS.max_steps,
    )


if __name__ == "__main__":
    cli_flags.run(main)
