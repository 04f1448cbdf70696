"""Which photographs with lesion masks train which network: those whose eye it isn't judged on."""

from pathlib import Path

import numpy as np

from dr_keras.data.duplicates import connect, find_pairs, fingerprint, match_duplicates
from dr_keras.data.fundus import FieldOfView
from dr_keras.data.photograph import Photograph
from dr_keras.data.records import Record
from dr_keras.training.run_folder import write_splits

MASKED_SPLIT = "masked_split.csv"  # in a leaf of the run folder, beside `split.csv`
TRAIN, HELD_OUT = "train", "held_out"
_SIDE = 256  # pixels; fingerprints need no more


def divide_masked(masked, prepared, trainings):
    """Divides photographs with masks as the graded photographs of the same eyes are.

    Masked photographs have names of their own, yet most are copies of graded ones, or second exposures
    of the same eye, which are found by their pixels. Eyes that aren't among the graded ones are dealt out in
    turn; without folds all of those are trained on.

    Args:
        masked: sequence of `MaskedPhotograph`.
        prepared: `PreparedDataset` of the graded photographs.
        trainings: list of lists of the splits of these, one for each training.

    Returns:
        For each training a list of the masked photographs' splits, "train" or "held_out".

    Raises:
        InputError: if a masked photograph can't be read.
    """
    if not masked:
        return [[] for _ in trainings]
    prints = np.stack([_fingerprint(Photograph(one.path).prepare(_SIDE).pixels) for one in masked])
    known = np.stack([_fingerprint(prepared.read(np.array([n]))[0]) for n in range(len(prepared))])
    pairs = match_duplicates(prints, known)
    groups = connect(len(masked), find_pairs(prints))
    splits = np.full((len(trainings), len(masked)), TRAIN, dtype="U10")
    for turn, group in enumerate(np.unique(groups)):
        members = np.flatnonzero(groups == group)
        graded = [pair.second for pair in pairs if pair.first in members]
        for number, assigned in enumerate(trainings):
            seen = {assigned[index] for index in graded}
            alone = not graded and len(trainings) > 1 and turn % len(trainings) == number
            if alone or seen - {"train", ""}:
                splits[number, members] = HELD_OUT
    return splits.tolist()


def _fingerprint(pixels):
    return fingerprint(pixels, FieldOfView.of_square(len(pixels)))


def write_masked_splits(leaf, masked, splits):
    """Writes a leaf's `masked_split.csv`, with the columns of `split.csv`."""
    records = [Record(one.image, one.path, None, one.image) for one in masked]
    write_splits(Path(leaf) / MASKED_SPLIT, records, splits)
