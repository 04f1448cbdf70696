"""How a dataset is divided into trainings: folds by patient, or one division; copies stay on one side."""

import dataclasses

import numpy as np

from dr_keras.data import audit, splits
from dr_keras.errors import InputError

HELD_OUT = "held_out"
_FEW = 30  # validation photographs; with fewer, the best of two models is a matter of chance


def divide(prepared, report, plan):
    """Divides a dataset into trainings.

    Args:
        prepared: `PreparedDataset`.
        report: as from `audit.audit_prepared`; its copies and near duplicates stay on one side.
        plan: `SplitPlan`.

    Returns:
        (list of lists of splits, notes): for each training the split of every record, "train",
        "validation", "test", "held_out" or "" (left out).

    Raises:
        InputError: if there is nothing to train on or to validate with, or too little for the folds.
    """
    groups = groups_of_records(prepared, report)
    graded = _within_caps(prepared.grades, plan)
    if not graded.any():
        raise InputError(f"{prepared.root}: no photograph has a grade")
    if not plan.folds:
        records = _with_test_split(prepared.records, groups, plan)
        assigned, notes = splits.assign_splits(records, groups, plan.validation_fraction, plan.seed)
        assigned = [split if known else "" for split, known in zip(assigned, graded, strict=True)]
        for needed in ("train", "validation") if plan.validation_fraction else ("train",):
            if needed not in assigned:
                raise InputError(f"{prepared.root}: no graded photograph for the {needed} split")
        few = assigned.count("validation")
        if plan.validation_fraction and few < _FEW:
            remark = "photographs validate, too few to tell models apart: --folds=5 grades all"
            notes = [*notes, f"only {few} {remark}"]
        return [assigned], notes
    usable = np.flatnonzero(graded & np.array([record.split != "test" for record in prepared.records]))
    records = [prepared.records[index] for index in usable]
    folds = splits.assign_folds(records, groups[usable], plan.folds, plan.seed)
    trainings = []
    for fold in range(plan.folds):
        assigned = np.full(len(prepared), "", dtype="U10")
        assigned[usable[folds == fold]] = HELD_OUT
        rest = usable[folds != fold]
        assigned[rest] = "train"
        if plan.validation_fraction:
            chosen = [prepared.records[index] for index in rest]
            inner = splits.split_train_validation(chosen, groups[rest], plan.validation_fraction, plan.seed)
            assigned[rest[inner]] = "validation"
        trainings.append(assigned.tolist())
    return trainings, []


def groups_of_records(prepared, report):
    """Numbers what must stay on one side of every division: a patient's eyes, and copies."""
    return splits.group_records(prepared.records, audit.duplicate_groups(report, prepared.records))


def _within_caps(grades, plan):
    """bool (n,): graded photographs, at most the cap of each grade (P1 section 3.2)."""
    chosen = grades >= 0
    rng = np.random.default_rng(plan.seed)
    for grade, cap in enumerate(plan.caps or ()):
        own = rng.permutation(np.flatnonzero(grades == grade))
        chosen[own[int(cap) :]] = False
    return chosen


def _with_test_split(records, groups, plan):
    """The records, with a share of them given the split "test" unless some have it already."""
    if not plan.test_fraction or any(record.split == "test" for record in records):
        return records
    test = splits.split_train_validation(records, groups, plan.test_fraction, plan.seed)
    return [
        dataclasses.replace(record, split="test") if chosen else record
        for record, chosen in zip(records, test, strict=True)
    ]
