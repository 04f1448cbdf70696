"""Training a whole network, from its configuration to its run folder, with resumption after a kill."""

import math
import time
from pathlib import Path

import keras
import numpy as np

from dr_keras import files
from dr_keras.data.pipeline import steps_per_epoch, training_batches
from dr_keras.data.sampling import epoch_weights
from dr_keras.errors import InputError
from dr_keras.models.grader_model import load_model, network_of
from dr_keras.training.build import build_trainer
from dr_keras.training.history import HISTORY, is_best, kappa_of_scores, write_history
from dr_keras.training.hosts import devices, workers
from dr_keras.training.protocol import FitResult, Interrupted
from dr_keras.training.run_folder import MODEL
from dr_keras.training.schedules import learning_rate
from dr_keras.training.scoring import DatasetScorer
from dr_keras.training.state import load_state, save_state, share_state
from dr_keras.training.transfer import transfer_weights

BEST_LOSS, LAST = "best_loss.keras", "last.keras"  # beside MODEL, the epoch with the best kappa
STATE = "state.npz"


class Fit:
    """Trains all layers of a network, epoch by epoch; a `protocol.FitProtocol`.

    It goes on from the state that a stopped or killed training left in its folder. Where several processes
    train together, all run this; the chief alone reads and writes the folder and calls the hooks, of which
    the others have `should_stop`.

    Args:
        task: `FitTask`.
    """

    def __init__(self, task):
        self.config, self.prepared, self.hooks = task.config, task.prepared, task.hooks
        self.training, self.validation = task.training, task.validation
        self.validation_labels, self.validation_scores = task.prepared.grades[task.validation], None
        self.run_dir = Path(task.run_dir)
        self.trainer = build_trainer(task.config, task.prepared, task.training, task.strategy)
        self.steps = steps_per_epoch(len(task.training), task.config.batch_size)
        self._strategy = task.strategy
        self._scorer = DatasetScorer(
            self.trainer.grader, task.prepared, batch_size=max(32, task.config.batch_size)
        )
        self._is_chief = workers.is_chief(task.strategy)
        self._stop = workers.SharedStop(task.strategy, task.hooks.should_stop, task.hooks.stop_seconds)
        self.progress = {"epoch": 0, "step": 0, "loss": 0.0, "penalty": 0.0, "history": []}
        if self._is_chief:
            self._start(task.init_from)
        self.progress = share_state(self.trainer, self.progress, task.strategy)
        self._callbacks = keras.callbacks.CallbackList(
            list(self.hooks.callbacks(self)) if self._is_chief else [], model=self.trainer.grader
        )

    def _start(self, init_from):
        """Restores the saved state, or else takes over the weights to start from."""
        saved = load_state(self.run_dir / STATE, self.trainer)
        self.progress = saved or self.progress
        if saved is None and init_from is not None:
            self._take_over(init_from)
        elif saved is not None and saved["epoch"] < self.config.epochs:
            self.hooks.say(f"{self.run_dir}: goes on from epoch {saved['epoch'] + 1}")

    def _take_over(self, path):
        taken, left = transfer_weights(network_of(load_model(path)), network_of(self.trainer.grader))
        self.hooks.say(
            f"{len(taken)} layers taken over from {path}; initialised: {', '.join(left) or 'none'}"
        )

    def run(self):
        """Trains to the last epoch. Returns a `FitResult`."""
        iterator = devices.device_iterator(self._strategy, self._batches)
        self._callbacks.on_train_begin()
        while self.progress["epoch"] < self.config.epochs:
            self._run_epoch(iterator)
        self._callbacks.on_train_end()
        self._save_model(LAST)
        return FitResult(self.progress["history"])

    def _batches(self, context):
        return training_batches(
            self.prepared, self.training, self.config.batch_size, self.config.epochs, self.config.seed,
            self.config.sampling, self.progress["epoch"], self.progress["step"], context,
        )  # fmt: skip

    def _run_epoch(self, iterator):
        progress, epoch = self.progress, self.progress["epoch"]
        self._callbacks.on_epoch_begin(epoch)
        rate = learning_rate(self.config, epoch)
        self.trainer.optimizer.learning_rate.assign(rate)
        start, images = time.perf_counter(), 0
        totals = progress["loss"], progress["penalty"]
        for errors, penalty, count in self.trainer.run_steps(iterator, self.steps - progress["step"]):
            totals = totals[0] + errors, totals[1] + penalty
            progress["step"] += 1
            images += count
            if self._stop(progress["step"] == self.steps):
                progress |= {"loss": float(totals[0]), "penalty": float(totals[1])}
                self._save_state()
                raise Interrupted(self.run_dir)
            if self._is_chief:
                self.hooks.on_step(self, errors, images / (time.perf_counter() - start))
        row = {
            "epoch": epoch, "learning_rate": rate,
            "loss": float(totals[0]) / self.steps, "l2_penalty": float(totals[1]) / self.steps,
            "images_per_second": images / (time.perf_counter() - start), **self._validate(),
        }  # fmt: skip
        if not math.isfinite(row["loss"] + row["l2_penalty"]):
            raise InputError(
                f"{self.run_dir}: the loss is no longer a number in epoch {epoch + 1}; expected a lower "
                "--learning_rate or --l2"
            )
        self._finish_epoch(row)

    def _validate(self):
        scores, labels = np.zeros(len(self.validation)), self.validation_labels
        mine = workers.share(self._strategy, len(scores))
        scores[mine] = self._scorer(self.validation[mine])
        scores = workers.total(self._strategy, scores)
        self.validation_scores = scores
        kappa = kappa_of_scores(labels, scores, self.config.thresholds)
        return {"val_loss": float(np.mean((scores - labels) ** 2)), "val_quadratic_weighted_kappa": kappa}

    def _finish_epoch(self, row):
        history = self.progress["history"]
        if is_best(row, history, "val_quadratic_weighted_kappa", sign=1):
            self._save_model(MODEL)
        if is_best(row, history, "val_loss", sign=-1):
            self._save_model(BEST_LOSS)
        history.append(row)
        self.progress |= {"epoch": row["epoch"] + 1, "step": 0, "loss": 0.0, "penalty": 0.0}
        if self._is_chief:
            write_history(self.run_dir / HISTORY, history)
        self._save_state()
        grades = self.prepared.grades[self.training]
        weights = epoch_weights(grades, row["epoch"], self.config.sampling)
        self._callbacks.on_epoch_end(row["epoch"], {**row, "class_weights": weights})

    def _save_state(self):
        if self._is_chief:
            save_state(self.run_dir / STATE, self.trainer, self.progress)

    def _save_model(self, name):
        if not self._is_chief:
            return
        with files.atomic_path(self.run_dir / name) as temporary:
            self.trainer.grader.save(temporary)
