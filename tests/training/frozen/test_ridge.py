"""The linear head in closed form, against scikit-learn's plain ridge regression."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from prepared_folders import noise_images, write_prepared
from sklearn.linear_model import Ridge

from dr_keras.errors import InputError
from dr_keras.models.grader_model import load_model, network_of
from dr_keras.training import run_folder
from dr_keras.training.config import SplitPlan, TrainingConfig
from dr_keras.training.frozen.backbone_features import MIRRORED, FeatureCache, trunk_of
from dr_keras.training.frozen.ridge import PENALTIES, RidgeFit
from dr_keras.training.protocol import FitTask, Hooks
from dr_keras.training.scoring import DatasetScorer
from dr_keras.training.stages import train_stages

CONFIG = TrainingConfig(image_size=128, width=0.1, freeze_through="gap", optimizer="ridge")
GRADES = np.array([0, 1, 2, 3, 4] * 8)
QUIET = Hooks(say=lambda line: None)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("ridge"), noise_images(40, 128), GRADES.tolist())


def test_score_is_ridge_regression_of_pooled_features(prepared, tmp_path):
    training = np.arange(30)
    result = RidgeFit(FitTask(CONFIG, prepared, training, np.arange(0), tmp_path, hooks=QUIET)).run()
    loo = result.left_one_out
    assert result.history == []
    grader = load_model(tmp_path / run_folder.MODEL)
    trunk = trunk_of(network_of(grader), "gap")
    features = FeatureCache(prepared).of(grader, trunk, np.arange(40), MIRRORED).astype("float64")
    pooled = features[:30].mean(axis=1)
    mean, sd = pooled.mean(axis=0), pooled.std(axis=0)
    sd = np.maximum(sd, np.quantile(sd, 0.25)) + 1e-9
    scaled = (pooled - mean) / sd

    def left_out(penalty):
        fits = [Ridge(penalty).fit(np.delete(scaled, i, 0), np.delete(GRADES[:30], i)) for i in training]
        return np.array([fit.predict(scaled[i : i + 1])[0] for i, fit in enumerate(fits)])

    tried = {penalty: left_out(penalty) for penalty in PENALTIES[::5]}
    best = min(np.mean((scores - GRADES[:30]) ** 2) for scores in tried.values())
    assert np.mean((loo - GRADES[:30]) ** 2) <= best + 1e-9
    assert min(np.abs(loo - left_out(penalty)).max() for penalty in PENALTIES) < 1e-9

    scores = DatasetScorer(grader, prepared)(np.arange(40))
    fitted = min(
        (Ridge(penalty).fit(scaled, GRADES[:30]) for penalty in PENALTIES),
        key=lambda fit: np.abs(fit.predict((features[:, 0] - mean) / sd) - scores).max(),
    )
    upright = fitted.predict((features[:, 0] - mean) / sd)
    np.testing.assert_allclose(scores, upright, atol=0.02)  # features are kept in float16


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
