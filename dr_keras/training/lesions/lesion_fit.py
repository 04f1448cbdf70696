"""Training a lesion network: first its segmentation, on masks, then its score, on grades."""

import dataclasses
import math
import time
import types
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, cross_val_predict

from dr_keras.data.lesion_crops import CropConfig, CropSampler, LesionExample
from dr_keras.data.lesion_regions import lesion_regions
from dr_keras.data.parallel import batches_ahead
from dr_keras.data.pipeline import evaluation_batches
from dr_keras.errors import InputError
from dr_keras.files import atomic_path
from dr_keras.lesion_kinds import LESIONS
from dr_keras.models.grader_model import network_of
from dr_keras.models.lesion_nets import CONTEXT, ENCODER, SEGMENTER, fold_normalization, lesion_segmenter
from dr_keras.training.build import build_model, build_optimizer
from dr_keras.training.frozen.backbone_features import Changed, FeatureCache
from dr_keras.training.frozen.ridge import fit_ridge
from dr_keras.training.history import HISTORY, write_history
from dr_keras.training.hosts import devices
from dr_keras.training.lesions.losses import bce_dice
from dr_keras.training.protocol import FitResult, Interrupted
from dr_keras.training.run_folder import MODEL
from dr_keras.training.schedules import learning_rate
from dr_keras.training.state import load_state, save_state

STATE = "state.npz"
CROPS = 37  # an epoch's for each photograph with masks: 1,600 for four fifths of IDRiD's
_AVERAGED = 0.99  # share that the average of the weights keeps at each step
_LEAST = 1 / (1 + np.exp(-np.linspace(-1, 8, 46)))  # probabilities that are tried: steps of 0.2 in logits
_FALSE = 0.25  # false detections of a kind in a healthy photograph, on average
_PARTS = 10  # of the cross-validation of the score
_OF_HEALTHY = 3  # one in so many healthy patients judges the segmentation; it learns from the others
_PENALTY = 1.0  # of the score's ridge regression, on features of unit standard deviation
_PICTURES = 4  # photographs whose lesions TensorBoard shows
_AT_ONCE = 4  # photographs whose features are computed together


class LesionFit:
    """Trains `lesion_net` and `lesion_efficientnet`; a `protocol.FitProtocol`.

    The segmentation learns from crops of the task's photographs with masks and of two thirds of the training
    photographs of grade 0, in which whatever it marks is false. What is kept is the average of the weights
    over the last hundred steps or so, with batch normalisation folded into the convolutions. The other third
    of grade 0, which it never saw, says from which probability on a pixel counts.

    Then the score is fitted to the grades of the training photographs, but for the healthy ones of the crops,
    on which the segmentation is quieter than on others: a linear unit whose weights may not be negative, so
    that the more lesions, the higher the score. The map of `lesion_efficientnet`'s backbone comes from a
    ridge regression on changed copies, as in `RidgeFit`; the score's weights see it as patients left out do.

    Validation photographs decide nothing. It goes on from the epoch that a stopped or killed training
    finished last.

    Args:
        task: `FitTask` with `masked` photographs.

    Attributes:
        pictures: uint8 (n, size, size, 3), some of the photographs with masks.

    Raises:
        InputError: if there is no photograph with masks to train on.
    """

    def __init__(self, task):
        self.config, self.prepared, self.hooks = task.config, task.prepared, task.hooks
        self.run_dir, self._training = Path(task.run_dir), task.training
        self._groups = np.arange(len(task.prepared)) if task.groups is None else task.groups
        self._cache = task.features or FeatureCache(task.prepared)
        if task.init_from:
            raise InputError(f"--init_from={task.init_from}: isn't for --head=lesions, which starts afresh")
        if not task.masked:
            raise InputError(
                f"--architecture={task.config.architecture}: no photograph with lesion masks to train on"
            )
        # In float32, scores are the same on every machine.
        config = dataclasses.replace(task.config, precision="float32")
        self.grader = build_model(config, task.prepared, task.training)
        healthy = np.array([i for i in task.training if task.prepared.grades[i] == 0], int)
        judges = self._groups[healthy] % _OF_HEALTHY == 0
        self._healthy, self._judges = healthy[~judges], healthy[judges]
        size, steps = task.prepared.image_size, task.prepared.normalization
        loaded = batches_ahead(lambda one: LesionExample.read(one, size, steps), task.masked, _AT_ONCE)
        examples = [example for batch in loaded for _, example in batch]
        examples += [LesionExample(pixels, None) for pixels in task.prepared.read(self._healthy)]
        self.pictures = np.stack([example.pixels for example in examples[:_PICTURES]])
        self.sampler = CropSampler(examples, CropConfig(size=min(CropConfig.size, size)), task.config.seed)
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
        network.get_layer("shares").least = self._least_probabilities(network.get_layer(SEGMENTER))
        scores = self._fit_score(network)
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

    def _least_probabilities(self, segmenter):
        """For each kind, the least probability at which healthy eyes hardly show any: `_FALSE` each."""
        if not len(self._judges):
            return (0.5,) * len(LESIONS)
        maps = [one for batch in self._computed(segmenter, self._judges) for one in batch]
        least = []
        for channel in range(len(LESIONS)):
            found = np.mean([[_regions(one[..., channel], cut) for cut in _LEAST] for one in maps], axis=0)
            fits = np.flatnonzero(found <= _FALSE)
            least.append(float(_LEAST[fits[0] if len(fits) else -1]))
        named = zip(LESIONS, least, strict=True)
        words = ", ".join(f"{kind.replace('_', ' ')} {value:.3f}" for kind, value in named)
        self.hooks.say(f"{self.run_dir}: probability from which a pixel counts: {words}")
        return tuple(least)

    def _fit_score(self, network):
        """Fits the score to the training photographs; returns cross-validated ones, and sets its weights."""
        names = [layer.name for layer in network.layers]
        pooled = keras.layers.GlobalAveragePooling2D()(network.get_layer("shares").output)
        features = np.concatenate(list(self._computed(keras.Model(network.inputs, pooled), self._training)))
        if CONTEXT in names:
            features = np.column_stack([features, self._fit_context(network)])
        features, grades = features.astype("float64"), self.prepared.grades[self._training]
        weights = np.where(np.isin(self._training, self._healthy), 0.0, 1.0)
        weights[np.isin(self._training, self._judges)] *= 1 + len(self._healthy) / max(len(self._judges), 1)
        weights = weights if weights.any() else np.ones(len(grades))
        deviation = np.maximum(features.std(axis=0), 1e-3)
        ridge, groups = Ridge(_PENALTY, positive=True), self._groups[self._training]
        parts = min(_PARTS, len(np.unique(groups)))
        scores = None
        if parts > 1:
            scores = cross_val_predict(
                ridge, features / deviation, grades, groups=groups, cv=GroupKFold(parts),
                params={"sample_weight": weights},
            )  # fmt: skip
        fitted = ridge.fit(features / deviation, grades, weights)
        kernel = fitted.coef_ / deviation
        network.get_layer("score").set_weights([kernel[:, None], np.array([fitted.intercept_])])
        return scores

    def _fit_context(self, network):
        """Fits the map of the backbone's features; returns its means (n,), as by fits without the patient.

        It is 0 on average for healthy eyes.
        """
        context = network.get_layer(CONTEXT)
        pooled = keras.layers.GlobalAveragePooling2D(dtype="float32")(context.input)
        backbone, copies = keras.Model(network.inputs, pooled), Changed(self.config.changed_copies)
        features = self._cache.of(self.grader, backbone, self._training, copies)
        grades = self.prepared.grades[self._training]
        fitted = fit_ridge(features, grades, self._groups[self._training])
        healthy = fitted.unseen_scores[grades == 0]
        level = healthy.mean() if len(healthy) else 0.0
        context.set_weights([fitted.kernel[None, None, :, None], np.array([fitted.intercept - level])])
        return fitted.unseen_scores - level

    def _computed(self, model, indices):
        """Yields a model's outputs for prepared photographs, batch by batch."""
        compute = tf.function(lambda images: model(tf.cast(images, tf.float32), training=False))
        for batch in evaluation_batches(self.prepared, indices, _AT_ONCE):
            if self.hooks.should_stop():
                raise Interrupted(self.run_dir)
            yield compute(batch["image"]).numpy()


def _regions(probabilities, least):
    return lesion_regions(probabilities > least)[0]
