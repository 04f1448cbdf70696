import numpy as np
import pytest

from dr_keras.evaluation.agreement import accuracy, referable_auc
from dr_keras.evaluation.bootstrap import bootstrap_interval
from dr_keras.evaluation.paired import paired_difference


def test_difference_of_accuracy_has_the_textbook_interval():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 500)
    right = rng.random((2, 500)) < [[0.8], [0.7]]
    first, second = np.where(right, labels, (labels + 1) % 5)
    interval = paired_difference(accuracy, labels, first, second)
    differences = right[0].astype(float) - right[1]
    half_width = 1.96 * differences.std() / np.sqrt(500)
    assert interval["value"] == pytest.approx(differences.mean())
    assert interval["low"] == pytest.approx(differences.mean() - half_width, abs=0.008)
    assert interval["high"] == pytest.approx(differences.mean() + half_width, abs=0.008)


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 5, 120)
    first = labels + rng.normal(0, 1.5, 120)
    second = first + rng.normal(0, 0.2, 120)
    paired = paired_difference(referable_auc, labels, first, second, num_resamples=400)
    alone = bootstrap_interval(referable_auc, labels, first, num_resamples=400)
    assert paired["low"] < paired["value"] < paired["high"]
    assert paired["high"] - paired["low"] < 0.5 * (alone["high"] - alone["low"])


def test_model_against_itself_and_the_other_way_round():
    labels, first, second = np.array([0, 1, 2, 3]), np.array([0, 1, 2, 4]), np.array([0, 2, 2, 4])
    assert paired_difference(accuracy, labels, first, first) == {"value": 0, "low": 0, "high": 0}
    there = paired_difference(accuracy, labels, first, second, seed=3)
    back = paired_difference(accuracy, labels, second, first, seed=3)
    assert there["value"] == 0.25
    assert (back["low"], back["high"]) == (-there["high"], -there["low"])


def test_patients_are_redrawn_whole():
    rng = np.random.default_rng(2)
    labels, first, second = (rng.integers(0, 5, 60) for _ in range(3))
    patients = np.arange(60)
    one = paired_difference(accuracy, labels, first, second, groups=patients)
    both = paired_difference(
        accuracy, np.tile(labels, 2), np.tile(first, 2), np.tile(second, 2), groups=np.tile(patients, 2)
    )
    assert both == pytest.approx(one)


def test_nan_and_nobody():
    interval = paired_difference(accuracy, [0, 1], [0, 1], [0, np.nan])
    assert np.isnan(list(interval.values())).all()
    with pytest.raises(ValueError, match="at least one row"):
        paired_difference(accuracy, [], [], [])
