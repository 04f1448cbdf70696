"""From a configuration to the objects that train."""

import keras

from dr_keras.data.augmentation import FundusAugmentation
from dr_keras.data.shards import color_statistics
from dr_keras.models.grader import ARCHITECTURES, build_grader
from dr_keras.training import devices
from dr_keras.training.trainer import Trainer


def build_trainer(config, prepared, indices, strategy):
    """Builds network, grader, augmentation and optimizer for the photographs of a training set."""
    mean, sd, components = color_statistics(prepared, indices)
    with strategy.scope(), devices.precision_scope(config.precision):
        network = build_network(config)
        grader = build_grader(network, config.image_size, mean, sd)
        augmentation = _build_augmentation(config, network.input_shape[1], components)
        optimizer = _build_optimizer(config)
        return Trainer(grader, augmentation, optimizer, config.loss, config.l2, strategy, config.clip_norm)


def build_network(config):
    """Builds the network that a configuration names."""
    arguments = {"untied_biases": config.untied_biases, "width": config.width, "seed": config.seed}
    if config.architecture != "ram_net5":
        arguments["head"] = config.head
    return ARCHITECTURES[config.architecture](config.image_size, **arguments)


def _build_augmentation(config, window, components):
    if config.augmentation == "keras_cv":
        from dr_keras.data.keras_cv_policy import KerasCVAugmentation  # an extra

        return KerasCVAugmentation(config.image_size, window, seed=config.seed)
    return FundusAugmentation(config.image_size, window, config.augmentation, components)


def _build_optimizer(config):
    if config.optimizer == "adam":
        return keras.optimizers.Adam(config.learning_rate)
    return keras.optimizers.SGD(config.learning_rate, momentum=config.momentum, nesterov=True)
