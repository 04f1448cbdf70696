"""A photograph's grade as a DICOM Structured Report (Comprehensive SR, template TID 1500)."""

from dr_keras.data.dicom import MAKER
from dr_keras.dicom import coding
from dr_keras.dicom.original import RESEARCH_USE, uid

KIND = "report"
SERIES_NUMBER = 9001


def structured_report(graded, original, producer):
    """Makes the report of one photograph, in the study of the original and about its patient.

    It holds the grade with its name, the score, probabilities, whether the eye should be referred, and the
    model's name, version and SHA-256; of a photograph that can't be graded the reason, and no grade or score.

    Args:
        graded: `inference.graded.Graded`.
        original: `Original`.
        producer: `Producer`.

    Returns:
        A `highdicom.sr.ComprehensiveSR`, which is a `pydicom.Dataset` that can be written.
    """
    from highdicom.sr import ComprehensiveSR, MeasurementReport, TextContentItem

    group = _group(graded, original, producer)
    report = MeasurementReport(
        observation_context=_observer(producer),
        procedure_reported=coding.code("OP", "Ophthalmic Photography", "DCM"),
        imaging_measurements=[group],
    )
    report[0].ContentSequence.append(_text(TextContentItem, "121106", "Comment", RESEARCH_USE, "DCM"))
    document = ComprehensiveSR(
        evidence=[original.dataset],
        content=report[0],
        series_instance_uid=original.series_uid(producer, KIND),
        series_number=SERIES_NUMBER,
        sop_instance_uid=original.uid(producer, KIND),
        instance_number=original.instance_number,
        manufacturer=MAKER,
        manufacturer_model_name=producer.name[:64],
        software_versions=producer.version,
        is_complete=True,
        series_description="Diabetic retinopathy grade (research use)",
        coding_schemes=[coding.scheme_identification()],
        specific_character_set="ISO_IR 192",
    )
    return document


def _observer(producer):
    from highdicom.sr import DeviceObserverIdentifyingAttributes, ObservationContext, ObserverContext

    device = DeviceObserverIdentifyingAttributes(
        uid=uid("device", producer.sha256),
        name=f"{MAKER} {producer.name}",
        manufacturer_name=MAKER,
        model_name=producer.name,
        serial_number=producer.sha256,
    )
    observer = ObserverContext(coding.code("121007", "Device", "DCM"), device)
    return ObservationContext(observer_device_context=observer)


def _group(graded, original, producer):
    """TID 1501: what was found on this photograph."""
    from highdicom import sr

    parameters = [f"SHA-256 of the weights: {producer.sha256}", f"rules: {producer.rules}"]
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=original.uid(producer, "finding"), identifier="Diabetic retinopathy grade"
        ),
        finding_type=coding.code("4855003", "Diabetic retinopathy", "SCT") if graded.grade else None,
        algorithm_id=sr.AlgorithmIdentification(f"{MAKER} {producer.name}", producer.version, parameters),
        finding_sites=[sr.FindingSite(coding.retina(), coding.side(original.eye))],
        measurements=_measurements(graded, producer) or None,
        qualitative_evaluations=_evaluations(graded),
        source_images=[
            sr.SourceImageForMeasurementGroup(
                original.dataset.SOPClassUID,
                original.dataset.SOPInstanceUID,
                [original.frame] if original.frame else None,
            )
        ],
    )
    if graded.reason:
        reason = _text(sr.TextContentItem, "REASON", "Reason why it can't be graded", graded.reason)
        group[0].ContentSequence.append(reason)
    return group


def _measurements(graded, producer):
    """The numbers; none of a photograph that can't be graded, whose score means nothing."""
    from highdicom.sr import Measurement

    if not graded.gradable:
        return []
    one = coding.code("1", "no units", "UCUM")
    found = [("SCORE", "Severity score in ICDR grade units", graded.score)]
    if graded.probabilities is not None:
        found += [
            (f"P{number}", f"Probability of ICDR grade {number}", value)
            for number, value in enumerate(graded.probabilities)
        ]
        found.append(("P-REFERABLE", "Probability of referable disease", graded.referable_probability))
    return [Measurement(coding.code(name, words), float(f"{value:.6g}"), one) for name, words, value in found]


def _evaluations(graded):
    from highdicom.sr import QualitativeEvaluation

    gradable = coding.code("GRADABLE", "Photograph can be graded")
    found = [QualitativeEvaluation(gradable, coding.yes_or_no(graded.gradable))]
    if graded.gradable:
        severity = coding.code("ICDR", "ICDR severity grade of diabetic retinopathy")
        referable = coding.code("REFERABLE", "Referable diabetic retinopathy")
        found.append(QualitativeEvaluation(severity, coding.grade(graded.grade, graded.grade_name)))
        found.append(QualitativeEvaluation(referable, coding.yes_or_no(graded.referable)))
    return found


def _text(item, value, meaning, text, scheme=coding.SCHEME):
    return item(coding.code(value, meaning, scheme), text, relationship_type="CONTAINS")
