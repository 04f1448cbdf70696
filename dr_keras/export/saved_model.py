"""A run as a TensorFlow SavedModel that takes photographs as they are: for TF Serving, and to load here.

`NAME/<N>/` holds version N. Signatures, dicts in and out, any batch size:

- `serving_default`: `image_bytes` string (batch,), encoded JPEGs or PNGs, the original photographs ->
  `score` float32 (batch,), grade units, NaN where not gradable; `grade` int32, -1 likewise; `referable`
  bool, False likewise; `gradable` bool; `message` string, "" or one line that says why it isn't gradable.
- `explain`, of networks that end in global average pooling: also `map` float32 (batch, rows, columns),
  signed, grade units (mean over the networks, NaN where not gradable) and `overlay_png_bytes` string
  (batch,): the map over the photograph, longer side at most 512 px, limits +-4; "" where not gradable.
- `pixels`: `image` float32 (batch, size, size, 3), prepared, RGB, 0-255 -> `score`, `grade` and `referable`.

`assets.extra/dr_keras.json` says what the model is (see `metadata`), TF Serving reads the requests in
`assets.extra/tf_serving_warmup_requests`. In Python: `load_saved_model(path).grade([bytes, ...])`.
"""

import os
import shutil
import tempfile
from pathlib import Path

import keras
import tensorflow as tf

from dr_keras import files
from dr_keras.errors import InputError
from dr_keras.explain import ram
from dr_keras.export import exported, graph_overlay, graph_photographs, warm_up
from dr_keras.export.exported import EXTRA, METADATA
from dr_keras.export.metadata import describe
from dr_keras.grades import DEFAULT_THRESHOLDS, REFERABLE_GRADE

_TEMPORARY = ".export-"
_AT_ONCE = 16  # photographs of a batch that are decoded side by side, where there are as many cores


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
    functions = Functions(graders, thresholds)
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

    def grade_pixels(self, images):
        """Grades prepared images (n, size, size, 3), RGB, 0-255: dict of arrays (n,), as `pixels`."""
        return self._call("pixels", image=tf.cast(images, tf.float32))

    def _call(self, signature, **inputs):
        return {name: value.numpy() for name, value in self.signatures[signature](**inputs).items()}


class Functions:
    """The functions of tensors that become signatures.

    Args:
        graders: models of one image size.
        thresholds: four cuts from score to grade.

    Attributes:
        explains: whether all end in global average pooling, so that there are maps.
        signatures: dict of name to function.
    """

    def __init__(self, graders, thresholds):
        self._graders = graders
        self._cuts = tf.constant(thresholds, tf.float64)
        self._size = graders[0].input_shape[1]
        # Traced once for all signatures.
        photographs = tf.TensorSpec((None,), tf.string)
        self._prepare = tf.function(self._prepare_all, input_signature=[photographs], autograph=False)
        self.signatures = {"serving_default": self.grade, "pixels": self.grade_pixels}
        try:
            self._grid = ram.ram_grid(graders[0])
            self._steps = [ram.scores_and_maps(grader) for grader in graders]
            self.signatures["explain"] = self.explain
        except InputError:
            pass
        self.explains = "explain" in self.signatures

    def grade(self, image_bytes):
        """Signature `serving_default`."""
        prepared = self._prepare(image_bytes)
        return self._gradable(prepared, self._scores(prepared["pixels"]))

    def explain(self, image_bytes):
        """Signature `explain`."""
        prepared = self._prepare(image_bytes)
        scores, maps = self._scores_and_maps(prepared["pixels"])
        graded = self._gradable(prepared, scores)
        maps = tf.where(graded["gradable"][:, None, None], maps, float("nan"))
        pictures = tf.map_fn(
            lambda row: graph_overlay.overlay_png(*row, self._grid),
            (image_bytes, prepared["size"], prepared["circle"], maps, graded["gradable"]),
            parallel_iterations=_AT_ONCE,
            fn_output_signature=tf.string,
        )
        return {**graded, "map": maps, "overlay_png_bytes": pictures}

    def grade_pixels(self, image):
        """Signature `pixels`."""
        return self._graded(self._scores(image))

    def write(self, folder):
        """Writes the SavedModel."""
        size = (None, self._size, self._size, 3)
        pixels = tf.TensorSpec(size, tf.float32, name="image")
        photographs = tf.TensorSpec((None,), tf.string, name="image_bytes")
        archive = keras.export.ExportArchive()
        for grader in self._graders:
            archive.track(grader)
        for name, function in self.signatures.items():
            archive.add_endpoint(name, function, [pixels if name == "pixels" else photographs])
        archive.write_out(folder, verbose=False)

    def _prepare_all(self, image_bytes):
        described = {
            "pixels": tf.TensorSpec((self._size, self._size, 3), tf.float32),
            "circle": tf.TensorSpec((3,), tf.float64),
            "size": tf.TensorSpec((2,), tf.int32),
            "message": tf.TensorSpec((), tf.string),
        }
        return tf.map_fn(
            lambda data: graph_photographs.prepare(data, self._size),
            image_bytes,
            parallel_iterations=_AT_ONCE,
            fn_output_signature=described,
        )

    def _scores(self, images):
        return _mean(
            [_alike(lambda x, g=grader: g(x, training=False)[:, 0], images) for grader in self._graders]
        )

    def _scores_and_maps(self, images):
        results = [_alike(step, images) for step in self._steps]
        maps = tf.add_n([maps for _, maps in results]) / len(results)
        return _mean([scores for scores, _ in results]), maps

    def _graded(self, scores):
        """Dict of score, grade and referable of float64 scores (batch,); NaN isn't graded."""
        grades = tf.reduce_sum(tf.cast(scores[:, None] >= self._cuts, tf.int32), axis=1)
        grades = tf.where(tf.math.is_nan(scores), -1, grades)
        score = tf.cast(scores, tf.float32)
        return {"score": score, "grade": grades, "referable": grades >= REFERABLE_GRADE}

    def _gradable(self, prepared, scores):
        gradable = prepared["message"] == ""
        scores = tf.where(gradable, scores, float("nan"))
        return {**self._graded(scores), "gradable": gradable, "message": prepared["message"]}


def _mean(scores):
    return tf.add_n([tf.cast(score, tf.float64) for score in scores]) / len(scores)


def _alike(step, images):
    """As `training.inference.alike`, in a graph: no photograph goes through alone, nor an empty batch."""
    count = tf.shape(images)[0]
    results = step(tf.pad(images, [[0, tf.maximum(0, 2 - count)], [0, 0], [0, 0], [0, 0]]))
    return tf.nest.map_structure(lambda result: result[:count], results)
