"""Scores of prepared photographs."""

import numpy as np
import tensorflow as tf

from dr_keras.data.pipeline import evaluation_batches


class Scorer:
    """Scores prepared photographs with a grader, without augmentation; compiled once.

    Args:
        grader: model from `build_grader`.
        prepared: `PreparedDataset` of the grader's image size.
        batch_size: photographs in a batch.
    """

    def __init__(self, grader, prepared, batch_size=32):
        self._prepared = prepared
        self._batch_size = batch_size
        self._step = tf.function(lambda images: grader(images, training=False)[:, 0], reduce_retracing=True)

    def __call__(self, indices):
        """Scores photographs by position: int array (n,) -> float64 (n,), in grade units."""
        batches = evaluation_batches(self._prepared, indices, self._batch_size)
        parts = [self._step(batch["image"]).numpy() for batch in batches]
        return np.concatenate(parts).astype("float64") if parts else np.zeros(0)
