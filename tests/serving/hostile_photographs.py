"""Photographs that mean harm: cut short, changed, or small files that unpack to large pictures."""

import struct
import zlib

import numpy as np


def mutated(photographs, seed):
    """A whole photograph with something wrong in it, another for every seed: bytes."""
    rng = np.random.default_rng(seed)
    data = bytearray(photographs[seed % len(photographs)])
    kind = seed % 6
    if kind == 0:  # cut short
        del data[rng.integers(0, len(data)) :]
    elif kind == 1:  # bytes changed anywhere
        for place in rng.integers(0, len(data), rng.integers(1, 200)):
            data[place] = rng.integers(0, 256)
    elif kind == 2:  # bytes changed in the header
        for place in rng.integers(0, min(400, len(data)), rng.integers(1, 40)):
            data[place] = rng.integers(0, 256)
    elif kind == 3:  # a piece taken out
        start = rng.integers(0, len(data))
        del data[start : start + rng.integers(1, 5000)]
    elif kind == 4:  # a piece twice
        start = rng.integers(0, len(data))
        data[start:start] = data[start : start + rng.integers(1, 5000)]
    else:  # noise, with or without a photograph's first bytes
        noise = rng.bytes(rng.integers(0, 3000))
        data = data[: rng.integers(0, 30)] + noise
    return bytes(data)


def blank_png(width, height, bits=1):
    """A small PNG file of a large picture: grey, `bits` bits a pixel."""
    rows = zlib.compressobj(9)
    line = bytes(1 + (width * bits + 7) // 8)
    packed = b"".join(rows.compress(line) for _ in range(height)) + rows.flush()
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    body = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def claiming(jpeg, width, height):
    """A JPEG whose header claims another size."""
    place = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:place] + struct.pack(">HH", height, width) + jpeg[place + 4 :]
