"""Heads on a frozen trunk: cached features, losses, and what stays as it was."""

import dataclasses
import io

import numpy as np
import pytest
import tensorflow as tf
from prepared_folders import noise_images, write_prepared

from dr_keras.data.audit import audit_prepared
from dr_keras.errors import InputError
from dr_keras.models.grader_model import build_grader, load_model, network_of
from dr_keras.models.nets import net5
from dr_keras.training import run_folder
from dr_keras.training.config import SplitPlan, TrainingConfig
from dr_keras.training.division import divide
from dr_keras.training.frozen import backbone_features
from dr_keras.training.frozen.backbone_features import FeatureCache, trunk_of
from dr_keras.training.frozen.head import HeadFit, cross_entropy
from dr_keras.training.progress import ProgressBar
from dr_keras.training.protocol import FitTask, Hooks, Interrupted
from dr_keras.training.scoring import DatasetScorer
from dr_keras.training.stages import train_stages
from dr_keras.training.trainer import LOSSES

CONFIG = TrainingConfig(
    image_size=128, width=0.1, epochs=5, batch_size=8, optimizer="adam", learning_rate=0.01, l2=0.0,
    freeze_through="conv11", loss="euclidean", resample=False,
)  # fmt: skip
GRADES = [0, 1, 2, 3, 4] * 8


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("frozen"), noise_images(40, 128), GRADES)


def fit(prepared, folder, cache=None, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    config = dataclasses.replace(CONFIG, **changes)
    quiet = Hooks(say=lambda line: None)
    parts = np.arange(30), np.arange(30, 40)
    return HeadFit(FitTask(config, prepared, *parts, folder, hooks=quiet, features=cache))


def test_losses_by_hand():
    grades = np.array([0.0, 4.0], "float32")
    np.testing.assert_allclose(LOSSES["euclidean"](grades, np.array([2.0, 3.0], "float32")), [1 / 8, 1 / 32])
    probabilities = np.array([[0.5, 0.5, 0, 0, 0], [0.25, 0, 0, 0, 0.75]], "float32")
    np.testing.assert_allclose(cross_entropy(grades, probabilities), -np.log([0.5, 0.75]), rtol=1e-5)


def test_features_are_the_trunks_in_eight_orientations(prepared):
    grader = build_grader(net5(128, width=0.1), 128, (90, 60, 30), (70, 50, 30))
    network = network_of(grader)
    trunk = trunk_of(network, "conv11")
    found = FeatureCache(prepared).of(grader, trunk, np.array([7, 3]))
    assert found.shape == (2, 8, *trunk.output.shape[1:]) and found.dtype == np.float16
    for row, index in zip(found, (7, 3), strict=True):
        image = prepared.read([index])[0].astype("float32")
        turned = [np.rot90(each, k) for each in (image, image[:, ::-1]) for k in range(4)]
        assert len({each.tobytes() for each in turned}) == 8
        windows = grader.get_layer("standardize")(np.stack(turned)[:, 8:120, 8:120])
        np.testing.assert_allclose(row, np.asarray(trunk(windows)), atol=2e-3)


def test_features_are_computed_once(prepared, monkeypatch):
    grader = build_grader(net5(128, width=0.1), 128, (90, 60, 30), (70, 50, 30))
    trunk, cache, read = trunk_of(network_of(grader), "conv11"), FeatureCache(prepared), []
    batches = backbone_features.batches_ahead
    monkeypatch.setattr(
        backbone_features, "batches_ahead", lambda *args: read.append(args[1].tolist()) or batches(*args)
    )
    first = cache.of(grader, trunk, np.array([4, 2]))
    again = cache.of(grader, trunk, np.array([2, 5, 4]))
    assert read == [[2, 4], [5]]
    np.testing.assert_array_equal(again[[2, 0]], first)
    kept = list(prepared.folder.glob("features-*.npy"))
    assert len(kept) == 1 and not list(prepared.folder.parent.glob("*.npy"))
    np.testing.assert_array_equal(FeatureCache(prepared).of(grader, trunk, np.array([2, 5, 4])), again)
    assert len(read) == 2  # another run finds them on disk
    network_of(grader).get_layer("conv3_bias").bias.assign_add(
        tf.ones_like(network_of(grader).get_layer("conv3_bias").bias)
    )
    changed = cache.of(grader, trunk, np.array([2, 4]))  # another trunk: nothing old is given out
    assert read[2] == [2, 4] and np.abs(changed - first[::-1]).max() > 0.01


def test_two_runs_at_once_lose_nothing_of_each_other(tmp_path):
    prepared = write_prepared(tmp_path, noise_images(40, 128), GRADES)
    grader = build_grader(net5(128, width=0.1), 128, (90, 60, 30), (70, 50, 30))
    trunk, first, second = trunk_of(network_of(grader), "conv11"), *(FeatureCache(prepared) for _ in range(2))
    first.of(grader, trunk, np.array([1]))
    second.of(grader, trunk, np.array([1, 2]))
    first.of(grader, trunk, np.array([3]))  # which has read the file before 2 was written
    rows = np.load(next(prepared.folder.glob("features-*.npy")))
    assert np.flatnonzero(~np.isnan(rows.reshape(len(rows), -1)[:, 0])).tolist() == [1, 2, 3]


def test_a_stop_keeps_the_features_that_are_done(tmp_path, monkeypatch):
    prepared = write_prepared(tmp_path, noise_images(40, 128), GRADES)
    grader = build_grader(net5(128, width=0.1), 128, (90, 60, 30), (70, 50, 30))
    trunk, read = trunk_of(network_of(grader), "conv11"), []
    with pytest.raises(Interrupted):
        FeatureCache(prepared, should_stop=lambda: True).of(grader, trunk, np.arange(40))
    batches = backbone_features.batches_ahead
    monkeypatch.setattr(
        backbone_features, "batches_ahead", lambda *args: read.append(args[1].tolist()) or batches(*args)
    )
    assert np.isfinite(FeatureCache(prepared).of(grader, trunk, np.arange(40))).all()
    assert read == [list(range(16, 40))]


def test_only_the_head_changes_and_the_model_is_whole(prepared, tmp_path):
    running = fit(prepared, tmp_path)
    network = network_of(running.grader)
    before = {layer.name: layer.get_weights() for layer in network.layers}
    history = running.run().history
    for name, values in before.items():
        same = all(np.array_equal(a, b) for a, b in zip(values, network.get_layer(name).get_weights()))
        assert same == (name != "score"), name
    saved = load_model(tmp_path / "model.keras")
    scores = DatasetScorer(saved, prepared)(np.arange(30, 40))
    losses = [row["val_loss"] for row in history]
    # The model is that of the least validation loss: its whole pass gives the loss of the cached features.
    errors = ((scores - prepared.grades[30:40]) / 4) ** 2 / 2
    assert errors.mean() == pytest.approx(min(losses), rel=0.01)
    assert losses[0] > min(losses)
    assert (tmp_path / "history.csv").read_text().splitlines()[0] == (
        "epoch,learning_rate,loss,images_per_second,val_loss,val_quadratic_weighted_kappa"
    )


def test_same_seed_same_weights(prepared, tmp_path):
    cache = FeatureCache(prepared)
    runs = [fit(prepared, tmp_path / str(n), cache, seed=seed) for n, seed in enumerate((1, 1, 2))]
    first, same, other = ([row["loss"] for row in run.run().history] for run in runs)
    assert first == same and first != other


def test_a_heads_epochs_are_told(prepared, tmp_path):
    told = io.StringIO()
    bar = ProgressBar(stream=told)
    head = fit(prepared, tmp_path)
    head.hooks = Hooks(say=lambda line: None, on_step=bar)
    history = head.run().history
    bar.close()
    lines = told.getvalue().splitlines()
    assert len(lines) == CONFIG.epochs
    for number, (line, row) in enumerate(zip(lines, history, strict=True), start=1):
        kappa = row["val_quadratic_weighted_kappa"]
        told_of = f"epoch {number}/5: loss {row['loss']:.3f}, validation kappa {kappa:.3f}, "
        assert line.startswith(told_of) and " min left, " in line


def test_wrong_layers_and_losses(prepared, tmp_path):
    for changes, message in [
        ({"freeze_through": "pool9"}, "--freeze_through=pool9: net5 has no such layer"),
        ({"freeze_through": "score"}, "--freeze_through=score: leaves nothing of net5 to train"),
        ({"loss": "cross_entropy"}, "--loss=cross_entropy: --head=classification needs --loss"),
    ]:
        with pytest.raises(InputError, match=message):
            fit(prepared, tmp_path, **changes)


def test_folds_leave_an_ordinary_run(prepared, tmp_path):
    reported = []

    def report(folder, records, labels, scores):
        reported.append((folder, scores))
        (folder / run_folder.METRICS).write_text("{}")

    hooks = Hooks(report=report, say=lambda line: None)
    plan = SplitPlan(2, 0.2)
    strategy = tf.distribute.get_strategy()
    folder = train_stages([CONFIG], lambda size: prepared, tmp_path, plan, strategy, hooks)
    assert [path for path, _ in reported] == [folder / "fold_0", folder / "fold_1", folder]
    assert len(reported[2][1]) == 40
    for path in run_folder.find_models(folder):
        assert sorted(set(run_folder.read_splits(path.parent / run_folder.SPLIT).values())) == [
            "held_out", "train", "validation",
        ]  # fmt: skip


def test_caps_and_test_split(prepared):
    plan = SplitPlan(0, 0.125, seed=1, test_fraction=0.2, caps=(3, 8, 2, 0, 8))
    (assigned,), notes = divide(prepared, audit_prepared(prepared), plan)
    assert notes == ["only 3 photographs validate, too few to tell models apart: --folds=5 grades all"]
    kept = np.array([name != "" for name in assigned])
    assert np.bincount(prepared.grades[kept], minlength=5).tolist() == [3, 8, 2, 0, 8]
    assert assigned == divide(prepared, audit_prepared(prepared), plan)[0][0]
    everything = divide(prepared, audit_prepared(prepared), dataclasses.replace(plan, caps=()))[0][0]
    assert everything.count("test") == 8 and everything.count("") == 0
    assert 4 <= everything.count("validation") <= 5
