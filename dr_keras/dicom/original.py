"""The photograph that a DICOM result is about: its patient and study, as the result has to repeat them."""

import copy
import dataclasses
import hashlib
import uuid

from dr_keras import __version__
from dr_keras.data import dicom
from dr_keras.errors import InputError

RESEARCH_USE = "Research use only. Not a medical device; no output of it may guide the care of a patient."
_TYPE_2 = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
_ROOT = uuid.UUID("b5d0a5c4-2c0b-5d2f-9a57-6b6d5f9f3a10")  # of this project's identifiers, drawn once


@dataclasses.dataclass(frozen=True)
class Producer:
    """What made a result, in the terms that tell one result from another.

    Attributes:
        name: of the model.
        sha256: of its weights.
        rules: hash of its thresholds, calibration and limits: with others the same weights grade otherwise.
        grade_names: as the model names them.
        version: of this project.
    """

    name: str
    sha256: str
    rules: str
    grade_names: tuple
    version: str = __version__

    @classmethod
    def of_graders(cls, graders):
        """Makes it of one `Grader`, or of several whose results are averaged."""
        names = "+".join(grader.name for grader in graders)
        digests = [grader.sha256 for grader in graders]
        sha256 = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
        rules = repr([sorted(grader.rules.to_dict().items()) for grader in graders])
        rules = hashlib.sha256(rules.encode()).hexdigest()[:16]
        return cls(names, sha256, rules, graders[0].rules.grade_names)

    def uid(self, *parts):
        """A DICOM UID that is the same whenever it is made of the same `parts` by the same model."""
        return uid(*parts, self.sha256, self.rules, self.version)


def uid(*parts):
    """A DICOM UID (2.25, a UUID of version 5) of some text; the same text has the same UID."""
    return f"2.25.{uuid.uuid5(_ROOT, chr(31).join(map(str, parts))).int}"


@dataclasses.dataclass(frozen=True)
class Original:
    """A photograph in a DICOM file.

    Attributes:
        dataset: `pydicom.Dataset` without pixels and private elements; its text is UTF-8; what patient
            and study must have is there, empty if it was missing or no valid value.
        header: `data.dicom.DicomHeader`, or None if the photograph can't be read.
        frame: number of the photograph, from 1, in a file of several; None in a file of one.
    """

    dataset: object = dataclasses.field(repr=False)
    header: dicom.DicomHeader | None
    frame: int | None

    @property
    def eye(self):
        """ "left", "right" or ""."""
        return self.header.eye if self.header else ""

    @property
    def instance_number(self):
        """A number for results of this photograph: its own, or of its frame."""
        try:
            number = max(1, int(self.dataset.get("InstanceNumber") or 1))
        except (TypeError, ValueError):
            number = 1
        return (number - 1) * (self.header.frames if self.header else 1) + (self.frame or 1)

    def uid(self, producer, kind):
        """The SOP Instance UID of a result of a kind."""
        return producer.uid(self.dataset.SOPInstanceUID, self.frame or "", kind)

    def series_uid(self, producer, kind):
        """The UID of the series that a study's results of a kind are in."""
        return producer.uid(self.dataset.StudyInstanceUID, "series", kind)


def read_original(path):
    """Reads what a result needs of a photograph, `eye.dcm` or `eye.dcm#2`, without its pixels.

    Returns:
        An `Original`.

    Raises:
        InputError: if the file isn't DICOM, can't be read, is no photograph, or doesn't say its study.
    """
    file, frame = dicom.split_frame(path)
    if not dicom.is_dicom_file(file):
        raise InputError(f"{path}: not a DICOM file")
    dataset = dicom.read_elements(file)
    if (
        str(dataset.get("SOPClassUID")) not in dicom.PHOTOGRAPH_CLASSES
        or dataset.get("Manufacturer") == dicom.MAKER
    ):
        raise InputError(f"{path}: a DICOM file, but no photograph")
    try:
        header = dicom.read_header_of(file)
    except InputError:  # the result says why it can't be graded
        header = None
    try:
        dataset = _usable(dataset)
    except Exception:  # values of the wrong kind, which pydicom raises many errors for
        raise InputError(f"{path}: the DICOM file's header is damaged and can't be read") from None
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        if not dataset.get(keyword):
            raise InputError(
                f"{path}: the DICOM file has no {keyword}; expected one, for results to refer to"
            )
    return Original(dataset, header, frame)


def _usable(dataset):
    dataset.decode()  # as it is written now; everything is UTF-8 from here
    dataset.remove_private_tags()
    usable = copy.deepcopy(dataset)
    usable.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _TYPE_2:
        if usable.get(keyword) is None or not _is_valid(usable, keyword):
            setattr(usable, keyword, "")
    return usable


def _is_valid(dataset, keyword):
    valuerep = dicom.load_pydicom("pydicom.valuerep").valuerep
    check = {"PatientBirthDate": valuerep.DA, "StudyDate": valuerep.DA, "StudyTime": valuerep.TM}
    value = dataset.get(keyword)
    if keyword == "PatientSex":
        return value in ("", "M", "F", "O")
    try:
        check.get(keyword, str)(value)
    except ValueError:
        return False
    return True
