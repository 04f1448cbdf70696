"""A network's inner activations: finding a layer, and where its output's cells lie in the image."""

import keras

from dr_keras.errors import InputError
from dr_keras.explain.geometry import Grid
from dr_keras.models.grader_model import network_and_front
from dr_keras.models.layers import OrdinalScore

_ACTIVATIONS = (keras.layers.LeakyReLU, keras.layers.ReLU, keras.layers.Activation)


def last_activation(network):
    """Returns the name of the last activation with a height and a width, the usual layer for Grad-CAM.

    Raises:
        InputError: if there is none.
    """
    names = [
        layer.name
        for layer in network.layers
        if isinstance(layer, _ACTIVATIONS) and len(layer.output.shape) == 4
    ]
    if not names:
        raise InputError(
            f"model {network.name!r}: Grad-CAM needs an activation with height and width, and none of its "
            "layers is one; expected --method=lesions, ram or occlusion"
        )
    return names[-1]


def layer_output(network, name):
    """Returns the output (batch, height, width, channels) of a layer.

    Raises:
        InputError: if there is no such layer, or its output has no height and width.
    """
    with_positions = [layer.name for layer in network.layers[1:] if len(layer.output.shape) == 4]
    if name not in with_positions:
        raise InputError(
            f"--layer={name}: expected a layer of {network.name!r} whose output has positions: "
            f"{', '.join(with_positions)}"
        )
    return network.get_layer(name).output


def score_weights(score, values):
    """Tells what a unit of each feature adds to the score.

    Args:
        score: the last layer, one linear unit or `OrdinalScore`.
        values: its input, float32 (batch, channels).

    Returns:
        float32 (batch, channels); (1, channels) of a linear unit, whose weights are every image's.
    """
    if isinstance(score, OrdinalScore):
        return score.weights_at(values)
    return keras.ops.cast(keras.ops.transpose(score.kernel), "float32")


def cell_grid(model, tensor=None, size=1, stride=1):
    """Finds where the cells of a layer's output lie in the stored image: at their receptive fields' centres.

    Padding and pooling without padding shift these centres, so stretching a map over the whole image would
    misplace it.

    Args:
        model: grader or network.
        tensor: output of one of the network's layers; None takes the network's input.
        size, stride: size and stride, in cells, of windows that move over that output, whose centres are
            wanted; 1 and 1 give the cells themselves.

    Returns:
        A `Grid`.
    """
    network, _ = network_and_front(model)
    made_by = {id(layer.output): layer for layer in network.layers}
    steps, offsets = [stride, stride], [(size - 1) / 2, (size - 1) / 2]
    tensor = network.inputs[0] if tensor is None else tensor
    # An output of the input's height and width has a cell for each pixel, whatever computed it.
    while tensor.shape[1:3] != network.inputs[0].shape[1:3]:
        layer = made_by[id(tensor)]
        tensor = _input_with_positions(layer)
        for axis in (0, 1):
            factor, shift = _cell_in_input(layer, axis, tensor.shape[axis + 1])
            steps[axis], offsets[axis] = steps[axis] * factor, offsets[axis] * factor + shift
    image_size, (height, width) = model.input_shape[1], network.input_shape[1:3]
    top, left = (image_size - height) // 2, (image_size - width) // 2
    offset = (offsets[0] + top + 0.5, offsets[1] + left + 0.5)
    return Grid(offset, (float(steps[0]), float(steps[1])), (top, left, height, width), image_size)


def _input_with_positions(layer):
    """A layer's input. Among several (of a sum or a gate), the first with the output's height and width."""
    inputs = layer.input if isinstance(layer.input, list) else [layer.input]
    if len(inputs) == 1:
        return inputs[0]
    return next(tensor for tensor in inputs if tuple(tensor.shape[1:3]) == tuple(layer.output.shape[1:3]))


def _cell_in_input(layer, axis, length):
    """Returns (factor, shift): output cell i has its centre at `factor * i + shift` of the layer's input."""
    if isinstance(layer, keras.layers.ZeroPadding2D):
        return 1, -layer.padding[axis][0]
    kernel = getattr(layer, "pool_size", None) or getattr(layer, "kernel_size", None)
    if kernel is None:
        if layer.output.shape[axis + 1] != length:
            raise InputError(f"layer {layer.name!r}: no rule says where its cells lie")
        return 1, 0
    size = kernel[axis] if isinstance(kernel, tuple) else kernel
    stride = layer.strides[axis] if isinstance(layer.strides, tuple) else layer.strides
    extent = (size - 1) * getattr(layer, "dilation_rate", (1, 1))[axis] + 1
    before = 0
    if layer.padding == "same":  # TensorFlow's rule; the smaller half comes first
        before = max((-(-length // stride) - 1) * stride + extent - length, 0) // 2
    return stride, (extent - 1) / 2 - before
