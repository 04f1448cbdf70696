"""Readers of published weight files that need neither their frameworks nor run any code in them.

PyTorch's and NumPy's files are pickles: programs that may import and call whatever they name. The readers
here allow a pickle only the names that weights need and replace each with a harmless stand-in; any other
name raises an `InputError`.
"""

import contextlib
import io
import math
import zipfile
from pathlib import Path

import h5py
import numpy as np

from dr_keras.errors import InputError
from dr_keras.models import torch_files
from dr_keras.models.restricted_pickle import load_pickle


def read_torch(path):
    """Reads a PyTorch state dict (`.pth`), in zip form or in the older form of one pickle stream.

    Returns:
        Dict of name -> array, in the file's order and dtypes; bfloat16 becomes float32.

    Raises:
        InputError: if the file is missing, cut short, no state dict, or holds anything but tensors.
    """
    with _reading(path, "a PyTorch weights file"):
        read = torch_files.read_zip if zipfile.is_zipfile(path) else torch_files.read_legacy
        state, storages, order = read(path)
        if not isinstance(state, dict) or not state:
            raise InputError(f"{path}: expected a dict of tensors, found {type(state).__name__}")
        return {
            name: torch_files.to_array(path, name, value, storages, order) for name, value in state.items()
        }


def read_npy(path):
    """Reads a pickled dict of layers, such as `bvlc_alexnet.npy`, even if written by Python 2.

    A layer is an array, a list `[weights, biases]` or a dict of arrays.

    Returns:
        Dict of "layer", "layer/weights", "layer/biases" or "layer/KEY" -> array.

    Raises:
        InputError: if the file is missing, cut short, no such dict, or holds anything but arrays.
    """
    with _reading(path, "a .npy file with a dict of layers"), open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        header = "read_array_header_1_0" if version == (1, 0) else "read_array_header_2_0"
        shape, _, dtype = getattr(np.lib.format, header)(file)
        if dtype != object or shape != ():
            raise InputError(f"{path}: expected a dict of layers, found an array {shape} of {dtype}")
        stream = io.BytesIO(file.read())
        content = load_pickle(path, stream, _numpy_names(), encoding="latin1")
        layers = content.data[0] if isinstance(content, _Array) and content.shape == () else content
        if not isinstance(layers, dict) or not layers:
            raise InputError(f"{path}: expected a dict of layers, found {type(layers).__name__}")
        return {name: _numpy_array(path, name, value) for name, value in _named_parts(layers).items()}


def read_keras(path):
    """Reads a Keras 3 `.weights.h5`.

    Returns:
        Dict of "layer/0", "layer/1", ... -> array, with the layers' names and the number of each variable in
        the order in which the layer made them (a convolution's kernel, then its bias). bfloat16 becomes
        float32.

    Raises:
        InputError: if the file is missing, cut short or something else, or two layers have the same name.
    """
    with _reading(path, "a Keras .weights.h5 file"), h5py.File(path, "r") as file:
        size, arrays = Path(path).stat().st_size, {}

        def visit(place, item):
            folder, _, index = place.rpartition("/")
            if not isinstance(item, h5py.Dataset) or not folder.endswith("vars"):
                return
            layer = file[folder].attrs.get("name", folder.removesuffix("/vars").rpartition("/")[2])
            name = f"{layer}/{index}"
            if name in arrays:
                raise InputError(f"{path}: two layers are named {layer!r}; expected different names")
            if item.external or item.is_virtual or item.nbytes > size:
                raise InputError(f"{path}: {name} isn't stored in the file itself")
            kept_as_bits = item.attrs.get("dtype") == "bfloat16"
            arrays[name] = torch_files.from_bfloat16(item[()].view("u2")) if kept_as_bits else item[()]

        file.visititems(visit)
        if not arrays:
            raise InputError(f"{path}: holds no layers' weights; expected a Keras .weights.h5 file")
        return arrays


@contextlib.contextmanager
def _reading(path, expected):
    """Turns every error that a wrong or damaged file can cause into an `InputError`."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected {expected}") from None
    except Exception as error:  # pickle's documentation: a damaged pickle may raise an error of any class
        raise InputError(
            f"{path}: not {expected}, or damaged or cut short ({type(error).__name__})"
        ) from None


# NumPy


class _Array:
    """Stands in for an array while its pickle is read."""

    def __setstate__(self, state):
        _, self.shape, self.dtype, self.fortran, self.data = state


class _Dtype:
    """Stands in for a dtype while its pickle is read."""

    def __init__(self, code, *_):
        self.code, self.order = code, "="

    def __setstate__(self, state):
        self.order = state[1]


def _numpy_names():
    names = {("_codecs", "encode"): lambda text, _: text.encode("latin1")}  # how old pickles store bytes
    for module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray"):
        names[module, "_reconstruct"] = lambda *_: _Array()
        names[module, "ndarray"] = "ndarray"
        names[module, "dtype"] = lambda *values: _Dtype(*values)
    return names


def _named_parts(layers):
    """Returns the arrays of all layers as a dict by "layer" or "layer/part"."""
    parts = {}
    for layer, value in layers.items():
        if isinstance(value, (list, tuple)) and len(value) <= 2:
            value = dict(zip(("weights", "biases"), value))
        if isinstance(value, dict):
            parts.update({f"{layer}/{part}": array for part, array in value.items()})
        else:
            parts[str(layer)] = value
    return parts


def _numpy_array(path, name, array):
    numbers = isinstance(array, _Array) and isinstance(array.dtype, _Dtype)
    if not numbers or str(array.dtype.code) not in ("b1", "u1", "i1", "i2", "i4", "i8", "f2", "f4", "f8"):
        raise InputError(f"{path}: {name!r} is no array of numbers; expected a dict of layers with arrays")
    data = array.data.encode("latin1") if isinstance(array.data, str) else array.data
    values = np.frombuffer(data, np.dtype(array.dtype.order + array.dtype.code))
    if values.size != math.prod(array.shape):
        raise InputError(f"{path}: {name} has {values.size} values, expected the shape {array.shape}")
    return values.reshape(array.shape, order="F" if array.fortran else "C").astype(
        values.dtype.newbyteorder("=")
    )
