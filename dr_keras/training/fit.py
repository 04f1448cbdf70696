"""One training, from its configuration to its run folder; goes on where a killed one left off."""

import dataclasses
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from dr_keras import files
from dr_keras.data.pipeline import steps_per_epoch, training_batches
from dr_keras.data.sampling import epoch_weights
from dr_keras.errors import InputError
from dr_keras.grades import score_to_grade
from dr_keras.metrics import quadratic_weighted_kappa
from dr_keras.models.grader import load_model, network_of
from dr_keras.training.build import build_trainer
from dr_keras.training.history import is_best, write_history
from dr_keras.training.hosts import workers
from dr_keras.training.run_folder import MODEL
from dr_keras.training.schedules import learning_rate
from dr_keras.training.scoring import Scorer
from dr_keras.training.state import load_state, save_state, share_state
from dr_keras.training.transfer import transfer_weights

BEST_LOSS, LAST = "best_loss.keras", "last.keras"  # beside MODEL, the best by kappa
STATE, HISTORY = "state.npz", "history.csv"


class Interrupted(Exception):
    """The training was asked to stop; its state is saved."""


@dataclasses.dataclass(frozen=True)
class Hooks:
    """What a script adds to a training; all optional.

    Attributes:
        report: called with (folder, records, labels, scores) when a training is done, and for the
            pooled folds of a stage; must write `metrics.json` into the folder, last.
        callbacks: called with the `Fit`; returns the Keras callbacks of this training. They are given
            the grader, and the epoch's row of the history with its `class_weights`.
        on_step: called with (fit, loss tensor, images per second) after every step.
        should_stop: called after every step; True saves the state and raises `Interrupted`.
        say: called with one-line remarks.
        progress: wraps a long iteration as `tqdm.tqdm` does, called with `total`; or None.
    """

    report: Callable = lambda folder, records, labels, scores: None
    callbacks: Callable = lambda fit: ()
    on_step: Callable = lambda fit, loss, images_per_second: None
    should_stop: Callable = lambda: False
    say: Callable = print
    progress: Callable | None = None


class Fit:
    """Runs the epochs of one training and keeps its run folder.

    Where several processes train together, all run this; the chief alone reads and writes the folder,
    and calls the hooks, of which the others have `should_stop`.

    Args:
        config: `TrainingConfig`.
        prepared: `PreparedDataset` of the configuration's image size.
        training, validation: int arrays of photographs.
        run_dir: folder of the run.
        strategy: `tf.distribute.Strategy`.
        init_from: path of a saved grader whose fitting layers are taken over, or None.
        hooks: `Hooks`.
    """

    def __init__(self, config, prepared, training, validation, run_dir, strategy, init_from=None, hooks=None):
        self.config, self.prepared = config, prepared
        self.training, self.validation = training, validation
        self.validation_labels, self.validation_scores = prepared.grades[validation], None
        self.run_dir = Path(run_dir)
        self.hooks = hooks or Hooks()
        self.trainer = build_trainer(config, prepared, training, strategy)
        self.steps = steps_per_epoch(len(training), config.batch_size)
        self._strategy = strategy
        self._scorer = Scorer(self.trainer.grader, prepared, batch_size=max(32, config.batch_size))
        self._is_chief = workers.is_chief(strategy)
        self.progress = {"epoch": 0, "step": 0, "loss": 0.0, "penalty": 0.0, "history": []}
        if self._is_chief:
            self._start(init_from)
        self.progress = share_state(self.trainer, self.progress, strategy)
        self._callbacks = keras.callbacks.CallbackList(
            list(self.hooks.callbacks(self)) if self._is_chief else [], model=self.trainer.grader
        )

    def _start(self, init_from):
        """Takes up the saved state, or else the weights to start from."""
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
        """Trains to the last epoch. Returns the history: a list of dicts, one per epoch."""
        iterator = iter(self._strategy.distribute_datasets_from_function(self._batches))
        self._callbacks.on_train_begin()
        while self.progress["epoch"] < self.config.epochs:
            self._run_epoch(iterator)
        self._callbacks.on_train_end()
        self._save_model(LAST)
        return self.progress["history"]

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
            if self._should_stop():
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

    def _should_stop(self):
        """Whether any of the processes was asked to stop: they do it after the same step."""
        return bool(workers.total(self._strategy, np.array([int(self.hooks.should_stop())]))[0])

    def _validate(self):
        scores, labels = np.zeros(len(self.validation)), self.validation_labels
        mine = workers.share(self._strategy, len(scores))
        scores[mine] = self._scorer(self.validation[mine])
        scores = workers.total(self._strategy, scores)
        self.validation_scores = scores
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a single class: the history says NaN
            kappa = quadratic_weighted_kappa(labels, score_to_grade(scores, self.config.thresholds))
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
