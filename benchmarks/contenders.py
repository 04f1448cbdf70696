"""What `training.py` times: steps and preparation of this project, and what they are compared with."""

import cv2
import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from dr_keras.data import cache, preparation, synthetic
from dr_keras.data.pipeline import training_batches
from dr_keras.models import nets
from dr_keras.training.build import build_trainer
from dr_keras.training.config import TrainingConfig
from dr_keras.training.trainer import Trainer

BATCH = TrainingConfig.batch_size
_PHOTOGRAPHS = 64
_REPEATS = 64  # each is listed so often: epochs as long as those of 4096 photographs
_LARGE = (2848, 4288)  # height and width of a 12-megapixel fundus camera's photographs


def prepared_photographs(image_size, folder):
    """Opens synthetic photographs of a size, prepared into a folder."""
    return cache.open_prepared(None, "synthetic", image_size, _PHOTOGRAPHS, folder)


class Training:
    """The training of one network, in pieces that are timed.

    Args:
        prepared: `PreparedDataset`.
        precision: Keras dtype policy.
        changes: fields of `TrainingConfig` that differ from the recipe.
    """

    def __init__(self, prepared, precision, **changes):
        indices = np.tile(np.arange(len(prepared)), _REPEATS)
        config = TrainingConfig(image_size=prepared.image_size, precision=precision, **changes)
        strategy = tf.distribute.get_strategy()
        self.trainer = build_trainer(config, prepared, indices, strategy)
        self._bare = Trainer(
            self.trainer.grader, _Windows(), self.trainer.optimizer, config.loss, config.l2, strategy
        )
        self._batches = iter(training_batches(prepared, indices, BATCH, config.epochs, config.seed))
        self._images = next(self._batches)
        window = nets.WINDOWS[prepared.image_size]
        windows = keras.layers.CenterCrop(window, window, dtype="float32")(self._images["image"])
        self._windows = {**self._images, "image": tf.identity(windows)}
        self.parameters = self.trainer.grader.count_params()

    def bare(self, steps):
        """The compiled step on resident windows: no pipeline, no augmentation."""
        for _ in range(steps):
            errors, _ = self._bare.train_step(self._windows)
        errors.numpy()

    def fed(self, steps):
        """Steps as a training runs them: pipeline, augmentation, network."""
        for step in self.trainer.run_steps(self._batches, steps):
            errors = step[0]
        errors.numpy()

    def augmented(self, steps):
        """Steps with augmentation on resident images, without the pipeline."""
        for _ in range(steps):
            errors, _ = self.trainer.train_step(self._images)
        errors.numpy()

    def augmentation(self, batches):
        """Augmentation and standardisation alone, compiled as in the step."""
        batch = self._images
        for _ in range(batches):
            windows = self.trainer.windows(batch["image"], batch["uniform"], batch["normal"])
        windows[0, 0, 0, 0].numpy()


class _Windows:
    """In the augmentation's place where images are windows already."""

    supports_jit = True

    def __call__(self, images, uniform, normal, training=False):
        return images


def network_rows(image_size):
    """Net-5's layers as plain data, for `torch_net5`."""
    rows = []
    for layer in nets.net5(image_size).layers:
        if isinstance(layer, keras.layers.Conv2D):
            rows.append(
                {"filters": layer.filters, "kernel": layer.kernel_size[0], "stride": layer.strides[0]}
            )
        elif isinstance(layer, keras.layers.MaxPooling2D):
            rows.append({})
    return rows


def large_photograph():
    """Draws a synthetic photograph of 12 megapixels: a Pillow image."""
    height, width = _LARGE
    drawn = synthetic.draw_fundus(7, 2, height).image[:, :width]
    image = np.zeros((height, width, 3), np.uint8)
    left = (width - drawn.shape[1]) // 2
    image[:, left : left + drawn.shape[1]] = drawn
    return Image.fromarray(image)


def prepare_with_project(path, image_size):
    """Function of a number of times to prepare a photograph, as one of preparation's processes does."""

    def prepare(times):
        cv2.setNumThreads(1)
        for _ in range(times):
            preparation.Photograph(path).prepare(image_size)

    return prepare


def prepare_with_pillow(path, image_size):
    """The same with Pillow: full decode, crop, and its own choice of resize. It is told where to crop."""
    top, left, height, width = preparation.Photograph(path).prepare(image_size).field_of_view.rectangle

    def prepare(times):
        for _ in range(times):
            with Image.open(path) as image:
                square = image.convert("RGB").crop((left, top, left + width, top + height))
                np.asarray(square.resize((image_size, image_size)))

    return prepare
