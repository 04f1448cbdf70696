"""A lesion network's maps: what it sees of each kind of lesion, and what each pixel adds to the score."""

import keras
import numpy as np
import tensorflow as tf

from dr_keras.errors import InputError
from dr_keras.explain.activations import cell_grid, score_weights
from dr_keras.explain.compiled import kept
from dr_keras.lesion_kinds import LESIONS
from dr_keras.models.grader_model import network_and_front
from dr_keras.models.lesion_layers import LesionShares
from dr_keras.training.scoring import in_pieces, split_head


def has_lesions(model):
    """Whether a model is a lesion network, or a grader with one."""
    return any(isinstance(layer, LesionShares) for layer in network_and_front(model)[0].layers)


def lesion_shares(model, images):
    """Computes scores, what each pixel adds to them, and the probabilities of lesions.

    The map is 0 wherever nothing was found, and never negative. As with a regression activation map, its mean
    plus the score's bias is the score; of `lesion_efficientnet` the score has one more term, what its maps
    `context` add.

    Args:
        model: a grader with a lesion network, or the network alone.
        images: (batch, size, size, 3) of the model's input size, RGB, 0-255, any dtype.

    Returns:
        scores: float32 (batch,), in grade units.
        maps: float32 (batch, size, size), in grade units, pixel by pixel.
        evidence: float32 (batch, size, size, 9): the probabilities of `CHANNELS`, then the map's part of each
            of `LESIONS`, in grade units.

    Raises:
        InputError: if the model is another one.
    """
    network = _network(model)
    probabilities, scores, weights = in_pieces(_compiled(model), tf.cast(images, tf.float32))
    probabilities, shares = probabilities.numpy(), network.get_layer("shares")
    each = zip(probabilities, weights.numpy(), strict=True)
    parts = np.stack([_parts(one, shares, own.reshape(2, len(LESIONS))) for one, own in each])
    return scores.numpy(), parts.sum(axis=-1), np.concatenate([probabilities, parts], axis=-1)


def marked_lesions(model):
    """Returns a function from tensors to tensors, for use inside a graph.

    It takes images as `lesion_shares` does and returns scores, float32 (batch,); the regression activation
    map (batch, rows, columns); 1 where a lesion is marked, float32 (batch, size, size, lesions); what each
    kind adds to the score, float32 (batch, lesions); and what the network's second term adds, float32
    (batch,), 0 where it has none.
    """
    network, front = network_and_front(model)
    shares, score = network.get_layer("shares"), network.get_layer("score")
    features, head = split_head(network)
    body = keras.Model(network.inputs, [shares.input, network.get_layer("gap").input, features])
    terms = 2 * len(LESIONS)

    def step(images):
        probabilities, cells, values = body(front(images), training=False)
        marked = tf.cast(probabilities[..., : len(LESIONS)] > tf.constant(shares.least), tf.float32)
        weights = score_weights(score, values)
        parts = values * weights
        added = tf.reduce_sum(tf.reshape(parts[:, :terms], (-1, 2, len(LESIONS))), axis=1)
        maps = tf.linalg.matvec(cells, weights[:, None])
        return head(values), maps, marked, added, tf.reduce_sum(parts[:, terms:], 1)

    return step


def lesion_grid(model):
    """Returns the `Grid` of the maps, whose cells are the image's pixels; errors as for `lesion_shares`."""
    _network(model)
    return cell_grid(model)


def least_probabilities(model):
    """For each of `LESIONS` the probability from which a pixel counts; errors as for `lesion_shares`."""
    return _network(model).get_layer("shares").least


def _network(model):
    if not has_lesions(model):
        raise InputError(
            "--method=lesions: the model marks no lesions; expected a run of lesion_net, lesion_efficientnet"
        )
    return network_and_front(model)[0]


def _compiled(model):
    def build():
        network, front = network_and_front(model)
        score = network.get_layer("score")
        body = keras.Model(network.inputs, [network.get_layer("shares").input, score.input, score.output])

        @tf.function(input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)])
        def step(images):
            probabilities, values, scores = body(front(images), training=False)
            weights = score_weights(score, values) * tf.ones_like(values)
            return probabilities, scores[:, 0], weights[:, : 2 * len(LESIONS)]

        return step.get_concrete_function()

    return kept(model, ("lesions",), build)


def _parts(probabilities, shares, weights):
    """What each pixel adds by each kind: float32 (height, width, lesions); see `LesionShares`.

    `weights` are what its shares of the whole image and of the quadrants add to the score, (2, lesions).
    """
    least = np.array(shares.least, "float32")
    excess = np.maximum(probabilities[..., : len(LESIONS)] - least, 0) / (1 - least)
    height, width, kinds = excess.shape
    quarters = excess.reshape(2, height // 2, 2, width // 2, kinds)
    sums = quarters.sum(axis=(1, 3), keepdims=True, dtype="float64") / (height * width)
    factors = weights[0] * _factor(sums.sum(axis=(0, 2), keepdims=True), shares.unit)
    factors = factors + weights[1] * _factor(sums, shares.unit) / 4
    return (quarters * factors).reshape(excess.shape).astype("float32")


def _factor(amount, unit):
    return np.log1p(amount / unit) / np.maximum(amount, 1e-9)
