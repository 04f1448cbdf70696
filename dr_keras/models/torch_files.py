"""The two forms of PyTorch's weight files, each a set of storages and a pickle that describes the tensors."""

import collections
import io
import math
import zipfile
from pathlib import Path

import numpy as np

from dr_keras.errors import InputError
from dr_keras.models.restricted_pickle import load_pickle

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_BFLOAT16 = "BFloat16Storage"
_STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    _BFLOAT16: "u2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "b1",
}
_Tensor = collections.namedtuple("_Tensor", "storage offset shape strides")


def _torch_names():
    # A new dict for every file, since a pickle can set attributes of the objects it gets.
    names = {("torch", kind): kind for kind in _STORAGES}
    names["collections", "OrderedDict"] = collections.OrderedDict
    names["torch._utils", "_rebuild_tensor_v2"] = lambda *values: _Tensor(*values[:4])
    names["torch._utils", "_rebuild_parameter"] = lambda tensor, *_: tensor
    return names


def read_zip(path):
    """Reads the zip form, with one record per storage.

    Returns:
        (state, contents, order): the unpickled object, a dict of key -> bytes of each storage, and the byte
        order "<" or ">".
    """
    with zipfile.ZipFile(path) as archive:
        if any(record.compress_type != zipfile.ZIP_STORED for record in archive.infolist()):
            raise InputError(f"{path}: a compressed archive; PyTorch's files aren't compressed")
        main = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        folder, storages = main.removesuffix("data.pkl"), {}
        state = load_pickle(path, io.BytesIO(archive.read(main)), _torch_names(), storages)
        big = f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") == b"big"
        contents = {key: archive.read(f"{folder}data/{key}") for key in storages}
    return state, contents, ">" if big else "<"


def read_legacy(path):
    """Reads the form before PyTorch 1.6: pickles, then the storages. Returns the same as `read_zip`."""
    stream, storages = io.BytesIO(Path(path).read_bytes()), {}
    magic, _, system = (load_pickle(path, stream, {}) for _ in range(3))
    if magic != _LEGACY_MAGIC:
        raise InputError(f"{path}: not a PyTorch weights file")
    state = load_pickle(path, stream, _torch_names(), storages)
    order, contents = "<" if system["little_endian"] else ">", {}
    for key in load_pickle(path, stream, {}):
        count = int.from_bytes(stream.read(8), "little" if order == "<" else "big")
        contents[key] = stream.read(count * np.dtype(_STORAGES[storages[key].kind]).itemsize)
    return state, contents, order


def to_array(path, name, tensor, storages, order):
    """Returns the array that a tensor of the pickle describes, copied from its storage.

    Args:
        path, name: file and tensor, for error messages.
        tensor: value of `name` in the unpickled dict.
        storages, order: contents of the storages and byte order, from `read_zip` or `read_legacy`.

    Raises:
        InputError: if `tensor` is something else, or reaches beyond its storage.
    """
    if not isinstance(name, str) or not isinstance(tensor, _Tensor):
        raise InputError(f"{path}: {name!r} is no tensor; expected a dict of tensors only")
    (kind, key, count), offset, shape, strides = tensor
    dtype = np.dtype(order + _STORAGES[kind])
    values = np.frombuffer(storages[key], dtype)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    fits = len(values) == count and min((offset, *shape, *strides)) >= 0 and math.prod(shape) <= count
    if not fits or (0 not in shape and last >= count):
        raise InputError(f"{path}: {name} asks for other values than are stored for it")
    steps = [stride * dtype.itemsize for stride in strides]
    array = np.lib.stride_tricks.as_strided(values[offset:], shape, steps).astype(dtype.newbyteorder("="))
    return from_bfloat16(array) if kind == _BFLOAT16 else array


def from_bfloat16(bits):
    """Returns the float32 array whose upper 16 bits are the given ones; bfloat16 is stored so."""
    return (bits.astype("u4") << 16).view("f4")
