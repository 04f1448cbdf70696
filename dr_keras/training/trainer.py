"""The training step and its loop: the same for one device, for several, and for several hosts."""

import tensorflow as tf
from keras import ops

from dr_keras.grades import NUM_GRADES
from dr_keras.models.grader_model import network_of
from dr_keras.training.hosts import workers


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


def euclidean(grades, scores):
    """P1's loss: half the squared error of grades and scores divided by 4, the range of its sigmoid."""
    return ops.square((grades - scores) / (NUM_GRADES - 1)) / 2


LOSSES = {"mse": mean_squared_error, "mae": mean_absolute_error, "huber": huber, "euclidean": euclidean}


class Trainer:
    """Compiles the training step of a grader and runs it batch by batch.

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
        clip_norm: largest norm of a step's whole gradient; a longer one is shortened to it. 0: no limit.

    Attributes:
        windows: compiled function of (images, uniform, normal), see `FundusAugmentation`: the augmented,
            standardised windows that the network is trained on.
    """

    def __init__(self, grader, augmentation, optimizer, loss, l2, strategy, clip_norm=0.0):
        self.grader = grader
        self.augmentation = augmentation
        self.optimizer = optimizer
        self.strategy = strategy
        self._loss = LOSSES[loss]
        self._l2 = l2
        self._clip_norm = clip_norm
        self._kernels = [v for v in grader.trainable_variables if v.name == "kernel"]
        self._standardize, self._network = grader.get_layer("standardize"), network_of(grader)
        # On CPUs, XLA makes warp, colour and standardisation one loop over the pixels, several times faster
        # than op by op; for the network it is slower than TensorFlow's own kernels.
        jit_compile = augmentation.supports_jit and not tf.config.list_physical_devices("GPU")
        self.windows = tf.function(self._standardized_windows, jit_compile=jit_compile)
        optimizer.build(grader.trainable_variables)

    def _standardized_windows(self, images, uniform, normal):
        return self._standardize(self.augmentation(images, uniform, normal, training=True))

    def _replica_step(self, batch):
        count = ops.shape(batch["grade"])[0] * self.strategy.num_replicas_in_sync
        windows = self.windows(batch["image"], batch["uniform"], batch["normal"])
        with tf.GradientTape() as tape:
            scores = self._network(windows, training=True)[:, 0]
            errors = ops.sum(self._loss(batch["grade"], scores)) / ops.cast(count, "float32")
            penalty = self._l2 * sum(ops.sum(ops.square(kernel)) for kernel in self._kernels)
            loss = errors + penalty / self.strategy.num_replicas_in_sync
        gradients = tape.gradient(loss, [v.value for v in self.grader.trainable_variables])
        self.optimizer.apply(self._shortened(gradients) if self._clip_norm else gradients)
        return errors, penalty / self.strategy.num_replicas_in_sync

    def _shortened(self, gradients):
        """Clips this replica's gradients by the norm of their sum over replicas, which is what counts."""
        total = gradients
        if self.strategy.num_replicas_in_sync > 1:
            total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        factor = self._clip_norm / tf.maximum(tf.linalg.global_norm(total), self._clip_norm)
        return [gradient * factor for gradient in gradients]

    @tf.function
    def train_step(self, batch):
        """One global batch. Returns the data loss and the L2 penalty, summed over replicas."""
        errors, penalty = self.strategy.run(self._replica_step, args=(batch,))
        return (
            self.strategy.reduce(tf.distribute.ReduceOp.SUM, errors, axis=None),
            self.strategy.reduce(tf.distribute.ReduceOp.SUM, penalty, axis=None),
        )

    def run_steps(self, iterator, steps):
        """Runs `steps` batches; yields (data loss, L2 penalty, photographs) of each.

        The losses are tensors that the device may still be computing; reading one waits for it.
        """
        for _ in range(steps):
            batch = next(iterator)
            errors, penalty = self.train_step(batch)
            yield errors, penalty, _global_size(batch, self.strategy)


def _global_size(batch, strategy):
    here = sum(part.shape[0] for part in strategy.experimental_local_results(batch["grade"]))
    return here * workers.place(strategy)[1]
