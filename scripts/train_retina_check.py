"""Trains the check that tells a retina from other pictures, which get no grade: savedmodels/retina_check.

  python scripts/train_retina_check.py --data_dir=EYES --pictures_dir=FOLDER --output=retina_check.npz

EYES is a dataset of fundus photographs, whose grades don't count; FOLDER has photographs that show no eye, in
subfolders too, of which some thousand will do. Drawn eyes and drawn other pictures are added.
"""

import _installed  # noqa: F401  isort: skip
from absl import flags

from dr_keras import cli_flags

cli_flags.define_data_flags()
cli_flags.define_cache_dir()
flags.DEFINE_string("pictures_dir", None, "Folder of photographs that show no eye.", required=True)
cli_flags.define_output("the weights; metrics.json is written beside it", ".npz")
cli_flags.define_seed()
flags.DEFINE_integer("epochs", 12, "Passes over the examples.", lower_bound=1)

FLAGS = flags.FLAGS
SIZES = 512, 256  # pixels; of photographs, to which changes are made, and of drawn eyes


def main(argv):
    cli_flags.refuse_arguments(argv)
    from dr_keras.data.layouts import photograph_files

    pictures = photograph_files.list_photographs([FLAGS.pictures_dir])
    cli_flags.check_data([SIZES[0]])
    cli_flags.require_tensorflow()
    from dr_keras.data import cache, synthetic
    from dr_keras.training.retina_check import retina_check_fit

    eyes = [cli_flags.open_prepared(SIZES[0])] if FLAGS.data_dir else []
    drawn = cache.prepare_into_cache(
        synthetic.synthetic_dataset(FLAGS.synthetic_images), SIZES[1], FLAGS.cache_dir,
        cli_flags.progress("drawing"),
    )  # fmt: skip
    found = retina_check_fit.train(
        eyes, drawn, pictures, FLAGS.output, FLAGS.epochs, seed=FLAGS.seed,
        progress=cli_flags.progress("examples"),
    )  # fmt: skip
    for name, values in found["log_odds"].items():
        print(f"{name} that it never saw: log odds of a retina from {values['0']} to {values['1']}")


if __name__ == "__main__":
    cli_flags.run(main)
