"""Training a lesion network: first its segmentation, on masks, then its score, on grades."""

import dataclasses
import math
import time
import types
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from dr_keras.data.lesion_crops import CropConfig, CropSampler, LesionExample
from dr_keras.data.parallel import batches_ahead
from dr_keras.errors import InputError
from dr_keras.files import atomic_path
from dr_keras.models.grader_model import network_of
from dr_keras.models.lesion_nets import ENCODER, SEGMENTER, fold_normalization, lesion_segmenter
from dr_keras.training.build import build_model, build_optimizer
from dr_keras.training.history import HISTORY, write_history
from dr_keras.training.hosts import devices
from dr_keras.training.lesions.losses import bce_dice
from dr_keras.training.lesions.score_fit import OF_HEALTHY, ScoreFit
from dr_keras.training.protocol import FitResult, Interrupted
from dr_keras.training.run_folder import MODEL
from dr_keras.training.schedules import learning_rate
from dr_keras.training.state import load_state, save_state

STATE = "state.npz"
CROPS = 37  # an epoch's for each photograph with masks: 1,600 for four fifths of IDRiD's
_AVERAGED = 0.99  # share that the average of the weights keeps at each step
_PICTURES = 4  # photographs whose lesions TensorBoard shows
_AT_ONCE = 4  # photographs with masks that are read together


class LesionFit:
    """Trains `lesion_net` and `lesion_efficientnet`; a `protocol.FitProtocol`.

    The segmentation learns from crops of the task's photographs with masks and of two thirds of the training
    photographs of grade 0, in which whatever it marks is false. What is kept is the average of the weights
    over the last hundred steps or so, with batch normalisation folded into the convolutions. Then `ScoreFit`
    fits the score.

    Validation photographs decide nothing. It goes on from the epoch that a stopped or killed training
    finished last.

    Args:
        task: `FitTask` with `masked` photographs.
        crops: `CropConfig`, how the crops are drawn that the segmentation learns from.

    Attributes:
        pictures: uint8 (n, size, size, 3), some of the photographs with masks.

    Raises:
        InputError: if there is no photograph with masks to train on.
    """

    def __init__(self, task, crops=CropConfig()):
        self.config, self.prepared, self.hooks = task.config, task.prepared, task.hooks
        self.run_dir = Path(task.run_dir)
        if not task.masked:
            raise InputError(
                f"--architecture={task.config.architecture}: no photograph with lesion masks to train on"
            )
        # In float32, scores are the same on every machine.
        config = dataclasses.replace(task.config, precision="float32")
        self.grader = build_model(config, task.prepared, task.training)
        healthy = np.array([i for i in task.training if task.prepared.grades[i] == 0], int)
        judges = task.groups_of(healthy) % OF_HEALTHY == 0
        learnt = healthy[~judges]
        self._score = ScoreFit(task, learnt, healthy[judges])
        size, steps = task.prepared.image_size, task.prepared.normalization
        loaded = batches_ahead(lambda one: LesionExample.read(one, size, steps), task.masked, _AT_ONCE)
        examples = [example for batch in loaded for _, example in batch]
        examples += [LesionExample(pixels, None) for pixels in task.prepared.read(learnt)]
        self.pictures = np.stack([example.pixels for example in examples[:_PICTURES]])
        crops = dataclasses.replace(crops, size=min(crops.size, size))
        self.sampler = CropSampler(examples, crops, task.config.seed)
        self.steps = math.ceil(CROPS * len(task.masked) / task.config.batch_size)
        with devices.precision_scope(task.config.precision):
            self.segmenter = lesion_segmenter(None, task.config.seed)
            started = network_of(self.grader).get_layer(SEGMENTER).get_layer(ENCODER)
            self.segmenter.get_layer(ENCODER).set_weights(started.get_weights())
            # A short training's average must not hold on to the initial weights.
            kept = max(0.0, min(_AVERAGED, 1 - 5 / (self.steps * task.config.epochs)))
            optimizer = build_optimizer(task.config, use_ema=True, ema_momentum=kept)
        optimizer.build(self.segmenter.trainable_variables)
        self._trainer = types.SimpleNamespace(grader=self.segmenter, optimizer=optimizer)
        self._step = tf.function(self._train_step)
        start = {"epoch": 0, "step": 0, "history": []}
        self.progress = load_state(self.run_dir / STATE, self._trainer) or start
        if 0 < self.progress["epoch"] < self.config.epochs:
            self.hooks.say(f"{self.run_dir}: goes on from epoch {self.progress['epoch'] + 1}")
        self._callbacks = keras.callbacks.CallbackList(list(self.hooks.callbacks(self)), model=self.segmenter)

    def run(self):
        """Trains the segmentation to the last epoch, then the score. Returns a `FitResult`."""
        self._callbacks.on_train_begin()
        while self.progress["epoch"] < self.config.epochs:
            self._run_epoch()
        self._callbacks.on_train_end()
        self._trainer.optimizer.finalize_variable_values(self.segmenter.trainable_variables)
        network = network_of(self.grader)
        fold_normalization(self.segmenter, network.get_layer(SEGMENTER))
        scores = self._score.run(self.grader)
        with atomic_path(self.run_dir / MODEL) as temporary:
            self.grader.save(temporary)
        return FitResult(self.progress["history"], scores)

    def _run_epoch(self):
        epoch, start = self.progress["epoch"], time.perf_counter()
        losses, size = [], self.config.batch_size
        first = epoch * self.steps * size
        numbers = range(first, first + self.steps * size)
        for step, batch in enumerate(batches_ahead(self.sampler.crop, numbers, size), start=1):
            rate = learning_rate(self.config, epoch + (step - 1) / self.steps)
            self._trainer.optimizer.learning_rate.assign(rate)
            images, targets = (np.stack(arrays) for arrays in zip(*(crop for _, crop in batch), strict=True))
            losses.append(self._step(tf.constant(images), tf.constant(targets)))
            self.progress["step"] = step
            if self.hooks.should_stop():
                raise Interrupted(self.run_dir)
            self.hooks.on_step(self, losses[-1], step * size / (time.perf_counter() - start))
        row = {
            "epoch": epoch, "learning_rate": rate, "loss": float(np.mean([float(loss) for loss in losses])),
            "images_per_second": self.steps * size / (time.perf_counter() - start),
        }  # fmt: skip
        if not math.isfinite(row["loss"]):
            raise InputError(
                f"{self.run_dir}: the loss is no longer a number in epoch {epoch + 1}; expected a lower "
                "--learning_rate"
            )
        self.progress = {"epoch": epoch + 1, "step": 0, "history": [*self.progress["history"], row]}
        write_history(self.run_dir / HISTORY, self.progress["history"])
        save_state(self.run_dir / STATE, self._trainer, self.progress)
        self._callbacks.on_epoch_end(epoch, row)

    def _train_step(self, images, targets):
        variables = self.segmenter.trainable_variables
        with tf.GradientTape() as tape:
            loss = bce_dice(targets, self.segmenter(images, training=True))
        self._trainer.optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
        return loss
