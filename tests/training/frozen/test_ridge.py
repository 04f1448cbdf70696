"""The linear head in closed form, against scikit-learn's plain ridge regression."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from prepared_folders import noise_images, write_prepared
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold

from dr_keras.errors import InputError
from dr_keras.models.grader_model import load_model, network_of
from dr_keras.training import run_folder
from dr_keras.training.config import SplitPlan, TrainingConfig
from dr_keras.training.frozen.backbone_features import Changed, FeatureCache, trunk_of
from dr_keras.training.frozen.ridge import PENALTIES, RidgeFit, fit_ridge
from dr_keras.training.protocol import FitTask, Hooks
from dr_keras.training.scoring import DatasetScorer
from dr_keras.training.stages import train_stages

CONFIG = TrainingConfig(image_size=128, width=0.1, freeze_through="gap", optimizer="ridge", changed_copies=2)
GRADES = np.array([0, 1, 2, 3, 4] * 8)
QUIET = Hooks(say=lambda line: None)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("ridge"), noise_images(40, 128), GRADES.tolist())


def test_score_is_ridge_regression_of_pooled_features(prepared, tmp_path):
    training = np.arange(30)
    task = FitTask(CONFIG, prepared, training, np.arange(0), tmp_path, hooks=QUIET)
    result = RidgeFit(task).run()
    assert result.history == [] and len(result.unseen_scores) == 30
    grader = load_model(tmp_path / run_folder.MODEL)
    trunk = trunk_of(network_of(grader), "gap")
    features = FeatureCache(prepared).of(grader, trunk, np.arange(40), Changed(2)).astype("float64")
    fitted = fit_ridge(features[:30], GRADES[:30], training)
    expected = features[:, 0] @ fitted.kernel + fitted.intercept
    scores = DatasetScorer(grader, prepared)(np.arange(40))
    np.testing.assert_allclose(scores, expected, atol=0.02)  # features are kept in float16
    np.testing.assert_array_equal(result.unseen_scores, fitted.unseen_scores)


def test_the_fit_is_scikit_learns():
    """Each view is a sample that weighs one over the number of views."""
    rng = np.random.default_rng(0)
    features, groups = rng.normal(size=(40, 3, 7)) * rng.uniform(0.5, 5, 7), np.arange(40) // 2
    grades = features[:, 0, 0] + rng.normal(size=40)
    fitted = fit_ridge(features, grades, groups)
    flat = features.reshape(-1, 7)
    mean, sd = flat.mean(axis=0), flat.std(axis=0)
    scaled = (features - mean) / np.maximum(sd, np.quantile(sd, 0.25))
    weights = np.full(120, 1 / 3)
    known = Ridge(fitted.penalty).fit(scaled.reshape(-1, 7), np.repeat(grades, 3), weights)
    np.testing.assert_allclose(features[:, 0] @ fitted.kernel + fitted.intercept, known.predict(scaled[:, 0]))
    errors = []
    for penalty in PENALTIES:
        predicted = np.zeros((40, 3))
        for train, left in GroupKFold(10).split(scaled, grades, groups):
            own = Ridge(penalty).fit(
                scaled[train].reshape(-1, 7), np.repeat(grades[train], 3), weights[: 3 * len(train)]
            )
            predicted[left] = own.predict(scaled[left].reshape(-1, 7)).reshape(-1, 3)
        errors.append(np.mean((predicted - grades[:, None]) ** 2))
        if penalty == fitted.penalty:
            np.testing.assert_allclose(fitted.unseen_scores, predicted[:, 0])
    assert PENALTIES[np.argmin(errors)] == fitted.penalty


def test_a_fellow_eye_does_not_choose_the_penalty():
    """Both eyes of a patient look alike and have one grade that nothing else tells: nothing can be learnt.

    Left out one by one, each eye would be known by the other, and a small penalty would seem right.
    """
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(30), 2)
    features = rng.normal(size=(30, 1, 50))[patients] + 0.05 * rng.normal(size=(60, 1, 50))
    grades = rng.integers(0, 5, 30)[patients]
    assert (
        fit_ridge(features, grades, np.arange(60)).penalty
        < fit_ridge(features, grades, patients).penalty / 10
    )


def test_changed_copies_make_the_score_steady(tmp_path):
    """One channel tells the grade but follows brightness; the copies say that brightness isn't disease."""
    rng = np.random.default_rng(2)
    grades = np.repeat(np.arange(5), 12).astype(float)
    real, light = grades + rng.normal(0, 0.6, 60), grades + rng.normal(0, 0.3, 60)
    features = np.stack([np.repeat(real[:, None], 9, 1), light[:, None] + rng.normal(0, 3, (60, 9))], axis=2)
    features[:, 0, 1] = light
    alone, copies = (fit_ridge(features[:, :n], grades, np.arange(60)).kernel for n in (1, 9))
    assert abs(copies[1]) < abs(alone[1]) / 3 and copies[0] > alone[0]


def test_steadiness_weighs_what_the_copies_differ_by():
    """Against the same minimum by a general solver."""
    rng = np.random.default_rng(3)
    features, grades = rng.normal(size=(30, 4, 6)), rng.integers(0, 5, 30).astype(float)
    fitted = fit_ridge(features, grades, np.arange(30), 7.0, np.array([20.0]))
    flat = features.reshape(-1, 6)
    sd = np.maximum(flat.std(axis=0), np.quantile(flat.std(axis=0), 0.25))
    own = features.mean(axis=1)
    rows = np.concatenate([
        np.column_stack([own / sd, np.ones(30)]),
        np.sqrt(7 / 4) * np.column_stack([((features - own[:, None]) / sd).reshape(-1, 6), np.zeros(120)]),
        np.column_stack([np.sqrt(20) * np.eye(6), np.zeros(6)]),
    ])  # fmt: skip
    expected = np.linalg.lstsq(rows, np.concatenate([grades, np.zeros(126)]), rcond=None)[0]
    np.testing.assert_allclose(np.append(fitted.kernel * sd, fitted.intercept), expected, rtol=1e-6)
    spreads = [
        (features @ fit_ridge(features, grades, np.arange(30), weight, np.array([20.0])).kernel)
        .std(axis=1)
        .mean()
        for weight in (0.0, 1.0, 7.0)
    ]
    assert spreads[0] > spreads[1] > spreads[2]


def test_only_a_linear_unit_behind_the_frozen_layer_can_be_solved_for(prepared, tmp_path):
    config = dataclasses.replace(CONFIG, freeze_through="conv11")
    with pytest.raises(InputError, match="--freeze_through=conv11: --optimizer=ridge needs the layer"):
        RidgeFit(FitTask(config, prepared, np.arange(30), np.arange(0), tmp_path, hooks=QUIET))


@pytest.mark.parametrize("folds", [0, 4])
def test_all_photographs_can_be_trained_on(prepared, tmp_path, folds):
    judged = {}

    def report(folder, records, labels, scores):
        judged[folder.name] = labels, scores
        (folder / run_folder.METRICS).write_text("{}")

    hooks = Hooks(say=lambda line: None, report=report)
    plan = SplitPlan(folds, validation_fraction=0)
    train_stages([CONFIG], lambda size: prepared, tmp_path / "run", plan, tf.distribute.get_strategy(), hooks)
    labels, scores = judged["run"]
    assert sorted(labels) == sorted(GRADES) and np.isfinite(scores).all() and len(scores) == 40
    leaf = tmp_path / "run" / ("fold_0" if folds else "")
    splits = list(run_folder.read_splits(leaf / run_folder.SPLIT).values())
    assert splits.count("train") == (30 if folds else 40) and "validation" not in splits
