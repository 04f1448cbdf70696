"""What each part of the training of a lesion network brings: the same training without it.

  python benchmarks/lesion_ablations.py --flagfile=flags/dr_grader.cfg --architecture=lesion_net \
      --without=pasting --data_dir=IDRID --masks_dir=IDRID_SEGMENTATION --model=RUN/fold_0 --run_dir=ABLATED
  python scripts/evaluate_maps.py --model=ABLATED --data_dir=IDRID --masks_dir=IDRID_SEGMENTATION \
      --output_dir=ABLATED/truth

RUN/fold_0 is one fold of `scripts/train.py --flagfile=flags/dr_grader.cfg --folds=5`, whose division of the
photographs is taken over. `--image_size` tries another resolution. Some eight minutes on two cores.
"""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
from absl import flags

from dr_keras import cli_flags

cli_flags.define_training_flags()
cli_flags.define_data_flags()
cli_flags.define_cache_dir()
cli_flags.define_model_flag(required=True)
flags.DEFINE_string("masks_dir", None, "Folder of photographs with lesion masks.", required=True)
flags.DEFINE_string("run_dir", None, "Folder to write, made if it isn't there.", required=True)
WITHOUT = ("nothing", "pasting", "healthy_eyes", "centring", "colour", "degrading", "appearance")
flags.DEFINE_enum("without", "nothing", WITHOUT, "What is left out; appearance: colour and degrading.")
FLAGS = flags.FLAGS


def crops_without(part):
    """The `CropConfig` of the recipe without one of `WITHOUT`."""
    from dr_keras.data.lesion_crops import CropConfig

    whole = CropConfig()
    colour, degrading = {"colour": 0.0, "gamma": 1.0}, {"degrade_share": 0.0}
    appearance = {"colour": colour, "degrading": degrading, "appearance": colour | degrading}
    if part in appearance:
        return dataclasses.replace(whole, changes=dataclasses.replace(whole.changes, **appearance[part]))
    shares = {"pasting": "paste_share", "healthy_eyes": "healthy_share", "centring": "centred_share"}
    return dataclasses.replace(whole, **({shares[part]: 0.0} if part in shares else {}))


def main(argv):
    cli_flags.refuse_arguments(argv)
    (config,), _, _ = cli_flags.training_configs()
    cli_flags.require_tensorflow()
    from dr_keras.data.layouts.masked import find_masked_photographs
    from dr_keras.training.lesions.lesion_fit import LesionFit
    from dr_keras.training.lesions.masked_splits import MASKED_SPLIT, TRAIN
    from dr_keras.training.protocol import FitTask
    from dr_keras.training.run_folder import SPLIT, read_splits, splits_of

    divided, run_dir = Path(FLAGS.model), Path(FLAGS.run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    for name in (SPLIT, MASKED_SPLIT):
        shutil.copy(divided / name, run_dir)
    prepared = cli_flags.open_prepared(config.image_size)
    assigned = np.array(splits_of(divided / SPLIT, prepared.records))
    training, validation = (np.flatnonzero(assigned == split) for split in ("train", "validation"))
    splits = read_splits(divided / MASKED_SPLIT)
    masked = tuple(one for one in find_masked_photographs(FLAGS.masks_dir) if splits[one.image] == TRAIN)
    task = FitTask(config, prepared, training, validation, run_dir, masked=masked)
    for row in LesionFit(task, crops_without(FLAGS.without)).run().history:
        print(f"epoch {row['epoch'] + 1}: loss {row['loss']:.3f}")


if __name__ == "__main__":
    cli_flags.run(main)
