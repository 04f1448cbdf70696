"""A dataset opened in one line: its records, images, `tf.data` and audit."""

import numpy as np

from dr_keras.data import audit, cache
from dr_keras.data.shards import PreparedDataset


class Dataset(PreparedDataset):
    """The photographs of a dataset, prepared at one image size; see `PreparedDataset` for what it holds."""

    def images(self, indices=None):
        """Returns images: uint8 (n, image_size, image_size, 3), RGB, 0-255; of all photographs if None."""
        return self.read(np.arange(len(self)) if indices is None else indices)

    def batches(self, batch_size=32, indices=None):
        """Returns one pass over photographs, in order, as Keras' `predict`, `evaluate` and `fit` take it.

        Args:
            batch_size: photographs in a batch.
            indices: int array of photographs; None takes all.

        Returns:
            `tf.data.Dataset` of images, uint8 (batch, image_size, image_size, 3), and their grades, float32
            (batch,), 0-4, -1 where there is none.
        """
        from dr_keras.data.pipeline import evaluation_batches

        indices = np.arange(len(self)) if indices is None else indices
        batches = evaluation_batches(self, indices, batch_size)
        return batches.map(lambda batch: (batch["image"], batch["grade"]))

    def audit(self):
        """Returns what is wrong with the dataset: the dict of `audit.audit_prepared`."""
        return audit.audit_prepared(self)


def open_dataset(
    data_dir=None, image_size=512, layout="auto", synthetic_images=2000, cache_dir=None, progress=None,
    headings=None,
):  # fmt: skip
    """Opens the graded photographs in a folder, prepared into the cache on first use.

    Args:
        data_dir: folder of a dataset in one of the known layouts, or one made by `scripts/prepare_data.py`;
            None draws synthetic photographs.
        image_size: side of the square images, in pixels.
        layout: name of the layout; "auto" recognises it.
        synthetic_images: how many synthetic photographs.
        cache_dir: where the images are kept; default: `cache.default_cache_dir()`.
        progress: wraps the preparation as `tqdm.tqdm` does, called with `total`; nothing if None.
        headings: dict of some of image, level, patient, eye, split to what a CSV file calls them.

    Returns:
        A `Dataset`.

    Raises:
        InputError: if there is no such folder, its layout isn't known, or no photograph can be read.
    """
    return cache.open_prepared(
        data_dir, layout, image_size, synthetic_images, cache_dir, progress, opened=Dataset, headings=headings
    )
