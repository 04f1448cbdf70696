"""Copies weights from a network trained at another image size (P2 section 4.4)."""

import keras
import numpy as np


def transfer_weights(source, target):
    """Copies every layer that the two networks share, by name.

    Bias maps of another size are resampled bilinearly; other weights of another shape stay as
    initialised, and their layer counts as not taken over.

    Args:
        source, target: networks (not graders); `target` is changed.

    Returns:
        names of the layers taken over and names of the target's layers with weights that were not.
    """
    sources = {layer.name: layer for layer in source.layers if layer.weights}
    taken, left = [], []
    for layer in target.layers:
        if not layer.weights:
            continue
        values = _fitting_weights(sources[layer.name], layer) if layer.name in sources else None
        if values is None:
            left.append(layer.name)
        else:
            layer.set_weights(values)
            taken.append(layer.name)
    return taken, left


def _fitting_weights(source, target):
    values = [np.asarray(value) for value in source.get_weights()]
    shapes = [tuple(weight.shape) for weight in target.weights]
    if len(values) != len(shapes):
        return None
    fitted = []
    for value, shape in zip(values, shapes, strict=True):
        if value.shape != shape:
            if value.ndim != 3 or len(shape) != 3 or value.shape[2] != shape[2]:
                return None
            value = keras.ops.image.resize(value[None], shape[:2], interpolation="bilinear")[0]
        fitted.append(np.asarray(value))
    return fitted
