"""The ordinal head: its fit, its layer, and a map that is exact though the score isn't linear."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from prepared_folders import noise_images, write_prepared
from sklearn.linear_model import LogisticRegression

from dr_keras.data.synthetic import draw_fundus
from dr_keras.errors import InputError
from dr_keras.explain.ram import regression_activation_map, score_bias
from dr_keras.export.saved_model import export_saved_model
from dr_keras.inference.grader import Grader
from dr_keras.models.grader_model import load_model, network_of
from dr_keras.models.layers import OrdinalScore
from dr_keras.training import run_folder
from dr_keras.training.config import SplitPlan, TrainingConfig
from dr_keras.training.frozen.backbone_features import Changed, FeatureCache, trunk_of
from dr_keras.training.frozen.ordinal import OrdinalFit, fit_ordinal
from dr_keras.training.frozen.ridge import fit_ridge
from dr_keras.training.protocol import FitTask, Hooks
from dr_keras.training.scoring import DatasetScorer
from dr_keras.training.stages import train_stages

CONFIG = TrainingConfig(
    image_size=128, width=0.1, freeze_through="gap", optimizer="ordinal", changed_copies=1
)
GRADES = np.array([0, 1, 2, 3, 4] * 8)
QUIET = Hooks(say=lambda line: None)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("ordinal"), noise_images(40, 128), GRADES.tolist())


@pytest.fixture(scope="module")
def fitted(prepared, tmp_path_factory):
    """(folder of the fitted grader, what the fit returned); ten photographs had no part in it."""
    folder = tmp_path_factory.mktemp("fitted")
    return (
        folder,
        OrdinalFit(FitTask(CONFIG, prepared, np.arange(30), np.arange(0), folder, hooks=QUIET)).run(),
    )


def test_the_model_scores_as_the_fit_does(prepared, fitted):
    folder, result = fitted
    grader = load_model(folder / run_folder.MODEL)
    trunk = trunk_of(network_of(grader), "gap")
    features = FeatureCache(prepared).of(grader, trunk, np.arange(40), Changed(1)).astype("float64")
    expected = fit_ordinal(features[:30], GRADES[:30], np.arange(30))
    scores = DatasetScorer(grader, prepared)(np.arange(40))
    np.testing.assert_allclose(scores, expected.scores(features[:, 0]), atol=0.02)  # features are float16
    np.testing.assert_array_equal(result.unseen_scores, expected.unseen_scores)
    assert (scores > 0).all() and (scores < 4).all() and scores.std() > 0


def test_the_map_is_exact(prepared, fitted):
    """The mean of each map and the bias are the score, as for a linear unit, within float32."""
    grader = load_model(fitted[0] / run_folder.MODEL)
    score = network_of(grader).layers[-1]
    kernel, bias = score.get_weights()
    for factor in (1.0, 1e-6, 50.0):  # as fitted; so small that a quotient of differences is noise; saturated
        score.set_weights([factor * kernel, bias])
        scores, maps = regression_activation_map(grader, prepared.read(np.arange(5)))
        np.testing.assert_allclose(maps.mean(axis=(1, 2)) + score_bias(grader), scores, atol=1e-4)
        np.testing.assert_allclose(scores, DatasetScorer(grader, prepared)(np.arange(5)), atol=1e-5)


def test_one_feature_has_its_own_weight_in_each_step():
    """Against scikit-learn: what tells grade 1 from 0 needn't be what tells 4 from 3."""
    rng = np.random.default_rng(0)
    grades = rng.integers(0, 5, 300)
    features = rng.normal(size=(300, 1, 5))
    features[:, 0, 0] += 3 * (grades > 0)
    features[:, 0, 1] += 3 * (grades > 3)
    fit = fit_ordinal(features, grades, np.arange(300), strengths=(0.1,))
    assert fit.kernel[0, 0] > 3 * abs(fit.kernel[0, 3]) and fit.kernel[1, 3] > 3 * abs(fit.kernel[1, 0])
    scaled = (features[:, 0] - features[:, 0].mean(axis=0)) / features[:, 0].std(axis=0)
    known = [LogisticRegression(C=0.1, tol=1e-6).fit(scaled, grades > step) for step in range(4)]
    expected = sum(one.predict_proba(scaled)[:, 1] for one in known)
    np.testing.assert_allclose(fit.scores(features[:, 0]), expected, atol=0.02)
    ridge = fit_ridge(features, grades, np.arange(300))
    errors = [np.square(one.unseen_scores - grades).mean() for one in (fit, ridge)]
    assert errors[0] < errors[1]


def test_where_all_are_one_patient_unseen_scores_are_the_mean_grade():
    grades, features = np.repeat([0, 1], [300, 100]), np.random.default_rng(0).normal(size=(400, 2, 3))
    fit = fit_ordinal(features, grades, np.zeros(400, int), strengths=(0.1,))
    np.testing.assert_allclose(fit.unseen_scores, 0.25, atol=0.01)


def test_more_steadiness_makes_a_photograph_score_alike_in_all_its_views():
    """One feature tells the grade and moves with how the file was saved, another tells a little less."""
    rng = np.random.default_rng(0)
    grades = rng.integers(0, 5, 200)
    features = (
        grades[:, None, None] + rng.normal(0, (0.5, 1.0), (200, 1, 2)) + rng.normal(0, (1, 0), (200, 6, 2))
    )
    groups, spreads, errors = np.arange(200), [], []
    for steadiness in (0.5, 1, 8):
        fit = fit_ordinal(features, grades, groups, steadiness, strengths=(0.1,))
        spreads.append(np.std(fit.scores(features), axis=1).mean())
        errors.append(np.square(fit.unseen_scores - grades).mean())
    assert spreads[0] == spreads[1] and spreads[2] < 0.7 * spreads[1]
    assert errors[2] < 1.5 * errors[1] < 1


def test_grades_that_nothing_shows_are_unlikely():
    """Without a photograph of grade 4, none gets it; with one alone, the fit ends."""
    rng = np.random.default_rng(1)
    for most in (3, 4):
        grades = np.append(rng.integers(0, 3, 60), most)
        features = grades[:, None, None] + rng.normal(0, 0.3, (61, 2, 3))
        fit = fit_ordinal(features, grades, np.arange(61))
        scores = fit.scores(features[:, 0])
        assert np.isfinite(scores).all() and (scores < most + 0.2).all()


def test_a_run_of_folds_is_a_grader_and_an_export(prepared, tmp_path):
    judged = {}

    def report(folder, records, labels, scores):
        judged[folder.name] = scores
        (folder / run_folder.METRICS).write_text("{}")

    hooks = Hooks(say=lambda line: None, report=report)
    plan = SplitPlan(folds=2, validation_fraction=0.0)
    train_stages([CONFIG], lambda size: prepared, tmp_path / "run", plan, tf.distribute.get_strategy(), hooks)
    assert len(judged["run"]) == 40 and np.isfinite(judged["run"]).all()
    networks = [load_model(folder / run_folder.MODEL) for folder in run_folder.fold_dirs(tmp_path / "run")]
    exported = tf.saved_model.load(export_saved_model(networks, tmp_path / "exported"))
    image = draw_fundus(1, 3, 300).image
    found = exported.signatures["explain"](tf.constant([tf.io.encode_png(image).numpy()]))
    bias = np.mean([score_bias(network) for network in networks])
    assert float(found["score"][0]) == pytest.approx(float(found["map"].numpy().mean() + bias), abs=1e-4)
    expected = Grader.of_networks(networks).grade(image)
    assert float(found["score"][0]) == pytest.approx(expected.score, abs=1e-3)


def test_another_layer_is_refused(prepared, tmp_path):
    config = dataclasses.replace(CONFIG, freeze_through="conv9")
    with pytest.raises(InputError, match="--freeze_through=conv9: --optimizer=ordinal needs the layer"):
        OrdinalFit(FitTask(config, prepared, np.arange(30), np.arange(0), tmp_path, hooks=QUIET))
    with pytest.raises(InputError, match="--optimizer=ordinal: needs --freeze_through"):
        dataclasses.replace(CONFIG, freeze_through=None)


def test_the_layer_keeps_its_place_in_a_file(tmp_path):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, OrdinalScore(name="score")(inputs))
    model.layers[-1].set_weights([np.arange(12.0).reshape(3, 4) / 10, np.array([2.0, 1.0, 0.0, -1.0])])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    values = np.array([[0.5, -1.0, 2.0], [0.0, 0.0, 0.0]], "float32")
    np.testing.assert_allclose(again(values), model(values))
    assert float(model(values)[1, 0]) == pytest.approx(float(model.layers[-1].score_of_nothing()))
