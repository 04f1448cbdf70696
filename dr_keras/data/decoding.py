"""From a photograph's file to its pixels: every odd file ends in one clear line."""

import contextlib
import dataclasses
import io
import os
import stat
import warnings
import zlib

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from dr_keras.data import containers, dicom, dicom_pixels, tears
from dr_keras.errors import InputError

MAX_PIXELS = 150_000_000  # three times the largest fundus cameras; guards against decompression bombs
MIN_SIDE = 32
ORIENTATION = 274  # the EXIF tag
SIDEWAYS = 5  # from this orientation on, rows and columns change places
# How each EXIF orientation is set upright: whether the axes are exchanged, then which of them are reversed.
UPRIGHT = {
    2: (False, (1,)), 3: (False, (0, 1)), 4: (False, (0,)),
    5: (True, ()), 6: (True, (1,)), 7: (True, (0, 1)), 8: (True, (0,)),
}  # fmt: skip
_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")  # Pillow's names; it knows many more
_MOST_PAGES = 64  # of a TIFF, that are looked at for the largest
PNG_START, _PNG_PIXELS = b"\x89PNG\r\n\x1a\n", (b"IHDR", b"PLTE", b"IDAT", b"IEND")
# What the libraries would print of damaged and of large files is said here, once and with the file's name.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module="PIL.TiffImagePlugin")  # of damaged metadata
warnings.filterwarnings("ignore", category=UserWarning, module="PIL.JpegImagePlugin")
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
    header = read_header(data, name, frame)
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
    header = header or read_header(data, name)
    image = decode_image(data, name, factor, header)
    if damage := tears.damage(image, header.kind):
        raise InputError(f"{name}: {damage}")
    return image


def decode_image(data, name, factor=1, header=None):
    """Decodes the bytes of one picture; errors and result as for `read_image`.

    Of a file with several pages the largest is taken. What lies behind a picture's end is passed over, and so
    are metadata that can't be read.

    Args:
        data: bytes of the file.
        name: what errors call it.
        factor: as from `Header.reduction`: 8, 4, 2 or 1.
        header: from `read_header`, where it is known already.
    """
    header = header or read_header(data, name)
    width, height = header.width, header.height
    if width * height > MAX_PIXELS:
        raise TooLarge(f"{name}: {width}x{height} pixels, expected at most {MAX_PIXELS // 10**6} megapixels")
    if min(width, height) < MIN_SIDE:
        raise InputError(f"{name}: {width}x{height} pixels, expected at least {MIN_SIDE}x{MIN_SIDE}")
    decode = _DECODERS.get(header.kind, _decode_other)
    try:
        image = decode(data, header, factor)
    except (_Damaged, dicom_pixels.DamagedPixels) as damage:
        raise InputError(f"{name}: {damage}") from None
    except Exception:  # of three libraries, and of memory; no photograph ends a run
        raise InputError(f"{name}: the {header.kind} file is damaged and can't be decoded") from None
    return _set_upright(image, header.orientation)


def reduction(side, min_side):
    """Returns the largest of 8, 4, 2, 1 that leaves `side` pixels at `min_side` or more."""
    return next((factor for factor in (8, 4, 2) if side // factor >= min_side), 1)


def upright_pixels(image):
    """Returns a PIL image as uint8 (height, width, 3), RGB, turned as its EXIF orientation says."""
    return _set_upright(np.array(image.convert("RGB")), _orientation(image))


def _set_upright(pixels, orientation):
    exchange, reversed_axes = UPRIGHT.get(orientation, (False, ()))
    return np.ascontiguousarray(np.flip(pixels.swapaxes(0, 1) if exchange else pixels, reversed_axes))


@dataclasses.dataclass(frozen=True)
class Header:
    """What a file says before it is decoded; `mode` and `compression` are Pillow's words.

    `page` is the position of the largest page, or of the frame of a DICOM file that was asked for;
    `quantization`, of a JPEG, the mean step, in grey levels, to which frequencies of brightness are rounded.
    """

    kind: str
    width: int
    height: int
    orientation: int
    page: int = 0
    mode: str = "RGB"
    compression: str = ""
    quantization: float = 0.0

    @property
    def upright_size(self):
        """(height, width) of the photograph as it stands upright, in full."""
        size = self.height, self.width
        return size[::-1] if self.orientation >= SIDEWAYS else size

    def reduction(self, shorter_side=None, longer_side=None):
        """Returns the largest reduction of a JPEG that keeps one side at so many pixels; 1 for all else."""
        if self.kind != "JPEG" or not (shorter_side or longer_side):
            return 1
        if shorter_side:
            return reduction(min(self.width, self.height), shorter_side)
        return reduction(max(self.width, self.height), longer_side)


class TooLarge(InputError):
    """A photograph has more pixels than are decoded."""


class _Damaged(Exception):
    """Why a picture can't be decoded, in words for the user."""


def read_header(data, name, frame=None):
    """Reads the `Header` of a file's bytes.

    A PNG's takes about as long as its pixels, since its orientation may lie behind them: read it once.

    Args:
        data: bytes of the file.
        name: what errors call it.
        frame: number, from 1, of the photograph in a DICOM file of several; None takes the only one.

    Raises:
        InputError: if the bytes aren't an image, or a DICOM file of several photographs and none is named.
    """
    if not data:
        raise InputError(f"{name}: the file is empty")
    if dicom.is_dicom(data):
        found = dicom.read_header(data, name)
        index = dicom.frame_index(found, frame, name)
        return Header(dicom.KIND, found.width, found.height, 1, index)
    is_png = data[: len(PNG_START)] == PNG_START and data[12:16] == b"IHDR"
    if is_png and len(data) > 33:  # whatever its metadata are
        width, height = (int.from_bytes(data[place : place + 4], "big") for place in (16, 20))
        return Header("PNG", width, height, _orientation_of(data))
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            kind = {"MPO": "JPEG"}.get(image.format, image.format)  # a JPEG with further pictures behind it
            orientation = _orientation(image)
            page = _largest_page(image) if kind == "TIFF" else 0
            compression = str(image.info.get("compression", ""))
            coarseness = _quantization(image) if kind == "JPEG" else 0.0
            return Header(kind, *image.size, orientation, page, image.mode, compression, coarseness)
    except Image.DecompressionBombError:
        raise TooLarge(f"{name}: too large, expected at most {MAX_PIXELS // 10**6} megapixels") from None
    except Exception as error:  # Pillow's format plugins raise many kinds for damaged headers
        kind, expected = "not an image", "JPEG, PNG, TIFF, WebP, BMP or DICOM"
        if data.startswith((b"II*\0", b"MM\0*")):
            kind, expected = "a TIFF file that can't be read", "samples of 8 or 16 bits"
        raise InputError(f"{name}: {kind}, or its header is damaged (expected {expected})") from error


def _orientation_of(data):
    try:
        with Image.open(io.BytesIO(data)) as image:
            return _orientation(image)
    except Exception:  # damaged metadata, or a picture too large, which is refused by its size
        return 1


def _orientation(image):
    """The EXIF orientation, 1 to 8; 1 where there is none or it can't be read."""
    try:
        value = int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged metadata; the picture decides
        return 1
    return value if value in UPRIGHT else 1


def _quantization(image):
    """See `Header.quantization`; 0 where the file doesn't say it."""
    table = getattr(image, "quantization", {}).get(0)
    return sum(table) / len(table) if table else 0.0


def _largest_page(image):
    """Turns a file of several pages to the largest, the first of several alike; returns its number."""
    pages = []
    with contextlib.suppress(EOFError):
        for number in range(_MOST_PAGES):
            image.seek(number)
            pages.append((-image.width * image.height, number))
    number = min(pages)[1]
    image.seek(number)
    return number


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
    place = len(PNG_START)
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
