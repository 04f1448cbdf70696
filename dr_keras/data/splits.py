"""Folds and splits that keep what belongs together on one side.

A group is everything that must not straddle a boundary: both eyes of a patient, every copy of a
photograph, and whatever these link further.
"""

import numpy as np

from dr_keras.data.duplicates import connect
from dr_keras.data.records import SPLITS
from dr_keras.errors import InputError
from dr_keras.grades import NUM_GRADES


def group_records(records, duplicate_groups=()):
    """Numbers the groups of records that have to stay together.

    Args:
        records: sequence of `Record`.
        duplicate_groups: tuples of indices into `records`, as `find_duplicates` returns them.

    Returns:
        int64 (records,): group numbers from 0, in order of first appearance.
    """
    first_of = {}
    pairs = [(first_of.setdefault(record.patient, index), index) for index, record in enumerate(records)]
    pairs += [(group[0], other) for group in duplicate_groups for other in group[1:]]
    return np.unique(connect(len(records), pairs), return_inverse=True)[1].astype(np.int64)


def assign_folds(records, groups, num_folds, seed):
    """Deals records into folds of equal size and grades, whole groups together.

    Args:
        records: sequence of `Record`.
        groups: int (records,) from `group_records`.
        num_folds: number of folds, two or more.
        seed: seed of the shuffle.

    Returns:
        int64 (records,): the fold in which each record is held out.

    Raises:
        ValueError: if `num_folds` is below 2.
        InputError: if there are fewer groups than folds.
    """
    if num_folds < 2:
        raise ValueError(f"`num_folds` must be at least 2. Received: num_folds={num_folds}")
    count = len(np.unique(groups))
    if count < num_folds:
        raise InputError(f"{num_folds} folds need as many patients; the dataset has {count}")
    return _deal(records, groups, np.full(num_folds, 1 / num_folds), seed)


def split_train_validation(records, groups, validation_fraction=0.1, seed=0):
    """Sets a part aside for validation: 9:1 by patient, stratified by grade (P2).

    Args:
        records: sequence of `Record`.
        groups: int (records,) from `group_records`.
        validation_fraction: share of the records, above 0 and below 1.
        seed: seed of the shuffle.

    Returns:
        bool (records,): True for validation; at least one group on each side.

    Raises:
        ValueError: if `validation_fraction` isn't between 0 and 1.
        InputError: if all records are one group.
    """
    if not 0 < validation_fraction < 1:
        raise ValueError(
            "`validation_fraction` must be between 0 and 1. "
            f"Received: validation_fraction={validation_fraction}"
        )
    groups = np.asarray(groups)
    if len(np.unique(groups)) < 2:
        raise InputError(f"{len(records)} photographs of a single patient can't be split for validation")
    shares = np.array([1 - validation_fraction, validation_fraction])
    held_out = _deal(records, groups, shares, seed) == 1
    if held_out.all() or not held_out.any():  # too few for the share asked for: one group makes up
        sizes = np.bincount(groups)
        smallest = np.argmin(np.where(sizes > 0, sizes, len(groups) + 1))
        held_out[groups == smallest] = not held_out[0]
    return held_out


def assign_splits(records, groups, validation_fraction=0.1, seed=0):
    """Gives every record a split, the dataset's own where it has one.

    Where no validation split exists it is taken from the training records ("train" and ""). A group
    on several sides of an official boundary keeps its test records, or else its validation records;
    the rest of it is left out.

    Args:
        records: sequence of `Record`.
        groups: int (records,) from `group_records`.
        validation_fraction: share of the training records; 0 for none.
        seed: seed of the shuffle.

    Returns:
        (splits, notes): a list with "train", "validation", "test" or "" (left out) for each record,
        and one-line remarks on what was left out.

    Raises:
        ValueError, InputError: as `split_train_validation`.
    """
    groups = np.asarray(groups)
    splits = np.array([record.split or "train" for record in records], dtype="U10")
    notes = []
    for inner, outer in (("train", "test"), ("validation", "test"), ("train", "validation")):
        straddling = (splits == inner) & np.isin(groups, groups[splits == outer])
        if straddling.any():
            names = ", ".join(records[index].image for index in np.flatnonzero(straddling)[:5])
            notes.append(
                f"{straddling.sum()} {inner} photographs whose patient or copy is in the {outer} split "
                f"are left out: {names}" + (", ..." if straddling.sum() > 5 else "")
            )
            splits[straddling] = ""
    training = np.flatnonzero(splits == "train")
    if validation_fraction and len(training) and not (splits == "validation").any():
        chosen = [records[index] for index in training]
        held_out = split_train_validation(chosen, groups[training], validation_fraction, seed)
        splits[training[held_out]] = "validation"
    return splits.tolist(), notes


def count_grades(records, splits=None):
    """Counts grades in each split.

    Args:
        records: sequence of `Record`.
        splits: a split for each record; their own if None.

    Returns:
        Dict of split (only those that occur; "" for none) to a list of counts of grades 0-4 and,
        last, of records without a grade.
    """
    splits = [record.split for record in records] if splits is None else splits
    counts = {split: [0] * (NUM_GRADES + 1) for split in (*SPLITS, "") if split in splits}
    for record, split in zip(records, splits):
        counts[split][NUM_GRADES if record.grade is None else record.grade] += 1
    return counts


def _deal(records, groups, shares, seed):
    """Deals groups to parts, the largest first, each to where it brings the counts nearest to `shares`.

    Nearest is by chi-square over the grades and the total. Returns int64 (records,), the part.
    """
    numbers, members = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(numbers), NUM_GRADES + 2))
    grades = [NUM_GRADES if record.grade is None else record.grade for record in records]
    np.add.at(counts, (members, grades), 1)
    counts[:, -1] = counts.sum(axis=1)
    targets = shares[:, None] * np.maximum(counts.sum(axis=0), 1)
    order = np.random.default_rng(seed).permutation(len(numbers))
    order = order[np.argsort(-counts[order, -1], kind="stable")]
    dealt, parts = np.zeros_like(targets), np.zeros(len(numbers), np.int64)
    for group in order:
        increase = counts[group] * (counts[group] + 2 * (dealt - targets)) / targets
        part = int(np.argmin(np.round(increase.sum(axis=1), 9)))
        parts[group] = part
        dealt[part] += counts[group]
    return parts[members]
