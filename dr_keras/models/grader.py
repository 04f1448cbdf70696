"""The grader: a network together with the window and the standardisation that it was trained with."""

import zipfile

import keras

from dr_keras.errors import InputError
from dr_keras.models import nets
from dr_keras.models.layers import Standardize

ARCHITECTURES = {"net5": nets.net5, "net4": nets.net4, "ram_net5": nets.ram_net5}


def build_grader(network, image_size, mean, sd):
    """Wraps a network so that it takes stored images as they are.

    Args:
        network: functional model of standardised windows (batch, window, window, 3) to scores.
        image_size: side of the stored square image, in pixels.
        mean, sd: channel statistics of the training set, 0-255 (P2 section 4.2).

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
