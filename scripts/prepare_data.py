"""Makes square images of a dataset's photographs, ready for training: once, over all cores.

  python scripts/prepare_data.py --data_dir=FOLDER --output_dir=PREPARED --image_size=512

train.py and evaluate.py take PREPARED as --data_dir and need the photographs no more. A killed run goes
on when started again with the same flags.

With --runner an Apache Beam pipeline makes the same shards, on this machine or on a cluster; Beam's own flags
come last, after --:

  python scripts/prepare_data.py ... --runner=FlinkRunner -- --flink_master=HOST:8081
"""

import _installed  # noqa: F401  isort: skip
from absl import flags

from dr_keras import cli_flags

cli_flags.define_data_flags()
cli_flags.define_normalization()
cli_flags.define_output_dir("shards of images and manifest.json")
cli_flags.define_workers()
cli_flags.define_runner(None, "Default: none, without Beam.")
flags.DEFINE_enum(
    "image_size",
    None,
    [str(size) for size in cli_flags.IMAGE_SIZES],
    "Side of the stored images, pixels.",
    required=True,
)

FLAGS = flags.FLAGS


def main(argv):
    if FLAGS.runner is None:
        cli_flags.refuse_arguments(argv)
    else:
        cli_flags.require_packages("beam", "apache_beam")
    from dr_keras.data import cache, preparation
    from dr_keras.data.shards import PreparedDataset

    if cache.is_prepared(FLAGS.data_dir):
        raise cli_flags.InputError(
            f"--data_dir={FLAGS.data_dir}: prepared already; expected the photographs' own folder"
        )
    dataset = cli_flags.find_dataset()
    for note in dataset.notes:
        print(f"note: {note}")
    size = int(FLAGS.image_size)
    bar = cli_flags.progress(f"preparing at {size} px")
    steps = cli_flags.normalization()
    if FLAGS.runner is None:
        preparation.prepare_dataset(dataset, FLAGS.output_dir, size, FLAGS.workers, bar, steps)
    else:
        from dr_keras.beam import engine
        from dr_keras.beam import prepare_on_beam as on_beam

        where = engine.Engine(FLAGS.runner, FLAGS.workers, tuple(argv[1:]))
        on_beam.prepare_dataset(dataset, FLAGS.output_dir, size, where, bar, steps)
    prepared = PreparedDataset(FLAGS.output_dir)
    for image, reason in prepared.unreadable:
        print(f"left out: {image}: {reason}")
    lost = sum(not view.found for view in prepared.views)
    print(
        f"{FLAGS.output_dir}: {len(prepared)} photographs at {size} px, {len(prepared.unreadable)} left out, "
        f"field of view not found in {lost} (their centre square is taken)"
    )


if __name__ == "__main__":
    cli_flags.run(main)
