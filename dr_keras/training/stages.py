"""Stages (one image size after another) and folds: which photographs train which network."""

import contextlib
import functools
from pathlib import Path

import keras
import numpy as np

from dr_keras import files
from dr_keras.data import audit
from dr_keras.data.inspection import inspect_prepared
from dr_keras.models.grader_model import load_model
from dr_keras.training import run_folder
from dr_keras.training.config import DIRECT, LESIONS, ORDINAL, RIDGE
from dr_keras.training.division import HELD_OUT, divide, groups_of_records
from dr_keras.training.fit import STATE, Fit
from dr_keras.training.frozen.backbone_features import FeatureCache
from dr_keras.training.frozen.head import HeadFit
from dr_keras.training.frozen.ordinal import OrdinalFit
from dr_keras.training.frozen.ridge import RidgeFit
from dr_keras.training.hosts import workers
from dr_keras.training.lesions.lesion_fit import LesionFit
from dr_keras.training.lesions.masked_splits import divide_masked, write_masked_splits
from dr_keras.training.lesions.rescored_fit import RescoredFit
from dr_keras.training.protocol import FitTask, Hooks
from dr_keras.training.scoring import DatasetScorer
from dr_keras.training.seen import check_start, learnt_fingerprints, seen_by_start

FITS = {
    "network": Fit,
    "head": HeadFit,
    RIDGE: RidgeFit,
    ORDINAL: OrdinalFit,
    "lesions": LesionFit,
    "rescored": RescoredFit,
}  # each a `protocol.FitProtocol`


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
            groups = groups_of_records(prepared, report)
        folder = Path(run_dir) / str(config.image_size) if len(configs) > 1 else Path(run_dir)
        pooled, cache = [], FeatureCache(prepared, hooks.progress, hooks.should_stop)
        for fold, (assigned, of_masked) in enumerate(zip(trainings, masked_trainings, strict=True)):
            leaf = run_folder.fold_dir(folder, fold) if plan.folds else folder
            start, seen = None, ()
            if chief and init_from:
                start = run_folder.find_model(init_from, fold if plan.folds else None)
                seen = seen_by_start(start, prepared, inspections)
                check_start(init_from, seen, prepared, assigned)
            own = (np.flatnonzero(np.array(assigned) == split) for split in ("train", "validation"))
            learnt = tuple(one for one, split in zip(masked, of_masked, strict=True) if split == "train")
            task = FitTask(config, prepared, *own, leaf, strategy, start, seen, hooks, cache, learnt, groups)
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
                prints = learnt_fingerprints(inspections, assigned, task.init_from)
                if len(prints):  # of synthetic photographs there are none
                    run_folder.write_seen(leaf, prints)
            result = _fit_of(task)(task).run()
            if chief and result.unseen_scores is not None:
                errors = result.unseen_scores - prepared.grades[task.training]
                inner = {"squared_error": float(np.mean(errors**2)), "n": len(errors)}
                files.write_json(leaf / run_folder.INNER, inner)
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


def _fit_of(task):
    """The kind of training that a configuration asks for."""
    config = task.config
    if config.head == LESIONS:
        return FITS["rescored" if task.init_from else "lesions"]
    if not config.freeze_through:
        return FITS["network"]
    return FITS[config.optimizer if config.optimizer in DIRECT else "head"]


def _report(hooks, folder, prepared, indices, scores):
    hooks.report(folder, [prepared.records[index] for index in indices], prepared.grades[indices], scores)
