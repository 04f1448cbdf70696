"""Prepared images, read by position, with what is known of each."""

import errno
import math
import os
from pathlib import Path

import numpy as np

from dr_keras.data.fundus import FieldOfView
from dr_keras.data.photograph import Photograph, PreparedImage
from dr_keras.data.preparation import FORMAT, normalized, read_manifest, read_rows, shard_paths
from dr_keras.data.records import Record
from dr_keras.errors import InputError

_STATISTICS_IMAGES = 1000  # enough for three significant digits
_STATISTICS_STRIDE = 4  # pixels


class PreparedDataset:
    """The readable photographs of a prepared folder. The folder alone is enough.

    Attributes:
        folder: the prepared folder.
        name, root, notes: of the dataset it was made from.
        records: list of `Record`, one per readable photograph, in order.
        views: list of `FieldOfView`, where each lay in its original photograph.
        unreadable: list of (image, reason) of those left out.
        grades: int array (n,); -1 where the dataset gives none.
        image_size: side of the images in pixels.
        normalization: tuple of `normalization.STEPS`.

    Raises:
        InputError: if the folder isn't a whole prepared one, or nothing in it is readable.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        manifest = read_manifest(folder)
        if manifest is None or manifest.get("format") != FORMAT:
            raise InputError(
                f"{folder}: expected a folder made by scripts/prepare_data.py, with a manifest.json"
            )
        self.name, self.root, self.notes = manifest["dataset"], manifest["root"], manifest["notes"]
        self.image_size = manifest["image_size"]
        self.normalization = tuple(normalized(manifest)["normalization"])
        self.records, self.views, self.unreadable, positions = [], [], [], []
        for number in range(manifest["num_shards"]):
            for row in read_rows(folder, number):
                record = Record(**row["record"])
                if "error" in row:
                    self.unreadable.append((record.image, row["error"]))
                    continue
                self.records.append(record)
                self.views.append(FieldOfView(**row["field_of_view"]))
                positions.append((number, row["row"]))
        if not positions:
            raise InputError(
                f"{self.root or folder}: none of its {len(self.unreadable)} photographs can be read"
            )
        self.grades = np.array([-1 if record.grade is None else record.grade for record in self.records])
        self._positions = np.array(positions)
        self._shards = [self._open(number) for number in range(manifest["num_shards"])]

    def _open(self, number):
        path = shard_paths(self.folder, number)[0]
        try:
            return _Shard(path)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(
                f"{path}: not a whole shard ({error}); delete the folder and prepare it again"
            ) from None

    def __len__(self):
        return len(self.records)

    def read(self, indices):
        """Reads images by position: int array (batch,) -> uint8 (batch, size, size, 3), RGB."""
        indices = np.asarray(indices)
        images = np.empty((len(indices), self.image_size, self.image_size, 3), np.uint8)
        for target, index in zip(images, indices, strict=True):
            shard, row = self._positions[index]
            self._shards[shard].read(row, target)
        return images


class _Shard:
    """An array's file, read row by row: if it was mapped, all that was read would count as this process'."""

    def __init__(self, path):
        self._file = open(path, "rb", buffering=0)
        np.lib.format.read_magic(self._file)  # as `preparation` writes it, of version 1.0
        (count, *row_shape), _, dtype = np.lib.format.read_array_header_1_0(self._file)
        self._start, self._row_bytes = self._file.tell(), math.prod(row_shape) * dtype.itemsize
        expected = self._start + count * self._row_bytes
        if (size := os.fstat(self._file.fileno()).st_size) < expected:
            raise ValueError(f"{size} bytes, expected {expected}")

    def read(self, row, target):
        """Fills a contiguous array with a row; `OSError` where the file has become shorter."""
        place = self._start + row * self._row_bytes
        if os.preadv(self._file.fileno(), [target.data], place) < self._row_bytes:
            raise OSError(errno.EIO, "cut short since it was opened", self._file.name)


class StoredPhotograph:
    """A photograph whose square images are stored; only its frame is made of the original file.

    Args:
        places: list of (`PreparedDataset`, position), where the photograph is stored at one size or several.
    """

    def __init__(self, places):
        self._by_size = {dataset.image_size: (dataset, int(index)) for dataset, index in places}
        dataset, index = places[0]
        self.name = dataset.records[index].path

    def prepare(self, image_size, steps=()):
        """Returns the stored image of a size, or what `Photograph.prepare` makes where none is stored."""
        dataset, index = self._by_size.get(image_size, (None, None))
        if dataset is None or dataset.normalization != tuple(steps):
            return Photograph(self.name).prepare(image_size, steps)
        return PreparedImage(dataset.read([index])[0], dataset.views[index], "")

    def frame(self, max_side):
        """See `Photograph.frame`."""
        return Photograph(self.name).frame(max_side)

    def reason(self, error):
        """See `Photograph.reason`."""
        return str(error).removeprefix(f"{self.name}: ")


def color_statistics(prepared, indices):
    """Channel statistics of a training set (P2 section 4.2), over every fourth pixel each way.

    Args:
        prepared: `PreparedDataset`.
        indices: int array of the training photographs; of many, 1000 are taken evenly.

    Returns:
        mean (3,), sd (3,), both 0-255, and components (3, 3): column k is the pixel shift of one standard
        deviation along principal component k of the standardised colours (Krizhevsky's augmentation).
    """
    indices = np.asarray(indices)
    if len(indices) > _STATISTICS_IMAGES:
        indices = indices[np.linspace(0, len(indices) - 1, _STATISTICS_IMAGES).astype(int)]
    count, total, products = 0, np.zeros(3), np.zeros((3, 3))
    for index in indices:
        pixels = (
            prepared.read([index])[0, ::_STATISTICS_STRIDE, ::_STATISTICS_STRIDE].reshape(-1, 3).astype(float)
        )
        count += len(pixels)
        total += pixels.sum(0)
        products += pixels.T @ pixels
    mean = total / count
    covariance = products / count - np.outer(mean, mean)
    sd = np.sqrt(np.maximum(np.diag(covariance), 1e-6))
    values, vectors = np.linalg.eigh(covariance / np.outer(sd, sd))
    components = sd[:, None] * vectors * np.sqrt(np.maximum(values, 0))
    return mean, sd, components[:, ::-1]
