"""A network taught to give what another network's layers give, on photographs without grades.

Few graded photographs teach a network of random weights little; ImageNet's teach an EfficientNet much, whose
weights can be installed as a package. So the papers' networks learn from it: their last map, through a linear
map that is thrown away afterwards, reproduces two of the teacher's layers, cell by cell.
"""

import math
import time

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from dr_keras.data.parallel import batches_ahead
from dr_keras.data.pipeline import steps_per_epoch
from dr_keras.training.frozen.backbone_features import ORIENTATIONS, oriented

_STATISTICS = 200  # number of photographs that the statistics of the teacher's channels are computed from


class Distillation:
    """Teaches a network, without grades.

    Args:
        config: `distillation_config.DistillationConfig`.
        student: `student.Student`.
        sources: list of (`PreparedDataset` of the student's image size, int array of the photographs to learn
            from, their features (photographs, orientations, cells, cells, channels) by the teacher).
    """

    def __init__(self, config, student, sources):
        self._config, self._student = config, student
        self._sources = [prepared for prepared, _, _ in sources]
        self._targets = np.concatenate([targets for _, _, targets in sources])
        numbered = enumerate(indices for _, indices, _ in sources)
        self._rows = [(number, index) for number, indices in numbered for index in indices]
        some = self._targets[:: max(1, len(self._targets) // _STATISTICS)].astype("float32")
        self._mean, self._sd = some.mean(axis=(0, 1, 2, 3)), some.std(axis=(0, 1, 2, 3)) + 1e-3
        self._model = student.with_linear_map(self._targets.shape[-1], config.seed)
        self._optimizer = keras.optimizers.Adam(config.learning_rate)
        self._optimizer.build(self._model.trainable_variables)
        self.steps = steps_per_epoch(len(self._rows), config.batch_size)

    def run(self, on_step=lambda step, total, loss, speed: None, max_steps=None):
        """Trains the student and returns its grader.

        Args:
            on_step: called after each step with (step, total steps, loss, photographs per second).
            max_steps: number of steps; None trains for all epochs.
        """
        total = self.steps * self._config.epochs if max_steps is None else max_steps
        start = None
        batches = batches_ahead(self._batch, range(total), 1)
        for step, batch in enumerate(batch for ahead in batches for _, batch in ahead):
            rate = self._config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / total))
            self._optimizer.learning_rate.assign(rate)
            loss = float(self._train_step(*map(tf.constant, batch)))
            start = start or time.perf_counter()  # the first step compiles
            speed = step * self._config.batch_size / max(time.perf_counter() - start, 1e-9)
            on_step(step + 1, total, loss, speed)
        self._student.finish()
        return self._student.grader

    def explained(self, features, images):
        """Returns the share of the variance of the teacher's features that the student explains.

        Args:
            features: features of the teacher, (n, cells, cells, channels), for photographs not used in
                training.
            images: the same photographs, uint8 (n, size, size, 3), RGB.
        """
        wanted = (np.asarray(features, "float32") - self._mean) / self._sd
        given = self._model.predict(images, batch_size=self._config.batch_size, verbose=0)
        residual, spread = np.square(given - wanted).mean(), np.square(wanted - wanted.mean((0, 1, 2))).mean()
        return float(1 - residual / spread)

    def _batch(self, step):
        """Images and targets of a step; they depend on the seed and the step alone."""
        epoch, place = divmod(step, self.steps)
        rng = np.random.default_rng((self._config.seed, epoch))
        order = np.resize(rng.permutation(len(self._rows)), self.steps * self._config.batch_size)
        orientation = rng.integers(ORIENTATIONS, size=self.steps)[place]
        chosen = order[place * self._config.batch_size : (place + 1) * self._config.batch_size]
        rows = [self._rows[position] for position in chosen]
        images = np.concatenate([self._sources[number].read([index]) for number, index in rows])
        targets = (self._targets[chosen, orientation].astype("float32") - self._mean) / self._sd
        return oriented(images, orientation), targets

    @tf.function(reduce_retracing=True)
    def _train_step(self, images, targets):
        with tf.GradientTape() as tape:
            loss = ops.mean(ops.square(self._model(images, training=True) - targets))
        variables = self._model.trainable_variables
        self._optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
        return loss
