"""A training's log for TensorBoard."""

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from dr_keras.data.pipeline import training_batches
from dr_keras.grades import GRADE_NAMES, score_to_grade
from dr_keras.metrics import confusion_matrix
from dr_keras.training.options import options

_MAX_IMAGES = 8


class TensorBoard(keras.callbacks.Callback):
    """Writes scalars, an augmented batch, the validation confusion matrix and HParams.

    Args:
        fit: the `Fit` it watches.
        confusion_image: called with a confusion matrix (5, 5), rows true; returns uint8 (height,
            width, 3). Plots are drawn by `report`, which this package must not import.
    """

    def __init__(self, fit, confusion_image):
        super().__init__()
        self._fit = fit
        self._confusion_image = confusion_image
        self._writer = tf.summary.create_file_writer(str(fit.run_dir / "tensorboard"))

    def on_train_begin(self, logs=None):
        """Writes the hyperparameters and one augmented batch."""
        config = self._fit.config
        values = {name: _flat(getattr(config, name)) for name, _, _ in options(type(config))}
        with self._writer.as_default():
            hparams.hparams(values)
            tf.summary.image("augmented batch", self._augmented_batch(), step=0, max_outputs=_MAX_IMAGES)

    def on_epoch_end(self, epoch, logs=None):
        """Writes the epoch's scalars and its confusion matrix."""
        logs = dict(logs)
        weights = logs.pop("class_weights")
        with self._writer.as_default(step=epoch):
            for name, value in logs.items():
                tf.summary.scalar(name, value)
            for name, weight in zip(GRADE_NAMES, weights, strict=True):
                tf.summary.scalar(f"class weight/{name}", weight)
            labels, scores = self._fit.validation_labels, self._fit.validation_scores
            matrix = confusion_matrix(labels, score_to_grade(scores, self._fit.config.thresholds))
            tf.summary.image("validation confusion", self._confusion_image(matrix)[None])
        self._writer.flush()

    def on_train_end(self, logs=None):
        """Closes the log."""
        self._writer.close()

    def _augmented_batch(self):
        fit = self._fit
        batch = next(iter(training_batches(fit.prepared, fit.training, _MAX_IMAGES, 1, fit.config.seed)))
        windows = fit.trainer.augmentation(batch["image"], batch["uniform"], batch["normal"], training=True)
        return np.clip(np.asarray(windows), 0, 255).astype("uint8")


def _flat(value):
    return value if isinstance(value, (bool, int, float, str)) else str(value)
