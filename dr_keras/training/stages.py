"""Stages (one image size after another) and folds: which photographs train which network."""

import contextlib
import dataclasses
import functools
from pathlib import Path

import keras
import numpy as np

from dr_keras import files
from dr_keras.data import audit, splits
from dr_keras.data.inspection import inspect_prepared
from dr_keras.errors import InputError
from dr_keras.models.grader_model import load_model
from dr_keras.training import run_folder
from dr_keras.training.config import LESIONS
from dr_keras.training.fit import STATE, Fit
from dr_keras.training.frozen.backbone_features import FeatureCache
from dr_keras.training.frozen.head import HeadFit
from dr_keras.training.frozen.ridge import RidgeFit
from dr_keras.training.hosts import workers
from dr_keras.training.lesions.lesion_fit import LesionFit
from dr_keras.training.lesions.masked_splits import divide_masked, write_masked_splits
from dr_keras.training.protocol import FitTask, Hooks
from dr_keras.training.scoring import DatasetScorer

HELD_OUT = "held_out"
_FEW = 30  # validation photographs; with fewer, the best of two models is a matter of chance


FITS = {
    "network": Fit,
    "head": HeadFit,
    "ridge": RidgeFit,
    "lesions": LesionFit,
}  # each a `protocol.FitProtocol`


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
    groups = _groups(prepared, report)
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


def _groups(prepared, report):
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


def train_stages(configs, open_prepared, run_dir, plan, strategy, hooks, init_from=None, masked=()):
    """Trains one stage after another; each starts from what the one before it learnt (P2 section 4.4).

    Args:
        configs: `TrainingConfig`s, in order.
        open_prepared: called with an image size; returns the `PreparedDataset` of that size.
        run_dir: the run folder; stages go into folders named by size if there are several.
        plan: `SplitPlan`.
        strategy: `tf.distribute.Strategy`. Where it has several processes, all run this; the chief alone
            writes the run folder, calls the hooks and reads what `init_from` names.
        hooks: `Hooks`.
        init_from: run folder or model that the first stage starts from, or None.
        masked: sequence of `MaskedPhotograph`, for lesion networks.

    Returns:
        The folder of the last stage.

    Raises:
        InputError: if the data doesn't allow the division, or `init_from` saw photographs held out here.
        Interrupted: if the hooks asked to stop; the same call goes on from there.
    """
    trainings, chief = None, workers.is_chief(strategy)
    if not chief:
        hooks = Hooks(should_stop=hooks.should_stop, stop_seconds=hooks.stop_seconds, say=lambda line: None)
    for config in configs:
        prepared = workers.chief_first(strategy, functools.partial(open_prepared, config.image_size))
        workers.check_alike(strategy, "photographs or labels", _contents(prepared))
        if trainings is None:
            inspections = [] if prepared.name == "synthetic" else inspect_prepared(prepared)
            report = audit.audit_prepared(prepared, inspections)
            if chief:
                files.write_json(Path(run_dir) / run_folder.AUDIT, report)
            hooks.say(audit.format_audit(report))
            trainings, notes = divide(prepared, report, plan)
            for note in notes:
                hooks.say(note)
            masked_trainings = divide_masked(masked, prepared, trainings)
            groups = _groups(prepared, report)
        folder = Path(run_dir) / str(config.image_size) if len(configs) > 1 else Path(run_dir)
        pooled, cache = [], FeatureCache(prepared, hooks.progress, hooks.should_stop)
        for fold, (assigned, of_masked) in enumerate(zip(trainings, masked_trainings, strict=True)):
            leaf = run_folder.fold_dir(folder, fold) if plan.folds else folder
            start = None
            if chief and init_from:
                start = _checked_start(init_from, fold if plan.folds else None, prepared, assigned)
            own = (np.flatnonzero(np.array(assigned) == split) for split in ("train", "validation"))
            learnt = tuple(one for one, split in zip(masked, of_masked, strict=True) if split == "train")
            task = FitTask(config, prepared, *own, leaf, strategy, start, hooks, cache, learnt, groups)
            if chief and masked:
                write_masked_splits(leaf, masked, of_masked)
            pooled.append(_train_leaf(task, assigned, inspections))
        if chief and plan.folds and not (folder / run_folder.METRICS).exists():
            _report(hooks, folder, prepared, *(np.concatenate(parts) for parts in zip(*pooled, strict=True)))
        init_from = folder
    return folder


def _contents(prepared):
    """Text that is equal for equal photographs, in whatever folder they are."""
    return str([(record.image, record.patient, record.grade, record.split) for record in prepared.records])


def _checked_start(init_from, fold, prepared, assigned):
    """Path of the model to start from; refuses one trained on photographs that test or validate here."""
    path = run_folder.find_model(init_from, fold)
    seen = {
        image
        for image, split in run_folder.read_splits(path.parent / run_folder.SPLIT).items()
        if split == "train"
    }
    names = zip(prepared.records, assigned, strict=True)
    leaked = [
        record.image
        for record, split in names
        if split in (HELD_OUT, "validation", "test") and record.image in seen
    ]
    if leaked:
        raise InputError(
            f"--init_from={init_from}: trained on {len(leaked)} photographs that are held out here, such as "
            f"{leaked[0]}; start from a run with the same data, folds and seed"
        )
    return path


def _train_leaf(task, assigned, inspections):
    """Trains one leaf of the run folder unless it is finished.

    Returns the positions of the photographs it is judged on, and their scores. Only the chief reads and
    writes the leaf; other processes return None for the scores.
    """
    chief, leaf, prepared = workers.is_chief(task.strategy), task.run_dir, task.prepared
    held_out = np.flatnonzero(np.array(assigned) == HELD_OUT)
    judged, scores = held_out if len(held_out) else task.validation, None
    with files.sole_writer(leaf) if chief else contextlib.nullcontext():
        finished = b"finished" if chief and (leaf / run_folder.METRICS).exists() else b""
        if not workers.from_chief(task.strategy, finished):
            if chief:
                run_folder.write_splits(leaf / run_folder.SPLIT, prepared.records, assigned)
                seen = np.isin(assigned, run_folder.SEEN)
                prints = [one.fingerprint for one, learnt in zip(inspections, seen) if learnt]
                if prints:  # of synthetic photographs there are none
                    run_folder.write_seen(leaf, prints)
            result = _fit_of(task.config)(task).run()
            keras.utils.clear_session()
        if chief:
            scores = DatasetScorer(load_model(leaf / run_folder.MODEL), prepared)(judged)
            if not finished:
                if not len(judged):  # nothing was set aside to judge by
                    judged, scores = task.training, result.unseen_scores
                _report(task.hooks, leaf, prepared, judged, scores)
                (leaf / STATE).unlink(missing_ok=True)
    workers.from_chief(task.strategy)  # the others wait until the report is written
    return judged, scores


def _fit_of(config):
    """The kind of training that a configuration asks for."""
    if config.head == LESIONS:
        return FITS["lesions"]
    if not config.freeze_through:
        return FITS["network"]
    return FITS["ridge" if config.optimizer == "ridge" else "head"]


def _report(hooks, folder, prepared, indices, scores):
    hooks.report(folder, [prepared.records[index] for index in indices], prepared.grades[indices], scores)
