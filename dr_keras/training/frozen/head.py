"""Training a head on a frozen trunk, whose features are computed once (P1 section 2.2): it takes seconds."""

import warnings

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from dr_keras.data.pipeline import steps_per_epoch
from dr_keras.data.sampling import epoch_weights
from dr_keras.errors import InputError
from dr_keras.files import atomic_path
from dr_keras.grades import score_to_grade
from dr_keras.metrics import quadratic_weighted_kappa
from dr_keras.models.alexnets import FEATURE_SCALE, PROBABILITIES
from dr_keras.models.grader import load_model, network_of
from dr_keras.training.build import build_model, build_optimizer
from dr_keras.training.fit import HISTORY, Interrupted
from dr_keras.training.frozen.features import ORIENTATIONS, trunk_of
from dr_keras.training.history import is_best, write_history
from dr_keras.training.run_folder import MODEL
from dr_keras.training.schedules import learning_rate
from dr_keras.training.trainer import LOSSES
from dr_keras.training.transfer import transfer_weights

CROSS_ENTROPY = "cross_entropy"
_MEAN_FEATURE = 0.005


def cross_entropy(grades, probabilities):
    """Cross-entropy per sample: (batch,), (batch, 5) -> (batch,)."""
    chosen = ops.take_along_axis(probabilities, ops.cast(grades, "int32")[:, None], axis=1)
    return -ops.log(chosen[:, 0] + 1e-7)


class HeadFit:
    """Trains what follows the frozen layers of a network; used as `fit.Fit`, whose arguments it takes.

    `model.keras` is that of the least validation loss (P1 section 3.2).

    Args:
        config: `TrainingConfig` with `freeze_through`.
        prepared: `PreparedDataset` of the configuration's image size.
        training, validation: int arrays of photographs.
        run_dir: folder of the run.
        cache: `trunk_features.FeatureCache` of `prepared`.
        init_from: path of a saved grader whose fitting layers are taken over, or None.
        hooks: `fit.Hooks`, of which `say` and `should_stop` count.
    """

    def __init__(self, config, prepared, training, validation, run_dir, cache, init_from, hooks):
        self.config, self.run_dir, self.hooks = config, run_dir, hooks
        self.grader = build_model(config, prepared, training)
        network = network_of(self.grader)
        if init_from is not None:
            taken, _ = transfer_weights(network_of(load_model(init_from)), network)
            hooks.say(f"{len(taken)} layers taken over from {init_from}")
        trunk = trunk_of(network, config.freeze_through)
        self._head = _head_of(network, config)
        self._loss = cross_entropy if config.loss == CROSS_ENTROPY else _on_scores(LOSSES[config.loss])
        self._optimizer = build_optimizer(config)
        self._optimizer.build(self._head.trainable_variables)
        self._grades = prepared.grades[training], prepared.grades[validation]
        self._features = cache.of(self.grader, trunk, training)
        _set_scale(network, self._features)
        self._validation_features = tf.constant(cache.of(self.grader, trunk, validation)[:, 0], tf.float32)
        self._step = tf.function(self._train_step, reduce_retracing=True)

    def run(self):
        """Trains all epochs, keeps the best. Returns the history: a list of dicts, one per epoch."""
        history, best = [], None
        for epoch in range(self.config.epochs):
            row = {"epoch": epoch, **self._run_epoch(epoch), **self._validate()}
            if is_best(row, history, "val_loss", sign=-1):
                best = epoch, self._head.get_weights()
            history.append(row)
            if self.hooks.should_stop():
                raise Interrupted(self.run_dir)
        self._head.set_weights(best[1])
        write_history(self.run_dir / HISTORY, history)
        with atomic_path(self.run_dir / MODEL) as temporary:
            self.grader.save(temporary)
        loss = history[best[0]]["val_loss"]
        self.hooks.say(f"{self.run_dir}: least validation loss {loss:.4f} in epoch {best[0] + 1}")
        return history

    def _run_epoch(self, epoch):
        rate = learning_rate(self.config, epoch)
        self._optimizer.learning_rate.assign(rate)
        grades, rng = self._grades[0], np.random.default_rng((self.config.seed, epoch))
        steps = steps_per_epoch(len(grades), self.config.batch_size)
        order = _order(grades, steps * self.config.batch_size, epoch, self.config.sampling, rng)
        losses = []
        for chosen in np.split(order, steps):
            turns = rng.integers(ORIENTATIONS, size=len(chosen))
            features = tf.constant(self._features[chosen, turns], tf.float32)
            losses.append(float(self._step(features, tf.constant(grades[chosen], tf.float32))))
        return {"learning_rate": rate, "loss": float(np.mean(losses))}

    def _train_step(self, features, grades):
        with tf.GradientTape() as tape:
            errors = ops.mean(self._loss(grades, self._outputs(features, training=True)[0]))
            kernels = [v for v in self._head.trainable_variables if v.name == "kernel"]
            loss = errors + self.config.l2 * sum(ops.sum(ops.square(kernel)) for kernel in kernels)
        variables = self._head.trainable_variables
        self._optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
        return errors

    def _outputs(self, features, training=False):
        """What the loss is taken of, first, and the scores, last: one tensor or two."""
        return keras.tree.flatten(self._head(features, training=training))

    def _validate(self):
        outputs, grades = self._outputs(self._validation_features), self._grades[1]
        loss = ops.mean(self._loss(ops.convert_to_tensor(grades, "float32"), outputs[0]))
        scores = ops.convert_to_numpy(outputs[-1])[:, 0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a single class: the history says NaN
            kappa = quadratic_weighted_kappa(grades, score_to_grade(scores, self.config.thresholds))
        return {"val_loss": float(loss), "val_quadratic_weighted_kappa": kappa}


def _head_of(network, config):
    """The rest of a network: features to what the loss is taken of, and to scores."""
    names = [layer.name for layer in network.layers]
    if (config.loss == CROSS_ENTROPY) != (PROBABILITIES in names):
        raise InputError(f"--loss={config.loss}: --head=classification has cross_entropy, and it alone")
    outputs = [network.get_layer(PROBABILITIES).output] if PROBABILITIES in names else []
    try:
        return keras.Model(network.get_layer(config.freeze_through).output, [*outputs, network.output])
    except ValueError:
        raise InputError(
            f"--freeze_through={config.freeze_through}: the rest of {network.name} doesn't run from it alone"
        ) from None


def _set_scale(network, features):
    """Brings what a trunk gives to the size that the head's initial weights and Adam's steps are made for.

    Adam moves a unit with `n` inputs by the rate times `n` times their mean, and the score by the sum over
    such units: with AlexNet's 9,216 inputs of 0.1 the first steps already take the sigmoid to its end, where
    it stays.
    """
    if FEATURE_SCALE in [layer.name for layer in network.layers]:
        mean = np.abs(features[:, 0]).mean(dtype="float64")
        network.get_layer(FEATURE_SCALE).scale = _MEAN_FEATURE / float(max(mean, 1e-6))


def _on_scores(loss):
    return lambda grades, scores: loss(grades, scores[:, 0])


def _order(grades, count, epoch, sampling, rng):
    """Positions of an epoch's samples, as `data.pipeline` draws them."""
    if not sampling.resample:
        return np.resize(rng.permutation(len(grades)), count)
    weights = epoch_weights(grades, epoch, sampling)[grades]
    return rng.choice(len(grades), count, p=weights / weights.sum())
