"""DICOM files as cameras write them, made with pydicom; tests that import this need it."""

import io
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

pydicom = pytest.importorskip("pydicom", reason="needs pydicom: pip install 'dr-keras[dicom]'")
from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.uid import ExplicitVRLittleEndian, generate_uid  # noqa: E402

PHOTOGRAPHY_8, PHOTOGRAPHY_16 = "1.2.840.10008.5.1.4.1.1.77.1.5.1", "1.2.840.10008.5.1.4.1.1.77.1.5.2"
SECONDARY_CAPTURE, TRUE_COLOR = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.7.4"
PATIENT = {"PatientID": "MRN-4711", "IssuerOfPatientID": "Clinic", "PatientName": "Testpatient^Josefine"}
PATIENT |= {"PatientBirthDate": "19500101", "PatientSex": "F"}
IDENTIFYING = ("MRN-4711", "Testpatient", "Josefine", "19500101")  # too long to be in base64 by chance


def dataset_of(pixels, **elements):
    """A `pydicom.Dataset` of one RGB photograph (height, width, 3), or of several (frames, ...)."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    several = pixels.ndim == 4
    bits = 8 * pixels.dtype.itemsize
    found = {"SOPClassUID": TRUE_COLOR if several else PHOTOGRAPHY_8, "SOPInstanceUID": generate_uid()}
    found |= {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid(), "Modality": "OP"}
    found |= {"Manufacturer": "Camera", "StudyDate": "20260102", "StudyTime": "101112", "StudyID": "S1"}
    found |= {"AccessionNumber": "A1", "ImageLaterality": "R", "SeriesNumber": 1, "InstanceNumber": 1}
    found |= PATIENT | {"SpecificCharacterSet": "ISO_IR 192"}
    found |= {"Rows": pixels.shape[-3], "Columns": pixels.shape[-2], "SamplesPerPixel": 3}
    found |= {"PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "PixelRepresentation": 0}
    found |= {"BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1}
    if several:
        found["NumberOfFrames"] = len(pixels)
    for keyword, value in (found | elements).items():
        if value is not None:
            setattr(dataset, keyword, value)
    set_pixels(dataset, pixels.tobytes())
    return dataset


def set_pixels(dataset, data, syntax=None):
    """Gives a dataset its pixel data, padded to an even length."""
    dataset.PixelData = data + bytes(len(data) % 2)
    dataset["PixelData"].VR = "OW" if dataset.BitsAllocated > 8 else "OB"
    if syntax:
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset["PixelData"].is_undefined_length = True


def file_bytes(dataset):
    """The file of a dataset, in its transfer syntax."""
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def write(path, pixels, **elements):
    """Writes photographs of a patient as a DICOM file; returns the dataset."""
    dataset = dataset_of(pixels, **elements)
    path.write_bytes(file_bytes(dataset))
    return dataset


def jpeg(pixels, mode="YCbCr"):
    """A photograph as JPEG, its colours turned into YCbCr or kept as RGB."""
    data = io.BytesIO()
    options = {"keep_rgb": True} if mode == "RGB" else {}
    Image.fromarray(pixels).save(data, "JPEG", quality=95, **options)
    return data.getvalue()


def jpeg_dataset(pixels, syntax, **elements):
    """A dataset of photographs compressed as JPEG."""
    dataset = dataset_of(pixels, PhotometricInterpretation="YBR_FULL_422", **elements)
    frames = pixels if pixels.ndim == 4 else [pixels]
    set_pixels(dataset, encapsulate([jpeg(frame) for frame in frames]), syntax)
    return dataset


def converted(path, tool, *options):
    """What one of dcmtk's programs makes of a file; skips where it isn't installed."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} of dcmtk isn't installed")
    made = path.with_suffix(".made")
    subprocess.run([tool, *options, str(path), str(made)], check=True, capture_output=True)
    return made.read_bytes()


def ybr(pixels):
    """RGB as YBR_FULL: uint8, by the standard's matrix."""
    return pydicom.pixels.convert_color_space(pixels, "RGB", "YBR_FULL")


def smooth(draw_photograph, seed=0, height=96, width=112):
    """A photograph without hard edges, so that lossy compressions stay near it."""
    image = Image.fromarray(draw_photograph(seed, height, width))
    return np.array(image.resize((width // 2, height // 2)).resize((width, height)))
