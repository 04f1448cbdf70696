"""Scores of prepared photographs."""

import numpy as np
import tensorflow as tf

from dr_keras.data.pipeline import evaluation_batches


def scoring_step(grader):
    """Compiles a grader for inference: uint8 (batch, size, size, 3), RGB -> float32 tensor (batch,).

    A photograph's score doesn't depend on its batch.
    """
    signature = [tf.TensorSpec((None, *grader.input_shape[1:]), tf.uint8)]
    step = tf.function(lambda images: grader(images, training=False)[:, 0], input_signature=signature)
    return alike(step.get_concrete_function())


def alike(step):
    """Makes a compiled step give a photograph the same numbers in any batch.

    One alone would be multiplied by another kernel, whose sums differ in the last bit, so it goes
    through the step beside a copy of itself.

    Args:
        step: function of images (batch, ...) that returns one or several tensors (batch, ...).
    """

    def run(images):
        images = tf.convert_to_tensor(images)
        results = step(images if len(images) > 1 else tf.repeat(images, 2, axis=0))
        return tf.nest.map_structure(lambda result: result[: len(images)], results)

    return run


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
        self._step = scoring_step(grader)

    def __call__(self, indices, progress=None):
        """Scores photographs by position: int array (n,) -> float64 (n,), in grade units.

        `progress` wraps the iteration over batches as `tqdm.tqdm` does, called with `total`.
        """
        batches = evaluation_batches(self._prepared, indices, self._batch_size)
        batches = progress(batches, total=len(batches)) if progress else batches
        parts = [self._step(batch["image"]).numpy() for batch in batches]
        return np.concatenate(parts).astype("float64") if parts else np.zeros(0)
