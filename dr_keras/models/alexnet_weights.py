"""Loading AlexNet's published weights: which array of each file format belongs to which convolution."""

from pathlib import Path

from dr_keras.errors import InputError
from dr_keras.models.weight_files import read_keras, read_npy, read_torch

_NUMBERS = range(1, 6)  # the convolutions are conv1 to conv5
_TORCHVISION_INDEX = (0, 3, 6, 8, 10)  # positions of the convolutions in torchvision's `features`


def no_imagenet_file(architecture):
    """Raises `InputError`: no package installs AlexNet's ImageNet weights, so the user must name a file."""
    raise InputError(
        f"--trunk_weights=imagenet: no package installs {architecture}'s weights; expected a file such as "
        "savedmodels/alexnet_trunk/alexnet_trunk.weights.h5 or bvlc_alexnet.npy"
    )


def load_trunk(network, path):
    """Gives a network's five convolutions the weights of a file; nothing in the file is run.

    Args:
        network: as from `alexnet`, `alexnet_trunk` and the like; its published form must be the file's.
        path: `bvlc_alexnet.npy` (its first kernels, of BGR pixels, are turned to RGB), torchvision's
            `alexnet-owt-*.pth`, or a Keras `.weights.h5` of `alexnet_trunk`. Other layers in it are left.

    Raises:
        InputError: if the file is none of these, or has other names or shapes than the network.
    """
    read = _READERS.get(Path(path).suffix)
    if read is None:
        raise InputError(f"{path}: expected AlexNet's weights as .npy, .pth or .weights.h5")
    arrays = read(path)
    convolutions = [network.get_layer(f"conv{n}_kernel") for n in _NUMBERS]
    values = []
    for (names, own), layer in zip(arrays, convolutions, strict=True):
        shapes = [tuple(weight.shape) for weight in layer.weights]
        for name, array, shape in zip(names, own, shapes, strict=True):
            if array.shape != shape:
                raise InputError(
                    f"{path}: {name} has the shape {array.shape}, expected {shape} for "
                    f"{layer.name.removesuffix('_kernel')} of {network.name!r}"
                )
        values.append(own)
    for layer, own in zip(convolutions, values, strict=True):
        layer.set_weights(own)


def _from_npy(path):
    found = _named(path, read_npy(path), [(f"conv{n}/weights", f"conv{n}/biases") for n in _NUMBERS])
    names, (kernel, bias) = found[0]
    return [(names, (kernel[:, :, ::-1] if kernel.ndim == 4 else kernel, bias)), *found[1:]]


def _from_torch(path):
    names = [(f"features.{n}.weight", f"features.{n}.bias") for n in _TORCHVISION_INDEX]
    # (out, in, height, width) -> (height, width, in, out)
    return [
        (own, (kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel, bias))
        for own, (kernel, bias) in _named(path, read_torch(path), names)
    ]


def _from_keras(path):
    return _named(path, read_keras(path), [(f"conv{n}_kernel/0", f"conv{n}_kernel/1") for n in _NUMBERS])


def _named(path, arrays, names):
    """Returns (names, arrays) of each convolution; raises `InputError` if an array is missing."""
    for name in (name for pair in names for name in pair):
        if name not in arrays:
            raise InputError(f"{path}: no {name} in it; expected the five convolutions of AlexNet")
    return [(pair, tuple(arrays[name] for name in pair)) for pair in names]


_READERS = {".npy": _from_npy, ".pth": _from_torch, ".pt": _from_torch, ".h5": _from_keras}
