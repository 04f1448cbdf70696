"""The functions that become a SavedModel's signatures; `saved_model` says what each takes and returns."""

import tensorflow as tf

from dr_keras.errors import InputError
from dr_keras.explain import lesion_maps, occlusion, overlay, ram
from dr_keras.export import graph_overlay, graph_photographs
from dr_keras.models.grader_model import network_of
from dr_keras.training.scoring import scores_of

_AT_ONCE = 16  # greatest number of photographs of a batch that are decoded in parallel
_WINDOWS = 8  # number of the occlusion test's windows, across and down


class Functions:
    """The functions from tensors to tensors that become signatures.

    Args:
        graders: models of one image size.
        rules: `GradingRules`.
        dtype: in which scores are averaged.

    Attributes:
        signatures: dict of name -> function.
        marks_lesions: whether all networks are lesion networks, whose overlays outline lesions.
        grid: `Grid` of the regression activation maps, of networks that have them.
    """

    def __init__(self, graders, rules, dtype=tf.float64):
        self._rules, self._dtype = rules, dtype
        self._weights = [weight.value for grader in graders for weight in grader.variables]
        self._score = [scores_of(grader) for grader in graders]
        self._cuts = tf.constant(rules.thresholds, tf.float64)
        self._size = graders[0].input_shape[1]
        # Traced once for all signatures.
        photographs = tf.TensorSpec((None,), tf.string)
        self._prepare = tf.function(self._prepare_all, input_signature=[photographs], autograph=False)
        window = network_of(graders[0]).input_shape[1] // _WINDOWS
        self._occlude = [occlusion.scores_and_drops(grader, window, window) for grader in graders]
        self._windows = occlusion.occlusion_grid(graders[0], window, window)
        self.signatures = {
            "serving_default": self.grade,
            "pixels": self.grade_pixels,
            "occlude": self.occlude,
        }
        self.marks_lesions = all(lesion_maps.has_lesions(grader) for grader in graders)
        if self.marks_lesions:
            self._lesions = [lesion_maps.marked_lesions(grader) for grader in graders]
            self.signatures["explain"] = self.explain_lesions
            return
        try:
            self.grid = ram.ram_grid(graders[0])
            self._steps = [ram.scores_and_maps(grader) for grader in graders]
            self.signatures["explain"] = self.explain
        except InputError:
            pass

    @property
    def explains(self):
        """Whether there is a signature `explain`."""
        return "explain" in self.signatures

    def grade(self, image_bytes):
        """Signature `serving_default`."""
        prepared = self._prepare(image_bytes)
        return self._gradable(prepared, self.scores(prepared["pixels"]))

    def explain(self, image_bytes):
        """Signature `explain`."""
        return self._explain(image_bytes, self._steps, self.grid, overlay.LIMITS["ram"])

    def explain_lesions(self, image_bytes):
        """Signature `explain` of lesion networks."""
        prepared = self._prepare(image_bytes)
        readable = prepared["message"] == ""
        found = self.find_lesions(prepared["pixels"])
        unknown = tf.where(readable, 0.0, float("nan"))
        pictures = tf.map_fn(
            lambda row: graph_overlay.outlines_png(*row),
            (image_bytes, prepared["size"], prepared["circle"], found["marked"], readable),
            parallel_iterations=_AT_ONCE,
            fn_output_signature=tf.string,
        )
        return {
            **self._gradable(prepared, found["score"]),
            "map": found["map"] + unknown[:, None, None],
            "lesion_scores": found["lesion_scores"] + unknown[:, None],
            "context_score": found["context_score"] + unknown,
            "lesion_areas": tf.reduce_mean(found["marked"], axis=(1, 2)) + unknown[:, None],
            "overlay_png_bytes": pictures,
        }

    def find_lesions(self, images):
        """What lesion networks see: a dict, the score having the type that scores are averaged in.

        Beside what the signature `explain` says, it has `marked`, float32 (batch, size, size, lesions), which
        is 1 on lesions.
        """
        results = [step(images) for step in self._lesions]
        scores, maps, marked, added, context = (list(parts) for parts in zip(*results, strict=True))
        return {
            "score": self._mean(scores),
            "map": tf.add_n(maps) / len(maps),
            # Of several networks, a lesion is what most of them mark.
            "marked": tf.cast(tf.add_n(marked) > len(marked) / 2, tf.float32),
            "lesion_scores": tf.add_n(added) / len(added),
            "context_score": tf.add_n(context) / len(context),
        }

    def occlude(self, image_bytes):
        """Signature `occlude`."""
        return self._explain(image_bytes, self._occlude, self._windows, overlay.LIMITS["occlusion"])

    def _explain(self, image_bytes, steps, grid, limit):
        prepared = self._prepare(image_bytes)
        readable = prepared["message"] == ""
        scores, maps = self._scores_and_maps(steps, prepared["pixels"])
        maps = tf.where(readable[:, None, None], maps, float("nan"))
        pictures = tf.map_fn(
            lambda row: graph_overlay.overlay_png(*row, grid, limit),
            (image_bytes, prepared["size"], prepared["circle"], maps, readable),
            parallel_iterations=_AT_ONCE,
            fn_output_signature=tf.string,
        )
        return {**self._gradable(prepared, scores), "map": maps, "overlay_png_bytes": pictures}

    def activation_map(self, images):
        """Scores (batch,) and regression activation maps, of networks that have them."""
        return self._scores_and_maps(self._steps, images)

    def grade_pixels(self, image):
        """Signature `pixels`."""
        return self.graded(self.scores(image))

    def write(self, folder):
        """Writes the SavedModel; raises `InputError` if that fails, on a full disk, say."""
        size = (None, self._size, self._size, 3)
        pixels = tf.TensorSpec(size, tf.float32, name="image")
        photographs = tf.TensorSpec((None,), tf.string, name="image_bytes")
        module = tf.Module()  # Keras' archive would list the weights in another order at every run
        module.weights = self._weights
        signatures = {
            name: tf.function(function, [pixels if name == "pixels" else photographs], autograph=False)
            for name, function in self.signatures.items()
        }
        try:
            tf.saved_model.save(module, folder, signatures)
        except tf.errors.OpError as error:  # the only errors that don't come as an `OSError`
            reason = error.message.splitlines()[0].rpartition("; ")[2]
            raise InputError(f"{folder}: can't be written ({reason}); nothing was left behind") from None

    def _prepare_all(self, image_bytes):
        described = {
            "pixels": tf.TensorSpec((self._size, self._size, 3), tf.float32),
            "circle": tf.TensorSpec((3,), tf.float64),
            "size": tf.TensorSpec((2,), tf.int32),
            "message": tf.TensorSpec((), tf.string),
            "fault": tf.TensorSpec((), tf.string),
        }
        return tf.map_fn(
            lambda data: graph_photographs.prepare(data, self._size, self._rules.quality),
            image_bytes,
            parallel_iterations=_AT_ONCE,
            fn_output_signature=described,
        )

    def scores(self, images):
        """Scores of preprocessed images (batch,), the mean over the networks."""
        return self._mean([_never_empty(score, images) for score in self._score])

    def graded(self, scores):
        """Returns a dict of score, grade and referable for float64 scores (batch,); NaN gets grade -1.

        Of calibrated models it also has probabilities (batch, 5) and referable_probability (batch,).
        """
        grades = tf.reduce_sum(tf.cast(scores[:, None] >= self._cuts, tf.int32), axis=1)
        grades = tf.where(tf.math.is_nan(scores), -1, grades)
        score = tf.cast(scores, tf.float32)
        known = {"score": score, "grade": grades, "referable": grades >= self._rules.referable_grade}
        if self._rules.calibration is not None:
            shares = _probabilities(scores, self._rules.calibration)
            referable = tf.reduce_sum(shares[:, self._rules.referable_grade :], axis=1)
            known |= {"probabilities": shares, "referable_probability": referable}
        return known

    def _gradable(self, prepared, scores):
        readable = prepared["message"] == ""
        message = tf.where(readable, prepared["fault"], prepared["message"])
        graded, gradable = self.graded(tf.where(readable, scores, float("nan"))), message == ""
        for name in ("probabilities", "referable_probability"):
            if name in graded:
                shape = (-1,) + (1,) * (len(graded[name].shape) - 1)
                graded[name] = tf.where(tf.reshape(gradable, shape), graded[name], float("nan"))
        graded["grade"] = tf.where(gradable, graded["grade"], -1)
        graded["referable"] &= gradable
        return {**graded, "gradable": gradable, "message": message}

    def _scores_and_maps(self, steps, images):
        scores, maps = zip(*[step(images) for step in steps], strict=True)
        return self._mean(scores), tf.add_n(maps) / len(maps)

    def _mean(self, scores):
        return tf.add_n([tf.cast(score, self._dtype) for score in scores]) / len(scores)


def _probabilities(scores, calibration):
    """`grades.grade_probabilities` as a graph: float64 (batch,) to float32 (batch, 5)."""
    slope, *cuts = calibration
    at_least = tf.sigmoid(slope * scores[:, None] - tf.constant(cuts, scores.dtype))
    ends = tf.ones_like(scores)[:, None], tf.zeros_like(scores)[:, None]
    at_least = tf.concat([ends[0], at_least, ends[1]], axis=1)
    return tf.cast(at_least[:, :-1] - at_least[:, 1:], tf.float32)


def _never_empty(step, images):
    """Adds a black image to an empty batch, which oneDNN's convolutions refuse, and drops its result."""
    count = tf.shape(images)[0]
    results = step(tf.pad(images, [[0, tf.maximum(0, 1 - count)], [0, 0], [0, 0], [0, 0]]))
    return tf.nest.map_structure(lambda result: result[:count], results)
