"""A run as a TensorFlow SavedModel that takes photographs as they are: for TF Serving, and to load here.

`NAME/<N>/` holds version N. Signatures, dicts in and out, any batch size:

- `serving_default`: `image_bytes` string (batch,), encoded JPEGs or PNGs, the original photographs ->
  `score` float32 (batch,), grade units, NaN where it can't be read; `grade` int32, -1 likewise; `referable`
  bool, False likewise; `gradable` bool, by `data.quality`; `message` string, "" or one line that says why it
  can't be read or isn't gradable.
- `explain`, of networks that end in global average pooling: also `map` float32 (batch, rows, columns),
  signed, grade units (mean over the networks, NaN where it can't be read) and `overlay_png_bytes` string
  (batch,): the map over the photograph, longer side at most 512 px, limits +-12; "" where it can't be read.
- `occlude`: as `explain`, of any network, with the occlusion test's map, 8 x 8 windows; limits +-1. It costs
  as much as 65 photographs.
- `pixels`: `image` float32 (batch, size, size, 3), prepared, RGB, 0-255 -> `score`, `grade` and `referable`.

`assets.extra/dr_keras.json` says what the model is (see `metadata`), TF Serving reads the requests in
`assets.extra/tf_serving_warmup_requests`. In Python: `load_saved_model(path).grade([bytes, ...])`.
"""

import os
import shutil
import tempfile
from pathlib import Path

import tensorflow as tf

from dr_keras import files
from dr_keras.export import exported, signatures, warm_up
from dr_keras.export.exported import EXTRA, METADATA
from dr_keras.export.metadata import describe
from dr_keras.grades import DEFAULT_THRESHOLDS

_TEMPORARY = ".export-"


def export_saved_model(graders, output_dir, thresholds=DEFAULT_THRESHOLDS, name=None):
    """Writes a SavedModel as the next free version; see the module's first lines.

    Args:
        graders: models from `build_grader` of one image size: the score is their mean.
        output_dir: folder of the versions, made if it isn't there.
        thresholds: four cuts from score to grade.
        name: of the model; that of the folder if None.

    Returns:
        Path of the version's folder. It is whole or absent; existing versions stay as they are.
    """
    output_dir = Path(output_dir)
    name = name or output_dir.resolve().name
    functions = signatures.Functions(graders, thresholds)
    with files.sole_writer(output_dir):
        for leftover in output_dir.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(leftover)
        folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=output_dir))
        try:
            functions.write(folder)
            (folder / EXTRA).mkdir()
            described = describe(graders, thresholds, name) | {"explains": functions.explains}
            files.write_json(folder / EXTRA / METADATA, described)
            warm_up.write_requests(folder / EXTRA / warm_up.FILE, name, functions.signatures)
            folder.chmod(0o755)
            version = output_dir / str(max(exported.versions(output_dir), default=0) + 1)
            os.rename(folder, version)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return version


def load_saved_model(path):
    """Loads an exported model.

    Args:
        path: of a version (`NAME/3`), or of the folder of versions: then the highest.

    Returns:
        A `SavedModel`.

    Raises:
        InputError: if there is none, or one that this project didn't export.
    """
    return SavedModel(exported.find_version(path))


class SavedModel:
    """An exported model, loaded.

    Args:
        path: folder of a version.

    Attributes:
        path: the folder; `version`: its number, or None where it was renamed.
        metadata: dict, what `dr_keras.json` says.
        image_size: side of the prepared images, in pixels.
        explains: whether it has maps.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.version = int(self.path.name) if self.path.name.isdigit() else None
        self.metadata = exported.read_metadata(self.path)
        self.image_size = self.metadata["image_size"]
        self._loaded = tf.saved_model.load(str(self.path))
        self.signatures = self._loaded.signatures
        self.explains = "explain" in self.signatures

    def grade(self, photographs):
        """Grades encoded photographs (list of bytes): dict of arrays (n,), as `serving_default`."""
        return self._call("serving_default", image_bytes=tf.constant(photographs, tf.string))

    def explain(self, photographs):
        """Grades and explains encoded photographs: dict of arrays, as signature `explain`."""
        return self._call("explain", image_bytes=tf.constant(photographs, tf.string))

    def occlude(self, photographs):
        """Grades encoded photographs and hides parts of each: dict of arrays, as signature `occlude`."""
        return self._call("occlude", image_bytes=tf.constant(photographs, tf.string))

    def grade_pixels(self, images):
        """Grades prepared images (n, size, size, 3), RGB, 0-255: dict of arrays (n,), as `pixels`."""
        return self._call("pixels", image=tf.cast(images, tf.float32))

    def _call(self, signature, **inputs):
        return {name: value.numpy() for name, value in self.signatures[signature](**inputs).items()}
