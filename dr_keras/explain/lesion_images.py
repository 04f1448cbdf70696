"""A lesion network's findings in TensorBoard, which show how they change during training."""

import keras
import numpy as np
import tensorflow as tf

from dr_keras.data.fundus import FieldOfView
from dr_keras.explain.lesion_findings import find_lesions
from dr_keras.explain.lesion_overlay import outlined
from dr_keras.lesion_kinds import LESIONS

_LEAST = (0.5,) * len(LESIONS)


class LesionImages(keras.callbacks.Callback):
    """Writes the loss, the learning rate and the outlined lesions of fixed photographs after every epoch.

    Args:
        images: uint8 (n, size, size, 3), RGB, prepared photographs.
        folder: folder of the log.
    """

    def __init__(self, images, folder):
        super().__init__()
        self._images = np.asarray(images)
        self._writer = tf.summary.create_file_writer(str(folder))

    @classmethod
    def of_fit(cls, fit):
        """Makes the callback for a `LesionFit`, with some of the photographs that it is trained on."""
        return cls(fit.pictures, fit.run_dir / "tensorboard")

    def on_epoch_end(self, epoch, logs=None):
        """Writes one epoch."""
        view = FieldOfView.of_square(self._images.shape[1])
        pictures = []
        for image in self._images:
            probabilities = np.asarray(self.model(image[None].astype("float32"), training=False))[0]
            shares = np.zeros((*probabilities.shape[:2], len(LESIONS)), "float32")
            found = find_lesions(np.concatenate([probabilities, shares], axis=-1), _LEAST, 0.0, view)
            pictures.append(outlined(image, found, view))
        with self._writer.as_default(step=epoch):
            tf.summary.image("lesions", np.stack(pictures), max_outputs=len(pictures))
            for name in ("loss", "learning_rate", "images_per_second"):
                tf.summary.scalar(name, logs[name])
        self._writer.flush()

    def on_train_end(self, logs=None):
        """Closes the log."""
        self._writer.close()
