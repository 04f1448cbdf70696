"""Training a head on a frozen backbone, whose features are computed once (P1 section 2.2)."""

import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from dr_keras.data.pipeline import steps_per_epoch
from dr_keras.data.sampling import epoch_weights
from dr_keras.errors import InputError
from dr_keras.files import atomic_path
from dr_keras.models.alexnets import FEATURE_SCALE, PROBABILITIES
from dr_keras.models.grader_model import load_model, network_of
from dr_keras.training.build import build_model, build_optimizer
from dr_keras.training.config import CROSS_ENTROPY
from dr_keras.training.frozen.backbone_features import ORIENTATIONS, FeatureCache, trunk_of
from dr_keras.training.history import HISTORY, is_best, kappa_of_scores, write_history
from dr_keras.training.protocol import FitResult, Interrupted
from dr_keras.training.run_folder import MODEL
from dr_keras.training.schedules import learning_rate
from dr_keras.training.trainer import LOSSES
from dr_keras.training.transfer import transfer_weights

_MEAN_FEATURE = 0.005  # what `_set_scale` brings the mean absolute feature to


def cross_entropy(grades, probabilities):
    """Cross-entropy per sample: (batch,), (batch, 5) -> (batch,)."""
    chosen = ops.take_along_axis(probabilities, ops.cast(grades, "int32")[:, None], axis=1)
    return -ops.log(chosen[:, 0] + 1e-7)


class HeadFit:
    """Trains the layers behind a frozen backbone on its stored features; a `protocol.FitProtocol`.

    `model.keras` is the epoch with the least validation loss (P1 section 3.2). Of the hooks it calls `say`,
    `on_step` and `should_stop`. It takes seconds, so a stopped one starts over.

    Args:
        task: `FitTask` whose configuration has `freeze_through`.

    Raises:
        InputError: if there is no such layer, or what follows it doesn't run from it alone.
    """

    def __init__(self, task):
        config = task.config
        self.config, self.run_dir, self.hooks = config, Path(task.run_dir), task.hooks
        self.grader = build_model(config, task.prepared, task.training)
        network = network_of(self.grader)
        if task.init_from is not None:
            taken, _ = transfer_weights(network_of(load_model(task.init_from)), network)
            self.hooks.say(f"{len(taken)} layers taken over from {task.init_from}")
        trunk = trunk_of(network, config.freeze_through)
        self._head = _head_of(network, config)
        self._loss = cross_entropy if config.loss == CROSS_ENTROPY else _on_scores(LOSSES[config.loss])
        self._optimizer = build_optimizer(config)
        self._optimizer.build(self._head.trainable_variables)
        self._grades = task.prepared.grades[task.training], task.prepared.grades[task.validation]
        cache = task.features or FeatureCache(task.prepared)
        self._features = cache.of(self.grader, trunk, task.training)
        _set_scale(network, self._features)
        validation = cache.of(self.grader, trunk, task.validation)
        self._validation_features = tf.constant(validation[:, 0], tf.float32)
        self._step = tf.function(self._train_step, reduce_retracing=True)
        self.steps = steps_per_epoch(len(task.training), config.batch_size)
        self.progress = {"epoch": 0, "step": 0, "history": []}

    def run(self):
        """Trains all epochs and keeps the best. Returns a `FitResult`."""
        history, best = self.progress["history"], None
        for epoch in range(self.config.epochs):
            row = {"epoch": epoch, **self._run_epoch(epoch), **self._validate()}
            if is_best(row, history, "val_loss", sign=-1):
                best = epoch, self._head.get_weights()
            history.append(row)
            self.progress |= {"epoch": epoch + 1, "step": 0}
            if self.hooks.should_stop():
                raise Interrupted(self.run_dir)
        self._head.set_weights(best[1])
        write_history(self.run_dir / HISTORY, history)
        with atomic_path(self.run_dir / MODEL) as temporary:
            self.grader.save(temporary)
        loss = history[best[0]]["val_loss"]
        self.hooks.say(f"{self.run_dir}: least validation loss {loss:.4f} in epoch {best[0] + 1}")
        return FitResult(history)

    def _run_epoch(self, epoch):
        rate = learning_rate(self.config, epoch)
        self._optimizer.learning_rate.assign(rate)
        grades, rng = self._grades[0], np.random.default_rng((self.config.seed, epoch))
        order = _order(grades, self.steps * self.config.batch_size, epoch, self.config.sampling, rng)
        losses, start = [], time.perf_counter()
        for step, chosen in enumerate(np.split(order, self.steps), start=1):
            turns = rng.integers(ORIENTATIONS, size=len(chosen))
            features = tf.constant(self._features[chosen, turns], tf.float32)
            losses.append(self._step(features, tf.constant(grades[chosen], tf.float32)))
            self.progress["step"] = step
            speed = step * self.config.batch_size / (time.perf_counter() - start)
            self.hooks.on_step(self, losses[-1], speed)
        loss = float(np.mean([float(loss) for loss in losses]))
        return {"learning_rate": rate, "loss": loss, "images_per_second": speed}

    def _train_step(self, features, grades):
        with tf.GradientTape() as tape:
            errors = ops.mean(self._loss(grades, self._outputs(features, training=True)[0]))
            kernels = [v for v in self._head.trainable_variables if v.name == "kernel"]
            loss = errors + self.config.l2 * sum(ops.sum(ops.square(kernel)) for kernel in kernels)
        variables = self._head.trainable_variables
        self._optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
        return errors

    def _outputs(self, features, training=False):
        """A list: the first tensor is what the loss is computed from, the last one the scores."""
        return keras.tree.flatten(self._head(features, training=training))

    def _validate(self):
        outputs, grades = self._outputs(self._validation_features), self._grades[1]
        loss = ops.mean(self._loss(ops.convert_to_tensor(grades, "float32"), outputs[0]))
        scores = ops.convert_to_numpy(outputs[-1])[:, 0]
        kappa = kappa_of_scores(grades, scores, self.config.thresholds)
        return {"val_loss": float(loss), "val_quadratic_weighted_kappa": kappa}


def _head_of(network, config):
    """The layers behind the frozen ones: from features to what the loss is computed from and to scores."""
    names = [layer.name for layer in network.layers]
    outputs = [network.get_layer(PROBABILITIES).output] if PROBABILITIES in names else []
    try:
        return keras.Model(network.get_layer(config.freeze_through).output, [*outputs, network.output])
    except ValueError:
        raise InputError(
            f"--freeze_through={config.freeze_through}: the rest of {network.name} doesn't run from it alone"
        ) from None


def _set_scale(network, features):
    """Scales the backbone's features to the size that the head's initial weights and Adam's steps suit.

    A step of Adam moves a unit of `n` inputs by the learning rate times `n` times their mean. With AlexNet's
    9,216 inputs of 0.1 the first steps would already saturate the sigmoid for good.
    """
    if FEATURE_SCALE in [layer.name for layer in network.layers]:
        mean = np.abs(features[:, 0]).mean(dtype="float64")
        network.get_layer(FEATURE_SCALE).scale = _MEAN_FEATURE / float(max(mean, 1e-6))


def _on_scores(loss):
    return lambda grades, scores: loss(grades, scores[:, 0])


def _order(grades, count, epoch, sampling, rng):
    """Positions of an epoch's samples, drawn as in `data.pipeline`."""
    if not sampling.resample:
        return np.resize(rng.permutation(len(grades)), count)
    weights = epoch_weights(grades, epoch, sampling)[grades]
    return rng.choice(len(grades), count, p=weights / weights.sum())
