"""The networks that learn from the teacher's features: the papers', without their heads."""

import dataclasses
from collections.abc import Callable

import keras
from keras import layers

from dr_keras.errors import InputError
from dr_keras.models.alexnets import alexnet_trunk, fold_batch_normalization
from dr_keras.models.grader_model import load_model, network_and_front, network_of
from dr_keras.training.build import build_model
from dr_keras.training.hosts.devices import precision_scope
from dr_keras.training.transfer import transfer_weights

_VARIANT = "caffe"  # that of the architecture `alexnet`


@dataclasses.dataclass(frozen=True)
class Student:
    """A network that is taught.

    Attributes:
        grader: the whole model, with an untrained head, that a training can start from.
        trunk: model of the network's input to its last map (batch, cells, cells, channels); what learns.
        finish: called without arguments when the trunk has learnt; gives the grader its weights.
    """

    grader: keras.Model
    trunk: keras.Model
    finish: Callable

    @property
    def cells(self):
        """Side of the trunk's last map, in cells."""
        return self.trunk.output.shape[1]

    def with_linear_map(self, channels, seed):
        """Returns the model of images, uint8, to (batch, cells, cells, channels): trunk and a linear map."""
        _, front = network_and_front(self.grader)
        images = keras.Input(self.grader.input_shape[1:], dtype="float32")
        draw = keras.initializers.GlorotUniform(seed=seed)
        linear = layers.Conv2D(channels, 1, kernel_initializer=draw, dtype="float32", name="to_teacher")
        return keras.Model(images, linear(self.trunk(front(images))))


def build_student(config, prepared, indices, init_from=None):
    """Builds a network to be taught.

    Args:
        config: `TrainingConfig`: architecture, image size, seed of the initial weights, precision.
        prepared: `PreparedDataset` of its image size.
        indices: int array, the photographs whose mean and standard deviation pixels are standardised with.
        init_from: path of a grader whose fitting layers are taken over, or None.

    Returns:
        `Student`.

    Raises:
        InputError: if the architecture can't start from another model.
    """
    if config.architecture == "alexnet":
        if init_from:
            raise InputError(
                f"--init_from={init_from}: isn't for --architecture=alexnet, which starts afresh"
            )
        return _alexnet(config, prepared, indices)
    grader = build_model(config, prepared, indices)
    network = network_of(grader)
    if init_from:
        transfer_weights(network_of(load_model(init_from)), network)
    return Student(grader, keras.Model(network.inputs, network.get_layer("gap").input), lambda: None)


def _alexnet(config, prepared, indices):
    """AlexNet learns with batch normalisation, which is then folded into its convolutions."""
    grader = build_model(dataclasses.replace(config, precision="float32"), prepared, indices)
    with precision_scope(config.precision):
        trunk = alexnet_trunk(_VARIANT, config.seed, normalize_batches=True)
    return Student(grader, trunk, lambda: fold_batch_normalization(trunk, network_of(grader)))
