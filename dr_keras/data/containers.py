"""Whether a file that carries no checksum is whole: what its container says of lengths, and runs of zeros.

A flipped bit in the middle of such a file shows nowhere. JPEG has its decoder's warnings, PNG its checksums.
"""

import io
import zlib

from PIL import Image

_RUN = bytes(512)  # in compressed data as long a run of zeros is a lost sector
_WEBP_PIXELS = (b"VP8 ", b"VP8L", b"ALPH", b"ANMF")  # chunks; others are profiles and metadata, zeros or not
_STRIPS, _TILES = (273, 279), (324, 325)  # TIFF tags: where they start, how long they are
_BYTES_A_PIXEL = 8  # at most: four samples of 16 bits
_AT_ONCE = 1 << 20  # bytes that are inflated together


def damage(data, kind, page=0):
    """Says what is wrong with a file's container, in words for the user, or returns "".

    Args:
        data: bytes of a WebP, BMP or TIFF file; of others nothing is known.
        kind: Pillow's name of the format.
        page: position of a TIFF's page that is to be read.
    """
    if kind == "WEBP":
        return _wrong_length(data, int.from_bytes(data[4:8], "little") + 8) or _lost_sector(
            _webp_pixels(data)
        )
    if kind == "BMP":
        declared = int.from_bytes(data[2:6], "little")
        return _wrong_length(data, declared) if declared else ""  # some programs leave it out
    return _damaged_strips(data, page) if kind == "TIFF" else ""


def _wrong_length(data, declared):
    """What lies behind the end may be zeros, with which some programs fill the last block."""
    if len(data) < declared:
        return "the file is truncated"
    return "the file is damaged: longer than its header says" if data[declared:].strip(b"\0") else ""


def _lost_sector(compressed):
    return "the file is damaged: zeros in its compressed data" if _RUN in compressed.rstrip(b"\0") else ""


def _webp_pixels(data):
    """The chunks of a WebP file that make its picture, one behind the other."""
    parts, place = [], 12
    while place + 8 <= len(data):
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        if data[place : place + 4] in _WEBP_PIXELS:
            parts.append(data[place + 8 : place + 8 + length])
        place += 8 + length + length % 2
    return b"".join(parts)


def _damaged_strips(data, page):
    """What is wrong with a TIFF's strips or tiles: deflated ones have a checksum, LZW's may be lost."""
    with Image.open(io.BytesIO(data), formats=("TIFF",)) as image:
        image.seek(page)
        tags, compression = image.tag_v2, image.info.get("compression")
        most = image.width * image.height * _BYTES_A_PIXEL + _AT_ONCE
    starts, lengths = next((tags.get(a, ()), tags.get(b, ())) for a, b in (_STRIPS, _TILES) if a in tags)
    parts = [data[start : start + length] for start, length in zip(starts, lengths)]
    if compression == "tiff_lzw":
        return _lost_sector(b"".join(parts))
    if compression in ("tiff_adobe_deflate", "tiff_deflate"):
        for part in parts:
            most -= (length := _inflated_length(part, most))
            if not length:
                return "the file is damaged: its checksum is wrong"
    return ""


def _inflated_length(part, most):
    """Length of deflated data that end where they should, with the checksum that they name; 0 of others.

    Of more than `most` bytes no more are inflated.
    """
    stream, length = zlib.decompressobj(), 0
    try:
        while part and not stream.eof and length <= most:
            length += len(stream.decompress(part, _AT_ONCE))
            part = stream.unconsumed_tail
    except zlib.error:
        return 0
    return length if stream.eof else 0
