"""Features of a frozen backbone, computed once for each photograph and stored beside the prepared ones.

A photograph has features for each of its views: its orientations, flips and right-angle turns as in P1's
augmentation, or changed copies of it.
"""

import contextlib
import dataclasses
import hashlib
import math

import keras
import numpy as np
import tensorflow as tf

from dr_keras.data.harmless_changes import Changes, changed_copy
from dr_keras.data.parallel import batches_ahead
from dr_keras.errors import InputError
from dr_keras.files import atomic_path, sole_writer
from dr_keras.models.grader_model import network_and_front
from dr_keras.training.protocol import Interrupted

ORIENTATIONS = 8
_BATCH = 16  # photographs whose views are made while those before them go through the backbone
_AT_ONCE = 16  # images that go through the backbone together


@dataclasses.dataclass(frozen=True)
class Turned:
    """A photograph in the eight orientations that `oriented` numbers."""

    def __len__(self):
        return ORIENTATIONS

    def of(self, image, position):
        """Returns uint8 (views, size, size, 3); `position` is the photograph's among the prepared ones."""
        return np.stack([oriented(image[None], number)[0] for number in range(ORIENTATIONS)])


@dataclasses.dataclass(frozen=True)
class Changed:
    """A photograph, its mirror image, and copies of it that harmless changes were made to."""

    copies: int = 16
    changes: Changes = Changes()

    def __len__(self):
        return 2 + self.copies

    def of(self, image, position):
        """As `Turned.of`; the same position draws the same changes."""
        rng = np.random.default_rng(position)
        copies = [changed_copy(image, rng, self.changes) for _ in range(self.copies)]
        return np.stack([image, image[:, ::-1], *copies])


def trunk_of(network, layer):
    """Returns the part of a network up to a layer, and freezes it.

    Raises:
        InputError: if there is no such layer, or it leaves nothing to train.
    """
    names = [each.name for each in network.layers]
    if layer not in names:
        raise InputError(
            f"--freeze_through={layer}: {network.name} has no such layer; it has {', '.join(names)}"
        )
    trunk = keras.Model(network.inputs, network.get_layer(layer).output)
    for each in trunk.layers:
        each.trainable = False
    if not network.trainable_variables:
        raise InputError(f"--freeze_through={layer}: leaves nothing of {network.name} to train")
    return trunk


class FeatureCache:
    """Features of a dataset's photographs; it holds those of the frozen backbone that was last asked for.

    Where the folder of the prepared photographs can be written, they are also stored there as
    `features-KEY.npy`, for the next run with this backbone.

    Args:
        prepared: `PreparedDataset` of the backbone's image size.
        progress: wraps the iteration over batches as `tqdm.tqdm` does, called with `total`; or None.
        should_stop: called after every batch; True keeps what is done and raises `protocol.Interrupted`.
    """

    def __init__(self, prepared, progress=None, should_stop=lambda: False):
        self._prepared = prepared
        self._progress = progress or (lambda batches, total: batches)
        self._should_stop = should_stop
        self._key, self._features = None, None

    def of(self, grader, trunk, indices, views=Turned()):
        """Returns features, computing those that aren't known yet.

        Args:
            grader: the backbone's grader, for its window and standardisation.
            trunk: model from `trunk_of`.
            indices: int array (n,), positions of photographs.
            views: `Turned` or `Changed`.

        Returns:
            float16 (n, views, ...): a photograph's features in each.
        """
        key = hashlib.sha256(f"{trunk_digest(grader, trunk)} {views}".encode()).hexdigest()
        path = self._prepared.folder / f"features-{key[:16]}.npy"
        if key != self._key:
            shape = (len(self._prepared), len(views), *trunk.output.shape[1:])
            self._key, self._features = key, load_rows(path, shape)
        todo = np.unique(np.asarray(indices)[~_known(self._features)[indices]])
        if len(todo):
            try:
                self._compute(todo, views, _trunk_step(grader, trunk))
            finally:
                with contextlib.suppress(OSError):  # the disk is read-only or full: they stay in memory
                    self._share(path)
        return self._features[indices]

    def _share(self, path):
        """Writes what is known, with what another process has written meanwhile."""
        with sole_writer(path.parent):
            unknown = ~_known(self._features)
            self._features[unknown] = load_rows(path, self._features.shape)[unknown]
            save_rows(path, self._features)

    def _compute(self, todo, views, step):
        made = batches_ahead(lambda n: views.of(self._prepared.read(np.array([n]))[0], int(n)), todo, _BATCH)
        for batch in self._progress(made, total=math.ceil(len(todo) / _BATCH)):
            images = np.concatenate([of_one for _, of_one in batch])
            starts = range(0, len(images), _AT_ONCE)
            features = np.concatenate([step(images[start : start + _AT_ONCE]).numpy() for start in starts])
            positions = np.array([position for position, _ in batch])
            self._features[positions] = features.reshape(len(batch), len(views), *features.shape[1:])
            if self._should_stop():
                raise Interrupted(self._prepared.folder)


def _known(features):
    return ~np.isnan(features.reshape(len(features), -1)[:, 0])


def load_rows(path, shape, dtype=np.float16):
    """Reads an array with a row for each photograph; without the file, rows of NaN, which mean "unknown"."""
    if path.exists():
        return np.load(path)
    return np.full(shape, np.nan, dtype)


def save_rows(path, features):
    """Writes the array that `load_rows` reads, whole or not at all."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.save(file, features)


def trunk_digest(grader, trunk):
    """Hexadecimal digest of what a backbone computes: of its weights, its standardisation and its shapes."""
    digest = hashlib.sha256(repr(grader.get_layer("standardize").get_config()).encode())
    for value in trunk.get_weights():
        digest.update(np.ascontiguousarray(value).data)
    digest.update(str((grader.input_shape, trunk.output.shape)).encode())
    return digest.hexdigest()


def oriented(images, number):
    """Turns images (batch, height, width, channels) into one of the eight orientations; 0 is upright."""
    return np.rot90(images if number < 4 else images[:, :, ::-1], number % 4, axes=(1, 2))


def _trunk_step(grader, trunk):
    _, front = network_and_front(grader)

    @tf.function(input_signature=[tf.TensorSpec((None, *grader.input_shape[1:]), tf.uint8)])
    def step(images):
        return tf.cast(trunk(front(tf.cast(images, tf.float32)), training=False), tf.float16)

    return step.get_concrete_function()
