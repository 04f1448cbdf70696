import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import cohen_kappa_score
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix

from dr_keras.grades import score_to_grade
from dr_keras.metrics import QuadraticWeightedKappa, confusion_matrix, quadratic_weighted_kappa

RECORDED = "tensorflow_addons_0_23.json"


def random_grades(seed, n=200):
    rng = np.random.default_rng(seed)
    truth = rng.choice(5, size=n, p=[0.5, 0.1, 0.2, 0.1, 0.1])
    return truth, np.clip(truth + rng.integers(-2, 3, size=n), 0, 4)


def random_scores(seed, n=200):
    truth, _ = random_grades(seed, n)
    return truth, (truth + np.random.default_rng(seed + 1).normal(0, 0.9, n)).astype("float32")


def result_of(metric, *batches):
    for batch in batches:
        metric.update_state(*batch)
    return float(metric.result())


# The function


def test_kappa_by_hand():
    # Squared differences 0 + 1 + 0 + 4 = 5. By chance, with grades 0, 1, 2 drawn as truth (2, 0, 2) and
    # prediction (2, 1, 1) have them: (2*1*1 + 2*1*4 + 2*2*4 + 2*1*1) / 4 = 7.
    assert quadratic_weighted_kappa([0, 0, 2, 2], [0, 1, 2, 0]) == pytest.approx(1 - 5 / 7)
    assert quadratic_weighted_kappa([0, 1, 2, 3, 4], [0, 1, 2, 3, 4]) == 1
    assert quadratic_weighted_kappa([0, 4], [4, 0]) == -1
    assert quadratic_weighted_kappa([0, 2, 4], [2, 2, 2]) == 0


@pytest.mark.parametrize("seed", range(20))
def test_kappa_equals_scikit_learn(seed):
    truth, predicted = random_grades(seed, n=5 + 20 * seed)
    expected = cohen_kappa_score(truth, predicted, weights="quadratic", labels=range(5))
    assert quadratic_weighted_kappa(truth, predicted) == pytest.approx(expected, abs=1e-12)
    assert quadratic_weighted_kappa(truth.astype("float32"), predicted.tolist()) == pytest.approx(expected)


def test_kappa_counts_unused_grades():
    assert quadratic_weighted_kappa([0, 1, 2], [0, 2, 2], 3) == quadratic_weighted_kappa(
        [0, 1, 2], [0, 2, 2], 9
    )


def test_kappa_equals_tensorflow_addons():
    check_recorded(pathlib.Path(__file__).parent / "golden" / RECORDED)


def test_kappa_equals_tensorflow_addons_in_full(shared_dir):
    check_recorded(shared_dir / "golden" / RECORDED)


def check_recorded(path):
    cases = json.loads(path.read_text())["cohen_kappa_quadratic"]
    assert len(cases) == 3
    for case in cases:
        assert quadratic_weighted_kappa(case["y_true"], case["y_pred"]) == pytest.approx(
            case["kappa"], abs=1e-6
        )
        metric = QuadraticWeightedKappa()
        assert result_of(metric, (case["y_true"], case["y_pred"])) == pytest.approx(case["kappa"], abs=1e-6)


def test_kappa_keeps_nan():
    assert np.isnan(quadratic_weighted_kappa([0, 1, 2], [0, np.nan, 2]))
    assert np.isnan(quadratic_weighted_kappa([0, np.nan, 2], [0, 1, 2]))
    assert np.isnan(quadratic_weighted_kappa([np.nan], [np.nan]))


@pytest.mark.parametrize("grades", [[0, 0, 0], [3, 3, 3], [2]])
def test_kappa_of_one_grade_is_undefined(grades):
    with pytest.warns(RuntimeWarning, match="undefined where all grades are the same"):
        assert np.isnan(quadratic_weighted_kappa(grades, grades))


@pytest.mark.parametrize(
    "truth, predicted, message",
    [
        ([], [], "at least one grade"),
        ([0, 1], [0, 1, 2], "equally long. Received: 2 true and 3 predicted"),
        ([[0], [1]], [0, 1], r"`y_true` must be one-dimensional. Received: y_true.shape=\(2, 1\)"),
        ([0, 1], [0, 5], "`y_pred` must hold whole grades from 0 to 4. Received: 5"),
        ([0, -1], [0, 1], "`y_true` must hold whole grades from 0 to 4. Received: -1"),
        ([0, 1], [0, 1.5], "Received: 1.5"),
        ([0, 1], [0, np.inf], "Received: inf"),
    ],
)
def test_kappa_refuses(truth, predicted, message):
    with pytest.raises(ValueError, match=message):
        quadratic_weighted_kappa(truth, predicted)


def test_confusion_matrix():
    truth, predicted = random_grades(0)
    expected = sklearn_confusion_matrix(truth, predicted, labels=range(5))
    np.testing.assert_array_equal(confusion_matrix(truth, predicted), expected)
    np.testing.assert_array_equal(confusion_matrix([0, 1, 1], [1, np.nan, 0], 2), [[0, 1], [1, 0]])


# The metric


def test_metric_is_exact_across_batches():
    truth, scores = random_scores(3, n=203)
    expected = quadratic_weighted_kappa(truth, score_to_grade(scores))
    batches = [(truth[i : i + 8], scores[i : i + 8, None]) for i in range(0, 203, 8)]
    metric = QuadraticWeightedKappa()
    assert result_of(metric, *batches) == pytest.approx(expected, abs=1e-6)
    np.testing.assert_array_equal(metric.matrix, confusion_matrix(truth, score_to_grade(scores)))
    metric.reset_state()
    assert result_of(metric, (truth[:, None], scores)) == pytest.approx(expected, abs=1e-6)


def test_metric_cuts_as_score_to_grade():
    # 0.7 and 1.3 aren't float32 numbers; their neighbours on both sides must fall as in float64.
    thresholds = (0.7, 1.3, 2.6, 3.1)
    cuts = np.asarray(thresholds, dtype="float32")
    scores = np.concatenate([np.nextafter(cuts, np.float32(-9)), cuts, np.nextafter(cuts, np.float32(9))])
    scores = np.concatenate([scores, np.float32([-np.inf, -3, 6.01, np.inf])])
    metric = QuadraticWeightedKappa(thresholds)
    metric.update_state(np.full(len(scores), 2), scores)
    expected = np.bincount(score_to_grade(scores, thresholds).astype(int), minlength=5)
    np.testing.assert_array_equal(np.asarray(metric.matrix)[2], expected)


def test_metric_keeps_nan():
    truth, scores = random_scores(4)
    metric = QuadraticWeightedKappa()
    assert np.isnan(result_of(metric, ([1, 2], [1.0, np.nan]), (truth, scores)))
    metric.reset_state()
    assert not np.isnan(result_of(metric, (truth, scores)))


@pytest.mark.parametrize("label", [-1, 5, 1.5, np.nan])
def test_metric_of_a_wrong_label_is_nan(label):
    assert np.isnan(result_of(QuadraticWeightedKappa(), ([0.0, 1.0, label], [0.0, 1.0, 2.0])))


def test_metric_without_samples_or_with_one_grade_is_nan():
    assert np.isnan(float(QuadraticWeightedKappa().result()))
    assert np.isnan(result_of(QuadraticWeightedKappa(), ([2, 2], [1.9, 2.1])))


def test_metric_weighs_samples():
    truth, scores = random_scores(5)
    weights = np.random.default_rng(0).uniform(0, 2, len(truth))
    expected = cohen_kappa_score(truth, score_to_grade(scores), weights="quadratic", sample_weight=weights)
    assert result_of(QuadraticWeightedKappa(), (truth, scores, weights)) == pytest.approx(expected, abs=1e-6)
    column = weights[:, None]
    assert result_of(QuadraticWeightedKappa(), (truth, scores, column)) == pytest.approx(expected, abs=1e-6)


def test_metric_passes_over_padding():
    truth, scores = random_scores(6)
    expected = result_of(QuadraticWeightedKappa(), (truth, scores))
    padded = (np.append(truth, -1), np.append(scores, np.nan), np.append(np.ones(len(truth)), 0))
    assert result_of(QuadraticWeightedKappa(), padded) == expected


def test_metric_in_a_compiled_step_of_unknown_batch_size():
    truth, scores = random_scores(7)
    metric = QuadraticWeightedKappa()

    @tf.function(
        input_signature=[tf.TensorSpec((None,), "int32"), tf.TensorSpec((None, 1), "bfloat16")],
        jit_compile=True,
    )
    def step(labels, predictions):
        metric.update_state(labels, predictions)
        return metric.result()

    half = tf.cast(scores[:, None], "bfloat16")
    step(truth[:120], half[:120])
    expected = quadratic_weighted_kappa(truth, score_to_grade(tf.cast(half[:, 0], "float32")))
    assert float(step(truth[120:], half[120:])) == pytest.approx(expected, abs=1e-6)


def test_metric_on_a_model():
    truth, scores = random_scores(8)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Activation("linear")])
    model.compile(loss="mse", metrics=[QuadraticWeightedKappa()])
    logs = model.evaluate(scores[:, None], truth, batch_size=64, verbose=0, return_dict=True)
    expected = quadratic_weighted_kappa(truth, score_to_grade(scores))
    assert logs["quadratic_weighted_kappa"] == pytest.approx(expected, abs=1e-6)


def test_metric_survives_saving():
    metric = QuadraticWeightedKappa(thresholds=(0.4, 1.2, 2.0, 3.0), name="kappa")
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert isinstance(again, QuadraticWeightedKappa)
    assert again.get_config() == {"name": "kappa", "dtype": "float32", "thresholds": [0.4, 1.2, 2.0, 3.0]}
    assert result_of(again, ([0, 1, 2], [0.39, 0.4, 1.2])) == 1


@pytest.mark.parametrize("thresholds", [(0.5, 1.5, 2.5), (0.5, 1.5, 1.5, 3.5), (0.5, np.nan, 2.5, 3.5)])
def test_metric_refuses_thresholds(thresholds):
    with pytest.raises(ValueError, match="`thresholds` must be 4 increasing numbers"):
        QuadraticWeightedKappa(thresholds)


def test_metric_refuses_other_shapes():
    message = r"`y_pred` must have shape \(batch,\), \(batch, 1\) or \(batch, 5\)"
    with pytest.raises(ValueError, match=message):
        QuadraticWeightedKappa().update_state([1, 2], np.zeros((2, 4)))
    with pytest.raises(ValueError, match="Received: 2 grades and 1 scores"):
        QuadraticWeightedKappa().update_state([1, 2], [1.0])


ON_JAX = """
import keras, numpy as np
from dr_keras.metrics import QuadraticWeightedKappa
assert keras.backend.backend() == "jax"
metric = QuadraticWeightedKappa()
metric.update_state([0, 0, 2], np.array([[0.1], [0.6], [2.2]]))
metric.update_state([2], np.array([[-1.0]]))
print(float(metric.result()))
metric.update_state([2], np.array([np.nan]))
print(float(metric.result()))
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX isn't installed")
def test_metric_on_jax():
    run = subprocess.run(
        [sys.executable, "-c", ON_JAX],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    kappa, with_nan = map(float, run.stdout.split())
    assert kappa == pytest.approx(1 - 5 / 7, abs=1e-6)
    assert np.isnan(with_nan)


def test_metric_takes_a_classifiers_probabilities_and_one_hot_grades():
    rng = np.random.default_rng(0)
    labels, probabilities = rng.integers(0, 5, 200), rng.dirichlet(np.ones(5), 200).astype("float32")
    expected = quadratic_weighted_kappa(labels, probabilities.argmax(axis=1))
    for truth in (labels, np.eye(5)[labels]):
        metric = QuadraticWeightedKappa()
        for start in (0, 70):
            metric.update_state(truth[start : start + 70], probabilities[start : start + 70])
        metric.update_state(truth[140:], np.log(probabilities[140:]))
        assert float(metric.result()) == pytest.approx(expected, abs=1e-6)
    probabilities[3, 2] = np.nan
    metric.update_state(labels, probabilities)
    assert np.isnan(float(metric.result()))


def test_metric_compiles_with_a_classifier():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5, activation="softmax")])
    model.compile(loss="sparse_categorical_crossentropy", metrics=[QuadraticWeightedKappa()])
    features, grades = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 5
    found = model.evaluate(features, grades, verbose=0, return_dict=True)["quadratic_weighted_kappa"]
    expected = quadratic_weighted_kappa(grades, model.predict(features, verbose=0).argmax(axis=1))
    assert found == pytest.approx(expected, abs=1e-6)
