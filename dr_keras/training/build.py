"""Builds what a configuration names: network, grader, augmentation, optimizer and their trainer."""

from pathlib import Path

import keras

from dr_keras.data.augmentation import FundusAugmentation
from dr_keras.data.shards import color_statistics
from dr_keras.errors import InputError
from dr_keras.models.architectures import ARCHITECTURES
from dr_keras.models.grader_model import build_grader, network_of
from dr_keras.models.layers import OrdinalScore
from dr_keras.models.rules import GradingRules
from dr_keras.training.config import ORDINAL
from dr_keras.training.hosts import devices
from dr_keras.training.trainer import Trainer


def build_trainer(config, prepared, indices, strategy):
    """Builds network, grader, augmentation and optimizer for the photographs of a training set."""
    statistics = color_statistics(prepared, indices)
    with strategy.scope():
        grader = build_model(config, prepared, indices, statistics)
    with strategy.scope(), devices.precision_scope(config.precision):
        augmentation = _build_augmentation(config, network_of(grader).input_shape[1], statistics[2])
        optimizer = build_optimizer(config)
        return Trainer(grader, augmentation, optimizer, config.loss, config.l2, strategy, config.clip_norm)


def build_model(config, prepared, indices, statistics=None):
    """Builds network and grader for the photographs of a training set.

    Published weights bring the mean and standard deviation that pixels are standardised with; for other
    networks they are those of the training set: `statistics`, its `color_statistics`, if they are known.
    """
    architecture = ARCHITECTURES[config.architecture]
    published = architecture.published
    if not architecture.standardizes:
        mean, sd = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    elif published:
        mean, sd = published.mean, published.sd
    else:
        mean, sd, _ = statistics or color_statistics(prepared, indices)
    rules = GradingRules(normalization=prepared.normalization, thresholds=config.thresholds)
    with devices.precision_scope(config.precision):
        return build_grader(build_network(config), config.image_size, mean, sd, rules)


def build_network(config):
    """Builds the network that a configuration names, with the published weights that it names.

    Raises:
        InputError: if the published weights aren't there, or are another network's.
    """
    architecture = ARCHITECTURES[config.architecture]
    arguments = {name: getattr(config, name) for name in architecture.options}
    arguments = {name: value for name, value in arguments.items() if value is not None}
    if len(architecture.heads) > 1:
        arguments["head"] = config.head
    network = architecture.build(config.image_size, seed=config.seed, **arguments)
    if config.trunk_weights != "none":
        architecture.published.load(network, find_trunk(config.architecture, config.trunk_weights))
    if config.optimizer == ORDINAL:
        score = network.layers[-1]
        network = keras.Model(network.inputs, OrdinalScore(name=score.name)(score.input), name=network.name)
    return network


def find_trunk(architecture, trunk_weights):
    """Returns the path of the published weights that "imagenet" or a path names.

    Raises:
        InputError: if they aren't installed, there is no such file, or the architecture has none.
    """
    published = ARCHITECTURES[architecture].published
    if not published:
        raise InputError(f"--trunk_weights={trunk_weights}: {architecture} has no published weights")
    if trunk_weights == "imagenet":
        return published.find(architecture)
    if not Path(trunk_weights).is_file():
        raise InputError(f"--trunk_weights={trunk_weights}: no such file; expected imagenet, none or a file")
    return Path(trunk_weights)


def _build_augmentation(config, window, components):
    if config.augmentation == "keras_cv":
        from dr_keras.data.keras_cv_policy import KerasCVAugmentation  # an extra

        return KerasCVAugmentation(config.image_size, window, seed=config.seed)
    return FundusAugmentation(config.image_size, window, config.augmentation_config, components)


def build_optimizer(config, **options):
    """Builds the optimizer that a configuration names; `options` are further ones of Keras' optimizers."""
    if config.optimizer == "adamw":
        return keras.optimizers.AdamW(config.learning_rate, weight_decay=config.l2, **options)
    if config.optimizer == "adam":
        return keras.optimizers.Adam(config.learning_rate, **options)
    return keras.optimizers.SGD(config.learning_rate, momentum=config.momentum, nesterov=True, **options)
