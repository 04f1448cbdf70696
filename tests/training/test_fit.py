"""One training in its run folder: what it writes, and that a stopped one ends as if it had not been."""

import csv
import dataclasses
import math

import keras
import numpy as np
import pytest
from prepared_folders import noise_images, write_prepared

from dr_keras.data.augmentation import AugmentationConfig
from dr_keras.data.sampling import class_weights
from dr_keras.data.shards import color_statistics
from dr_keras.errors import InputError
from dr_keras.grades import score_to_grade
from dr_keras.metrics import quadratic_weighted_kappa
from dr_keras.models.grader_model import load_model, network_of
from dr_keras.training.build import build_network
from dr_keras.training.config import TrainingConfig
from dr_keras.training.fit import Fit
from dr_keras.training.history import is_best, write_history
from dr_keras.training.protocol import FitTask, Hooks, Interrupted
from dr_keras.training.scoring import DatasetScorer
from dr_keras.training.state import load_state, save_state

CONFIG = TrainingConfig(
    architecture="net5", image_size=128, width=0.05, epochs=3, batch_size=8, learning_rate_drops=(1,), seed=4
)
DENSE_ADAM = dataclasses.replace(CONFIG, head="dense", optimizer="adam", loss="huber", epochs=1)
TRAINING, VALIDATION = np.arange(0, 24), np.arange(24, 34)
STEPS = 3  # 24 photographs in batches of 8


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    images = noise_images(34, 128)[np.random.default_rng(0).permutation(34)]
    return write_prepared(
        tmp_path_factory.mktemp("fit") / "prepared", images, (list(range(5)) * 7)[:34], shard_rows=34
    )


def make(config, prepared, run_dir, **hooks):
    hooks = Hooks(**{"say": lambda line: None, **hooks})
    return Fit(FitTask(config, prepared, TRAINING, VALIDATION, run_dir, hooks=hooks))


class EpochLog(keras.callbacks.Callback):
    """Keeps what a callback is given, and the weights at that moment."""

    def __init__(self):
        super().__init__()
        self.calls, self.weights = [], []

    def on_train_begin(self, logs=None):
        self.calls.append("train begins")

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append((epoch, logs))
        self.weights.append(self.model.get_weights())

    def on_train_end(self, logs=None):
        self.calls.append("train ends")


@pytest.fixture(scope="module")
def whole(prepared, tmp_path_factory):
    """A training never stopped: (fit, history, log, steps seen)."""
    log, steps = EpochLog(), []
    fit = make(
        CONFIG, prepared, tmp_path_factory.mktemp("fit") / "whole", callbacks=lambda fit: [log],
        on_step=lambda fit, loss, speed: steps.append((fit.progress["epoch"], float(loss), speed)),
    )  # fmt: skip
    return fit, fit.run().history, log, steps


def assert_weights_equal(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a, b)


def without_speed(history):
    return [{key: value for key, value in row.items() if key != "images_per_second"} for row in history]


# What a training does and writes


def test_history_has_a_row_per_epoch(whole):
    fit, history, _, steps = whole
    assert [row["epoch"] for row in history] == [0, 1, 2]
    np.testing.assert_allclose([row["learning_rate"] for row in history], [0.003, 0.0003, 0.0003])
    assert fit.steps == STEPS and [epoch for epoch, _, _ in steps] == [0] * 3 + [1] * 3 + [2] * 3
    for row in history:
        losses = [loss for epoch, loss, _ in steps if epoch == row["epoch"]]
        np.testing.assert_allclose(row["loss"], np.mean(losses), rtol=1e-6)
        assert row["images_per_second"] > 0
    kernels = [v.numpy() for v in fit.trainer.grader.trainable_variables if v.path.endswith("kernel")]
    # The penalty is the mean over the epoch's steps; the weights hardly move in one.
    np.testing.assert_allclose(
        history[-1]["l2_penalty"], 0.0005 * sum((k**2).sum() for k in kernels), rtol=0.01
    )


def test_validation_figures_are_those_of_the_epochs_weights(whole, prepared):
    fit, history, log, _ = whole
    labels = prepared.grades[VALIDATION]
    final = fit.trainer.grader.get_weights()
    for row, weights in zip(history, log.weights):
        fit.trainer.grader.set_weights(weights)
        scores = np.asarray(fit.trainer.grader(prepared.read(VALIDATION)))[:, 0]
        np.testing.assert_allclose(row["val_loss"], np.mean((scores - labels) ** 2), rtol=1e-4)
        assert row["val_quadratic_weighted_kappa"] == pytest.approx(
            quadratic_weighted_kappa(labels, score_to_grade(scores))
        )
    fit.trainer.grader.set_weights(final)


def test_history_file_is_the_history(whole):
    fit, history, _, _ = whole
    with open(fit.run_dir / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "learning_rate", "loss", "l2_penalty", "images_per_second", "val_loss",
                             "val_quadratic_weighted_kappa"]  # fmt: skip
    assert [{key: float(value) for key, value in row.items()} for row in rows] == history


def test_saved_models_are_the_best_and_the_last(whole, prepared):
    fit, history, log, _ = whole
    kappas = [row["val_quadratic_weighted_kappa"] for row in history]
    losses = [row["val_loss"] for row in history]
    for name, epoch in (
        ("model.keras", int(np.argmax(kappas))),
        ("best_loss.keras", int(np.argmin(losses))),
        ("last.keras", 2),
    ):
        assert_weights_equal(load_model(fit.run_dir / name).get_weights(), log.weights[epoch])
    assert len({tuple(weights[0].ravel()) for weights in log.weights}) == 3


def test_scorer_equals_the_model_called_directly(whole, prepared):
    fit = whole[0]
    scores = DatasetScorer(fit.trainer.grader, prepared, batch_size=4)([3, 1, 30, 2, 9])
    assert scores.dtype == np.float64 and scores.shape == (5,)
    direct = np.asarray(fit.trainer.grader(prepared.read([3, 1, 30, 2, 9])))[:, 0]
    np.testing.assert_allclose(scores, direct, atol=1e-5)
    assert DatasetScorer(fit.trainer.grader, prepared)(np.array([], int)).shape == (0,)


def test_callbacks_are_given_the_row_and_the_class_weights(whole, prepared):
    _, history, log, _ = whole
    assert [call if isinstance(call, str) else call[0] for call in log.calls] == [
        "train begins",
        0,
        1,
        2,
        "train ends",
    ]
    for epoch, (_, logs) in enumerate(log.calls[1:4]):
        logs = dict(logs)
        np.testing.assert_allclose(logs.pop("class_weights"), class_weights(prepared.grades[TRAINING], epoch))
        assert logs == history[epoch]


def test_grader_carries_the_training_sets_statistics(whole, prepared):
    mean, sd, components = color_statistics(prepared, TRAINING)
    layer = load_model(whole[0].run_dir / "model.keras").get_layer("standardize")
    np.testing.assert_allclose(layer.mean, mean)
    np.testing.assert_allclose(layer.sd, sd)
    np.testing.assert_allclose(whole[0].trainer.augmentation.color_components, components)


def test_nothing_but_its_files_is_left(whole):
    names = {"model.keras", "best_loss.keras", "last.keras", "history.csv", "state.npz"}
    assert {path.name for path in whole[0].run_dir.iterdir()} == names


def test_the_seed_gives_the_initial_weights():
    first, second, other = (
        build_network(dataclasses.replace(CONFIG, seed=seed)).get_weights() for seed in (4, 4, 5)
    )
    assert_weights_equal(first, second)
    assert not np.allclose(first[0], other[0])


# Stopped and started again


def stop_after(steps):
    """A `should_stop` that says yes after so many steps."""
    counter = iter(range(1, steps + 1))
    return lambda: next(counter) == steps


def test_a_stopped_training_ends_as_one_never_stopped(whole, prepared, tmp_path):
    """Stopped at an epoch's last step, and at the very last one; see below for mid-epoch."""
    lines, done = [], 0
    for stop in (6, 9):
        with pytest.raises(Interrupted):
            make(CONFIG, prepared, tmp_path, should_stop=stop_after(stop - done), say=lines.append).run()
        done = stop
    resumed = make(CONFIG, prepared, tmp_path, say=lines.append)
    assert lines == [f"{tmp_path}: goes on from epoch {epoch}" for epoch in (2, 3)]
    history = resumed.run().history
    assert_weights_equal(resumed.trainer.grader.get_weights(), whole[0].trainer.grader.get_weights())
    for name in ("model.keras", "best_loss.keras", "last.keras"):
        assert_weights_equal(
            load_model(tmp_path / name).get_weights(), load_model(whole[0].run_dir / name).get_weights()
        )
    assert without_speed(history) == without_speed(whole[1])


def test_optimizer_and_dropout_go_on_too(prepared, tmp_path):
    """In mid-epoch: Adam's moments, and the dense head's dropout, which draws from a state of its own."""
    whole = make(DENSE_ADAM, prepared, tmp_path / "whole")
    history = whole.run().history
    with pytest.raises(Interrupted):
        make(DENSE_ADAM, prepared, tmp_path / "stopped", should_stop=stop_after(2)).run()
    resumed = make(DENSE_ADAM, prepared, tmp_path / "stopped")
    assert without_speed(resumed.run().history) == without_speed(history)
    assert_weights_equal(resumed.trainer.grader.get_weights(), whole.trainer.grader.get_weights())


def test_a_diverging_training_ends_in_one_line(prepared, tmp_path):
    fit = make(dataclasses.replace(CONFIG, learning_rate=1e15), prepared, tmp_path / "run")
    with pytest.raises(InputError, match=r"no longer a number in epoch \d; expected a lower --learning_rate"):
        fit.run()
    assert not (tmp_path / "run" / "last.keras").exists()


def test_a_finished_training_is_not_trained_again(whole, prepared):
    fit = whole[0]
    models = {path.name: path.read_bytes() for path in fit.run_dir.iterdir() if path.suffix != ".keras"}
    lines, steps = [], []
    again = make(CONFIG, prepared, fit.run_dir, say=lines.append, on_step=lambda *arguments: steps.append(1))
    assert again.run().history == whole[1]
    assert_weights_equal(again.trainer.grader.get_weights(), fit.trainer.grader.get_weights())
    assert steps == [] and lines == []
    assert {
        path.name: path.read_bytes() for path in fit.run_dir.iterdir() if path.suffix != ".keras"
    } == models


def test_state_round_trip(whole, prepared, tmp_path):
    trainer = whole[0].trainer
    progress = {"epoch": 2, "step": 1, "loss": 1 / 3, "penalty": 0.0, "history": [{"a": float("nan")}]}
    save_state(tmp_path / "state.npz", trainer, progress)
    fresh = make(CONFIG, prepared, tmp_path / "fresh").trainer
    loaded = load_state(tmp_path / "state.npz", fresh)
    assert math.isnan(loaded["history"][0].pop("a")) and loaded == {**progress, "history": [{}]}
    assert_weights_equal(fresh.grader.get_weights(), trainer.grader.get_weights())
    variables = [[v.numpy() for v in t.optimizer.variables] for t in (fresh, trainer)]
    assert_weights_equal(*variables)
    assert int(fresh.optimizer.iterations) == 9
    assert load_state(tmp_path / "none.npz", fresh) is None


def test_state_of_another_network_is_refused(whole, prepared, tmp_path):
    save_state(tmp_path / "state.npz", whole[0].trainer, {})
    wider = dataclasses.replace(CONFIG, width=0.1)
    with pytest.raises(
        InputError, match="state.npz: saved by a run with another network; name another --run_dir"
    ):
        make(wider, prepared, tmp_path)


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:1000], lambda data: b"hello"])
def test_damaged_state_is_named(whole, prepared, tmp_path, damage):
    path = tmp_path / "state.npz"
    path.write_bytes(damage((whole[0].run_dir / "state.npz").read_bytes()))
    with pytest.raises(InputError, match="state.npz"):
        load_state(path, whole[0].trainer)


# Choices


def test_sampling_and_augmentation_are_those_of_the_configuration(prepared, tmp_path):
    still = AugmentationConfig(rotation=0.0, flip=False, shift=0.0, stretch=1.0, color_sigma=0.0)
    config = dataclasses.replace(
        CONFIG,
        epochs=1,
        resample=False,
        augmentation=still,
        batch_size=24,
        learning_rate=0.0,
    )
    fit = make(config, prepared, tmp_path)
    (row,) = fit.run().history
    # Each photograph once, unchanged, at a learning rate of 0: the loss is that of the untrained network.
    scores = np.asarray(fit.trainer.grader(prepared.read(TRAINING)))[:, 0]
    np.testing.assert_allclose(row["loss"], np.mean((scores - prepared.grades[TRAINING]) ** 2), rtol=1e-3)


def test_build_network_takes_every_choice():
    network = build_network(
        dataclasses.replace(CONFIG, architecture="net4", head="dense", untied_biases=False, width=0.1)
    )
    assert network.name == "net4" and network.get_layer("conv2_kernel").use_bias
    assert network.get_layer("conv2").output.shape[-1] == 3 and network.get_layer("rms_pool")
    ram = build_network(dataclasses.replace(CONFIG, architecture="ram_net5"))
    assert tuple(ram.get_layer("conv11").output.shape[1:3]) == (54, 54)


def test_start_from_another_network(whole, prepared, tmp_path):
    lines = []
    path = whole[0].run_dir / "last.keras"
    hooks = Hooks(say=lines.append)
    fit = Fit(FitTask(CONFIG, prepared, TRAINING, VALIDATION, tmp_path, init_from=path, hooks=hooks))
    assert lines == [f"17 layers taken over from {path}; initialised: none"]
    assert_weights_equal(
        network_of(fit.trainer.grader).get_weights(), network_of(whole[0].trainer.grader).get_weights()
    )


# Which epoch is the best


@pytest.mark.parametrize(
    "value, before, best",
    [(0.1, [], True), (math.nan, [], True), (math.nan, [0.1], False), (0.2, [0.1], True), (0.1, [0.1], False),
     (0.0, [math.nan], True), (math.nan, [math.nan], False), (0.2, [0.1, 0.3, 0.1], False)],
)  # fmt: skip
def test_is_best(value, before, best):
    assert is_best({"k": value}, [{"k": v} for v in before], "k", sign=1) == best
    assert is_best({"k": -value}, [{"k": -v} for v in before], "k", sign=-1) == best


def test_write_history_quotes_nothing_away(tmp_path):
    write_history(tmp_path / "h.csv", [{"epoch": 0, "kappa": math.nan}, {"epoch": 1, "kappa": 0.1}])
    assert (tmp_path / "h.csv").read_text().split() == ["epoch,kappa", "0,nan", "1,0.1"]
