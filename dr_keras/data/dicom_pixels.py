"""The pixels of one frame of a DICOM file: every syntax and colour space to 8-bit RGB."""

import numpy as np
import simplejpeg

from dr_keras.data import dicom

_END = b"\xff\xd9"  # of JPEG, JPEG-LS and JPEG 2000
_PACKAGES = "its compression needs a package: pip install 'dr-keras[dicom]'"


class DamagedPixels(Exception):
    """Why a frame can't be decoded, in words for the user."""


def decode_frame(data, index):
    """Decodes a frame.

    Args:
        data: bytes of a DICOM file whose header was found to be that of a photograph.
        index: the frame's position.

    Returns:
        uint8 (height, width, 3), RGB. Samples of other depths are scaled by Bits Stored.

    Raises:
        DamagedPixels: if the pixels are missing, too few, damaged, or of an unknown compression.
    """
    pydicom = dicom.load_pydicom("pydicom.pixels", "pydicom.encaps", "pydicom.pixels.decoders")
    try:
        dataset = dicom.read_dataset(data, "")
    except dicom.InputError:
        raise DamagedPixels("the DICOM file is damaged or truncated and can't be read") from None
    if "PixelData" not in dataset:
        raise DamagedPixels("the DICOM file has no pixel data, or is truncated; expected a photograph")
    _check_length(dataset, index, pydicom)
    try:
        pixels = pydicom.pixels.pixel_array(dataset, index=index)
    except Exception as error:  # of several decoders
        raise DamagedPixels(_reason(dataset, error, pydicom)) from None
    bits = dataset.BitsStored
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        pixels, bits = _apply_palette(pixels, dataset, pydicom)
    if pixels.shape != (dataset.Rows, dataset.Columns, 3):
        raise DamagedPixels("the DICOM file's pixels don't fit its header")
    return _eight_bits(pixels, bits)


def _check_length(dataset, index, pydicom):
    """Raises `DamagedPixels` for pixel data that end too early: decoders fill what is missing with grey."""
    try:
        is_encapsulated = dataset.file_meta.TransferSyntaxUID.is_encapsulated
    except Exception:  # no transfer syntax, or a private one
        raise DamagedPixels("the DICOM file doesn't say how its pixels are encoded") from None
    if not is_encapsulated:
        expected = pydicom.pixels.utils.get_expected_length(dataset, unit="bytes")
        if len(dataset.PixelData) < expected:
            raise DamagedPixels("the DICOM file is truncated: its pixel data end too early")
        return
    frames = int(dataset.get("NumberOfFrames") or 1)
    tables = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        tables = dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths
    try:
        frame = pydicom.encaps.get_frame(
            dataset.PixelData, index, number_of_frames=frames, extended_offsets=tables
        )
    except Exception:
        raise DamagedPixels("the DICOM file is truncated: a frame of it is missing") from None
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax != pydicom.uid.RLELossless and _END not in frame[-8:]:
        raise DamagedPixels("the DICOM file is truncated: its compressed pixels end too early")
    if syntax == pydicom.uid.JPEGBaseline8Bit:
        try:
            simplejpeg.decode_jpeg(frame, "GRAY")  # what pydicom's decoders fill as best they can is damage
        except ValueError:
            raise DamagedPixels("the DICOM file's JPEG is damaged and can't be decoded") from None


def _reason(dataset, error, pydicom):
    """Why no decoder could: a package is missing, or the pixels are damaged. The error isn't quoted."""
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        is_missing = not pydicom.pixels.get_decoder(syntax).is_available
    except NotImplementedError:
        return "the DICOM file's compression isn't known; expected JPEG, JPEG 2000, JPEG-LS, RLE or none"
    if is_missing:
        return _PACKAGES
    return "the DICOM file's pixels are damaged and can't be decoded"


def _apply_palette(pixels, dataset, pydicom):
    """Looks colours up; returns them with the number of bits of the table's entries."""
    try:
        bits = int(dataset.RedPaletteColorLookupTableDescriptor[2])
        return pydicom.pixels.apply_color_lut(pixels, dataset)[..., :3], bits
    except Exception:
        raise DamagedPixels("the DICOM file's palette is missing or damaged") from None


def _eight_bits(pixels, bits):
    """Scales samples of so many bits to 0-255, rounded; bits above them (old overlays) are dropped."""
    most = (1 << bits) - 1
    if bits == 8:
        return np.ascontiguousarray(pixels & 255 if pixels.dtype != np.uint8 else pixels, dtype=np.uint8)
    values = (np.arange(most + 1, dtype=np.uint32) * 255 + most // 2) // most
    return values.astype(np.uint8)[pixels & most]
