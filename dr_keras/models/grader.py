"""The grader: a network together with the window and the standardisation that it was trained with."""

import dataclasses
import zipfile
from collections.abc import Callable

import keras

from dr_keras.errors import InputError
from dr_keras.models import alexnet, alexnet_weights, efficientnet, efficientnet_weights, nets
from dr_keras.models.layers import Standardize

ARCHITECTURES = {
    "net5": nets.net5,
    "net4": nets.net4,
    "ram_net5": nets.ram_net5,
    "efficientnet_lite0": efficientnet.efficientnet_lite0,
    "efficientnet_lite1": efficientnet.efficientnet_lite1,
    "efficientnet_lite2": efficientnet.efficientnet_lite2,
    "alexnet": alexnet.alexnet,
    "caffenet": alexnet.caffenet,
    "alexnet_torchvision": alexnet.alexnet_torchvision,
}


@dataclasses.dataclass(frozen=True)
class PublishedTrunk:
    """Weights that others trained an architecture with, and what they expect of their input.

    Attributes:
        mean, sd: channel statistics that pixels 0-255 are standardised with, in place of the training set's.
        find: called with the architecture's name; returns the path of its installed ImageNet weights.
        load: called with a network and the path of such a file; gives the network those weights.
    """

    mean: tuple
    sd: tuple
    find: Callable
    load: Callable


_EFFICIENTNET = PublishedTrunk(
    mean=efficientnet.MEAN,
    sd=efficientnet.SD,
    find=efficientnet_weights.imagenet_file,
    load=efficientnet_weights.load_trunk,
)


def _alexnet(variant):
    form = alexnet.VARIANTS[variant]
    return PublishedTrunk(form.mean, form.sd, alexnet_weights.no_imagenet_file, alexnet_weights.load_trunk)


PUBLISHED_TRUNKS = {
    "efficientnet_lite0": _EFFICIENTNET,
    "efficientnet_lite1": _EFFICIENTNET,
    "efficientnet_lite2": _EFFICIENTNET,
    "alexnet": _alexnet("caffe"),
    "caffenet": _alexnet("caffenet"),
    "alexnet_torchvision": _alexnet("torchvision"),
}


def build_grader(network, image_size, mean, sd):
    """Wraps a network so that it takes stored images as they are.

    Args:
        network: functional model of standardised windows (batch, window, window, 3) to scores.
        image_size: side of the stored square image, in pixels.
        mean, sd: channel statistics, 0-255: of the training set (P2 section 4.2), or of a `PublishedTrunk`.

    Returns:
        A functional model named "grader" with the layers `window` (centre crop), `standardize` and
        the network itself. Input (batch, image_size, image_size, 3), RGB, 0-255, any dtype; output
        (batch, 1), float32, in grade units.
    """
    window = network.input_shape[1]
    inputs = keras.Input((image_size, image_size, 3), name="image", dtype="float32")
    x = keras.layers.CenterCrop(window, window, name="window", dtype="float32")(inputs)
    x = Standardize(mean, sd, name="standardize")(x)
    return keras.Model(inputs, network(x), name="grader")


def network_of(grader):
    """Returns the network inside a grader."""
    return next(layer for layer in grader.layers if isinstance(layer, keras.Model))


def network_and_front(model):
    """Splits a model into the layers that take pixels and the network that follows.

    Args:
        model: a grader (`build_grader`), or a network alone.

    Returns:
        (network, front): `front` maps a batch of images to the network's input; without such layers
        it returns what it is given.
    """
    network = next((layer for layer in model.layers if isinstance(layer, keras.Model)), model)
    before = [] if network is model else model.layers[1 : model.layers.index(network)]

    def front(images):
        for layer in before:
            images = layer(images)
        return images

    return network, front


def is_linear_unit(layer):
    """Whether a layer is one linear unit, as the score of a network with global average pooling is."""
    linear = keras.activations.linear
    return isinstance(layer, keras.layers.Dense) and layer.units == 1 and layer.activation is linear


def load_grader(path):
    """Loads a saved grader (`.keras`) for inference.

    Raises:
        InputError: if the file is missing or holds something else.
    """
    try:
        model = keras.saving.load_model(path, compile=False)
    except (ValueError, OSError, KeyError, TypeError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not a model saved by this project ({reason})") from None
    if model.name != "grader":
        raise InputError(
            f"{path}: expected a grader saved by scripts/train.py, found a model named {model.name!r}"
        )
    return model
