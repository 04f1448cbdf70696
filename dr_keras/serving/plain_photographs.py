"""Photographs for a model that knows JPEG and PNG alone, and nothing of damage that libjpeg fills."""

import cv2

from dr_keras.data import decoding, dicom, file_header, quality
from dr_keras.errors import InputError

_NAME = "photograph"
_KNOWN = ("JPEG", "PNG")
_CHECKED_SIDE = 512  # pixels that a JPEG's shorter side keeps where it is decoded to be checked


def plain_bytes(data, frame=None):
    """The photograph of a TIFF, WebP, BMP or DICOM file as a PNG: lossless, upright, without its header.

    JPEG and PNG files are returned as they are, and so is what is no photograph: the model says why.

    Args:
        data: bytes of a file.
        frame: number of the photograph, from 1, in a DICOM file of several.

    Raises:
        InputError: if it is a DICOM file without that photograph, or can't be decoded; the reason alone.
    """
    try:
        header = _header(data, frame)
    except InputError:
        if dicom.is_dicom(data):
            raise
        return data
    return _plain(data, header)


def plain_rows(rows, max_pixels):
    """Makes each row plain; finds what the model doesn't see: damage, pictures of two eyes or few colours.

    Args:
        rows: object array of bytes.
        max_pixels: of a photograph; larger ones aren't decoded, and stay as they are.

    Returns:
        rows: object array; what can't be decoded is b"".
        reasons: dict of position to the reason of each that can't be decoded.
        faults: dict of position to why a picture is no photograph of one eye, see `quality.whole_fault`.
        too_large: positions of those that are too large.
    """
    plain, reasons, faults, too_large = rows.copy(), {}, {}, []
    for place, data in enumerate(rows):
        if not isinstance(data, bytes):
            continue
        try:
            header = _header(data)
            if header.width * header.height > max_pixels:
                too_large.append(place)
                continue
            image = _decoded(data, header, header.reduction(_CHECKED_SIDE))
            if fault := quality.whole_fault(image):
                faults[place] = fault
            plain[place] = _plain(data, header, image)
        except file_header.TooLarge:
            too_large.append(place)
        except InputError as error:
            plain[place], reasons[place] = b"", str(error)
    return plain, reasons, faults, too_large


def _header(data, frame=None):
    """What a file says of itself, but for a PNG's orientation, which costs as much as decoding."""
    try:
        return file_header.png_header(data) or file_header.read_header(data, _NAME, frame)
    except InputError as error:
        raise _reason_alone(error) from None


def _plain(data, header, image=None):
    if header.kind in _KNOWN:
        return data
    pixels = _decoded(data, header) if image is None else image
    return cv2.imencode(".png", pixels[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def _decoded(data, header, factor=1):
    try:
        return decoding.decode_photograph(data, _NAME, factor, header)
    except InputError as error:
        raise _reason_alone(error) from None


def _reason_alone(error):
    return type(error)(str(error).removeprefix(f"{_NAME}: "))
