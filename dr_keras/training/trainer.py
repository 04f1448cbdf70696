"""The training loop: one loop for one device and for several."""

import time

import keras
import numpy as np
import tensorflow as tf
from keras import ops


def mean_squared_error(grades, scores):
    """Squared error per sample (P2): (batch,), (batch,) -> (batch,)."""
    return ops.square(grades - scores)


def mean_absolute_error(grades, scores):
    """Absolute error per sample."""
    return ops.abs(grades - scores)


def huber(grades, scores):
    """Squared error up to one grade, linear beyond: less weight on a mislabelled photograph."""
    error = ops.abs(grades - scores)
    return ops.where(error < 1.0, ops.square(error), 2.0 * error - 1.0)


LOSSES = {"mse": mean_squared_error, "mae": mean_absolute_error, "huber": huber}


class Trainer:
    """Holds what a training step needs and runs epochs of it.

    Build it inside `strategy.scope()`. The step runs once per replica on its part of the global
    batch; Keras' optimizers sum the gradients over replicas, so each replica divides by the global
    batch size.

    Args:
        grader: model from `build_grader`.
        augmentation: `FundusAugmentation` for its stored images and window.
        optimizer: Keras optimizer.
        loss: key of `LOSSES`.
        l2: factor on the sum of squared kernels (P2: 0.0005).
        strategy: `tf.distribute.Strategy`.
        average: decay per step of an exponential moving average of the weights, or 0 for none.
    """

    def __init__(self, grader, augmentation, optimizer, loss, l2, strategy):
        self.grader = grader
        self.augmentation = augmentation
        self.optimizer = optimizer
        self.strategy = strategy
        self._loss = LOSSES[loss]
        self._l2 = l2
        self._kernels = [v for v in grader.trainable_variables if v.name == "kernel"]
        self._core = keras.Sequential([grader.get_layer("standardize"), *_networks(grader)])
        optimizer.build(grader.trainable_variables)

    def _replica_step(self, batch):
        count = ops.shape(batch["grade"])[0] * self.strategy.num_replicas_in_sync
        with tf.GradientTape() as tape:
            windows = self.augmentation(batch["image"], batch["uniform"], batch["normal"], training=True)
            scores = self._core(windows, training=True)[:, 0]
            errors = ops.sum(self._loss(batch["grade"], scores)) / ops.cast(count, "float32")
            penalty = self._l2 * sum(ops.sum(ops.square(kernel)) for kernel in self._kernels)
            loss = errors + penalty / self.strategy.num_replicas_in_sync
        gradients = tape.gradient(loss, [v.value for v in self.grader.trainable_variables])
        self.optimizer.apply(gradients)
        return errors, penalty / self.strategy.num_replicas_in_sync

    @tf.function
    def train_step(self, batch):
        """One global batch. Returns the data loss and the L2 penalty, summed over replicas."""
        errors, penalty = self.strategy.run(self._replica_step, args=(batch,))
        return (
            self.strategy.reduce(tf.distribute.ReduceOp.SUM, errors, axis=None),
            self.strategy.reduce(tf.distribute.ReduceOp.SUM, penalty, axis=None),
        )

    @tf.function(reduce_retracing=True)
    def _score_step(self, images):
        return self.grader(images, training=False)[:, 0]

    def scores(self, batches):
        """Scores of evaluation batches: float64 (n,), in grade units."""
        parts = [self._score_step(batch["image"]).numpy() for batch in batches]
        return np.concatenate(parts).astype("float64") if parts else np.zeros(0)

    def run_epoch(self, iterator, steps, on_step=None):
        """Runs `steps` batches. Returns mean data loss, mean L2 penalty and images/s."""
        start, images = time.perf_counter(), 0
        total = penalty_total = 0.0
        for step in range(steps):
            batch = next(iterator)
            errors, penalty = self.train_step(batch)
            total, penalty_total = total + errors, penalty_total + penalty
            images += _global_size(batch, self.strategy)
            if on_step is not None:
                on_step(step, errors)
        total, penalty_total = float(total) / steps, float(penalty_total) / steps
        return total, penalty_total, images / (time.perf_counter() - start)


def _networks(grader):
    return [layer for layer in grader.layers if isinstance(layer, keras.Model)]


def _global_size(batch, strategy):
    return sum(part.shape[0] for part in strategy.experimental_local_results(batch["grade"]))
