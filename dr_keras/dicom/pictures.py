"""An explanation as DICOM: the overlay as a Secondary Capture, the lesions as a Segmentation."""

import copy

import cv2
import numpy as np

from dr_keras.data.dicom import MAKER, load_pydicom
from dr_keras.dicom import coding
from dr_keras.dicom.original import RESEARCH_USE
from dr_keras.explain import overlay
from dr_keras.explain.lesion_findings import on_frame
from dr_keras.lesion_kinds import COLORS, LESIONS, WORDS

OVERLAY, LESION_KIND = "overlay", "lesions"
_SERIES_NUMBERS = {OVERLAY: 9002, LESION_KIND: 9003}
_SINGLE_FRAME = "1.2.840.10008.5.1.4.1.1.77.1.4"  # VL Photographic Image
_OF_SPACE = (
    "NumberOfFrames", "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence",
    "ImagePositionPatient", "ImageOrientationPatient",
)  # fmt: skip


def overlay_capture(explanation, original, producer, limit=None):
    """Makes the picture that `Explanation.overlay` draws, without a file's name in it.

    Args:
        explanation: `explain.Explanation`.
        original, producer: see `structured_report.structured_report`.
        limit: grade units at which the colours end; None takes that of the method.

    Returns:
        A `highdicom.sc.SCImage`.
    """
    from highdicom.sc import SCImage

    limit = limit or overlay.LIMITS[explanation.method]
    picture = overlay.overlay(explanation, "", None, limit, explanation.thresholds, with_original=False)
    capture = SCImage.from_ref_dataset(
        ref_dataset=original.dataset,
        pixel_array=np.ascontiguousarray(picture),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),
        laterality={"left": "L", "right": "R"}.get(original.eye),
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        **_of_series(original, producer, OVERLAY),
    )
    capture.PatientOrientation = original.dataset.get("PatientOrientation") or None
    capture.BurnedInAnnotation = "YES"  # the caption: score and grade, nothing of the patient
    capture.ImageComments = RESEARCH_USE
    capture.DerivationDescription = f"{explanation.method} over the photograph, by {producer.name}"[:1024]
    capture.SourceImageSequence = [_reference(original)]
    return capture


def lesion_segmentation(explanation, original, producer):
    """Makes a segment for each kind of lesion, as large as the photograph itself.

    Args:
        explanation: `explain.Explanation` with findings.
        original, producer: see `overlay_capture`; the original's header must be known.

    Returns:
        A `highdicom.seg.Segmentation`; None where no lesion was found.
    """
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import Segmentation, SegmentDescription

    masks = _masks(explanation, original.header)
    if not masks.any():
        return None
    algorithm = AlgorithmIdentificationSequence(
        name=f"{MAKER} {producer.name}"[:64],
        version=producer.version,
        family=coding.code("123110", "Artificial Intelligence", "DCM"),
        parameters={"sha256": producer.sha256},
    )
    segments = [
        SegmentDescription(
            number, WORDS[kind][1].capitalize(), *coding.lesion(kind), "AUTOMATIC", algorithm,
            anatomic_regions=[coding.retina()], display_color=CIELabColor.from_rgb(*COLORS[kind]),
        )
        for number, kind in enumerate(LESIONS, start=1)
    ]  # fmt: skip
    segmentation = Segmentation(
        source_images=[_single(original)],
        pixel_array=masks[None],
        segmentation_type="BINARY",
        segment_descriptions=segments,
        device_serial_number=producer.sha256,
        content_label="LESIONS",
        content_description="Lesions of diabetic retinopathy",
        omit_empty_frames=False,
        specific_character_set="ISO_IR 192",
        **_of_series(original, producer, LESION_KIND),
    )
    _name_original(segmentation, original)
    return segmentation


def _of_series(original, producer, kind):
    return {
        "series_instance_uid": original.series_uid(producer, kind),
        "series_number": _SERIES_NUMBERS[kind],
        "sop_instance_uid": original.uid(producer, kind),
        "instance_number": original.instance_number,
        "manufacturer": MAKER,
        "manufacturer_model_name": producer.name[:64],
        "software_versions": producer.version,
        "series_description": f"Diabetic retinopathy {kind} (research use)",
        "coding_schemes": [coding.scheme_identification()],
    }


def _masks(explanation, header):
    """uint8 (height, width, lesions): 1 on lesions, in the pixels of the whole photograph."""
    view = explanation.field_of_view
    view = view.scaled(header.height / view.image_height, header.height, header.width)
    labels = explanation.findings.labels
    marked = [(labels[kind] > 0).astype(np.uint8) for kind in LESIONS]
    return np.stack([on_frame(mask, view, cv2.INTER_NEAREST) for mask in marked], axis=-1)


def _single(original):
    """The original as a class of single frames without a place in space.

    highdicom expects of the classes that allow several frames, even of one of a single frame, measures in
    space that fundus cameras don't know.
    """
    dataset = copy.deepcopy(original.dataset)  # a shallow copy would share its elements
    for keyword in _OF_SPACE:
        dataset.pop(keyword, None)
    dataset.SOPClassUID = _SINGLE_FRAME
    return dataset


def _name_original(segmentation, original):
    """Says of what class the original is in truth and, of several frames, which one the segments are of."""
    for item in segmentation.iterall():
        if item.keyword == "ReferencedSOPClassUID":
            item.value = original.dataset.SOPClassUID
    for group in segmentation.PerFrameFunctionalGroupsSequence if original.frame else ():
        for derivation in group.DerivationImageSequence:
            for source in derivation.SourceImageSequence:
                source.ReferencedFrameNumber = original.frame


def _reference(original):
    item = load_pydicom().Dataset()
    item.ReferencedSOPClassUID = original.dataset.SOPClassUID
    item.ReferencedSOPInstanceUID = original.dataset.SOPInstanceUID
    if original.frame:
        item.ReferencedFrameNumber = original.frame
    return item
