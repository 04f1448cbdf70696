"""Makes square images of a dataset's photographs, ready for training: once, over all cores.

  python scripts/prepare_data.py --data_dir=FOLDER --output_dir=PREPARED --image_size=512

train.py and evaluate.py take PREPARED as --data_dir and need the photographs no more. A killed run goes
on when started again with the same flags.
"""

from absl import flags

from dr_keras import cli_flags

cli_flags.define_data_flags()
cli_flags.define_output_dir("shards of images and manifest.json")
cli_flags.define_workers()
flags.DEFINE_enum(
    "image_size",
    None,
    [str(size) for size in cli_flags.IMAGE_SIZES],
    "Side of the stored images, pixels.",
    required=True,
)

FLAGS = flags.FLAGS


def main(argv):
    cli_flags.refuse_arguments(argv)
    from dr_keras.data import cache, preparation
    from dr_keras.data.shards import PreparedDataset

    if cache.is_prepared(FLAGS.data_dir):
        raise cli_flags.InputError(
            f"--data_dir={FLAGS.data_dir}: prepared already; expected the photographs' own folder"
        )
    dataset = cache.find_dataset(FLAGS.data_dir, FLAGS.dataset, FLAGS.synthetic_images)
    for note in dataset.notes:
        print(f"note: {note}")
    size = int(FLAGS.image_size)
    bar = cli_flags.progress(f"preparing at {size} px")
    preparation.prepare_dataset(dataset, FLAGS.output_dir, size, FLAGS.workers, bar)
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
