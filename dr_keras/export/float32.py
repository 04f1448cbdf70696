"""Rebuilding a grader in float32, in which other runtimes compute, whatever precision it was trained in."""

import keras

from dr_keras.models.grader_model import network_of
from dr_keras.models.layers import UntiedBias


def rebuild_float32(grader, split_biases=False):
    """Returns a grader of the same architecture and weights that computes in float32.

    Weights are float32 under mixed precision, too, so none is rounded; scores differ from the grader's own
    only by the rounding errors of its lower precision.

    Args:
        grader: model from `build_grader`.
        split_biases: whether to move each channel's mean of the untied biases into the convolution before
            them. Under int8, a convolution's bias has 32 bits, so this mean isn't rounded to 8 bits at every
            position. The sums stay the same.
    """
    biased = _convolutions_before_biases(network_of(grader)) if split_biases else {}

    def in_float32(layer):
        config = {**layer.get_config(), "dtype": "float32"}
        if layer.name in biased:
            config["use_bias"] = True
        return type(layer).from_config(config)

    rebuilt = keras.models.clone_model(grader, clone_function=in_float32, recursive=True)
    networks = network_of(grader), network_of(rebuilt)
    for old, new in zip(*(network.layers for network in networks), strict=True):
        if old.name not in biased:
            new.set_weights(old.get_weights())
    for convolution, bias in biased.items():
        kernel, bias_map = (networks[0].get_layer(name).get_weights()[0] for name in (convolution, bias))
        mean = bias_map.mean(axis=(0, 1))
        networks[1].get_layer(convolution).set_weights([kernel, mean])
        networks[1].get_layer(bias).set_weights([bias_map - mean])
    return rebuilt


def _convolutions_before_biases(network):
    """Returns a dict of a convolution's name -> name of the untied biases that follow it."""
    made_by = {id(layer.output): layer for layer in network.layers}
    biases = [layer for layer in network.layers if isinstance(layer, UntiedBias)]
    before = {made_by[id(bias.input)].name: bias.name for bias in biases}
    return {name: bias for name, bias in before.items() if not network.get_layer(name).use_bias}
