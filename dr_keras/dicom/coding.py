"""Codes of the results: SNOMED CT and DICOM where one is sure, else our own scheme 99DRKERAS."""

from dr_keras.data import dicom
from dr_keras.lesion_kinds import WORDS

SCHEME = "99DRKERAS"
SCHEME_NAME = "dr_keras"
_EYE_SIDES = {"left": ("7771000", "Left"), "right": ("24028007", "Right")}


def code(value, meaning, scheme=SCHEME):
    """A `pydicom.sr.coding.Code`."""
    return dicom.load_pydicom("pydicom.sr.coding").sr.coding.Code(value, scheme, meaning)


def retina():
    """The retina as a place."""
    return code("5665001", "Retina", "SCT")


def side(eye):
    """The side of an eye, "left" or "right"; None for ""."""
    return code(*_EYE_SIDES[eye], "SCT") if eye else None


def yes_or_no(value):
    """Yes or no."""
    return code("373066001", "Yes", "SCT") if value else code("373067005", "No", "SCT")


def grade(number, name):
    """An ICDR grade. It is no SNOMED disorder: nobody has diagnosed it."""
    return code(f"ICDR-{number}", f"ICDR grade {number}: {name}"[:64])


def lesion(kind):
    """(category, type) of a kind of lesion, for a segment."""
    category = code("49755003", "Morphologically abnormal structure", "SCT")
    if kind == "haemorrhages":
        return category, code("50960005", "Hemorrhage", "SCT")
    return category, code(kind.upper(), WORDS[kind][0].capitalize())


def scheme_identification():
    """The item that says whose scheme 99DRKERAS is."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return CodingSchemeIdentificationItem(SCHEME, name=SCHEME_NAME, responsible_organization=SCHEME_NAME)
