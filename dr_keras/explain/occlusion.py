"""The occlusion test (P1 section 3.3): by how much the score falls when a window of the input is hidden."""

import keras
import numpy as np
import tensorflow as tf

from dr_keras.errors import InputError
from dr_keras.explain.activations import cell_grid, layer_output
from dr_keras.explain.compiled import kept
from dr_keras.models.grader_model import network_and_front

_CHUNK_ELEMENTS = 1 << 24  # number of activations that are masked at once: 64 MiB of float32


def occlusion_map(model, images, window=None, stride=None, layer=None):
    """Computes scores and by how much each falls when a window is set to zero across all channels.

    The layers up to `layer` run once; the windows of an image then go through the other layers in chunks.

    Args:
        model: a grader, or a network alone.
        images: (batch, height, width, 3) of the model's input size, RGB, 0-255, any dtype.
        window, stride: side of the window and distance between windows, in cells of the layer, by default 1
            and 1; or in pixels of the network's input, by default an eighth and a sixteenth of its side.
        layer: name of a layer of the network; None hides parts of the network's input, where zero is
            the mean colour that standardisation subtracts.

    Returns:
        scores: float32 (batch,), in grade units.
        drops: float32 (batch, rows, columns), in grade units: the score less the score with the window
            hidden; `occlusion_grid` says where the windows lie.

    Raises:
        InputError: if there is no such layer, if the score doesn't depend on it alone, or if the window is
            larger than its output.
    """
    run = _compiled(model, layer, *_window(model, window, stride, layer))
    scores, drops = run(tf.cast(images, tf.float32))
    return scores.numpy(), drops.numpy()


def occlusion_grid(model, window=None, stride=None, layer=None):
    """Returns the `Grid` of the windows' centres; arguments and errors as for `occlusion_map`."""
    window, stride = _window(model, window, stride, layer)
    return cell_grid(model, _tensor(network_and_front(model)[0], layer), window, stride)


def _tensor(network, layer):
    return network.inputs[0] if layer is None else layer_output(network, layer)


def _window(model, window, stride, layer):
    network, _ = network_and_front(model)
    side = min(_tensor(network, layer).shape[1:3])
    window = window or (max(1, side // 8) if layer is None else 1)
    stride = stride or (max(1, side // 16) if layer is None else 1)
    if not 1 <= window <= side or stride < 1:
        raise InputError(
            f"--window={window}, --stride={stride}: expected a window from 1 to {side}, a positive stride, "
            f"in cells of {layer or 'the input'} of {network.name!r}"
        )
    return window, stride


def _compiled(model, layer, window, stride):
    def build():
        signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)]
        step = scores_and_drops(model, window, stride, layer)
        return tf.function(step, input_signature=signature).get_concrete_function()

    return kept(model, ("occlusion", layer, window, stride), build)


def scores_and_drops(model, window=None, stride=None, layer=None):
    """Returns `occlusion_map` as a function from tensors to tensors, for use inside a graph."""
    window, stride = _window(model, window, stride, layer)
    network, front = network_and_front(model)
    tensor = _tensor(network, layer)
    trunk = None if layer is None else keras.Model(network.inputs, tensor)
    head = network if layer is None else _rest(network, tensor, layer)
    (rows, columns), shape = _visible(tensor.shape[1:3], window, stride)
    chunk = max(2, _CHUNK_ELEMENTS // int(np.prod(tensor.shape[1:])))
    chunks = [slice(start, start + chunk) for start in range(0, len(rows), chunk)]

    def scores_of(activations):
        parts = []
        for part in chunks:
            visible = tf.maximum(rows[part, :, None, None], columns[part, None, :, None])
            parts.append(head(activations * tf.cast(visible, activations.dtype), training=False)[:, 0])
        return tf.concat(parts, axis=0)

    def step(images):
        activations = front(images) if trunk is None else trunk(front(images), training=False)
        scores = tf.map_fn(scores_of, activations, fn_output_signature=tf.float32)
        whole, hidden = scores[:, 0], scores[:, 1:]
        return whole, tf.reshape(whole[:, None] - hidden, (-1, *shape))

    return step


def _rest(network, tensor, layer):
    try:
        return keras.Model(tensor, network.output)
    except ValueError:
        raise InputError(
            f"--layer={layer}: the rest of {network.name!r} doesn't run from this layer alone"
        ) from None


def _visible(sides, window, stride):
    """Masks of rows and columns for the whole image, then for each position of the window.

    A cell is visible where its row's or its column's mask is 1.

    Returns:
        ([rows, columns], counts): masks, float32 (1 + positions, height) and (1 + positions, width), 0 in the
        window's rows and columns; and the number of positions (down, across).
    """
    visible = []
    for side in sides:
        starts = np.arange(0, side - window + 1, stride)[:, None]
        cells = np.arange(side)
        visible.append(((cells < starts) | (cells >= starts + window)).astype("float32"))
    counts = tuple(len(part) for part in visible)
    per_position = np.repeat(visible[0], counts[1], axis=0), np.tile(visible[1], (counts[0], 1))
    return [np.concatenate([np.ones((1, part.shape[1]), "float32"), part]) for part in per_position], counts
