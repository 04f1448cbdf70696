"""DICOM files for a model that knows JPEG and PNG alone: the picture goes on, the patient doesn't."""

import cv2

from dr_keras.data import decoding, dicom
from dr_keras.errors import InputError

_NAME = "photograph"


def plain_bytes(data, frame=None):
    """The photograph of a DICOM file as a PNG, lossless and without its header; other bytes as they are.

    Args:
        data: bytes of a file.
        frame: number of the photograph, from 1, in a DICOM file of several.

    Raises:
        InputError: if the DICOM file can't be decoded; the reason alone.
    """
    if not dicom.is_dicom(data):
        return data
    try:
        pixels = decoding.decode_image(data, _NAME, header=decoding.read_header(data, _NAME, frame))
    except InputError as error:
        raise InputError(str(error).removeprefix(f"{_NAME}: ")) from None
    return cv2.imencode(".png", pixels[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def plain_rows(rows, max_pixels):
    """Makes each row that is a DICOM file plain.

    Args:
        rows: object array of bytes.
        max_pixels: of a photograph; larger ones aren't decoded, and stay as they are.

    Returns:
        rows: object array; what can't be decoded is b"".
        reasons: dict of position to the reason of each that can't be decoded.
        too_large: positions of those that are too large.
    """
    plain, reasons, too_large = rows.copy(), {}, []
    for place, data in enumerate(rows):
        if not isinstance(data, bytes) or not dicom.is_dicom(data):
            continue
        try:
            header = dicom.read_header(data, _NAME)
            if header.width * header.height > max_pixels:
                too_large.append(place)
            else:
                plain[place] = plain_bytes(data)
        except InputError as error:
            plain[place], reasons[place] = b"", str(error).removeprefix(f"{_NAME}: ")
    return plain, reasons, too_large
