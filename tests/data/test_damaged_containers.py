"""Files without a checksum of their own: what their containers say of damage, and what is no damage."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from dr_keras.data.decoding import decode_image
from dr_keras.errors import InputError


@pytest.fixture(scope="module")
def picture(draw_photograph):
    """A photograph with a black surround, as fundus cameras have."""
    pixels = draw_photograph(0).copy()
    pixels[:40] = 0
    return Image.fromarray(pixels)


def encoded(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("WEBP", {"icc_profile": bytes(3000)}),
        ("WEBP", {"lossless": True, "exif": b"Exif\0\0" + bytes(2001)}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("BMP", {}),
    ],
)
def test_zeros_that_belong_to_a_file_are_no_damage(picture, form, options):
    whole = decode_image(encoded(picture, form, **options), "whole")
    assert np.abs(whole.astype(int) - np.array(picture)).mean() < 3


def deflated_tiff(pixels, level):
    """A TIFF file of one deflated strip."""
    strip = zlib.compress(pixels.tobytes(), level)
    height, width, _ = pixels.shape
    tags = {256: width, 257: height, 259: 8, 262: 2, 277: 3, 278: height, 273: 200, 279: len(strip)}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items())]
    entries.insert(2, struct.pack("<HHII", 258, 3, 3, 190))  # bits of each sample
    folder = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    head = (b"II*\0" + struct.pack("<I", 8) + folder).ljust(190, b"\0") + struct.pack("<HHH", 8, 8, 8)
    return head.ljust(200, b"\0") + strip


def test_a_deflated_tiff_that_keeps_zeros_as_they_are(picture):
    pixels = np.array(picture)
    stored = deflated_tiff(pixels, level=0)
    assert bytes(512) in stored
    np.testing.assert_array_equal(decode_image(stored, "stored"), pixels)
    broken = bytearray(stored)
    broken[len(broken) // 2] ^= 4
    with pytest.raises(InputError, match="broken: the file is damaged: its checksum is wrong"):
        decode_image(bytes(broken), "broken")


@pytest.mark.parametrize(
    ("form", "options", "reason"),
    [
        ("WEBP", {}, "zeros in its compressed data"),
        ("TIFF", {"compression": "tiff_lzw"}, "zeros in its compressed data"),
        ("TIFF", {"compression": "tiff_adobe_deflate"}, "its checksum is wrong"),
    ],
)
def test_a_lost_sector_is_damage(picture, form, options, reason):
    data = encoded(picture, form, **options)
    middle = len(data) // 2
    lost = data[:middle] + bytes(1024) + data[middle + 1024 :]
    with pytest.raises(InputError, match=f"lost: the file is damaged: {reason}"):
        decode_image(lost, "lost")
