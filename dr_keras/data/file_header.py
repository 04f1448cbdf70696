"""What a photograph's file says of itself before it is decoded: format, size, orientation, compression."""

import contextlib
import dataclasses
import io
import warnings

from PIL import Image

from dr_keras.data import dicom
from dr_keras.errors import InputError

MAX_PIXELS = 150_000_000  # three times the largest fundus cameras; guards against decompression bombs
ORIENTATION = 274  # the EXIF tag
SIDEWAYS = 5  # from this orientation on, rows and columns change places
# How each EXIF orientation is set upright: whether the axes are exchanged, then which of them are reversed.
UPRIGHT = {
    2: (False, (1,)), 3: (False, (0, 1)), 4: (False, (0,)),
    5: (True, ()), 6: (True, (1,)), 7: (True, (0, 1)), 8: (True, (0,)),
}  # fmt: skip
_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")  # Pillow's names; it knows many more
_MOST_PAGES = 64  # of a TIFF, that are looked at for the largest
PNG_START = b"\x89PNG\r\n\x1a\n"
# What Pillow would print of large files and damaged metadata is said by errors, once, with the file's name.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module="PIL.TiffImagePlugin")  # of damaged metadata
warnings.filterwarnings("ignore", category=UserWarning, module="PIL.JpegImagePlugin")


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
    def kinds(self):
        """Formats of which damage may be: the file's, and JPEG if a TIFF file holds JPEGs."""
        return (self.kind, "JPEG") if "jpeg" in self.compression else (self.kind,)

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


def reduction(side, min_side):
    """Returns the largest of 8, 4, 2, 1 that leaves `side` pixels at `min_side` or more."""
    return next((factor for factor in (8, 4, 2) if side // factor >= min_side), 1)


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
    if header := png_header(data):  # whatever its metadata are
        return dataclasses.replace(header, orientation=_png_orientation(data))
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            kind = {"MPO": "JPEG"}.get(image.format, image.format)  # a JPEG with further pictures behind it
            orientation = orientation_of(image)
            page = _largest_page(image, name) if kind == "TIFF" else 0
            compression = str(image.info.get("compression", ""))
            coarseness = _quantization(image) if kind == "JPEG" else 0.0
            return Header(kind, *image.size, orientation, page, image.mode, compression, coarseness)
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise TooLarge(f"{name}: too large, expected at most {MAX_PIXELS // 10**6} megapixels") from None
    except Exception as error:  # Pillow's format plugins raise many kinds for damaged headers
        kind, expected = "not an image", "JPEG, PNG, TIFF, WebP, BMP or DICOM"
        if data.startswith((b"II*\0", b"MM\0*")):
            kind, expected = "a TIFF file that can't be read", "samples of 8 or 16 bits"
        raise InputError(f"{name}: {kind}, or its header is damaged (expected {expected})") from error


def png_header(data):
    """The `Header` of a PNG file but for its orientation, at no cost; None of what is no PNG file."""
    if len(data) <= 33 or not data.startswith(PNG_START) or data[12:16] != b"IHDR":
        return None
    width, height = (int.from_bytes(data[place : place + 4], "big") for place in (16, 20))
    return Header("PNG", width, height, 1)


def _png_orientation(data):
    try:
        with Image.open(io.BytesIO(data)) as image:
            return orientation_of(image)
    except Exception:  # damaged metadata, or a picture too large, which is refused by its size
        return 1


def orientation_of(image):
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


def _largest_page(image, name):
    """Turns a file of several pages to the largest, of which there must be one; returns its number."""
    pages = []
    with contextlib.suppress(EOFError):
        for number in range(_MOST_PAGES):
            image.seek(number)
            pages.append((-image.width * image.height, number))
    (largest, number), *others = sorted(pages)
    alike = 1 + sum(size == largest for size, _ in others)
    if alike > 1:
        raise InputError(f"{name}: the TIFF file holds {alike} pictures of one size, expected one photograph")
    image.seek(number)
    return number
