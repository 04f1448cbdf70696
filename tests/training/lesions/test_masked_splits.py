import numpy as np

from dr_keras.data import synthetic
from dr_keras.data.layouts.masked import MaskedPhotograph
from dr_keras.data.photograph import Photograph
from dr_keras.training.lesions.masked_splits import MASKED_SPLIT, divide_masked, write_masked_splits
from dr_keras.training.run_folder import read_splits

NAMES = [record.image for record in synthetic.synthetic_dataset(12).records]


class Graded:
    """The part of a `PreparedDataset` that is asked for."""

    def __init__(self, names):
        self._pixels = np.stack([Photograph(name).prepare(128).pixels for name in names])

    def __len__(self):
        return len(self._pixels)

    def read(self, indices):
        return self._pixels[indices]


def test_a_masked_photograph_goes_where_its_graded_copy_goes():
    graded = Graded(NAMES[:4])
    masked = [MaskedPhotograph(f"masked-{n}", NAMES[n], {}) for n in (1, 3)]
    trainings = [["train", "held_out", "train", "train"], ["train", "train", "", "validation"]]
    assert divide_masked(masked, graded, trainings) == [["held_out", "train"], ["train", "held_out"]]


def test_eyes_without_a_grade_are_held_out_once_and_their_copies_with_them():
    graded = Graded(NAMES[:2])
    masked = [MaskedPhotograph(f"masked-{n}", NAMES[n], {}) for n in (4, 5, 6, 4)]
    splits = np.array(divide_masked(masked, graded, [["train"] * 2] * 3))
    assert (splits == "held_out").sum(axis=0).tolist() == [1, 1, 1, 1]
    np.testing.assert_array_equal(splits[:, 0], splits[:, 3])
    assert divide_masked(masked, graded, [["train"] * 2]) == [["train"] * 4]  # without folds all train


def test_the_table_can_be_read_back(tmp_path):
    masked = [MaskedPhotograph("a. Training Set/IDRiD_01", "x.jpg", {}), MaskedPhotograph("b", "y.jpg", {})]
    write_masked_splits(tmp_path, masked, ["train", "held_out"])
    assert read_splits(tmp_path / MASKED_SPLIT) == {"a. Training Set/IDRiD_01": "train", "b": "held_out"}
