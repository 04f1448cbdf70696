"""What the kinds of training have in common: what they are given, how they run, what they return.

`fit.Fit` trains a whole network, `frozen.head.HeadFit` the layers behind a frozen backbone,
`frozen.ridge.RidgeFit` a linear head in closed form, `frozen.ordinal.OrdinalFit` an ordinal one,
`lesions.lesion_fit.LesionFit` a lesion network, and `lesions.rescored_fit.RescoredFit` the score of one.
`stages` chooses among them and treats them alike.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from dr_keras.data.shards import PreparedDataset
from dr_keras.training.config import TrainingConfig


class Interrupted(Exception):
    """The training was asked to stop; its state is saved."""


@dataclasses.dataclass(frozen=True)
class Hooks:
    """Functions that a training calls on its way; all optional.

    Attributes:
        report: called with (folder, records, labels, scores) when a training is done, and for the
            pooled folds of a stage; must write `metrics.json` into the folder, last.
        callbacks: called with the `Fit`; returns the Keras callbacks of this training. They are given
            the grader, and the epoch's row of the history with its `class_weights`.
        on_step: called with (fit, loss tensor, images per second) after every step. Reading the tensor
            waits for the device, so do it seldom.
        should_stop: called after every step, and must be quick; after True the state is saved and
            `Interrupted` raised.
        stop_seconds: how often several processes ask one another whether one of them was asked to stop; the
            same on all of them.
        say: called with one-line remarks.
        progress: wraps a long iteration as `tqdm.tqdm` does, called with `total`; or None.
    """

    report: Callable = lambda folder, records, labels, scores: None
    callbacks: Callable = lambda fit: ()
    on_step: Callable = lambda fit, loss, images_per_second: None
    should_stop: Callable = lambda: False
    stop_seconds: float = 1.0
    say: Callable = print
    progress: Callable | None = None


@dataclasses.dataclass(frozen=True)
class FitTask:
    """One training to run: one image size, and one fold if there are folds.

    Attributes:
        config: `TrainingConfig`.
        prepared: `PreparedDataset` of the configuration's image size.
        training, validation: int arrays, positions of photographs.
        run_dir: folder for the training's files.
        strategy: `tf.distribute.Strategy`; heads on a frozen backbone ignore it.
        init_from: path of a saved grader whose fitting layers are taken over, or None.
        seen_by_start: int array, positions of the photographs of `prepared` that `init_from` has learnt from.
        hooks: `Hooks`.
        features: `FeatureCache` of `prepared`, for heads on a frozen backbone; None: a new one.
        masked: tuple of `MaskedPhotograph` to train on, for lesion networks.
        groups: int array, for each photograph of `prepared` the number of its group, which what is chosen by
            cross-validation leaves out together (`splits.group_records`); None: each is its own.
    """

    config: TrainingConfig
    prepared: PreparedDataset
    training: np.ndarray
    validation: np.ndarray
    run_dir: Path
    strategy: tf.distribute.Strategy = dataclasses.field(default_factory=tf.distribute.get_strategy)
    init_from: Path | None = None
    seen_by_start: tuple | np.ndarray = ()
    hooks: Hooks = Hooks()
    features: Any = None
    masked: tuple = ()
    groups: np.ndarray | None = None

    def groups_of(self, indices):
        """Group numbers of photographs by position: int array (n,)."""
        return np.asarray(indices) if self.groups is None else self.groups[indices]


@dataclasses.dataclass(frozen=True)
class FitResult:
    """What a training leaves behind besides its files.

    Attributes:
        history: list of dicts, one for each epoch; empty for a fit in closed form.
        unseen_scores: float64 (n,), the score of each training photograph by a fit without its patient, or
            None where that isn't known.
    """

    history: list
    unseen_scores: np.ndarray | None = None


class FitProtocol(Protocol):
    """A kind of training. It saves the grader as `model.keras` in the task's folder.

    Raises:
        InputError: when made, if the task's configuration doesn't suit its network.
    """

    def __init__(self, task: FitTask): ...

    def run(self) -> FitResult:
        """Trains to the end; raises `Interrupted` if the hooks ask it to stop."""
