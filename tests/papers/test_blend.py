"""Pairs of eyes, blends of their features, and the features themselves."""

import csv
import json

import keras
import numpy as np
import pytest
from prepared_folders import noise_images, write_prepared

from dr_keras.data.layouts import load_dataset
from dr_keras.data.records import Record
from dr_keras.errors import InputError
from dr_keras.models.grader_model import build_grader
from dr_keras.models.nets import net5
from dr_keras.papers.blending import blend_comparison
from dr_keras.papers.blending import extraction as extraction_module
from dr_keras.papers.blending.extraction import PooledExtraction, halton_draws
from dr_keras.papers.blending.model import blend_network
from dr_keras.papers.blending.networks import (
    BlendConfig,
    blend_inputs,
    fit_network,
    fit_networks,
    fit_ridge,
    out_of_fold,
)
from dr_keras.papers.blending.pooled_features import PooledFeatures, check_together, read_features
from dr_keras.training import run_folder
from dr_keras.training.protocol import Interrupted

QUICK = BlendConfig(blends=2, epochs=40, learning_rate=0.01, learning_rate_drops=(30,))
CUTS = (0.5, 1.5, 2.5, 3.5)


def record(patient, eye, grade=0):
    return Record(f"{patient}_{eye}.png", "", grade, str(patient), eye)


@pytest.fixture(scope="module")
def pooled():
    """100 pairs whose grades can only be read from the other eye's second channel; two folds."""
    rng = np.random.default_rng(0)
    records = [record(patient, eye) for patient in range(100) for eye in ("left", "right")]
    grades = np.tile([0, 1, 2, 3, 4], 40)
    records = [Record(r.image, "", int(g), r.patient, r.eye) for r, g in zip(records, grades, strict=True)]
    features = rng.normal(size=(200, 2, 3)).astype("float32")
    features[np.arange(200) ^ 1, 0, 1] = grades + rng.normal(0, 0.1, 200)
    fold = np.repeat(np.arange(100) % 2, 2)
    splits = np.array([np.where(fold == k, "held_out", "train") for k in (0, 1)])
    return PooledFeatures("run", CUTS, records, rng.normal(1, 1, 200), splits, [[features], [features]])


def write_eyepacs(folder, names):
    (folder / "train").mkdir(parents=True)
    with open(folder / "trainLabels.csv", "w", newline="") as file:
        csv.writer(file).writerows([("image", "level"), *((name, 1) for name in names)])
    for name in names:
        (folder / "train" / f"{name}.jpeg").write_bytes(b"")
    return load_dataset(folder).records


def test_pairs_of_eyes_from_the_eyepacs_layout(tmp_path):
    records = write_eyepacs(tmp_path, ["10_left", "10_right", "7_right", "13_left", "13_right"])
    place = {record.image.rpartition("/")[2].partition(".")[0]: n for n, record in enumerate(records)}
    pooled = PooledFeatures("run", CUTS, records, None, None, None)
    expected = {"10_left": "10_right", "13_left": "13_right", "7_right": "7_right"}
    expected |= {right: left for left, right in expected.items()}
    other = pooled.other_eyes()
    assert {name: other[n] for name, n in place.items()} == {a: place[b] for a, b in expected.items()}
    assert pooled.has_pairs()
    features = np.arange(20, dtype="float32").reshape(5, 2, 2)
    inputs = blend_inputs(features, pooled, both=True)
    left, right = place["10_left"], place["10_right"]
    (a, a_sd), (b, b_sd) = features[left], features[right]
    np.testing.assert_array_equal(inputs[left], [*a, *b, *a_sd, *b_sd, 0])
    np.testing.assert_array_equal(inputs[right], [*b, *a, *b_sd, *a_sd, 1])
    alone = features[place["7_right"]]
    np.testing.assert_array_equal(inputs[place["7_right"]], [*alone[0], *alone[0], *alone[1], *alone[1], 1])
    np.testing.assert_array_equal(blend_inputs(features, pooled, both=False)[left], [*a, *a_sd, 0])


def test_network_of_the_recipe():
    network = blend_network([1, 2, 3, 4], [1, 2, 0, 1])
    shapes = [layer.output.shape[1] for layer in network.layers]
    names = [layer.name for layer in network.layers]
    assert names == ["features", "standardize", "dense1", "maxout1", "dense2", "maxout2", "score"]
    assert (
        shapes == [4, 4, 32, 16, 32, 16, 1] and network.count_params() == 4 * 33 - 4 + 32 * 1 + 32 * 17 + 17
    )
    x = np.array([[3.0, 2.0, 4.0, 4.0]], "float32")
    standardized = network.get_layer("standardize")(x)
    np.testing.assert_allclose(standardized, [[2, 0, 1, 0]], atol=1e-6)
    first, second, last = (network.get_layer(name) for name in ("dense1", "dense2", "score"))
    hidden = standardized
    for layer in (first, second):
        kernel, bias = layer.get_weights()
        hidden = np.maximum(np.asarray(hidden) @ kernel + bias, 0).reshape(1, 16, 2).max(axis=2)
    np.testing.assert_allclose(network(x), hidden @ last.get_weights()[0] + last.get_weights()[1], rtol=1e-5)
    kernels = [layer.get_weights()[0] for layer in (first, second, last)]
    penalty = 2e-5 * np.abs(kernels[0]).sum() + 0.005 * sum(np.square(kernel).sum() for kernel in kernels)
    assert float(sum(network.losses)) == pytest.approx(penalty, rel=1e-5)
    with pytest.raises(ValueError, match="`mean` and `sd` must be equally long"):
        blend_network([1, 2], [1])


@pytest.fixture(scope="module")
def blended(pooled, tmp_path_factory):
    folder = tmp_path_factory.mktemp("blend")
    return folder, blend_comparison.score_blends([pooled], QUICK, folder)


def test_other_eye_with_the_signal_makes_the_difference(pooled, blended):
    rows = blended[1]
    names, eyes = ("run", "ridge", "blend"), ("one eye", "both eyes")
    assert set(rows) == {(name, which) for name in names for which in eyes}
    grades = [record.grade for record in pooled.records]
    one, both = (np.corrcoef(rows["ridge", which], grades)[0, 1] for which in eyes)
    assert one < 0.2 and both > 0.9
    few = {row: rows[row] for row in (("run", "one eye"), ("blend", "one eye"), ("blend", "both eyes"))}
    figures = blend_comparison.compare_blends(pooled, few, CUTS)
    one, both = (figures[f"blend, {which}"] for which in eyes)
    assert one["quadratic_weighted_kappa"]["high"] < 0.3 < 0.6 < both["quadratic_weighted_kappa"]["low"]
    gain = both["differences"]["blend, one eye"]["quadratic_weighted_kappa"]
    values = [row["quadratic_weighted_kappa"]["value"] for row in (both, one)]
    assert gain["value"] == pytest.approx(values[0] - values[1]) and gain["low"] > 0.4
    assert list(both["differences"]) == ["run, one eye", "blend, one eye"]
    text = list(blend_comparison.lines(figures))
    assert len(text) == 3 + 2 + 1 and text[0].startswith("run, one eye: kappa ")
    own = blended[1]["run", "both eyes"]
    np.testing.assert_allclose(own[:2], pooled.scores[:2].mean())


def test_networks_are_kept_and_give_the_scores(pooled, blended):
    folder, rows = blended
    inputs = blend_inputs(pooled.features[0][0], pooled, both=True)[:2]
    paths = sorted((folder / "fold_0").iterdir())
    assert [path.name for path in paths] == ["blend_0.keras", "blend_1.keras"]
    scores = [np.asarray(keras.saving.load_model(path)(inputs))[:, 0] for path in paths]
    np.testing.assert_allclose(np.mean(scores, axis=0), rows["blend", "both eyes"][:2], rtol=1e-5)


def test_networks_are_dealt_over_the_sets_and_depend_on_the_seed_alone(pooled):
    config = BlendConfig(blends=2, epochs=1)
    sets = [blend_inputs(pooled.features[0][0], pooled, both) for both in (True, False)]
    grades = np.array([record.grade for record in pooled.records])
    scores = fit_networks(sets, grades, None, None, config)(sets)
    alone = [fit_network(sets[n], grades, config, seed=n)(sets[n]).numpy()[:, 0] for n in (0, 1)]
    np.testing.assert_allclose(scores, np.mean(alone, axis=0), rtol=1e-6)
    other = fit_network(sets[0], grades, config, seed=1)(sets[0]).numpy()[:, 0]
    assert np.abs(other - alone[0]).max() > 0.1


def test_folds_learn_nothing_of_what_they_hold_out(pooled):
    """Grades and features of fold 0's photographs don't enter the scores that fold 0 gives the others."""
    seen = []

    def fit(sets, grades, patients, folder):
        seen.append((sets[0], grades, set(patients)))
        return fit_ridge(sets, grades, patients)

    own = [pooled.features[0][0], pooled.features[1][0] + 100]  # each fold's network has features of its own
    split = PooledFeatures("run", CUTS, pooled.records, pooled.scores, pooled.splits, [[one] for one in own])
    scores = out_of_fold([split], True, fit)
    assert np.isfinite(scores).all()
    for fold, (inputs, grades, patients) in enumerate(seen):
        training = pooled.splits[fold] == "train"
        assert patients.isdisjoint(r.patient for r, held in zip(pooled.records, ~training) if held)
        np.testing.assert_array_equal(inputs[:, 0], own[fold][training, 0, 0])
        assert grades.tolist() == [r.grade for r, used in zip(pooled.records, training) if used]
    order = PooledFeatures("other", CUTS, pooled.records[::-1], pooled.scores, pooled.splits, [])
    with pytest.raises(InputError, match="--features: other and run differ in photographs or folds"):
        check_together([pooled, order])


def test_halton_draws_cover_every_range_evenly():
    uniform, normal = halton_draws(50)
    assert uniform.shape == (50, 6) and normal.shape == (50, 3)
    counts = np.array([np.histogram(column, 5, (0, 1))[0] for column in uniform.T])
    assert counts.min() >= 7 and counts.max() <= 13  # 10 each; random draws stray to 4 and 17
    assert np.abs(normal.mean(axis=0)).max() < 0.2 and np.abs(normal.std(axis=0) - 1).max() < 0.15
    np.testing.assert_array_equal(halton_draws(8, 0)[0], uniform[:8])
    assert not np.array_equal(halton_draws(50, 1)[0], uniform)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two folds of untrained networks, which differ, and its photographs, without pairs."""
    folder = tmp_path_factory.mktemp("features")
    prepared = write_prepared(folder / "prepared", noise_images(12, 128), [0, 1, 2] * 4)
    for fold in (0, 1):
        leaf = run_folder.fold_dir(folder / "run", fold)
        splits = ["held_out" if n % 2 == fold else "train" for n in range(12)]
        run_folder.write_splits(leaf / run_folder.SPLIT, prepared.records, splits)
        grader = build_grader(net5(128, width=0.1, seed=fold), 128, (90, 60, 30), (70, 50, 30))
        grader.save(leaf / run_folder.MODEL)
        grader.save(leaf / "last.keras")
    return folder, prepared, {f"{n:03d}.png": n / 10 for n in range(12)}


def extraction(run, name, **options):
    folder, prepared, scores = run
    options = {"augmentations": 3, "batch_size": 4} | options
    return PooledExtraction(folder / "run", prepared, folder / name, scores, **options)


def test_features_are_mean_and_sd_over_the_augmentations(run):
    folder, prepared, scores = run
    extraction(run, "whole").run()
    pooled = read_features(folder / "whole")
    assert pooled.records == prepared.records and not pooled.has_pairs()
    np.testing.assert_allclose(pooled.scores, list(scores.values()))
    assert pooled.splits[1].tolist() == ["train", "held_out"] * 6
    assert [len(one) for one in pooled.features] == [
        2,
        2,
    ]  # best and last weights: the same here, so one file
    assert len(list((folder / "whole").glob("*.npy"))) == 2
    grader = keras.saving.load_model(folder / "run" / "fold_1" / "model.keras")
    extract = extraction(run, "whole")
    training = np.flatnonzero(pooled.splits[1] == "train")
    components = extraction_module.color_statistics(prepared, training)[2]
    augmentation = extract._augmentation(grader, pooled.splits[1])
    np.testing.assert_allclose(augmentation.color_components, components)
    uniform, normal = halton_draws(3)
    images = np.repeat(prepared.read([5]), 3, axis=0)
    windows = grader.get_layer("standardize")(augmentation(images, uniform, normal, training=True))
    network = grader.get_layer("net5")
    values = np.asarray(keras.Model(network.inputs, network.get_layer("gap").output)(windows))
    np.testing.assert_allclose(pooled.features[1][0][5, 0], values.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(pooled.features[1][0][5, 1], values.std(axis=0, ddof=1), atol=1e-4)


def test_without_pairs_it_says_so_and_uses_the_one_eye(run):
    extraction(run, "whole").run()
    pooled, said = read_features(run[0] / "whole"), []
    rows = blend_comparison.score_blends([pooled], BlendConfig(blends=1, epochs=1), None, say=said.append)
    assert said == [f"{run[0] / 'run'}: no patient has a photograph of each eye; blends use the one eye"]
    assert list(rows) == [(name, "one eye") for name in ("run", "ridge", "blend")]
    assert all(np.isfinite(scores).all() for scores in rows.values())


def test_a_stopped_extraction_goes_on_and_ends_the_same(run, monkeypatch):
    folder = run[0]
    extraction(run, "whole").run()
    steps = []
    stop = {"should_stop": lambda: steps.append(1) or len(steps) == 7}  # in the third batch of three
    with pytest.raises(Interrupted):
        extraction(run, "stopped", **stop).run()
    with pytest.raises(InputError, match="expected the features.json of a finished"):
        read_features(folder / "stopped")
    read, batches = [], extraction_module.evaluation_batches
    monkeypatch.setattr(
        extraction_module, "evaluation_batches", lambda *args: read.append(args[1].tolist()) or batches(*args)
    )
    extraction(run, "stopped").run()
    assert read == [[8, 9, 10, 11], list(range(12))]  # the rest of fold 0's, and fold 1's
    whole, stopped = (read_features(folder / name) for name in ("whole", "stopped"))
    np.testing.assert_allclose(whole.features, stopped.features, atol=1e-6)
    index = json.loads((folder / "stopped" / "features.json").read_text())
    (folder / "stopped" / "features.json").write_text(json.dumps(index | {"run": "elsewhere"}))
    with pytest.raises(InputError, match="holds features of elsewhere"):
        extraction(run, "stopped").run()
