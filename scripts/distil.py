"""Teaches a network EfficientNet-Lite0's ImageNet features on fundus photographs, without grades.

  python scripts/distil.py --architecture=net5 --image_size=256 --data_dir=FOLDER --output_dir=runs/taught
  python scripts/train.py --flagfile=flags/net5_256.cfg --data_dir=FOLDER --init_from=runs/taught

It learns from the training part of --data_dir and from synthetic photographs, eyes other than those that
training draws. With --folds, one network for each fold that never saw the photographs held out there:
`train.py --init_from=runs/taught` with the same --folds, --seed and --validation_fraction starts from them.
Of an AlexNet the trunk is written too, for `train.py --trunk_weights=`. Needs the extra `imagenet`.
"""

import _installed  # noqa: F401  isort: skip
import dataclasses

from absl import flags

from dr_keras import cli_flags

SYNTHETIC_SEED = 1  # differs from training's seed, so that the eyes are different ones

cli_flags.define_data_flags(least_synthetic=0)
cli_flags.define_cache_dir()
cli_flags.define_output_dir("a run folder, for train.py --init_from")
cli_flags.define_batch_size()
cli_flags.define_seed()
cli_flags.define_folds("Networks for a cross-validation by patient; 0: one network.")
flags.DEFINE_enum("architecture", None, ("net5", "net4", "alexnet"), "Network to teach.", required=True)
flags.DEFINE_integer("image_size", 256, "Side of the images that it sees, in pixels.")
flags.DEFINE_enum(
    "teacher_size", "512", ("256", "512"), "Side of the images that the teacher sees, in pixels."
)
flags.DEFINE_string(
    "init_from", None, "Run folder or .keras file whose layers are taken over where name and shape are alike."
)
flags.DEFINE_float("validation_fraction", 0.1, "Share of patients for validation, as in train.py.", 0.01, 0.5)
flags.DEFINE_integer("epochs", 20, "Passes over the photographs.", lower_bound=1)
flags.DEFINE_integer(
    "max_steps", None, "Stop after this number of batches, to try the script or its speed.", lower_bound=1
)
flags.DEFINE_float("learning_rate", 0.001, "Initial learning rate of Adam.", lower_bound=0.0)
flags.DEFINE_enum(
    "precision", "auto", ("auto", "float32", "mixed_bfloat16"), "auto: bfloat16 if the device supports it."
)
flags.register_multi_flags_validator(
    ["data_dir", "synthetic_images"],
    lambda values: values["data_dir"] or values["synthetic_images"],
    message="expected --data_dir, or --synthetic_images above 0",
)

FLAGS = flags.FLAGS


def main(argv):
    cli_flags.refuse_arguments(argv)
    from dr_keras.training.config import SplitPlan
    from dr_keras.training.distilled.distillation_config import DistillationConfig

    config = DistillationConfig(
        FLAGS.architecture, FLAGS.image_size, int(FLAGS.teacher_size), FLAGS.epochs, FLAGS.batch_size,
        FLAGS.learning_rate, FLAGS.seed,
    )  # fmt: skip
    cli_flags.check_data([config.image_size])
    cli_flags.require_tensorflow()
    from dr_keras.data import cache, synthetic
    from dr_keras.training.distilled import distilled_runs
    from dr_keras.training.hosts import devices

    def open_drawn(image_size):
        drawn = synthetic.synthetic_dataset(FLAGS.synthetic_images, SYNTHETIC_SEED)
        return cache.prepare_into_cache(drawn, image_size, FLAGS.cache_dir, cli_flags.progress("drawing"))

    opened = [cli_flags.open_prepared] if FLAGS.data_dir else []
    found = distilled_runs.distil(
        dataclasses.replace(config, precision=devices.choose_precision(FLAGS.precision)),
        opened + [open_drawn] * (FLAGS.synthetic_images > 0),
        FLAGS.output_dir,
        SplitPlan(FLAGS.folds, FLAGS.validation_fraction, FLAGS.seed),
        FLAGS.init_from,
        cli_flags.progress,
        FLAGS.max_steps,
    )
    explained = ", ".join(f"{figures['explained_variance']:.2f}" for figures in found)
    print(f"{FLAGS.output_dir}: share of the teacher's variance explained on other photographs: {explained}")


if __name__ == "__main__":
    cli_flags.run(main)
