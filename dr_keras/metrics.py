"""Quadratic weighted kappa: the agreement measure of the EyePACS competition."""

import warnings

import keras
import numpy as np
from keras import ops

from dr_keras.grades import DEFAULT_THRESHOLDS, NUM_GRADES, score_to_grade
from dr_keras.registration import PACKAGE


def confusion_matrix(y_true, y_pred, num_classes=NUM_GRADES):
    """Counts pairs of grades.

    Args:
        y_true: array (n,) of true grades, whole numbers from 0 to `num_classes - 1` or NaN.
        y_pred: array (n,) of predicted grades, likewise.
        num_classes: number of grades.

    Returns:
        int64 array (num_classes, num_classes): rows are true grades, columns predicted ones.
        Pairs with a NaN aren't counted.

    Raises:
        ValueError: if an array isn't one-dimensional or holds anything but grades, or if the two differ
            in length.
    """
    y_true = _as_grades("y_true", y_true, num_classes)
    y_pred = _as_grades("y_pred", y_pred, num_classes)
    if y_true.shape != y_pred.shape:
        raise ValueError(
            "`y_true` and `y_pred` must be equally long. "
            f"Received: {len(y_true)} true and {len(y_pred)} predicted grades"
        )
    known = ~(np.isnan(y_true) | np.isnan(y_pred))
    cells = y_true[known].astype("int64") * num_classes + y_pred[known].astype("int64")
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def quadratic_weighted_kappa(y_true, y_pred, num_classes=NUM_GRADES):
    """Cohen's kappa with squared grade differences as weights.

    1 is perfect agreement; 0 is the agreement expected by chance with the same shares of grades.

    Args:
        y_true: array (n,) of true grades, whole numbers from 0 to `num_classes - 1`.
        y_pred: array (n,) of predicted grades, likewise.
        num_classes: number of grades.

    Returns:
        float, at most 1. NaN if either array holds a NaN (a failed prediction doesn't count as grade 0).
        Also NaN, with a RuntimeWarning, if every grade is the same, since kappa is undefined then.

    Raises:
        ValueError: on empty arrays, and where `confusion_matrix` raises.
    """
    matrix = confusion_matrix(y_true, y_pred, num_classes)
    if len(y_true) == 0:
        raise ValueError("`y_true` must hold at least one grade. Received: an empty array")
    if matrix.sum() < len(y_true):
        return float("nan")
    expected = np.outer(matrix.sum(axis=1), matrix.sum(axis=0)) / matrix.sum()
    disagreement = _squared_differences(num_classes)
    by_chance = np.sum(disagreement * expected)
    if by_chance == 0:
        warnings.warn(
            "quadratic weighted kappa is undefined where all grades are the same",
            RuntimeWarning,
            stacklevel=2,
        )
        return float("nan")
    return float(1 - np.sum(disagreement * matrix) / by_chance)


@keras.saving.register_keras_serializable(package=PACKAGE)
class QuadraticWeightedKappa(keras.metrics.Metric):
    """Quadratic weighted kappa of regression scores cut into grades, or of a classifier's likeliest grades.

    The state is the confusion matrix, so the result over many batches is that of all samples at once.
    A NaN score, or a label that isn't a grade, makes the result NaN, unless its sample weight is 0
    (padding). The result is also NaN where kappa isn't defined: no samples, or all of one grade.

    Args:
        thresholds: four increasing numbers, in grade units.
        name: name of the metric.
        dtype: dtype of the result; counts are always float32 (exact up to 16.7 million per cell).

    Raises:
        ValueError: if `thresholds` aren't four increasing numbers.
    """

    def __init__(self, thresholds=DEFAULT_THRESHOLDS, name="quadratic_weighted_kappa", dtype=None):
        super().__init__(name=name, dtype=dtype)
        score_to_grade((), thresholds)  # raises on wrong thresholds
        self.thresholds = tuple(float(cut) for cut in thresholds)
        self._cuts = _float32_not_below(self.thresholds)
        self.matrix = self.add_variable(
            (NUM_GRADES, NUM_GRADES), initializer="zeros", dtype="float32", name="confusion_matrix"
        )
        self.invalid = self.add_variable((), initializer="zeros", dtype="float32", name="invalid_samples")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch.

        Args:
            y_true: true grades, (batch,) or (batch, 1); or one-hot, (batch, 5).
            y_pred: regression scores in grade units, (batch,) or (batch, 1); or a value for each grade,
                (batch, 5), such as a softmax or its logits, of which the largest counts.
            sample_weight: weights, (batch,), (batch, 1) or a scalar; None counts each sample once.

        Raises:
            ValueError: if grades or scores have another shape, or differ in number.
        """
        labels, _ = _as_column("y_true", y_true)
        scores, is_grade = _as_column("y_pred", y_pred)
        if None not in (labels.shape[0], scores.shape[0]) and labels.shape[0] != scores.shape[0]:
            raise ValueError(
                "`y_true` and `y_pred` must be equally long. "
                f"Received: {labels.shape[0]} grades and {scores.shape[0]} scores"
            )
        weights = ops.reshape(ops.cast(1.0 if sample_weight is None else sample_weight, "float32"), (-1,))
        weights = ops.broadcast_to(weights, ops.shape(scores))

        is_true = ops.equal(labels[:, None], np.arange(NUM_GRADES, dtype="float32"))
        valid = ops.logical_and(ops.any(is_true, axis=1), ops.logical_not(ops.isnan(scores)))
        if is_grade:
            grades = ops.cast(ops.where(ops.isnan(scores), 0.0, scores), "int32")
        else:
            grades = ops.sum(ops.cast(ops.greater_equal(scores[:, None], self._cuts), "int32"), axis=1)
        is_predicted = ops.equal(grades[:, None], np.arange(NUM_GRADES, dtype="int32"))
        # Masked sums, not a matrix product: accelerators may round the factors of a product.
        cells = ops.logical_and(is_true[:, :, None], is_predicted[:, None, :])
        counted = ops.where(valid, weights, 0.0)
        self.matrix.assign_add(ops.sum(ops.where(cells, counted[:, None, None], 0.0), axis=0))
        invalid = ops.logical_and(ops.logical_not(valid), ops.not_equal(weights, 0.0))
        self.invalid.assign_add(ops.sum(ops.cast(invalid, "float32")))

    def result(self):
        """Returns the kappa of all samples since the last reset, a scalar tensor."""
        matrix = ops.convert_to_tensor(self.matrix)
        disagreement = ops.convert_to_tensor(_squared_differences(NUM_GRADES), dtype="float32")
        shares = ops.sum(matrix, axis=1, keepdims=True) / ops.sum(matrix)
        expected = shares * ops.sum(matrix, axis=0, keepdims=True)
        kappa = 1.0 - ops.sum(disagreement * matrix) / ops.sum(disagreement * expected)
        return ops.cast(ops.where(self.invalid > 0.0, float("nan"), kappa), self.dtype)

    def get_config(self):
        return {**super().get_config(), "thresholds": list(self.thresholds)}


def _as_grades(name, values, num_classes):
    values = np.asarray(values, dtype="float64")
    if values.ndim != 1:
        raise ValueError(f"`{name}` must be one-dimensional. Received: {name}.shape={values.shape}")
    known = values[~np.isnan(values)]
    wrong = known[(known < 0) | (known >= num_classes) | (known != np.floor(known))]
    if wrong.size:
        raise ValueError(
            f"`{name}` must hold whole grades from 0 to {num_classes - 1}. Received: {wrong[0]:g} among them"
        )
    return values


def _as_column(name, values):
    """Values (batch,), and whether they are the positions of the largest of five: NaN where one is NaN."""
    values = ops.cast(values, "float32")
    if len(values.shape) == 2 and values.shape[1] == NUM_GRADES:
        largest = ops.cast(ops.argmax(values, axis=1), "float32")
        return ops.where(ops.any(ops.isnan(values), axis=1), float("nan"), largest), True
    if len(values.shape) == 2 and values.shape[1] == 1:
        return values[:, 0], False
    if len(values.shape) != 1:
        raise ValueError(
            f"`{name}` must have shape (batch,), (batch, 1) or (batch, {NUM_GRADES}). "
            f"Received: shape={values.shape}"
        )
    return values, False


def _squared_differences(num_classes):
    grades = np.arange(num_classes)
    return np.square(grades[:, None] - grades[None, :])


def _float32_not_below(cuts):
    """The smallest float32 at or above each threshold: float32 scores get the grades of `score_to_grade`."""
    rounded = np.asarray(cuts, dtype="float32")
    return np.where(rounded < np.asarray(cuts), np.nextafter(rounded, np.float32(np.inf)), rounded)
