"""Whether a file that carries no checksum is whole: what its container says of lengths, and runs of zeros.

A flipped bit in the middle of such a file shows nowhere. JPEG has its decoder's warnings, PNG its checksums.
"""

import io

from PIL import Image

_RUN = bytes(512)  # in compressed data as long a run of zeros is a lost sector
_STRIPS, _STRIP_LENGTHS = 273, 279  # TIFF tags


def damage(data, kind):
    """Says what is wrong with a file's container, in words for the user, or returns "".

    Args:
        data: bytes of a WebP, BMP or TIFF file; of others nothing is known.
        kind: Pillow's name of the format.
    """
    if kind == "WEBP":
        return _wrong_length(data, int.from_bytes(data[4:8], "little") + 8) or _lost_sector(data[12:])
    if kind == "BMP":
        declared = int.from_bytes(data[2:6], "little")
        return _wrong_length(data, declared) if declared else ""  # some programs leave it out
    return _lost_sector(b"".join(_compressed_parts(data))) if kind == "TIFF" else ""


def _wrong_length(data, declared):
    """What lies behind the end may be zeros, with which some programs fill the last block."""
    if len(data) < declared:
        return "the file is truncated"
    return "the file is damaged: longer than its header says" if data[declared:].strip(b"\0") else ""


def _lost_sector(compressed):
    return "the file is damaged: zeros in its compressed data" if _RUN in compressed.rstrip(b"\0") else ""


def _compressed_parts(data):
    """The compressed strips of a TIFF's pages; nothing of one that isn't compressed, or has tiles."""
    parts = []
    with Image.open(io.BytesIO(data)) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            if image.info.get("compression") in ("tiff_lzw", "tiff_adobe_deflate", "tiff_deflate"):
                strips = zip(image.tag_v2.get(_STRIPS, ()), image.tag_v2.get(_STRIP_LENGTHS, ()))
                parts += [data[start : start + length] for start, length in strips]
    return parts
