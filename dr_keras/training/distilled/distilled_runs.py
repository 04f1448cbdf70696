"""Networks taught without grades, on disk: runs that a training starts from."""

import tempfile
from pathlib import Path

import numpy as np

from dr_keras import files
from dr_keras.data import audit
from dr_keras.data.inspection import inspect_prepared
from dr_keras.models.alexnets import alexnet_trunk
from dr_keras.models.grader_model import network_of
from dr_keras.training import run_folder
from dr_keras.training.config import SplitPlan
from dr_keras.training.distilled.distillation import Distillation
from dr_keras.training.distilled.student import build_student
from dr_keras.training.distilled.teacher import load_teacher
from dr_keras.training.division import divide
from dr_keras.training.frozen.backbone_features import FeatureCache
from dr_keras.training.hosts.devices import precision_scope

TRUNK, FIGURES = "alexnet_trunk.weights.h5", "distillation.json"


def distil(config, sources, output_dir, plan=SplitPlan(), init_from=None, progress=None, max_steps=None):
    """Teaches one network, or one for each fold, and writes what came of it.

    Args:
        config: `DistillationConfig`.
        sources: list of functions of an image size to the `PreparedDataset` of that size. The photographs of
            the first are divided; those of the others are all learnt from.
        output_dir: the run folder: `model.keras`, `split.csv`, `seen.npz` and `distillation.json`, with
            folds in a folder for each; of one AlexNet also `alexnet_trunk.weights.h5`.
        plan: `SplitPlan`; validation photographs say how much of the teacher the student explains.
        init_from: run folder or model whose fitting layers are taken over, or None.
        progress: called with a description, returns a wrapper of an iterator, as `cli_flags.progress`.
        max_steps: stop after so many batches.

    Returns:
        List of dicts, one for each network: what `distillation.json` holds.

    Raises:
        InputError: if the student can't learn from the teacher or start from `init_from`, or the data
            can't be divided.
    """
    bar = progress or (lambda description: None)
    datasets = [opened(config.image_size) for opened in sources]
    own = datasets[0]
    inspections = inspect_prepared(own)
    trainings, _ = divide(own, audit.audit_prepared(own, inspections), plan)
    prints = np.array([one.fingerprint for one in inspections])
    caches, teacher, found = None, None, []
    for fold, assigned in enumerate(trainings):
        assigned = np.array(assigned)
        leaf = run_folder.fold_dir(output_dir, fold) if plan.folds else Path(output_dir)
        learnt = [np.flatnonzero(assigned == "train"), *(np.arange(len(one)) for one in datasets[1:])]
        start = run_folder.find_model(init_from, fold if plan.folds else None) if init_from else None
        student = build_student(config.student(), own, learnt[0], start)
        if teacher is None:
            teacher = load_teacher(config.teacher_size, student.cells)
            caches = [
                FeatureCache(opened(config.teacher_size), bar("features of the teacher"))
                for opened in sources
            ]
        targets = [cache.of(*teacher, rows) for cache, rows in zip(caches, learnt, strict=True)]
        distillation = Distillation(config, student, list(zip(datasets, learnt, targets, strict=True)))
        figures, report = _reporter(bar(f"teaching {leaf}"))
        grader = distillation.run(report, max_steps)
        left = np.flatnonzero(assigned == "validation")
        figures["explained_variance"] = distillation.explained(
            caches[0].of(*teacher, left)[:, 0], own.read(left)
        )
        figures["photographs"] = [len(rows) for rows in learnt]
        _write(leaf, grader, own, assigned, prints, figures)
        if config.architecture == "alexnet" and not plan.folds:
            save_trunk(leaf / TRUNK, network_of(grader))
        found.append(figures)
    return found


def _write(leaf, grader, prepared, assigned, prints, figures):
    run_folder.write_splits(leaf / run_folder.SPLIT, prepared.records, assigned)
    run_folder.write_seen(leaf, prints[np.isin(assigned, run_folder.SEEN)])
    with files.atomic_path(leaf / run_folder.MODEL) as temporary:
        grader.save(temporary)
    files.write_json(leaf / FIGURES, figures)


def save_trunk(path, network):
    """Writes the weights of an AlexNet's backbone as `.weights.h5` in half precision, whole or not at all."""
    with precision_scope("float16"):
        half = alexnet_trunk()
    for layer in half.layers:
        layer.set_weights(network.get_layer(layer.name).get_weights())
    with tempfile.TemporaryDirectory() as folder:  # Keras requires a name that ends in .weights.h5
        half.save_weights(Path(folder) / "trunk.weights.h5")
        with files.atomic_path(path) as temporary:
            temporary.write_bytes((Path(folder) / "trunk.weights.h5").read_bytes())


def _reporter(wrap):
    """Returns a dict for the last step's results, and the function that updates it and the progress bar."""
    figures, bars = {}, []

    def report(step, total, loss, speed):
        if not bars:
            bars.append(iter(wrap(range(total), total=total)) if wrap else iter(range(total)))
        next(bars[0])
        figures.update(steps=step, loss=loss, images_per_second=round(speed, 1))
        if step == total:
            next(bars[0], None)  # lets the bar reach its end

    return figures, report
