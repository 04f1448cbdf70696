"""Scores prepared photographs with a compiled grader."""

import keras
import numpy as np
import tensorflow as tf

from dr_keras.data.pipeline import evaluation_batches
from dr_keras.models.grader_model import network_and_front

_BATCH_PIXELS = 2**23  # 32 images of 512 px
PIXELS_AT_ONCE = 2**20  # one image of 1024 px: more take 0.3 GB each, and no less time on processors


def scoring_step(grader):
    """Compiles a grader for inference: uint8 (batch, size, size, 3), RGB -> float32 tensor (batch,).

    A photograph's score doesn't depend on the others in its batch.
    """
    signature = [tf.TensorSpec((None, *grader.input_shape[1:]), tf.uint8)]
    step = tf.function(scores_of(grader), input_signature=signature).get_concrete_function()
    return lambda images: in_pieces(step, images)


def in_pieces(step, images):
    """Runs a compiled step on as many images at once as are `PIXELS_AT_ONCE`, and joins the results.

    Args:
        step: function of images to a tensor, or a tuple of them, with a row for each image.
        images: (batch, height, width, 3).

    Returns:
        What `step` returns, for all images.
    """
    count = max(1, PIXELS_AT_ONCE // (images.shape[1] * images.shape[2]))
    if len(images) <= count:
        return step(images)
    parts = [step(images[start : start + count]) for start in range(0, len(images), count)]
    return tf.nest.map_structure(lambda *tensors: tf.concat(tensors, axis=0), *parts)


def scores_of(grader):
    """Returns the function behind `scoring_step`, from tensors to tensors, for use inside a graph."""
    network, front = network_and_front(grader)
    features, head = split_head(network)
    trunk = keras.Model(network.inputs, features)
    return lambda images: head(trunk(front(tf.cast(images, tf.float32)), training=False))


def split_head(network):
    """Splits a network where its features lose their positions, and makes the rest the same in any batch.

    Matrix products of a single row use another kernel, whose sums differ in the last bit; so a single row is
    padded with a row of zeros. Convolutions give the same in any batch.

    Args:
        network: a functional model that ends in one unit.

    Returns:
        features: its symbolic tensor (batch, channels), from which the head computes the score.
        head: function of such features to scores (batch,).
    """
    features = next(layer.output for layer in network.layers if len(layer.output.shape) == 2)
    rest = keras.Model(features, network.output)

    def head(values):
        count = tf.shape(values)[0]
        padded = tf.pad(values, [[0, tf.maximum(0, 2 - count)], [0, 0]])
        return rest(padded, training=False)[:count, 0]

    return features, head


class DatasetScorer:
    """Scores prepared photographs with a grader, without augmentation; compiled once.

    Args:
        grader: model from `build_grader`.
        prepared: `PreparedDataset` of the grader's image size.
        batch_size: photographs in a batch; fewer of large ones, since several batches are under way at once.
    """

    def __init__(self, grader, prepared, batch_size=32):
        self._prepared = prepared
        self._batch_size = max(1, min(batch_size, _BATCH_PIXELS // prepared.image_size**2))
        self._step = scoring_step(grader)

    def __call__(self, indices, progress=None):
        """Scores photographs by position: int array (n,) -> float64 (n,), in grade units.

        `progress` wraps the iteration over batches as `tqdm.tqdm` does, called with `total`.
        """
        batches = evaluation_batches(self._prepared, indices, self._batch_size)
        batches = progress(batches, total=len(batches)) if progress else batches
        parts = [self._step(batch["image"]).numpy() for batch in batches]
        return np.concatenate(parts).astype("float64") if parts else np.zeros(0)
