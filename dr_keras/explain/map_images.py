"""Attribution maps in TensorBoard, which show how they change during training."""

import keras
import numpy as np
import tensorflow as tf

from dr_keras.data.fundus import FieldOfView
from dr_keras.explain.geometry import place_on_square
from dr_keras.explain.overlay import LIMITS, blend
from dr_keras.explain.ram import ram_grid, regression_activation_map
from dr_keras.grades import NUM_GRADES

_PICTURES = 8
_TIMES = 25  # how often maps are written in a training, roughly


class MapImages(keras.callbacks.Callback):
    """Writes the regression activation maps of fixed photographs, first the photographs themselves.

    Args:
        images: uint8 (batch, size, size, 3), RGB, of the grader's image size.
        folder: folder of the log; one of its own, since TensorBoard reads one writer a folder.
        every: epochs between maps; those of the first and the last epoch are there in any case.
        limit: grade units at which the colours end.

    Raises:
        InputError: when training begins, if the model has no global average pooling before its score.
    """

    def __init__(self, images, folder, every=1, limit=LIMITS["ram"]):
        super().__init__()
        if every < 1:
            raise ValueError(f"`every` must be at least 1. Received: every={every}")
        self._images, self._every, self._limit = np.asarray(images), every, limit
        self._writer = tf.summary.create_file_writer(str(folder))
        self._last = self._shown = None

    @classmethod
    def of_fit(cls, fit):
        """Makes the callback for a `Fit`: up to 8 validation photographs, about 25 times in its training."""
        images = fit.prepared.read(one_of_each(fit.validation_labels, fit.validation))
        return cls(images, fit.run_dir / "tensorboard" / "maps", max(1, fit.config.epochs // _TIMES))

    def on_train_begin(self, logs=None):
        """Writes the photographs."""
        ram_grid(self.model)
        with self._writer.as_default(step=0):
            tf.summary.image("photographs", self._images, max_outputs=len(self._images))

    def on_epoch_end(self, epoch, logs=None):
        """Writes the maps if `every` epochs have passed."""
        self._last = epoch
        if epoch % self._every == 0:
            self._write_maps(epoch)

    def on_train_end(self, logs=None):
        """Writes the last maps and closes the log."""
        if self._last is not None and self._last != self._shown:
            self._write_maps(self._last)
        self._writer.close()

    def _write_maps(self, epoch):
        self._shown = epoch
        grid, inside = ram_grid(self.model), FieldOfView.of_square(self._images.shape[1]).mask()
        _, maps = regression_activation_map(self.model, self._images)
        pictures = [
            blend(image, np.where(inside, place_on_square(cells, grid), 0), self._limit, inside)
            for image, cells in zip(self._images, maps, strict=True)
        ]
        with self._writer.as_default(step=epoch):
            tf.summary.image("maps", np.stack(pictures), max_outputs=len(pictures))
        self._writer.flush()


def one_of_each(labels, positions, count=_PICTURES):
    """Chooses photographs in turn from each grade, the highest first, until there are `count`.

    Args:
        labels: int array (n,) of grades.
        positions: int array (n,), what is chosen from.
        count: how many, or all if there are fewer.

    Returns:
        int array, part of `positions`.
    """
    labels, positions = np.asarray(labels), np.asarray(positions)
    turn = np.zeros(len(labels), int)
    for grade in range(NUM_GRADES):
        turn[labels == grade] = np.arange(np.sum(labels == grade))
    return positions[np.lexsort((-labels, turn))[:count]]
