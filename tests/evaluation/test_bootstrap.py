import warnings

import numpy as np
import pytest

from dr_keras.evaluation.bootstrap import bootstrap_interval
from dr_keras.metrics import quadratic_weighted_kappa


def test_interval_of_a_mean_is_the_textbook_one():
    values = np.random.default_rng(0).normal(3, 2, size=400)
    interval = bootstrap_interval(np.mean, values)
    half_width = 1.96 * values.std() / np.sqrt(400)
    assert interval["value"] == values.mean()
    assert interval["low"] == pytest.approx(values.mean() - half_width, abs=0.02)
    assert interval["high"] == pytest.approx(values.mean() + half_width, abs=0.02)


def test_interval_follows_the_confidence():
    values = np.random.default_rng(1).normal(size=300)
    wide = bootstrap_interval(np.mean, values, confidence=0.95)
    narrow = bootstrap_interval(np.mean, values, confidence=0.5)
    ratio = (wide["high"] - wide["low"]) / (narrow["high"] - narrow["low"])
    assert ratio == pytest.approx(1.96 / 0.674, rel=0.1)


def test_patients_are_redrawn_whole():
    # Two equal eyes of each patient hold no more than one: intervals over patients equal those of one eye.
    values = np.random.default_rng(2).normal(size=150)
    patients = np.array([f"patient {i}" for i in range(150)])
    one_eye = bootstrap_interval(np.mean, values, groups=patients)
    both_eyes = bootstrap_interval(np.mean, np.tile(values, 2), groups=np.tile(patients, 2))
    rows = bootstrap_interval(np.mean, np.tile(values, 2))
    assert both_eyes == pytest.approx(one_eye)
    assert rows["high"] - rows["low"] == pytest.approx(
        (one_eye["high"] - one_eye["low"]) / np.sqrt(2), rel=0.1
    )


def test_no_resample_splits_a_patient():
    patients = np.repeat(np.arange(6), [1, 2, 3, 1, 2, 3])
    sizes = np.bincount(patients)
    seen = []

    def count_broken(drawn):
        counts = np.bincount(drawn, minlength=6)
        seen.append(counts)
        return float(np.any(counts % sizes))

    interval = bootstrap_interval(count_broken, patients, groups=patients, num_resamples=50)
    assert interval == {"value": 0, "low": 0, "high": 0}
    assert {int(np.sum(counts / sizes)) for counts in seen} == {6}
    assert len({tuple(counts) for counts in seen}) > 30


def test_rows_of_all_arrays_stay_together():
    values = np.arange(50)
    interval = bootstrap_interval(lambda a, b: np.max(np.abs(2 * a - b)), values, 2 * values)
    assert interval == {"value": 0, "low": 0, "high": 0}


def test_seed_decides():
    values = np.random.default_rng(3).normal(size=40)
    first, again, other = (bootstrap_interval(np.mean, values, seed=seed) for seed in (5, 5, 6))
    assert first == again
    assert first["low"] != other["low"]


def test_undefined_resamples_are_skipped_in_silence():
    # With 1 of 6 photographs diseased, a third of the resamples has no disease: kappa isn't defined there.
    truth = np.array([0, 0, 0, 0, 0, 3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        interval = bootstrap_interval(quadratic_weighted_kappa, truth, truth)
    assert interval == {"value": 1, "low": 1, "high": 1}


def test_mostly_undefined_resamples_give_no_interval():
    interval = bootstrap_interval(lambda rows: 1.0 if len(set(rows)) == 4 else np.nan, np.arange(4))
    assert interval["value"] == 1
    assert np.isnan(interval["low"]) and np.isnan(interval["high"])


def test_nan_gives_nan():
    interval = bootstrap_interval(np.mean, np.array([1.0, np.nan]))
    assert all(np.isnan(interval[key]) for key in ("value", "low", "high"))


def test_one_patient_has_no_interval():
    interval = bootstrap_interval(np.mean, np.array([1.0, 2.0]), groups=["a", "a"])
    assert interval["value"] == 1.5
    assert np.isnan(interval["low"]) and np.isnan(interval["high"])


@pytest.mark.parametrize(
    "arrays, options, message",
    [
        ([], {}, r"lengths=\[\]"),
        ([[]], {}, r"lengths=\[0\]"),
        ([[1, 2], [1]], {}, r"lengths=\[2, 1\]"),
        ([[1, 2]], {"groups": ["a"]}, r"`groups` must have shape \(2,\). Received: groups.shape=\(1,\)"),
        ([[1, 2]], {"num_resamples": 0}, "num_resamples=0"),
        ([[1, 2]], {"confidence": 95}, "confidence=95"),
    ],
)
def test_refuses(arrays, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(np.mean, *arrays, **options)
