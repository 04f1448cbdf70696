"""Stages (one image size after another) and folds: which photographs train which network."""

import contextlib
import dataclasses
import functools
from pathlib import Path

import keras
import numpy as np

from dr_keras import files
from dr_keras.data import audit, splits
from dr_keras.errors import InputError
from dr_keras.models.grader import load_model
from dr_keras.training import run_folder
from dr_keras.training.fit import STATE, Fit, Hooks
from dr_keras.training.frozen.features import FeatureCache
from dr_keras.training.frozen.head import HeadFit
from dr_keras.training.frozen.ridge import RidgeFit
from dr_keras.training.hosts import workers
from dr_keras.training.scoring import Scorer

HELD_OUT = "held_out"


@dataclasses.dataclass(frozen=True)
class SplitPlan:
    """How the photographs are divided: the same at every image size.

    Attributes:
        folds: number of folds, or 0 for a single training on the dataset's own splits.
        validation_fraction: share of the training part set aside to choose the model; 0 for none.
        test_fraction: share set aside first, where the dataset has no test split and there are no folds.
        caps: most photographs of each grade 0-4, drawn at random; the others are left out. () for all.
        seed: of the division.
    """

    folds: int = 0
    validation_fraction: float = 0.1
    seed: int = 0
    test_fraction: float = 0.0
    caps: tuple = ()


def divide(prepared, report, plan):
    """Divides a dataset into trainings.

    Args:
        prepared: `PreparedDataset`.
        report: of `audit.audit_prepared`; its copies and near duplicates stay on one side.
        plan: `SplitPlan`.

    Returns:
        (list of lists of splits, notes): for each training the split of every record, "train",
        "validation", "test", "held_out" or "" (left out).

    Raises:
        InputError: if there is nothing to train on or to validate with, or too little for the folds.
    """
    groups = splits.group_records(prepared.records, audit.duplicate_groups(report, prepared.records))
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


def _within_caps(grades, plan):
    """bool (n,): graded photographs, of each grade no more than its cap (P1 section 3.2)."""
    chosen = grades >= 0
    rng = np.random.default_rng(plan.seed)
    for grade, cap in enumerate(plan.caps):
        own = rng.permutation(np.flatnonzero(grades == grade))
        chosen[own[int(cap) :]] = False
    return chosen


def _with_test_split(records, groups, plan):
    """The records, a part of them given the split "test" unless some have it."""
    if not plan.test_fraction or any(record.split == "test" for record in records):
        return records
    test = splits.split_train_validation(records, groups, plan.test_fraction, plan.seed)
    return [
        dataclasses.replace(record, split="test") if chosen else record
        for record, chosen in zip(records, test, strict=True)
    ]


def train_stages(configs, open_prepared, run_dir, plan, strategy, hooks, init_from=None):
    """Trains one stage after another; each starts from what the one before it learnt (P2 section 4.4).

    Args:
        configs: `TrainingConfig`s, in order.
        open_prepared: called with an image size; returns the `PreparedDataset` of that size.
        run_dir: the run folder; stages go into folders named by size if there are several.
        plan: `SplitPlan`.
        strategy: `tf.distribute.Strategy`. Where it has several processes, all run this; the first, the
            chief, alone writes the run folder, calls the hooks and needs what `init_from` names.
        hooks: `Hooks`.
        init_from: run folder or model that the first stage starts from, or None.

    Returns:
        The folder of the last stage.
    """
    trainings, chief = None, workers.is_chief(strategy)
    if not chief:
        hooks = Hooks(should_stop=hooks.should_stop, say=lambda line: None)
    for config in configs:
        prepared = workers.chief_first(strategy, functools.partial(open_prepared, config.image_size))
        workers.check_alike(strategy, "photographs or labels", _contents(prepared))
        if trainings is None:
            report = audit.audit_prepared(prepared)
            if chief:
                files.write_json(Path(run_dir) / run_folder.AUDIT, report)
            hooks.say(audit.format_audit(report))
            trainings, notes = divide(prepared, report, plan)
            for note in notes:
                hooks.say(note)
        folder = Path(run_dir) / str(config.image_size) if len(configs) > 1 else Path(run_dir)
        pooled, cache = [], FeatureCache(prepared, hooks.progress, hooks.should_stop)
        for fold, assigned in enumerate(trainings):
            leaf = run_folder.fold_dir(folder, fold) if plan.folds else folder
            start = None
            if chief and init_from:
                start = _checked_start(init_from, fold if plan.folds else None, prepared, assigned)
            pooled.append(_train_leaf(config, prepared, assigned, leaf, strategy, hooks, start, cache))
        if chief and plan.folds and not (folder / run_folder.METRICS).exists():
            _report(hooks, folder, prepared, *(np.concatenate(parts) for parts in zip(*pooled, strict=True)))
        init_from = folder
    return folder


def _contents(prepared):
    """Text that is the same for the same photographs, wherever they lie."""
    return str([(record.image, record.patient, record.grade, record.split) for record in prepared.records])


def _checked_start(init_from, fold, prepared, assigned):
    """Path of the model to start from; refuses one that saw what is held out or validates here."""
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


def _train_leaf(config, prepared, assigned, leaf, strategy, hooks, init_from, cache):
    """Trains one leaf unless it is finished. Returns the positions it is judged on, and their scores.

    Only the chief reads and writes the leaf; the others return no scores.
    """
    chief = workers.is_chief(strategy)
    assigned = np.array(assigned)
    judged = np.flatnonzero(assigned == (HELD_OUT if HELD_OUT in assigned else "validation"))
    left_one_out = None  # scores of the training photographs, where nothing else is there to judge by
    with files.sole_writer(leaf) if chief else contextlib.nullcontext():
        finished = b"finished" if chief and (leaf / run_folder.METRICS).exists() else b""
        if not workers.from_chief(strategy, finished):
            if chief:
                run_folder.write_splits(leaf / run_folder.SPLIT, prepared.records, assigned)
            training, validation = (np.flatnonzero(assigned == name) for name in ("train", "validation"))
            if config.optimizer == "ridge":
                left_one_out = RidgeFit(config, prepared, training, leaf, cache, hooks).run()
            elif config.freeze_through:
                HeadFit(config, prepared, training, validation, leaf, cache, init_from, hooks).run()
            else:
                Fit(config, prepared, training, validation, leaf, strategy, init_from, hooks).run()
            keras.utils.clear_session()
        scores = None
        if chief:
            scores = Scorer(load_model(leaf / run_folder.MODEL), prepared)(judged)
            if not finished:
                if not len(judged):
                    judged, scores = training, left_one_out
                _report(hooks, leaf, prepared, judged, scores)
                (leaf / STATE).unlink(missing_ok=True)
    workers.from_chief(strategy)  # the others stay until the report is written
    return judged, scores


def _report(hooks, folder, prepared, indices, scores):
    hooks.report(folder, [prepared.records[index] for index in indices], prepared.grades[indices], scores)
