"""The grader: a network together with the window and the standardisation that it was trained with."""

import zipfile

import keras

from dr_keras.errors import InputError
from dr_keras.models.layers import Standardize


def build_grader(network, image_size, mean, sd):
    """Wraps a network so that it takes stored images as they are.

    Args:
        network: functional model of standardised windows (batch, window, window, 3) to scores.
        image_size: side of the stored square image, in pixels.
        mean, sd: channel statistics, 0-255: of the training set (P2 section 4.2), or of
            `architectures.PublishedWeights`.

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
