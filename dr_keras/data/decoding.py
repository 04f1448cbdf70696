"""From a photograph's file to its pixels: every odd file ends in one clear line."""

import io
import warnings

import cv2
import numpy as np
from PIL import Image, ImageOps

from dr_keras.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
MAX_PIXELS = 150_000_000  # three times the largest fundus cameras; guards against decompression bombs
MIN_SIDE = 32
_ORIENTATION = 274  # the EXIF tag; from 5 on, rows and columns change places
_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
# What both libraries would print of damaged and of large files is said here, once and with the file's name.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# The last bytes that a whole file has; a decoder fills what is missing with grey and says nothing.
ENDINGS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
TAIL = 4096


def read_image(path, min_side=None):
    """Reads a photograph as 8-bit RGB, upright.

    Greyscale, RGBA, CMYK and 16-bit files are converted; an EXIF orientation is applied.

    Args:
        path: the file.
        min_side: if given, a JPEG may be decoded at 1/2, 1/4 or 1/8 scale as long as its shorter
            side keeps at least this many pixels. The DCT is then inverted at that scale, which is
            both an anti-aliased reduction and several times cheaper.

    Returns:
        uint8 array (height, width, 3), RGB, 0-255.

    Raises:
        InputError: if the file is missing, empty, truncated, too small, too large or no image.
    """
    data, name = read_bytes(path), str(path)
    return decode_image(data, name, reduction_of(data, name, min_side))


def read_bytes(path):
    """Reads a file whole; raises `InputError` if it is missing, empty, or no readable file."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from None
    if not data:
        raise InputError(f"{path}: the file is empty")
    return data


def decode_image(data, name, factor=1):
    """Decodes the bytes of one photograph; errors and result as for `read_image`.

    Args:
        data: bytes of the file.
        name: what errors call it.
        factor: of `reduction_of`: 8, 4, 2 or 1.
    """
    kind, width, height = _read_header(data, name)
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{name}: {width}x{height} pixels, expected at most {MAX_PIXELS // 10**6} megapixels"
        )
    if min(width, height) < MIN_SIDE:
        raise InputError(f"{name}: {width}x{height} pixels, expected at least {MIN_SIDE}x{MIN_SIDE}")
    if kind in ENDINGS and ENDINGS[kind] not in data[-TAIL:]:
        raise InputError(f"{name}: the {kind} file is truncated")
    if kind == "PNG" and not _checksums_hold(data):
        raise InputError(f"{name}: the PNG file is damaged and can't be decoded")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _REDUCED.get(factor, cv2.IMREAD_COLOR))
    except cv2.error:
        image = None
    if image is None:
        raise InputError(f"{name}: the {kind} file is damaged and can't be decoded")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def reduction(side, min_side):
    """Returns the largest of 8, 4, 2, 1 that leaves `side` pixels at `min_side` or more."""
    return next((factor for factor in (8, 4, 2) if side // factor >= min_side), 1)


def reduction_of(data, name, shorter_side=None, longer_side=None):
    """Returns the largest reduction of a JPEG that keeps one of its sides at so many pixels; 1 for all else.

    Raises:
        InputError: if the bytes aren't an image.
    """
    kind, width, height = _read_header(data, name)
    if kind != "JPEG" or not (shorter_side or longer_side):
        return 1
    if shorter_side:
        return reduction(min(width, height), shorter_side)
    return reduction(max(width, height), longer_side)


def upright_pixels(image):
    """Returns a PIL image as uint8 (height, width, 3), RGB, turned as its EXIF orientation says."""
    return np.array(ImageOps.exif_transpose(image).convert("RGB"))


def upright_size(data):
    """Returns (height, width) of a photograph that `decode_image` reads, as it stands upright, in full."""
    with Image.open(io.BytesIO(data)) as image:
        sideways = image.getexif().get(_ORIENTATION, 1) >= 5
        return image.size if sideways else image.size[::-1]


def _checksums_hold(data):
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.verify()
    except (SyntaxError, OSError, ValueError):
        return False
    return True


def _read_header(data, name):
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.format, *image.size
    except Image.DecompressionBombError:
        raise InputError(f"{name}: too large, expected at most {MAX_PIXELS // 10**6} megapixels") from None
    except Exception as error:  # Pillow's format plugins raise many kinds for damaged headers
        raise InputError(f"{name}: not an image, or its header is damaged (expected JPEG or PNG)") from error
