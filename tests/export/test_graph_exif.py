"""EXIF orientation read by the graph, as Pillow reads it, and damaged data, which decide nothing."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from dr_keras.data.decoding import decode_image
from dr_keras.export import graph_exif

read = tf.function(
    graph_exif.orientation, input_signature=[tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.bool)]
)


def exif_data(orientation, order="<", kind=3, before=0):
    """EXIF data with some other entries before the orientation."""
    entries = [(256 + number, 3, 1, 7) for number in range(before)] + [(274, kind, 1, orientation)]
    data = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(entries))
    for tag, kind, count, value in entries:
        data += struct.pack(order + "HHIHH", tag, kind, count, value, 0)
    return b"Exif\0\0" + data + struct.pack(order + "I", 0)


def encoded(kind, exif=None, comment=b""):
    file = io.BytesIO()
    options = {"exif": exif} if exif else {}
    Image.fromarray(np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)).save(file, kind, **options)
    data = file.getvalue()
    if comment:  # a segment in front of the others
        data = data[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + data[2:]
    return data


@pytest.mark.parametrize("kind", ("JPEG", "PNG"))
@pytest.mark.parametrize("order", "<>")
def test_every_orientation_in_either_byte_order(kind, order):
    for number in range(1, 9):
        data = encoded(kind, exif_data(number, order, before=number))
        assert Image.open(io.BytesIO(data)).getexif()[274] == number
        assert int(read(data, kind == "JPEG")) == number


def test_segments_and_fill_bytes_before_it():
    data = encoded("JPEG", exif_data(6), comment=b"x" * 3000)
    assert int(read(data, True)) == 6
    assert int(read(data[:2] + b"\xff\xff" + data[2:], True)) == 6


@pytest.mark.parametrize(
    "exif",
    (
        None, exif_data(0), exif_data(9), exif_data(6, kind=2), b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
    ),
)  # fmt: skip
def test_none_or_a_damaged_one_is_upright(exif):
    for kind in ("JPEG", "PNG"):
        assert int(read(encoded(kind, exif), kind == "JPEG")) == 1


def test_what_is_no_photograph_has_none():
    for data in (
        b"",
        b"\xff",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIDAT",
    ):
        assert int(read(data, data[:1] == b"\xff")) == 1


def test_images_are_set_upright_as_in_python():
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    for number in range(1, 9):
        turned = graph_exif.upright(tf.constant(image), tf.constant(number)).numpy()
        file = io.BytesIO()
        Image.fromarray(np.kron(image, np.ones((8, 8, 1), np.uint8))).save(
            file, "PNG", exif=exif_data(number)
        )
        np.testing.assert_array_equal(turned, decode_image(file.getvalue(), "x.png")[::8, ::8])
        size = graph_exif.upright_size(tf.constant([4, 6]), tf.constant(number)).numpy()
        assert size.tolist() == list(turned.shape[:2])
