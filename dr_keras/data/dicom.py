"""DICOM files as photographs: what they are, their frames, and whose eye they show."""

import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import io
import logging
import os
import re
import warnings
import zlib

from dr_keras.data.suffixes import OTHER_SUFFIXES
from dr_keras.errors import InputError

KIND = "DICOM"  # of a `file_header.Header`
MAKER = "dr_keras"  # Manufacturer of what this project writes
MAX_FRAMES = 1000
_PREAMBLE, _MAGIC = 128, b"DICM"
_MAX_DATASET = 1 << 30  # bytes that a deflated file may grow to
_FRAME_NAME = re.compile(r"^(.+)#([1-9][0-9]{0,5})$", re.DOTALL)
_PREFIX = 16  # hexadecimal digits of a patient's hash
_EYES = {"L": "left", "R": "right"}
_DEFLATED = "1.2.840.10008.1.2.1.99"
# SOP classes of colour photographs, in words.
PHOTOGRAPH_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.77.1.5.1": "Ophthalmic Photography 8 Bit Image",
    "1.2.840.10008.5.1.4.1.1.77.1.5.2": "Ophthalmic Photography 16 Bit Image",
    "1.2.840.10008.5.1.4.1.1.77.1.4": "VL Photographic Image",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture Image",
    "1.2.840.10008.5.1.4.1.1.7.4": "Multi-frame True Color Secondary Capture Image",
}
_COLOR_SPACES = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")
_READ_TAGS = (
    "SOPClassUID", "Manufacturer", "ImageType", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel",
    "PhotometricInterpretation", "BitsAllocated", "BitsStored", "PixelRepresentation", "PatientID",
    "IssuerOfPatientID", "ImageLaterality", "Laterality",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class DicomHeader:
    """What a DICOM file says of its photographs, and nothing that names a person.

    Attributes:
        width, height: of a frame, in pixels.
        frames: how many photographs there are.
        patient: hash of the patient's identifier and its issuer, see `patient_hash`; "" if not said.
        eye: "left", "right" or "" (not said, or both).
    """

    width: int
    height: int
    frames: int
    patient: str = ""
    eye: str = ""


def is_dicom(data):
    """Whether bytes, at least 132 of them, are the beginning of a DICOM file."""
    return bytes(data[_PREAMBLE : _PREAMBLE + len(_MAGIC)]) == _MAGIC


def is_dicom_file(path):
    """Whether a file is there that begins as a DICOM file does, and isn't named as another image.

    DICOM files are often named by numbers alone; files named as other images aren't opened.
    """
    if os.fspath(path).lower().endswith(OTHER_SUFFIXES):
        return False
    try:
        with open(path, "rb") as file:
            return is_dicom(file.read(_PREAMBLE + len(_MAGIC)))
    except (OSError, ValueError):  # ValueError: a name with a NUL
        return False


def split_frame(path):
    """Splits `eye.dcm#2` into (path of the file, 2); (path, None) where no such frame of a file is meant."""
    file, frame = split_name(os.fspath(path))
    if frame is None or os.path.exists(path) or not os.path.isfile(file):
        return path, None
    return file, frame


def split_name(name):
    """Splits `eye.dcm#2` into ("eye.dcm", 2), whatever is on disk; (name, None) for another name."""
    match = _FRAME_NAME.match(name)
    return (match[1], int(match[2])) if match else (name, None)


def frame_names(path):
    """Names the photographs in a file: `eye.dcm#1` and so on of several frames, else the path alone.

    What can't be read is named as it is: reading it will say why.
    """
    if not is_dicom_file(path):
        return [path]
    try:
        count = read_header_of(path).frames
    except InputError:
        return [path]
    return [path] if count == 1 else [f"{path}#{number}" for number in range(1, count + 1)]


def read_header_of(path):
    """Reads the `DicomHeader` of a file without its pixels; errors as for `read_header`."""
    return _header(read_elements(path), str(path))


def read_elements(path):
    """Reads a file without its pixels, as a `pydicom.Dataset`; `InputError` if it is damaged."""
    try:
        with open(path, "rb") as file:
            return _parse(file, str(path), stop_before_pixels=True)
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from None


def read_header(data, name):
    """Reads the `DicomHeader` of a file's bytes.

    Args:
        data: the bytes.
        name: what errors call it.

    Raises:
        InputError: if pydicom isn't installed, the file is damaged, or it holds no colour photograph.
    """
    return _header(_parse(io.BytesIO(data), name, stop_before_pixels=True), name)


def read_dataset(data, name):
    """Reads a file's bytes whole, as a `pydicom.Dataset`; raises `InputError` if they are damaged."""
    return _parse(io.BytesIO(data), name)


def frame_index(header, frame, name):
    """Position of the frame to decode.

    Args:
        header: `DicomHeader`.
        frame: number of the frame, from 1; None takes the only one.
        name: what errors call the file.

    Raises:
        InputError: if there are several frames and none is named, or not so many.
    """
    if frame is None and header.frames > 1:
        raise InputError(
            f"{name}: {header.frames} frames, each a photograph of its own; expected one, named such as "
            "eye.dcm#1"
        )
    if frame is not None and frame > header.frames:
        raise InputError(f"{name}: no frame {frame}, expected 1 to {header.frames}")
    return (frame or 1) - 1


def whose(path):
    """Returns (patient, eye) of a DICOM file: see `DicomHeader`; ("", "") for any other file."""
    path = split_frame(path)[0]
    if not is_dicom_file(path):
        return "", ""
    try:
        header = read_header_of(path)
    except InputError:  # reading it will say why
        return "", ""
    return header.patient, header.eye


def patient_hash(dataset):
    """First digits of the SHA-256 of (issuer, identifier) of a `pydicom.Dataset`'s patient, or "".

    The same patient has the same hash everywhere. Whoever has a list of identifiers can find out whose it is:
    it is a pseudonym.
    """
    identifier = str(dataset.get("PatientID") or "").strip()
    issuer = str(dataset.get("IssuerOfPatientID") or "").strip()
    if not identifier:
        return ""
    return hashlib.sha256(f"{issuer}\0{identifier}".encode()).hexdigest()[:_PREFIX]


def load_pydicom(*modules):
    """Imports pydicom, quiet, and some of its modules; `InputError` with the remedy where it is missing."""
    if importlib.util.find_spec("pydicom") is None:
        raise InputError("pydicom isn't installed: pip install 'dr-keras[dicom]'")
    _silence()
    for module in modules:
        importlib.import_module(module)
    return importlib.import_module("pydicom")


@functools.cache
def _silence():
    """Hides what pydicom warns of: it quotes patients' data, and what matters is said by our own errors."""
    warnings.filterwarnings("ignore", module=r"pydicom(\.|$)|dr_keras\.data\.dicom|pylibjpeg|highdicom")
    for name in ("pydicom", "pylibjpeg", "openjpeg", "libjpeg", "highdicom", "pynetdicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _parse(file, name, **options):
    try:
        pydicom = load_pydicom()
    except InputError as error:
        raise InputError(f"{name}: a DICOM file, and {error}") from None
    try:
        _check_deflated(file, pydicom)
        file.seek(0)
        dataset = pydicom.dcmread(file, **options)
        dataset.get("SOPClassUID")
        return dataset
    except _TooLarge:
        raise InputError(
            f"{name}: a deflated DICOM file of over {_MAX_DATASET >> 20} MiB, expected less"
        ) from None
    except Exception:  # pydicom raises many kinds for damaged files, and quotes them
        raise InputError(f"{name}: the DICOM file is damaged or truncated and can't be read") from None


class _TooLarge(Exception):
    pass


def _check_deflated(file, pydicom):
    """Raises `_TooLarge` for a deflated file that would fill the memory; leaves others alone."""
    file.seek(_PREAMBLE + len(_MAGIC))
    meta = pydicom.filereader.read_dataset(
        file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, vr, length: tag.group != 2
    )
    if meta.get("TransferSyntaxUID") != _DEFLATED:
        return
    inflate, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    piece = file.read(1 << 20)
    while piece and not inflate.eof:
        size += len(inflate.decompress(piece, 1 << 24))
        if size > _MAX_DATASET:
            raise _TooLarge
        piece = inflate.unconsumed_tail or file.read(1 << 20)


def _header(dataset, name):
    """The `DicomHeader` of a dataset; `InputError` unless it is of colour photographs."""
    try:
        found = {keyword: dataset.get(keyword) for keyword in _READ_TAGS}
        return _checked_header(found, dataset, name)
    except InputError:
        raise
    except Exception:  # values that aren't of their kind
        raise InputError(f"{name}: the DICOM file's header is damaged and can't be read") from None


def _checked_header(found, dataset, name):
    _check_class(found, name)
    if not found["Rows"] or not found["Columns"]:
        raise InputError(f"{name}: the DICOM file has no pixel data; expected a photograph")
    photometric, samples = str(found["PhotometricInterpretation"] or ""), found["SamplesPerPixel"]
    if photometric.startswith("MONOCHROME"):
        raise InputError(f"{name}: a grey photograph ({photometric}); expected one in colour")
    if photometric not in _COLOR_SPACES or samples != (1 if photometric == "PALETTE COLOR" else 3):
        raise InputError(f"{name}: colours that can't be read; expected {', '.join(_COLOR_SPACES)}")
    allocated, stored = found["BitsAllocated"], found["BitsStored"]
    if allocated not in (8, 16) or not 1 <= int(stored or 0) <= allocated or found["PixelRepresentation"]:
        raise InputError(f"{name}: samples that can't be read; expected 8 or 16 bits without sign")
    frames = int(found["NumberOfFrames"] or 1)
    if not 1 <= frames <= MAX_FRAMES:
        raise InputError(f"{name}: {frames} frames, expected 1 to {MAX_FRAMES}")
    eye = _EYES.get(str(found["ImageLaterality"] or found["Laterality"] or "").strip(), "")
    return DicomHeader(int(found["Columns"]), int(found["Rows"]), frames, patient_hash(dataset), eye)


def _check_class(found, name):
    kind = str(found["SOPClassUID"] or "")
    if kind not in PHOTOGRAPH_CLASSES:
        words = class_words(kind)
        raise InputError(f"{name}: a DICOM file of {words}; expected a photograph (Ophthalmic Photography)")
    if found["Manufacturer"] == MAKER:
        raise InputError(f"{name}: drawn by this project over a photograph; expected the photograph itself")


def class_words(kind):
    """A SOP class in words, such as "CT Image Storage"; for what DICOM doesn't know: "an unknown kind"."""
    uid = load_pydicom("pydicom.uid").uid.UID(kind)
    return uid.name if uid.name and uid.name != kind else "an unknown kind"
