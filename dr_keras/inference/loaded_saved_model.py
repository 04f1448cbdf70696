"""A loaded SavedModel whose signatures are methods; `export.saved_model` describes the signatures."""

from pathlib import Path

import tensorflow as tf

from dr_keras.inference.formats import find_version, read_saved_model_metadata


def load_saved_model(path):
    """Loads an exported model.

    Args:
        path: folder of a version (`NAME/3`), or of the folder of versions: then the highest.

    Returns:
        A `SavedModel`.

    Raises:
        InputError: if there is none, or one that this project didn't export.
    """
    return SavedModel(find_version(path))


class SavedModel:
    """A loaded SavedModel.

    Args:
        path: folder of a version.

    Attributes:
        path: as given.
        version: number of the version, or None if the folder was renamed.
        metadata: content of `dr_keras.json` as a dict, with its `rules` as `GradingRules`.
        image_size: side of the preprocessed images, in pixels.
        explains: whether the model has the signature `explain`.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.version = int(self.path.name) if self.path.name.isdigit() else None
        self.metadata = read_saved_model_metadata(self.path)
        self.image_size = self.metadata["image_size"]
        self._loaded = tf.saved_model.load(str(self.path))
        self.signatures = self._loaded.signatures
        self.explains = "explain" in self.signatures

    def grade(self, photographs):
        """Grades encoded photographs (list of bytes): dict of arrays (n,), from `serving_default`."""
        return self._call("serving_default", image_bytes=tf.constant(photographs, tf.string))

    def explain(self, photographs):
        """Grades and explains encoded photographs: dict of arrays, from the signature `explain`."""
        return self._call("explain", image_bytes=tf.constant(photographs, tf.string))

    def occlude(self, photographs):
        """Grades encoded photographs and tests them by occlusion: dict of arrays, from `occlude`."""
        return self._call("occlude", image_bytes=tf.constant(photographs, tf.string))

    def grade_pixels(self, images):
        """Grades preprocessed images (n, size, size, 3), RGB, 0-255: dict of arrays (n,), from `pixels`."""
        return self._call("pixels", image=tf.cast(images, tf.float32))

    def _call(self, signature, **inputs):
        return {name: value.numpy() for name, value in self.signatures[signature](**inputs).items()}
