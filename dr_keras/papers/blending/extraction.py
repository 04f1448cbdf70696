"""Extraction of pooled features: a run's networks on each photograph under 50 augmentations (P2)."""

import hashlib
import json
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from scipy.special import ndtri
from scipy.stats import qmc

from dr_keras import files
from dr_keras.data.augmentation import NUM_NORMAL, NUM_UNIFORM, AugmentationConfig, FundusAugmentation
from dr_keras.data.pipeline import evaluation_batches
from dr_keras.data.shards import color_statistics
from dr_keras.errors import InputError
from dr_keras.models.grader_model import load_model, network_of, rules_of
from dr_keras.papers.blending.pooled_features import check_same_run, write_index
from dr_keras.training import run_folder
from dr_keras.training.fit import BEST_LOSS, LAST
from dr_keras.training.frozen.backbone_features import load_rows, save_rows, trunk_digest
from dr_keras.training.protocol import Interrupted

_SAVE_SECONDS = 60


def halton_draws(count, seed=0):
    """Draws that cover the augmentation's ranges evenly: a scrambled Halton sequence.

    Args:
        count: number of augmentations.
        seed: seed of the scrambling.

    Returns:
        uniform float32 (count, 6) and normal float32 (count, 3), as `FundusAugmentation` takes them.
    """
    sequence = qmc.Halton(NUM_UNIFORM + NUM_NORMAL, seed=np.random.default_rng(seed)).random(count)
    uniform, quantiles = np.split(sequence, [NUM_UNIFORM], axis=1)
    return uniform.astype("float32"), ndtri(quantiles).astype("float32")


def pooling_of(network):
    """Returns the part of a network up to its last pooling layer, with flattened output (batch, channels)."""
    last = [layer for layer in network.layers if "Pooling2D" in type(layer).__name__][-1]
    return keras.Model(network.inputs, keras.layers.Flatten()(last.output))


class PooledExtraction:
    """Extracts the pooled features of a run; goes on where a killed one left off.

    Args:
        run: path of a run folder whose training has finished.
        prepared: `PreparedDataset` of the run's photographs at the size of its networks.
        output_dir: folder for `features.json` and `features-KEY.npy`, one file for each distinct network.
        scores: dict of image name to the run's own out-of-fold score.
        augmentations: how many, two or more.
        all_weights: take those of the least loss and the last ones too, where the run has them (P2).
        batch_size: photographs in a batch, under one augmentation at a time.
        seed: seed of the augmentations.
        progress: wraps the iteration over batches as `tqdm.tqdm` does, called with `total`; or None.
        should_stop: called after every step; True keeps what is done and raises `protocol.Interrupted`.

    Raises:
        InputError: if the folder holds another run's features, or the photographs aren't the run's.
    """

    def __init__(
        self, run, prepared, output_dir, scores, augmentations=50, all_weights=True, batch_size=16, seed=0,
        progress=None, should_stop=lambda: False,
    ):  # fmt: skip
        self._run, self._prepared, self._output_dir = str(run), prepared, Path(output_dir)
        self._scores, self._batch_size = scores, batch_size
        self._draws = halton_draws(augmentations, seed)
        self._names = (run_folder.MODEL, BEST_LOSS, LAST) if all_weights else (run_folder.MODEL,)
        self._progress = progress or (lambda batches, total: batches)
        self._should_stop = should_stop

    def run(self):
        """Extracts the features that the folder lacks, and writes `features.json`.

        Raises:
            InputError: if the folder holds another run's features, or the run wasn't trained on the
                photographs.
        """
        check_same_run(self._output_dir, self._run)
        leaves = []
        for model in run_folder.find_models(self._run):
            splits = run_folder.splits_of(model.parent / run_folder.SPLIT, self._prepared.records)
            if not np.isin(splits, run_folder.SEEN).any():
                raise InputError(
                    f"{self._prepared.root}: expected the photographs that {model} was trained on"
                )
            paths = [model.with_name(name) for name in self._names if model.with_name(name).is_file()]
            with files.sole_writer(self._output_dir):
                names = [self._extract(path, splits) for path in paths]
            leaves.append({"splits": splits.tolist(), "files": names})
            keras.utils.clear_session()
        write_index(
            self._output_dir, self._run, self._thresholds, self._prepared.records, self._scores, leaves
        )

    def _extract(self, path, splits):
        """Extracts all photographs' features with one network; returns the name of their file."""
        grader = load_model(path)
        self._thresholds = rules_of(grader).thresholds
        pooling = pooling_of(network_of(grader))
        augmentation = self._augmentation(grader, splits)
        name = f"features-{self._key(grader, pooling, augmentation)}.npy"
        shape = (len(self._prepared), 2, pooling.output_shape[1])
        rows = load_rows(self._output_dir / name, shape, np.float32)
        todo = np.flatnonzero(np.isnan(rows[:, 0, 0]))
        if len(todo):
            try:
                self._compute(todo, _step(grader, pooling, augmentation), rows, self._output_dir / name)
            finally:
                save_rows(self._output_dir / name, rows)
        return name

    def _augmentation(self, grader, splits):
        """That of the training; colours aren't changed for a frozen backbone, whose head never saw such."""
        run_flags, components = run_folder.read_flags(self._run), None
        sigma = float(run_flags.get("color_sigma", "0.5").split(",")[-1])
        if not run_flags.get("freeze_through"):
            components = color_statistics(self._prepared, np.flatnonzero(splits == "train"))[2]
        window = network_of(grader).input_shape[1]
        return FundusAugmentation(
            self._prepared.image_size, window, AugmentationConfig(color_sigma=sigma), components, name="tta"
        )

    def _key(self, grader, pooling, augmentation):
        names = [record.image for record in self._prepared.records]
        parts = [trunk_digest(grader, pooling), augmentation.get_config(), names, self._draws[0].tolist()]
        return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]

    def _compute(self, todo, step, rows, path):
        batches = evaluation_batches(self._prepared, todo, self._batch_size)
        saved = time.monotonic()
        for number, batch in enumerate(self._progress(batches, total=len(batches))):
            done = todo[number * self._batch_size :][: len(batch["image"])]
            rows[done] = self._mean_and_sd(step, batch["image"])
            if time.monotonic() - saved > _SAVE_SECONDS:
                save_rows(path, rows)
                saved = time.monotonic()

    def _mean_and_sd(self, step, images):
        values = []
        for uniform, normal in zip(*self._draws, strict=True):
            draws = [np.repeat(draw[None], len(images), axis=0) for draw in (uniform, normal)]
            values.append(step(images, *draws).numpy())
            if self._should_stop():
                raise Interrupted(self._output_dir)
        return np.stack([np.mean(values, axis=0), np.std(values, axis=0, ddof=1)], axis=1)


def _step(grader, pooling, augmentation):
    """Compiles the function (images, uniform, normal) -> float32 (batch, channels), as `Trainer` does."""
    standardize = grader.get_layer("standardize")
    jit_compile = augmentation.supports_jit and not tf.config.list_physical_devices("GPU")

    @tf.function(jit_compile=jit_compile)
    def windows(images, uniform, normal):
        return standardize(augmentation(images, uniform, normal, training=True))

    @tf.function
    def step(images, uniform, normal):
        return tf.cast(pooling(windows(images, uniform, normal), training=False), tf.float32)

    return step
