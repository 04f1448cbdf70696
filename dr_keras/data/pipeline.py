"""`tf.data` pipelines over prepared images: a function of (seed, epoch, sample), and of nothing else."""

import numpy as np
import tensorflow as tf

from dr_keras.data import augmentation, sampling

_INDEX_STREAM, _UNIFORM_STREAM, _NORMAL_STREAM, _NUM_STREAMS = 0, 1, 2, 3


def training_batches(
    prepared, indices, batch_size, epochs, seed, config=None, start_epoch=0, start_step=0, context=None
):
    """Batches of all epochs, one after another, `steps_per_epoch` to an epoch.

    Every draw is a counter-based random number of (seed, epoch, sample): the same whatever runs
    before it, beside it, or on how many replicas. The class weights of all epochs are a table in the
    graph, so that an epoch's weights change without a new graph.

    Args:
        prepared: `PreparedDataset`.
        indices: int array of the photographs to train on.
        batch_size: photographs in a (global) batch.
        epochs: number of the epoch to stop before.
        seed: seed of the order and of the augmentation.
        config: `SamplingConfig`.
        start_epoch, start_step: first epoch, and first step of it.
        context: `tf.distribute.InputContext`: whose part of each global batch is read. Default: all of it.

    Returns:
        `tf.data.Dataset` of dicts: `image` uint8 (batch, size, size, 3), RGB; `grade` float32
        (batch,); `uniform` float32 (batch, 6) and `normal` float32 (batch, 3), the augmentation's draws.
        With a context, one replica's part of a global batch after another's.
    """
    config, context = config or sampling.SamplingConfig(), context or tf.distribute.InputContext()
    indices = np.asarray(indices)
    grades = prepared.grades[indices]
    weights = [sampling.epoch_weights(grades, epoch, config) for epoch in range(max(epochs, 1))]
    table = tf.constant(np.array(weights), tf.float64)
    num_samples = batch_size * steps_per_epoch(len(indices), batch_size)

    def stream(epoch, number):
        return tf.stack([tf.constant(seed, tf.int64), epoch * _NUM_STREAMS + number])

    def draws(epoch):
        uniform = tf.random.stateless_uniform(
            [num_samples, augmentation.NUM_UNIFORM], stream(epoch, _UNIFORM_STREAM)
        )
        normal = tf.random.stateless_normal(
            [num_samples, augmentation.NUM_NORMAL], stream(epoch, _NORMAL_STREAM)
        )
        order = _order(
            tf.gather(tf.gather(table, epoch), grades), num_samples, stream(epoch, _INDEX_STREAM), config
        )
        slices = {"index": tf.gather(indices, order), "uniform": uniform, "normal": normal}
        parts = tf.data.Dataset.from_tensor_slices(slices)
        parts = parts.batch(batch_size // context.num_input_pipelines, drop_remainder=True)
        return parts.shard(context.num_input_pipelines, context.input_pipeline_id)

    dataset = tf.data.Dataset.range(start_epoch, epochs).flat_map(draws).skip(start_step)
    if context.num_replicas_in_sync > context.num_input_pipelines:  # several devices on a host
        dataset = dataset.rebatch(batch_size // context.num_replicas_in_sync, drop_remainder=True)
    return dataset.map(_reader(prepared), num_parallel_calls=2, deterministic=True).prefetch(4)


def evaluation_batches(prepared, indices, batch_size):
    """One pass in order, without augmentation: dicts of `image` and `grade` as in `training_batches`."""
    dataset = tf.data.Dataset.from_tensor_slices({"index": np.asarray(indices)}).batch(batch_size)
    return dataset.map(_reader(prepared), num_parallel_calls=2, deterministic=True).prefetch(2)


def steps_per_epoch(num_photographs, batch_size):
    """Batches that make an epoch: whole ones, and at least one."""
    return max(1, num_photographs // batch_size)


def _order(weights, num_samples, seed, config):
    """Positions of an epoch's samples: by weight with replacement, or a permutation repeated as needed."""
    if not config.resample:
        shuffled = tf.argsort(tf.random.stateless_uniform([weights.shape[0]], seed))
        return tf.gather(shuffled, tf.range(num_samples) % weights.shape[0])
    cumulative = tf.cumsum(weights)
    draws = tf.random.stateless_uniform([num_samples], seed, dtype=tf.float64) * cumulative[-1]
    return tf.searchsorted(cumulative, draws, side="right")


def _reader(prepared):
    size = prepared.image_size
    grades = tf.constant(prepared.grades, tf.float32)

    def read(batch):
        index = batch.pop("index")
        image = tf.numpy_function(prepared.read, [index], tf.uint8, stateful=False)
        image.set_shape([index.shape[0], size, size, 3])
        return {"image": image, "grade": tf.gather(grades, index), **batch}

    return read
