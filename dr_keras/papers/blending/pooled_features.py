"""Pooled features of a run: mean and standard deviation over augmentations, for each network (P2, blending).

Features of different networks have nothing in common. So a run with folds has those of *every* photograph by
each fold's network: a fold's blend learns from its own network's features of the photographs that it was
trained on, and is judged by the same network's features of those that it was held out from. Where all folds
share one frozen backbone, they share one file.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np

from dr_keras import files
from dr_keras.data.records import Record
from dr_keras.errors import InputError
from dr_keras.training import run_folder
from dr_keras.training.division import HELD_OUT

INDEX = "features.json"  # written last, so that it exists only in a complete folder
_OPPOSITE = {"left": "right", "right": "left"}


@dataclasses.dataclass(frozen=True)
class PooledFeatures:
    """Photographs with their pooled features and the run's own scores.

    Attributes:
        run: the run's folder.
        thresholds: its four cuts.
        records: list of `Record`, one per photograph.
        scores: float64 (n,), the run's own out-of-fold score of each photograph; NaN where it has none.
        splits: str (leaves, n): the split of each photograph in each fold, or in the one training.
        features: for each leaf a list, one for each set of weights, of float32 (n, 2, channels): mean and
            standard deviation.
    """

    run: str
    thresholds: tuple
    records: list
    scores: np.ndarray
    splits: np.ndarray
    features: list

    def divisions(self):
        """Returns, for each leaf, the positions of its graded training and evaluation photographs.

        Raises:
            InputError: if a leaf has no graded photographs to train on, or none to evaluate.
        """
        graded = np.array([record.grade is not None for record in self.records])
        found = []
        for splits in self.splits:
            name = HELD_OUT if HELD_OUT in splits else "validation"
            judged = (splits == name) & graded
            training = np.isin(splits, run_folder.SEEN) & (splits != name) & graded
            if not judged.any() or not training.any():
                raise InputError(f"--features: {self.run} holds nothing out; expected a run with --folds")
            found.append((np.flatnonzero(training), np.flatnonzero(judged)))
        return found

    def other_eyes(self):
        """Returns int (n,): position of a photograph of the patient's other eye; its own if there is none."""
        first = {}
        for index, record in enumerate(self.records):
            first.setdefault((record.patient, record.eye), index)
        keys = [(record.patient, _OPPOSITE.get(record.eye)) for record in self.records]
        return np.array([first.get(key, index) for index, key in enumerate(keys)])

    def has_pairs(self):
        """Tells whether any patient has photographs of both eyes."""
        return bool((self.other_eyes() != np.arange(len(self.records))).any())


def check_together(pooled):
    """Raises `InputError` unless all `PooledFeatures` have the same photographs and folds."""
    first = pooled[0]
    for each in pooled[1:]:
        same = [record.image for record in each.records] == [record.image for record in first.records]
        if not same or not np.array_equal(each.splits, first.splits):
            raise InputError(
                f"--features: {each.run} and {first.run} differ in photographs or folds; expected runs "
                "with the same data, folds and seed"
            )


def check_same_run(folder, run):
    """Raises `InputError` if a folder holds another run's features."""
    found = _read_index(folder)
    if found and found["run"] != run:
        raise InputError(f"--output_dir={folder}: holds features of {found['run']}; name another folder")


def write_index(folder, run, thresholds, records, scores, leaves):
    """Writes the index of an extraction, which `read_features` reads.

    Args:
        folder: folder of the features.
        run: path of the run.
        thresholds: four thresholds of the run's models.
        records: list of `Record`.
        scores: dict of image name -> the run's own score.
        leaves: for each leaf, a dict of `splits` (list with the split of each photograph) and `files` (names
            of the leaf's files in the folder).
    """
    index = {
        "run": run,
        "thresholds": list(thresholds),
        "records": [dataclasses.asdict(record) for record in records],
        "scores": [scores.get(record.image) for record in records],
        "leaves": leaves,
    }
    files.write_json(Path(folder) / INDEX, index)


def read_features(folder):
    """Reads the folder of a finished extraction.

    Returns:
        `PooledFeatures`.

    Raises:
        InputError: if the folder holds no finished extraction.
    """
    index = _read_index(folder)
    if index is None:
        raise InputError(
            f"--features={folder}: expected the {INDEX} of a finished scripts/extract_features.py"
        )
    return PooledFeatures(
        run=index["run"],
        thresholds=tuple(index["thresholds"]),
        records=[Record(**record) for record in index["records"]],
        scores=np.array([np.nan if score is None else score for score in index["scores"]]),
        splits=np.array([leaf["splits"] for leaf in index["leaves"]]),
        features=[[np.load(Path(folder) / name) for name in leaf["files"]] for leaf in index["leaves"]],
    )


def _read_index(folder):
    path = Path(folder) / INDEX
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
