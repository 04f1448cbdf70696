"""Distilled backbones on disk: one to ship, or one for each fold in a run folder to start from."""

from pathlib import Path

import numpy as np

from dr_keras import files
from dr_keras.data import audit, synthetic
from dr_keras.data.cache import prepare_into_cache
from dr_keras.models.alexnets import VARIANTS, alexnet
from dr_keras.models.grader_model import build_grader
from dr_keras.papers.alexnet.distillation import IMAGE_SIZE, VARIANT, Distillation, load_teacher, save_trunk
from dr_keras.training import run_folder
from dr_keras.training.config import SplitPlan
from dr_keras.training.frozen.backbone_features import FeatureCache
from dr_keras.training.stages import divide

WEIGHTS, FIGURES = "alexnet_trunk.weights.h5", "distillation.json"
SYNTHETIC_SEED = 1  # differs from training's seed, so that the eyes are different ones


def distil(
    config, prepared, synthetic_images, output_dir, folds=0, validation_fraction=0.1, cache_dir=None,
    progress=None, max_steps=None,
):  # fmt: skip
    """Teaches one backbone, or one for each fold, and writes what came of it.

    Args:
        config: `DistillationConfig`.
        prepared: `PreparedDataset` of 256 px, or None for synthetic photographs alone.
        synthetic_images: how many synthetic photographs to learn from too.
        output_dir: folder for `alexnet_trunk.weights.h5` and `distillation.json`; with folds, of a run.
        folds, validation_fraction: of the division, as `SplitPlan` has them.
        cache_dir: where synthetic photographs are prepared; see `cache.open_prepared`.
        progress: called with a description, returns a wrapper of an iterator, as `cli_flags.progress`.
        max_steps: stop after so many batches.

    Returns:
        List of dicts, one for each backbone: what `distillation.json` holds.
    """
    bar = progress or (lambda description: None)
    drawn = prepare_into_cache(
        synthetic.synthetic_dataset(synthetic_images, SYNTHETIC_SEED), IMAGE_SIZE, cache_dir, bar("drawing")
    )
    own = prepared or drawn
    trainings, _ = divide(own, audit.audit_prepared(own), SplitPlan(folds, validation_fraction, config.seed))
    datasets = [own] if own is drawn else [own, drawn]
    caches, teacher = [FeatureCache(dataset) for dataset in datasets], load_teacher()
    found = []
    for fold, assigned in enumerate(trainings):
        assigned = np.array(assigned)
        leaf = run_folder.fold_dir(output_dir, fold) if folds else Path(output_dir)
        sources = [(own, np.flatnonzero(assigned == "train"))]
        sources += [(drawn, np.arange(len(drawn)))] if own is not drawn else []
        distillation = Distillation(config, sources, caches, teacher)
        figures, report = _reporter(bar(f"teaching {leaf}"))
        trunk = distillation.run(report, max_steps)
        left = np.flatnonzero(assigned == "validation")
        upright = caches[0].of(*teacher, left)[:, 0]
        figures["explained_variance"] = distillation.explained(upright, own.read(left))
        figures["photographs"] = [len(indices) for _, indices in sources]
        _write(leaf, trunk, own, assigned, figures, bool(folds))
        found.append(figures)
    return found


def _write(leaf, trunk, prepared, assigned, figures, in_fold):
    """Puts a fold's backbone into a whole model with an untrained head, from which a training can start."""
    if in_fold:
        form, network = VARIANTS[VARIANT], alexnet()
        for layer in trunk.layers:
            network.get_layer(layer.name).set_weights(layer.get_weights())
        run_folder.write_splits(leaf / run_folder.SPLIT, prepared.records, assigned)
        with files.atomic_path(leaf / run_folder.MODEL) as temporary:
            build_grader(network, IMAGE_SIZE, form.mean, form.sd).save(temporary)
    else:
        save_trunk(leaf / WEIGHTS, trunk)
    files.write_json(leaf / FIGURES, figures)


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
