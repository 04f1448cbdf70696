import numpy as np
import pytest

from dr_keras.data.records import Record
from dr_keras.data.splits import (
    assign_folds,
    assign_splits,
    count_grades,
    group_records,
    split_train_validation,
)
from dr_keras.errors import InputError


def make(grades, patients=None, splits=None):
    names = [f"{i}.jpg" for i in range(len(grades))]
    patients = patients or names
    splits = splits or [""] * len(grades)
    return [Record(n, n, g, str(p), split=s) for n, g, p, s in zip(names, grades, patients, splits)]


def test_groups_join_patients_and_duplicates():
    records = make([0] * 6, patients=["a", "b", "a", "c", "d", "e"])
    # 1 (b) is a copy of 2 (a), and 3 (c) of 1: all of a, b, c are one group
    assert group_records(records, [(1, 2), (1, 3)]).tolist() == [0, 0, 0, 0, 1, 2]
    assert group_records(records).tolist() == [0, 1, 0, 2, 3, 4]


def test_folds_are_balanced_and_keep_groups():
    rng = np.random.default_rng(0)
    grades = rng.choice(5, 300, p=[0.5, 0.2, 0.15, 0.1, 0.05]).tolist()
    records = make(grades, patients=[i // 2 for i in range(300)])
    groups = group_records(records)
    folds = assign_folds(records, groups, 5, seed=1)
    assert np.bincount(folds).tolist() == [60] * 5
    for group in np.unique(groups):
        assert len(set(folds[groups == group])) == 1
    for grade in range(5):
        in_fold = np.bincount(folds[np.array(grades) == grade], minlength=5)
        assert in_fold.max() - in_fold.min() <= 2
    np.testing.assert_array_equal(folds, assign_folds(records, groups, 5, seed=1))
    assert (folds != assign_folds(records, groups, 5, seed=2)).any()


def test_rare_grade_does_not_break_folds():
    records = make([0] * 12 + [4] * 2)
    folds = assign_folds(records, group_records(records), 5, seed=0)
    assert sorted(np.bincount(folds)) == [2, 3, 3, 3, 3]
    assert folds[12] != folds[13]
    records = make([0, 1, 2, 3, 4] * 2 + [None])
    assert sorted(np.bincount(assign_folds(records, np.arange(11), 5, seed=0))) == [2, 2, 2, 2, 3]


def test_too_few_groups_for_folds():
    records = make([0, 1, 2], patients=["a", "a", "b"])
    with pytest.raises(InputError, match="3 folds need as many patients; the dataset has 2"):
        assign_folds(records, group_records(records), 3, seed=0)
    with pytest.raises(ValueError, match="`num_folds` must be at least 2. Received: num_folds=1"):
        assign_folds(records, group_records(records), 1, seed=0)


def test_validation_is_a_tenth_of_each_grade():
    records = make([0] * 200 + [1] * 100 + [4] * 20)
    held_out = split_train_validation(records, group_records(records), 0.1, seed=3)
    assert [held_out[:200].sum(), held_out[200:300].sum(), held_out[300:].sum()] == [20, 10, 2]


def test_validation_keeps_patients_whole():
    records = make([0] * 40 + [2] * 20, patients=[i // 2 for i in range(60)])
    held_out = split_train_validation(records, group_records(records), 0.2, seed=0)
    assert held_out.sum() == 12
    np.testing.assert_array_equal(held_out[0::2], held_out[1::2])


def test_tiny_sets_have_both_sides():
    held_out = split_train_validation(make([0, 0, 0]), np.arange(3), 0.01, seed=0)
    assert held_out.sum() == 1
    with pytest.raises(InputError, match="single patient"):
        split_train_validation(make([0, 0]), np.zeros(2, int), 0.1, seed=0)
    with pytest.raises(ValueError, match="`validation_fraction` must be between 0 and 1"):
        split_train_validation(make([0, 0]), np.arange(2), 1.0, seed=0)


def test_official_splits_stay():
    splits = ["train", "validation", "test", ""]
    records = make([0, 1, 2, 3], splits=splits)
    assert assign_splits(records, np.arange(4)) == (["train", "validation", "test", "train"], [])


def test_validation_comes_out_of_training_only():
    records = make([0] * 40 + [2] * 20, splits=["train"] * 40 + ["test"] * 20)
    splits, notes = assign_splits(records, np.arange(60), 0.1, seed=0)
    assert splits[:40].count("validation") == 4 and splits[:40].count("train") == 36
    assert splits[40:] == ["test"] * 20 and notes == []


def test_what_straddles_the_test_boundary_leaves_training():
    records = make([0] * 6, splits=["train", "train", "train", "validation", "test", "test"])
    groups = group_records(records, [(1, 4), (3, 2)])
    splits, notes = assign_splits(records, groups)
    assert splits == ["train", "", "", "validation", "test", "test"]
    assert notes == [
        "1 train photographs whose patient or copy is in the test split are left out: 1.jpg",
        "1 train photographs whose patient or copy is in the validation split are left out: 2.jpg",
    ]


def test_count_grades():
    records = make([0, 0, 4, None], splits=["train", "test", "train", "train"])
    assert count_grades(records) == {"train": [1, 0, 0, 0, 1, 1], "test": [1, 0, 0, 0, 0, 0]}
    assert count_grades(records, ["", "", "", ""]) == {"": [2, 0, 0, 0, 1, 1]}
