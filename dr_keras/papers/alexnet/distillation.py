"""A backbone taught to give what another network's layers give, on photographs without grades.

AlexNet's published weights can't be installed as a package; those of EfficientNet-Lite0 can. So AlexNet's
backbone learns from it: its `pool5`, through a linear map that is thrown away afterwards, reproduces two of
the teacher's layers, cell by cell of the same 6x6 grid.
"""

import dataclasses
import math
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from dr_keras.data.pipeline import steps_per_epoch
from dr_keras.files import atomic_path
from dr_keras.models.alexnets import VARIANTS, alexnet_trunk, fold_batch_normalization
from dr_keras.models.efficientnet import MEAN, SD, efficientnet_lite0
from dr_keras.models.efficientnet_weights import imagenet_file, load_trunk
from dr_keras.models.grader_model import build_grader, network_of
from dr_keras.training.frozen.backbone_features import ORIENTATIONS, oriented
from dr_keras.training.hosts.devices import precision_scope

IMAGE_SIZE = 256
VARIANT = "caffe"
_STATISTICS = 200  # number of photographs that the statistics of the teacher's channels are computed from


@dataclasses.dataclass(frozen=True)
class DistillationConfig:
    """How a backbone is taught.

    Attributes:
        epochs, batch_size: an epoch shows every photograph once, each batch in one of eight orientations.
        learning_rate: of Adam at the start; half a cosine takes it to zero.
        seed: seed of the initial weights and the order.
        precision: Keras dtype policy.
    """

    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 0.001
    seed: int = 0
    precision: str = "float32"


class Distillation:
    """Teaches AlexNet's backbone, without grades.

    Args:
        config: `DistillationConfig`.
        sources: list of (`PreparedDataset` of 256 px, int array of photographs to learn from).
        caches: a `FeatureCache` of each source's dataset, filled by the teacher.
        teacher: from `load_teacher`.
    """

    def __init__(self, config, sources, caches, teacher):
        self._config, self._sources = config, [prepared for prepared, _ in sources]
        parts = [cache.of(*teacher, indices) for cache, (_, indices) in zip(caches, sources, strict=True)]
        self._targets = np.concatenate(parts)
        rows = [[(number, index) for index in indices] for number, (_, indices) in enumerate(sources)]
        self._rows = [row for part in rows for row in part]
        some = self._targets[:: max(1, len(self._targets) // _STATISTICS)].astype("float32")
        self._mean, self._sd = some.mean(axis=(0, 1, 2, 3)), some.std(axis=(0, 1, 2, 3)) + 1e-3
        with precision_scope(config.precision):
            self._student = _student(self._targets.shape[-1], config.seed)
        self._optimizer = keras.optimizers.Adam(config.learning_rate)
        self._optimizer.build(self._student.trainable_variables)
        self.steps = steps_per_epoch(len(self._rows), config.batch_size)

    def run(self, on_step=lambda step, total, loss, speed: None, max_steps=None):
        """Trains the backbone and returns it, with batch normalisation folded in.

        Args:
            on_step: called after each step with (step, total steps, loss, photographs per second).
            max_steps: number of steps; None trains for all epochs.
        """
        total = self.steps * self._config.epochs if max_steps is None else max_steps
        start = None
        for step in range(total):
            rate = self._config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / total))
            self._optimizer.learning_rate.assign(rate)
            loss = float(self._train_step(*self._batch(step)))
            start = start or time.perf_counter()  # the first step compiles
            speed = step * self._config.batch_size / max(time.perf_counter() - start, 1e-9)
            on_step(step + 1, total, loss, speed)
        trunk = alexnet_trunk(VARIANT)
        fold_batch_normalization(network_of(self._student), trunk)
        return trunk

    def explained(self, features, images):
        """Returns the share of the variance of the teacher's features that the student explains.

        Args:
            features: features of the teacher, (n, 6, 6, channels), for photographs not used in training.
            images: the same photographs, uint8 (n, 256, 256, 3), RGB.
        """
        wanted = (np.asarray(features, "float32") - self._mean) / self._sd
        given = self._student.predict(images, batch_size=self._config.batch_size, verbose=0)
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
        return tf.constant(oriented(images, orientation)), tf.constant(targets)

    @tf.function(reduce_retracing=True)
    def _train_step(self, images, targets):
        with tf.GradientTape() as tape:
            loss = ops.mean(ops.square(self._student(images, training=True) - targets))
        variables = self._student.trainable_variables
        self._optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
        return loss


def load_teacher():
    """EfficientNet-Lite0 with its published weights: (grader, backbone), as `FeatureCache.of` takes them.

    The backbone gives (batch, 6, 6, 432): its 16x16x112 layer, averaged, and its 8x8x320 layer, in the
    middle 6x6 cells: like AlexNet's they lie 32 pixels apart, around the middle of the image.

    Raises:
        InputError: if the weights aren't installed.
    """
    network = efficientnet_lite0(IMAGE_SIZE)
    load_trunk(network, imagenet_file("efficientnet_lite0"))
    middle = layers.AveragePooling2D(2)(network.get_layer("block5c_add").output)
    both = layers.Concatenate()([middle, network.get_layer("block7a_project").output])
    cells = layers.Cropping2D(1)(both)  # AlexNet's window doesn't cover the outermost of the 8x8 cells
    grader = build_grader(network, IMAGE_SIZE, MEAN, SD)
    return grader, keras.Model(network.inputs, cells)


def save_trunk(path, trunk):
    """Writes a backbone's weights as `.weights.h5` in half precision, whole or not at all."""
    with precision_scope("float16"):
        half = alexnet_trunk(VARIANT)
    half.set_weights(trunk.get_weights())
    with tempfile.TemporaryDirectory() as folder:  # Keras requires a name that ends in .weights.h5
        half.save_weights(Path(folder) / "trunk.weights.h5")
        with atomic_path(path) as temporary:
            temporary.write_bytes((Path(folder) / "trunk.weights.h5").read_bytes())


def _student(channels, seed):
    """Stored images to the teacher's features: the backbone with batch normalisation, and a linear map."""
    trunk, form = alexnet_trunk(VARIANT, seed, normalize_batches=True), VARIANTS[VARIANT]
    linear = layers.Conv2D(channels, 1, dtype="float32", name="to_teacher")(trunk.output)
    network = keras.Model(trunk.inputs, linear)
    return build_grader(network, IMAGE_SIZE, form.mean, form.sd)
