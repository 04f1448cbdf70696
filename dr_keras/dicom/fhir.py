"""Grades as FHIR R4: a DiagnosticReport for each patient, with an Observation for each photograph."""

import datetime
import hashlib
from pathlib import PurePath

from dr_keras.data import dicom
from dr_keras.data.layouts.photograph_files import whose
from dr_keras.dicom.original import RESEARCH_USE, Producer, uid
from dr_keras.files import private_folder, write_json

SYSTEM = "urn:dr-keras"  # of our own codes and identifiers
_SNOMED, _UNITS = "http://snomed.info/sct", "http://unitsofmeasure.org"
_ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
_EYES = {"left": ("8966001", "Left eye structure"), "right": ("18944008", "Right eye structure")}
_PREFIX = 16


class FhirReports:
    """Gathers results as they pass by, and writes a report for each patient at the end.

    A DICOM file tells its patient and eye itself, other files by a name like EyePACS's. Of a patient only a
    hash is written; a photograph whose patient isn't known has a report of its own, without a subject.

    Args:
        folder: where they are written; made if it isn't there.
        grader: the `Grader`.
    """

    def __init__(self, folder, grader):
        self._folder = private_folder(folder, "--fhir_output")
        self._producer = Producer.of_graders([grader])
        self._patients = {}

    def graded(self, graded_photographs):
        """Yields each `Graded` of an iterable, and remembers it."""
        for graded in graded_photographs:
            patient, eye = whose(graded.image)
            own_hash = dicom.whose(graded.image)[0]
            subject = own_hash or (_hash(patient) if patient else None)
            key = subject or graded.image
            self._patients.setdefault(key, (subject, []))[1].append((graded, eye))
            yield graded

    def write(self):
        """Writes the reports; returns how many there are."""
        for subject, photographs in self._patients.values():
            report = diagnostic_report(photographs, subject, self._producer)
            write_json(self._folder / f"{report['id']}.json", report)
            (self._folder / f"{report['id']}.json").chmod(0o600)
        return len(self._patients)


def _hash(patient):
    """A patient who is named by files, as reports name them."""
    return hashlib.sha256(patient.encode("utf-8", "surrogateescape")).hexdigest()[:_PREFIX]


def diagnostic_report(photographs, subject, producer):
    """Makes a patient's report.

    Args:
        photographs: list of (`Graded`, eye), the eye "left", "right" or "".
        subject: hash of the patient, or None where the patient isn't known.
        producer: `Producer`.

    Returns:
        Dict for JSON: a FHIR R4 DiagnosticReport.
    """
    observations = [
        _observation(f"photograph-{number}", graded, eye, subject, producer)
        for number, (graded, eye) in enumerate(photographs, start=1)
    ]
    names = sorted(graded.image for graded, _ in photographs)
    identifier = uid("fhir", subject or names[0], producer.sha256, producer.rules, producer.version)
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    report = {
        "resourceType": "DiagnosticReport",
        "id": f"dr-{int(identifier.removeprefix('2.25.')):032x}",
        "status": "preliminary",
        "code": _concept("grading", "Grading of diabetic retinopathy from fundus photographs"),
        "issued": now,
        "contained": [_device(producer), *observations],
        "result": [{"reference": f"#{observation['id']}"} for observation in observations],
        "conclusion": f"{_conclusion(photographs)} {RESEARCH_USE}",
    }
    return report | _subject(subject)


def _observation(identifier, graded, eye, subject, producer):
    observation = {
        "resourceType": "Observation",
        "id": identifier,
        "status": "preliminary",
        "code": _concept("icdr-grade", "ICDR severity grade of diabetic retinopathy"),
        "device": {"reference": "#model"},
        "note": [{"text": f"Photograph {PurePath(graded.image).name}"}],
    }
    observation |= _subject(subject)
    if eye:
        code, words = _EYES[eye]
        observation["bodySite"] = {"coding": [{"system": _SNOMED, "code": code, "display": words}]}
    if not graded.gradable:
        coding = {"system": _ABSENT, "code": "error", "display": "Error"}
        return observation | {"dataAbsentReason": {"coding": [coding], "text": graded.reason}}
    observation["valueCodeableConcept"] = _concept(f"icdr-{graded.grade}", graded.grade_name)
    observation["component"] = _components(graded)
    return observation


def _components(graded):
    components = [
        {"code": _concept("score", "Severity score in ICDR grade units")} | _quantity(graded.score),
        {
            "code": _concept("referable", "Referable diabetic retinopathy"),
            "valueBoolean": bool(graded.referable),
        },
    ]
    if graded.probabilities is not None:
        words = "Probability of referable diabetic retinopathy"
        value = _quantity(graded.referable_probability)
        components.append({"code": _concept("referable-probability", words)} | value)
        for number, share in enumerate(graded.probabilities):
            name = _concept(f"probability-{number}", f"Probability of ICDR grade {number}")
            components.append({"code": name} | _quantity(share))
    return components


def _conclusion(photographs):
    """The graver eye's grade in words; what can't be graded is said, since it isn't healthy either."""
    graded = [each for each, _ in photographs if each.gradable]
    missing = len(photographs) - len(graded)
    worst = max(graded, key=lambda each: each.grade, default=None)
    words = f"Highest grade: {worst.grade}, {worst.grade_name}." if worst else "No grade."
    return words + (f" {missing} of {len(photographs)} photographs can't be graded." if missing else "")


def _device(producer):
    return {
        "resourceType": "Device",
        "id": "model",
        "identifier": [{"system": f"{SYSTEM}:model-sha256", "value": producer.sha256}],
        "deviceName": [{"name": f"dr_keras {producer.name}", "type": "model-name"}],
        "version": [{"value": producer.version}],
    }


def _subject(subject):
    if subject is None:
        return {}
    return {"subject": {"identifier": {"system": f"{SYSTEM}:patient-sha256", "value": subject}}}


def _concept(code, words):
    return {"coding": [{"system": f"{SYSTEM}:codes", "code": code, "display": words}], "text": words}


def _quantity(value):
    return {"valueQuantity": {"value": float(f"{value:.6g}"), "unit": "1", "system": _UNITS, "code": "1"}}
