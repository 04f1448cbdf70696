"""Grad-CAM for regression: a signed attribution map at any layer, for networks of any architecture."""

import keras
import tensorflow as tf

from dr_keras.explain.activations import cell_grid, last_activation, layer_output
from dr_keras.explain.compiled import kept
from dr_keras.models.grader_model import network_and_front
from dr_keras.training.scoring import split_head


def grad_cam(model, images, layer=None):
    """Computes scores and signed Grad-CAM maps of these scores (Selvaraju et al. 2017).

    Each channel is weighted with the sum of the score's gradient over all positions. Negative values are
    kept, since a region can also lower a regression score. For a network with global average pooling, the
    map of the last activation equals the regression activation map.

    Args:
        model: a grader, or a network alone.
        images: (batch, height, width, 3) of the model's input size, RGB, 0-255, any dtype.
        layer: name of a layer of the network; None takes the last activation with a height and a width.

    Returns:
        scores: float32 (batch,), in grade units.
        maps: float32 (batch, rows, columns), in grade units to first order; `grad_cam_grid` says where the
            cells lie.

    Raises:
        InputError: if there is no such layer, or its output has no height and width.
    """
    scores, maps = _compiled(model, layer)(tf.cast(images, tf.float32))
    return scores.numpy(), maps.numpy()


def grad_cam_grid(model, layer=None):
    """Returns the `Grid` of the maps; arguments and errors as for `grad_cam`."""
    return cell_grid(model, _output(network_and_front(model)[0], layer))


def _output(network, layer):
    return layer_output(network, layer or last_activation(network))


def _compiled(model, layer):
    return kept(model, ("gradcam", layer), lambda: _compile(model, layer))


def _compile(model, layer):
    network, front = network_and_front(model)
    features, head = split_head(network)
    body = keras.Model(network.inputs, [_output(network, layer), features])

    @tf.function(input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)])
    def step(images):
        windows = front(images)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(windows)
            activations, values = body(windows, training=False)
            scores = head(values)
            total = tf.reduce_sum(scores)
        gradients = tf.cast(tape.gradient(total, activations), tf.float32)
        weights = tf.reduce_sum(gradients, axis=(1, 2), keepdims=True)
        return scores, tf.reduce_sum(weights * tf.cast(activations, tf.float32), axis=-1)

    return step.get_concrete_function()
