"""Pickles and PyTorch files by hand, instruction by instruction, so that PyTorch needn't be there.

`pickletools` of the standard library explains the instructions.
"""

import struct
import zipfile


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value):
    return b"J" + struct.pack("<i", value)


def group(*items):
    return b"(" + b"".join(items) + b"t"


def named(module, name):
    return f"c{module}\n{name}\n".encode()


def ordered_dict(**items):
    pairs = b"".join(text(key) + value for key, value in items.items())
    return named("collections", "OrderedDict") + b")R(" + pairs + b"u"


def tensor(key, kind, count, shape, strides, offset=0, legacy=False):
    view = [b"N"] if legacy else []
    storage = group(text("storage"), named("torch", kind), text(key), text("cpu"), number(count), *view)
    layout = [number(offset), group(*map(number, shape)), group(*map(number, strides))]
    values = group(storage + b"Q", *layout, b"\x89", ordered_dict())
    return named("torch._utils", "_rebuild_tensor_v2") + values + b"R"


def parameter(inner):
    return named("torch._utils", "_rebuild_parameter") + group(inner, b"\x88", ordered_dict()) + b"R"


def as_pickle(body):
    return b"\x80\x02" + body + b"."


def torch_zip(path, body, storages, order=None, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("model/data.pkl", as_pickle(body))
        if order:
            archive.writestr("model/byteorder", order)
        for key, data in storages.items():
            archive.writestr(f"model/data/{key}", data)
        archive.writestr("model/version", "3\n")
    return path
