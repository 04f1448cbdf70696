"""From a configuration to the objects that train."""

import dataclasses
import inspect
from pathlib import Path

import keras

from dr_keras.data.augmentation import FundusAugmentation
from dr_keras.data.shards import color_statistics
from dr_keras.errors import InputError
from dr_keras.models.grader import ARCHITECTURES, PUBLISHED_TRUNKS, build_grader, network_of
from dr_keras.models.rules import GradingRules
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

    `statistics` are its `color_statistics`, where they are known; a published trunk needs none.
    """
    if config.architecture in PUBLISHED_TRUNKS:
        mean, sd = PUBLISHED_TRUNKS[config.architecture].mean, PUBLISHED_TRUNKS[config.architecture].sd
    else:
        mean, sd, _ = statistics or color_statistics(prepared, indices)
    rules = GradingRules(normalization=prepared.normalization, thresholds=config.thresholds)
    with devices.precision_scope(config.precision):
        return build_grader(build_network(config), config.image_size, mean, sd, rules)


def build_network(config):
    """Builds the network that a configuration names, with the published weights that it names.

    Raises:
        ValueError: if the configuration sets what the architecture doesn't have.
        InputError: if the published weights aren't there, or are another network's.
    """
    build = ARCHITECTURES[config.architecture]
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    arguments = {}
    for name in ("head", "untied_biases", "width", "hidden"):
        value = getattr(config, name)
        if name in inspect.signature(build).parameters:
            arguments[name] = value
        elif value != defaults[name]:
            raise ValueError(f"`{name}` isn't for {config.architecture}. Received: {name}={value!r}")
    network = build(config.image_size, seed=config.seed, **arguments)
    if config.trunk_weights != "none":
        path = find_trunk(config.architecture, config.trunk_weights)
        PUBLISHED_TRUNKS[config.architecture].load(network, path)
    return network


def find_trunk(architecture, trunk_weights):
    """Path of the published weights that "imagenet" or a path names.

    Raises:
        InputError: if they aren't installed, there is no such file, or the architecture has none.
    """
    if architecture not in PUBLISHED_TRUNKS:
        raise InputError(f"--trunk_weights={trunk_weights}: {architecture} has no published weights")
    if trunk_weights == "imagenet":
        return PUBLISHED_TRUNKS[architecture].find(architecture)
    if not Path(trunk_weights).is_file():
        raise InputError(f"--trunk_weights={trunk_weights}: no such file; expected imagenet, none or a file")
    return Path(trunk_weights)


def _build_augmentation(config, window, components):
    if config.augmentation == "keras_cv":
        from dr_keras.data.keras_cv_policy import KerasCVAugmentation  # an extra

        return KerasCVAugmentation(config.image_size, window, seed=config.seed)
    return FundusAugmentation(config.image_size, window, config.augmentation, components)


def build_optimizer(config):
    """Builds the optimizer that a configuration names."""
    if config.optimizer == "adam":
        return keras.optimizers.Adam(config.learning_rate)
    return keras.optimizers.SGD(config.learning_rate, momentum=config.momentum, nesterov=True)
