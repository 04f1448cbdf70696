"""The grader: a network together with the window and the standardisation that it was trained with."""

import hashlib
import zipfile

import keras
import numpy as np

from dr_keras.errors import InputError
from dr_keras.models.layers import Rules, Standardize
from dr_keras.models.rules import GradingRules


def build_grader(network, image_size, mean, sd, rules=None):
    """Wraps a network so that it takes prepared images as they are and carries its grading rules.

    Args:
        network: functional model of standardised windows (batch, window, window, 3) to scores.
        image_size: side of the stored square image, in pixels.
        rules: `GradingRules`; None takes the defaults.
        mean, sd: channel statistics, 0-255: of the training set (P2 section 4.2), or of
            `architectures.PublishedWeights`.

    Returns:
        A functional model named "grader" with the layers `window` (centre crop), `standardize`, the network
        itself and `rules`. Input (batch, image_size, image_size, 3), RGB, 0-255, any dtype; output
        (batch, 1), float32, in grade units.
    """
    window = network.input_shape[1]
    inputs = keras.Input((image_size, image_size, 3), name="image", dtype="float32")
    x = keras.layers.CenterCrop(window, window, name="window", dtype="float32")(inputs)
    x = Standardize(mean, sd, name="standardize")(x)
    return keras.Model(inputs, _ruled(network(x), rules or GradingRules()), name="grader")


def _ruled(scores, rules):
    return Rules(rules, name="rules", dtype="float32")(scores)


def rules_of(grader):
    """Returns the `GradingRules` that a grader carries.

    Raises:
        InputError: if the grader carries none, as is the case for those saved by version 0.1.
    """
    for layer in grader.layers:
        if isinstance(layer, Rules):
            return layer.rules
    raise InputError(
        "the model was saved by version 0.1, without thresholds and preprocessing; train it again, or add "
        "them: dr_keras.models.with_rules(model, dr_keras.models.GradingRules(thresholds=...)).save(FILE)"
    )


def with_rules(grader, rules):
    """Returns a grader with the same layers and weights that carries the `GradingRules` given."""
    network = network_of(grader)
    front = grader.inputs[0]
    for layer in grader.layers[1 : grader.layers.index(network)]:
        front = layer(front)
    return keras.Model(grader.inputs, _ruled(network(front), rules), name="grader")


def network_of(grader):
    """Returns the network inside a grader."""
    return next(layer for layer in grader.layers if isinstance(layer, keras.Model))


def network_and_front(model):
    """Splits a model into its network and the layers that turn pixels into the network's input.

    Args:
        model: a grader (`build_grader`), or a network alone.

    Returns:
        (network, front): `front` is a function from a batch of images to the network's input; for a network
        alone it returns the images unchanged.
    """
    network = next((layer for layer in model.layers if isinstance(layer, keras.Model)), model)
    before = [] if network is model else model.layers[1 : model.layers.index(network)]

    def front(images):
        for layer in before:
            images = layer(images)
        return images

    return network, front


def is_linear_unit(layer):
    """Tells whether a layer is one linear unit, such as the score behind global average pooling."""
    linear = keras.activations.linear
    return isinstance(layer, keras.layers.Dense) and layer.units == 1 and layer.activation is linear


def load_model(path):
    """Loads a grader's Keras model (`.keras`) for inference, whether or not it carries rules.

    Raises:
        InputError: if the file is missing or holds something else.
    """
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: not a model saved by this project (expected a .keras file, whole)")
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


def hash_weights(graders):
    """Returns the SHA-256, in hexadecimal, of all graders' weights in order as little-endian float32."""
    digest = hashlib.sha256()
    for grader in graders:
        for weight in grader.get_weights():
            digest.update(np.ascontiguousarray(weight, "<f4").tobytes())
    return digest.hexdigest()
