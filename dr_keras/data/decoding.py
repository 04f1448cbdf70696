"""From a photograph's file to its pixels: every odd file ends in one clear line."""

import io
import os
import stat
import zlib

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from dr_keras.data import containers, dicom, dicom_pixels, file_header, tears
from dr_keras.errors import InputError

MIN_SIDE = 32
_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
_PNG_PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
# What the library would print of damaged files is said here, once and with the file's name.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
# With what image data end; the decoders of TensorFlow and browsers fill what is missing and say nothing.
ENDINGS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}


def read_image(path, min_side=None):
    """Reads a photograph as 8-bit RGB, upright.

    Greyscale, RGBA, CMYK and 16-bit files are converted; an EXIF orientation is applied.

    Args:
        path: the file, or `eye.dcm#2` for the second frame of a DICOM file.
        min_side: if given, a JPEG may be decoded at 1/2, 1/4 or 1/8 scale as long as its shorter
            side keeps at least this many pixels. The DCT is then inverted at that scale, which is
            both an anti-aliased reduction and several times cheaper.

    Returns:
        uint8 array (height, width, 3), RGB, 0-255.

    Raises:
        InputError: if the file is missing, empty, truncated, too small, too large or no image.
    """
    file, frame = dicom.split_frame(path)
    data, name = read_bytes(file), str(path)
    header = file_header.read_header(data, name, frame)
    return decode_photograph(data, name, header.reduction(min_side), header)


def read_bytes(path):
    """Reads a file whole; raises `InputError` if it is missing, empty, or no readable file."""
    try:
        mode = os.stat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # a pipe would be waited for
            raise InputError(f"{path}: not a file")
        with open(path, "rb") as file:
            data = file.read()
    except IsADirectoryError:
        raise InputError(f"{path}: there is no photograph in that folder") from None
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from None
    except ValueError as error:  # a name that no file can have
        raise InputError(f"{path!r}: can't be read ({error})") from None
    return data


def unforeseen(error):
    """What is said of a photograph that made an error which no check foresaw, on one line."""
    return f"can't be prepared ({' '.join(f'{type(error).__name__}: {error}'.split())})"


def decode_photograph(data, name, factor=1, header=None):
    """Decodes the bytes of one photograph as `decode_image` does; refuses damage that the picture shows."""
    header = header or file_header.read_header(data, name)
    image = decode_image(data, name, factor, header)
    if damage := tears.damage(image, header.kinds):
        raise InputError(f"{name}: {damage}")
    return image


def decode_image(data, name, factor=1, header=None):
    """Decodes the bytes of one picture; errors and result as for `read_image`.

    Of a file with several pages the largest is taken. What lies behind a picture's end is passed over, and so
    are metadata that can't be read.

    Args:
        data: bytes of the file.
        name: what errors call it.
        factor: as from `file_header.Header.reduction`: 8, 4, 2 or 1.
        header: from `file_header.read_header`, where it is known already.
    """
    header = header or file_header.read_header(data, name)
    width, height = header.width, header.height
    if width * height > file_header.MAX_PIXELS:
        raise file_header.TooLarge(
            f"{name}: {width}x{height} pixels, expected at most {file_header.MAX_PIXELS // 10**6} megapixels"
        )
    refuse_small(height, width, name)
    decode = _DECODERS.get(header.kind, _decode_other)
    try:
        image = decode(data, header, factor)
    except (_Damaged, dicom_pixels.DamagedPixels) as damage:
        raise InputError(f"{name}: {damage}") from None
    except Exception:  # of three libraries, and of memory; no photograph ends a run
        raise InputError(f"{name}: the {header.kind} file is damaged and can't be decoded") from None
    return _set_upright(image, header.orientation)


def refuse_small(height, width, name):
    """Raises `InputError` for a picture of fewer than `MIN_SIDE` pixels either way."""
    if min(width, height) < MIN_SIDE:
        raise InputError(f"{name}: {width}x{height} pixels, expected at least {MIN_SIDE}x{MIN_SIDE}")


def upright_pixels(image):
    """Returns a PIL image as uint8 (height, width, 3), RGB, turned as its EXIF orientation says."""
    if image.mode.startswith("I;16"):  # which `convert` cuts at 255
        pixels = cv2.cvtColor((np.array(image) // 256).astype(np.uint8), cv2.COLOR_GRAY2RGB)
    else:
        pixels = np.array(image.convert("RGB"))
    return _set_upright(pixels, file_header.orientation_of(image))


def _set_upright(pixels, orientation):
    exchange, reversed_axes = file_header.UPRIGHT.get(orientation, (False, ()))
    return np.ascontiguousarray(np.flip(pixels.swapaxes(0, 1) if exchange else pixels, reversed_axes))


class _Damaged(Exception):
    """Why a picture can't be decoded, in words for the user."""


def _decode_jpeg(data, header, factor):
    """Decodes a JPEG at a reduced scale; what libjpeg warns of and fills as best it can is damage."""
    is_cmyk = header.mode == "CMYK"
    shorter = -(-min(header.width, header.height) // factor)
    least = {"min_height" if header.height <= header.width else "min_width": shorter if factor > 1 else 0}
    try:
        pixels = simplejpeg.decode_jpeg(data, "CMYK" if is_cmyk else "RGB", **least)
    except ValueError as error:
        is_cut = "premature end of jpeg file" in str(error).lower()
        raise _Damaged(
            "the JPEG file is truncated" if is_cut else f"the JPEG file is damaged ({error})"
        ) from None
    return _decode_by_opencv(data, _REDUCED.get(factor)) if is_cmyk else pixels


def _decode_png(data, header, factor):
    _check_png(data)
    return _decode_by_opencv(data)


def _check_png(data):
    """Raises `_Damaged` unless the chunks that make the picture are whole; others may be damaged."""
    place = len(file_header.PNG_START)
    while True:
        if place + 12 > len(data):
            raise _Damaged("the PNG file is truncated")
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        end = place + 8 + length
        if end + 4 > len(data):
            raise _Damaged("the PNG file is truncated")
        if kind in _PNG_PIXELS:
            if zlib.crc32(data[place + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
                raise _Damaged("the PNG file is damaged and can't be decoded")
        if kind == b"IEND":
            return
        place = end + 4


def _decode_other(data, header, factor):
    """TIFF, WebP, BMP and others: by Pillow where it is not the first page that counts, else by OpenCV."""
    if header.mode.startswith(("F", "I;32")):
        raise _Damaged(f"the {header.kind} file has samples of 32 bits, expected 8 or 16")
    if damage := containers.damage(data, header.kind, header.page):
        raise _Damaged(damage)
    if header.page == 0:
        try:
            return _decode_by_opencv(data)
        except _Damaged:
            if header.kind == "TIFF" and header.compression not in ("", "raw"):
                raise _Damaged(
                    f"the TIFF file is damaged, or its compression ({header.compression}) can't be read"
                ) from None
            raise
    with Image.open(io.BytesIO(data)) as image:
        image.seek(header.page)
        return np.array(image.convert("RGB"))


def _decode_by_opencv(data, flag=None):
    flag = cv2.IMREAD_COLOR if flag is None else flag
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        image = None
    if image is None:
        raise _Damaged("the file is damaged and can't be decoded")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _decode_dicom(data, header, factor):
    return dicom_pixels.decode_frame(data, header.page)


_DECODERS = {"JPEG": _decode_jpeg, "PNG": _decode_png, dicom.KIND: _decode_dicom}
