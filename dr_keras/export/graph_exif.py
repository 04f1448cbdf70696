"""EXIF orientation in TensorFlow operations, whose decoders don't read it: see `data.decoding`."""

import tensorflow as tf

from dr_keras.data.file_header import ORIENTATION, SIDEWAYS, UPRIGHT

# Markers of a JPEG's segments.
_EXIF, _QUANTIZATION, _IMAGE_DATA, _FILL = 0xE1, 0xDB, 0xDA, 0xFF
_INTEL = 0x49  # first byte of EXIF data in little-endian order
_SHORT = 3  # code of the type that an orientation has
_MOST_ENTRIES = 512  # of a directory; damaged data may claim more


def orientation(data, is_jpeg):
    """Reads the EXIF orientation of a photograph.

    Args:
        data: string (), an encoded JPEG or PNG.
        is_jpeg: bool ().

    Returns:
        int32 (), 1 to 8; 1 where there is none, or it is damaged.
    """
    raw = tf.io.decode_raw(data, tf.uint8)
    start = tf.cond(is_jpeg, lambda: _in_jpeg(raw), lambda: _in_png(raw))
    return tf.cond(start > 0, lambda: _in_directory(raw, start), lambda: tf.constant(1))


def upright(image, number):
    """Sets an image (height, width, 3) of an orientation upright."""

    def setter(number):
        exchange, reversed_axes = UPRIGHT.get(number, (False, ()))

        def turn():
            turned = tf.transpose(image, (1, 0, 2)) if exchange else image
            return tf.reverse(turned, reversed_axes) if reversed_axes else turned

        return turn

    return tf.switch_case(number - 1, [setter(number) for number in range(1, 9)])


def upright_size(size, number):
    """Height and width, int32 (2,), of the upright image."""
    return tf.where(number >= SIDEWAYS, size[::-1], size)


def _at(raw, place):
    """Bytes at places, as int32; 0 beyond the end."""
    last = tf.size(raw) - 1
    found = tf.cast(tf.gather(raw, tf.clip_by_value(place, 0, last)), tf.int32)
    return tf.where((place >= 0) & (place <= last), found, 0)


def _number(raw, place, count, little=False):
    """A whole number of `count` bytes, big-endian unless `little`; at most 2**31 - 1."""
    parts = [_at(raw, place + k) for k in range(count)]
    big = sum(part * 256 ** (count - 1 - k) for k, part in enumerate(parts))
    return tf.where(little, sum(part * 256**k for k, part in enumerate(parts)), big)


def image_data(raw):
    """Where the image data of a JPEG begin, behind its header: int32 (); the header's previews lie before."""
    return _walk(raw, lambda place: tf.constant(0))[0]


def quantization(raw):
    """See `file_header.Header.quantization`, of a JPEG: float64 ()."""

    def total(place):
        is_first = (_at(raw, place + 1) == _QUANTIZATION) & (_at(raw, place + 4) == 0)
        return tf.where(is_first, tf.reduce_sum(_at(raw, place + 5 + tf.range(64))), 0)

    return tf.cast(_walk(raw, total)[1], tf.float64) / 64


def _in_jpeg(raw):
    """Where the EXIF data of a JPEG begin; 0 without any."""

    def exif_at(place):
        is_app1, name = _at(raw, place + 1) == _EXIF, _number(raw, place + 4, 3)
        return tf.where(is_app1 & (name == 0x457869) & (_at(raw, place + 7) == 0x66), place + 10, 0)

    return _walk(raw, exif_at)[1]


def _walk(raw, find):
    """Goes through a JPEG's segments up to the image data, or until `find(place)` isn't 0: (place, found)."""

    def segment(place, _):
        marker, length = _at(raw, place + 1), _number(raw, place + 2, 2)
        following = tf.where(marker == _FILL, place + 1, place + 2 + tf.maximum(length, 2))
        return following, find(place)

    def goes_on(place, found):
        marker = _at(raw, place + 1)
        return (found == 0) & (_at(raw, place) == 0xFF) & (marker != _IMAGE_DATA)

    return tf.while_loop(goes_on, segment, (tf.constant(2), tf.constant(0)))


def _in_png(raw):
    """Where the data of a PNG's eXIf chunk begin; 0 without any."""

    def chunk(place, _):
        length, name = _number(raw, place, 4), _number(raw, place + 5, 3)
        is_exif = (_at(raw, place + 4) == 0x65) & (name == 0x584966)
        beyond = tf.size(raw)
        length = tf.where((length < 0) | (length > beyond), beyond, length)
        return place + 12 + length, tf.where(is_exif, place + 8, 0)

    goes_on = lambda place, start: (start == 0) & (place + 12 <= tf.size(raw))  # noqa: E731
    return tf.while_loop(goes_on, chunk, (tf.constant(8), tf.constant(0)))[1]


def _in_directory(raw, start):
    """The orientation in EXIF data, which are a TIFF header and a directory."""
    little = _at(raw, start) == _INTEL
    directory = start + _number(raw, start + 4, 4, little)
    count = tf.clip_by_value(_number(raw, directory, 2, little), 0, _MOST_ENTRIES)
    entries = directory + 2 + 12 * tf.range(count)
    tags, types = _number(raw, entries, 2, little), _number(raw, entries + 2, 2, little)
    values = tf.where((tags == ORIENTATION) & (types == _SHORT), _number(raw, entries + 8, 2, little), 0)
    found = tf.reduce_max(tf.concat([values, [0]], axis=0))
    return tf.where((found >= 1) & (found <= 8), found, 1)
