"""What a training shows: TensorBoard's log and the progress bar."""

import dataclasses
import io
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from prepared_folders import noise_images, write_prepared

from dr_keras.data.sampling import class_weights
from dr_keras.grades import GRADE_NAMES
from dr_keras.metrics import confusion_matrix
from dr_keras.training import progress
from dr_keras.training.config import TrainingConfig
from dr_keras.training.fit import Fit
from dr_keras.training.progress import ProgressBar
from dr_keras.training.protocol import FitTask, Hooks
from dr_keras.training.tensorboard import TensorBoard

CONFIG = TrainingConfig(image_size=128, width=0.05, epochs=2, batch_size=8, learning_rate_drops=(1,))


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """(fit, history, matrices shown, {tag: {step: value}}, text of the bar) of a training of two epochs."""
    folder = tmp_path_factory.mktemp("tensorboard")
    prepared = write_prepared(folder / "prepared", noise_images(24, 128), (list(range(5)) * 5)[:24])
    matrices = []

    def picture(matrix):
        matrices.append(np.asarray(matrix))
        return np.full((16, 24, 3), 10 * len(matrices), np.uint8)

    shown = io.StringIO()
    bar = ProgressBar(stream=shown)
    hooks = Hooks(callbacks=lambda fit: [TensorBoard(fit, picture)], on_step=bar, say=lambda line: None)
    fit = Fit(FitTask(CONFIG, prepared, np.arange(16), np.arange(16, 24), folder / "run", hooks=hooks))
    history = fit.run().history
    bar.close()
    (path,) = (folder / "run" / "tensorboard").iterdir()
    values = {}
    for event in tf.compat.v1.train.summary_iterator(str(path)):
        for value in event.summary.value:
            plugin = value.metadata.plugin_data.plugin_name
            found = (
                tf.make_ndarray(value.tensor) if plugin != "hparams" else value.metadata.plugin_data.content
            )
            values.setdefault(value.tag, {})[event.step] = found
    return fit, history, matrices, values, shown.getvalue()


def test_scalars_are_the_history(logged):
    _, history, _, values, _ = logged
    for name in (
        "loss",
        "l2_penalty",
        "val_loss",
        "val_quadratic_weighted_kappa",
        "learning_rate",
        "images_per_second",
    ):
        found = [float(values[name][epoch]) for epoch in (0, 1)]
        np.testing.assert_allclose(found, [row[name] for row in history], rtol=1e-6)


def test_class_weights_are_those_of_the_epoch(logged):
    fit, _, _, values, _ = logged
    for epoch in (0, 1):
        expected = class_weights(fit.prepared.grades[fit.training], epoch)
        found = [float(values[f"class weight/{name}"][epoch]) for name in GRADE_NAMES]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_confusion_matrix_is_that_of_validation(logged):
    fit, _, matrices, values, _ = logged
    assert len(matrices) == 2 and all(matrix.sum() == 8 for matrix in matrices)
    grades = np.clip(np.floor(fit.validation_scores + 0.5), 0, 4)
    np.testing.assert_array_equal(matrices[1], confusion_matrix(fit.validation_labels, grades))
    width, height, *pictures = values["validation confusion"][1]
    assert (width, height) == (b"24", b"16")
    assert (tf.io.decode_png(pictures[0]).numpy() == 20).all()


def test_augmented_batch_is_in_colour_and_of_the_window(logged):
    _, _, _, values, _ = logged
    width, height, *pictures = values["augmented batch"][0]
    assert (width, height, len(pictures)) == (b"112", b"112", 8)
    first = tf.io.decode_png(pictures[0]).numpy()
    assert first.shape == (112, 112, 3) and first.std() > 1


def test_hyperparameters_are_there(logged):
    _, _, _, values, _ = logged
    text = b"".join(
        next(iter(steps.values())) for tag, steps in values.items() if tag.startswith("_hparams_")
    )
    for name in (*(field.name for field in dataclasses.fields(CONFIG)), "net5"):
        assert name.encode() in text


def test_a_log_file_has_a_line_for_each_epoch(logged):
    _, history, _, _, shown = logged
    lines = shown.splitlines()
    assert len(lines) == 2
    for number, (line, row) in enumerate(zip(lines, history, strict=True), start=1):
        kappa = row["val_quadratic_weighted_kappa"]
        expected = rf"epoch {number}/2: loss {row['loss']:.3f}, validation kappa {kappa:.3f}, \d+ min left"
        assert re.match(expected, line), line


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize("columns", [80, 110, 0])  # 0: the terminal doesn't tell, and 80 is assumed
def test_a_narrow_terminal_shows_stage_fold_epoch_loss_kappa_and_time_left(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    shown, moments = Terminal(), iter(range(0, 10**6, 60))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(moments))
    stages = [dataclasses.replace(CONFIG, image_size=size) for size in (128, 256, 512)]
    bar = ProgressBar(stages, folds=5, stream=shown, seconds=0)
    row = {"val_quadratic_weighted_kappa": 0.512, "loss": 0.8, "images_per_second": 90.0}
    fit = SimpleNamespace(
        config=stages[1], steps=10, run_dir=Path("run/256/fold_3"),
        progress={"epoch": 0, "step": 1, "history": []},
    )  # fmt: skip
    bar(fit, 0.7, 90.0)
    fit.progress |= {"epoch": 1, "step": 5, "history": [row]}
    bar(fit, 0.6, 90.0)
    bar.close()
    last = shown.getvalue().rstrip().split("\r")[-1]
    assert last.startswith("stage 2/3, fold 4/5, epoch 2/2, loss 0.700, kappa 0.512, ")
    assert re.search(r"\d+ (h \d\d )?min left", last) and len(last) <= (columns or 80)


def test_time_left_counts_all_stages_and_folds(monkeypatch):
    """Two stages of one epoch: the second has four times the pixels, so a fifth is done after the first."""
    seconds = iter([0.0, 600.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))
    stages = [dataclasses.replace(CONFIG, image_size=size, epochs=1) for size in (128, 256)]
    shown = io.StringIO()
    bar = ProgressBar(stages, stream=shown)
    fit = SimpleNamespace(
        config=stages[0], steps=10, run_dir=Path("run/128"), progress={"epoch": 0, "step": 1, "history": []}
    )
    bar(fit, 0.7, 90.0)
    row = {"val_quadratic_weighted_kappa": 0.5, "loss": 0.8, "images_per_second": 90.0}
    fit.progress |= {"epoch": 1, "step": 0, "history": [row]}
    bar.close()
    assert "stage 1/2, epoch 1/1: loss 0.800, validation kappa 0.500, 40 min left" in shown.getvalue()
