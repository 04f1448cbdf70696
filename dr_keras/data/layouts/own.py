"""Readers of datasets that users put together: a CSV file, or one folder per grade."""

import re

from dr_keras.data.dicom import frame_names, split_name
from dr_keras.data.layouts.label_files import Label, eye_of, read_rows
from dr_keras.data.layouts.photograph_files import (
    PhotographIndex,
    image_name,
    make_records,
    missing_note,
    whose,
)
from dr_keras.data.records import Record
from dr_keras.data.suffixes import DICOM_SUFFIXES

COLUMNS = ("image", "level", "patient", "eye", "split")  # the first two must be there
_SPLIT_NAMES = {
    "": "",
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
_OTHER_NAMES = {
    "image": ("image_id", "image_name", "id_code", "filename", "file", "image_path", "path"),
    "level": ("grade", "diagnosis", "dr_grade", "dr_level", "retinopathy grade", "label"),
    "patient": ("patient_id", "subject_id"),
}
_GRADE_WORDS = (
    ("no dr", "nodr", "no apparent retinopathy", "no retinopathy", "normal", "healthy"),
    ("mild", "mild dr", "mild npdr"),
    ("moderate", "moderate dr", "moderate npdr"),
    ("severe", "severe dr", "severe npdr"),
    ("proliferative", "proliferative dr", "proliferate", "proliferate dr", "pdr"),
)
_NUMBERED = re.compile(r"^(?:grade|level|class|dr)? ?([0-4])(?: .*)?$")


def find_csv(root):
    """Returns the label file: `root` itself, its `labels.csv`, or the only CSV in it; else None."""
    if root.is_file():
        return root if root.suffix.lower() == ".csv" else None
    if (root / "labels.csv").is_file():
        return root / "labels.csv"
    files = [path for path in sorted(root.iterdir()) if path.suffix.lower() == ".csv"]
    return files[0] if len(files) == 1 else None


def read_csv(root, headings=None):
    """Reads a CSV file with the columns `image,level[,patient][,eye][,split]`, or others of their names.

    `headings` is a dict of some of `COLUMNS` to what they are called in this file.

    Images are paths or names of files in the CSV's folder. DICOM files, and names like EyePACS's, tell
    patient and eye where the columns don't.
    """
    path = find_csv(root)
    rows = read_rows(path, COLUMNS[:2], COLUMNS[2:], _OTHER_NAMES, headings)
    labels = [_label(row) for row in rows]
    records, missing, notes = make_records(path.parent, labels, PhotographIndex(path.parent))
    notes = [f"{path.name}: {note}" for note in notes]
    if missing:
        notes.append(missing_note(missing, path.name))
    return records, notes + _patient_notes(records)


def find_folders(root):
    """Returns {folder: (split, grade)} of the class folders in `root`; empty if there are none."""
    found = {}
    for split, parent in _split_folders(root) if root.is_dir() else ():
        for folder in _subfolders(parent):
            grade = grade_of_folder(folder.name)
            if grade is not None:
                found[folder] = split, grade
    return found


def read_folders(root):
    """Reads class folders `0`-`4` or named after the grades, under train/validation/test or not.

    DICOM files, and names like EyePACS's, tell patient and eye. Each frame of a DICOM file is a photograph.
    """
    folders = find_folders(root)
    records = []
    for folder, (split, grade) in folders.items():
        for file in PhotographIndex(folder).paths:
            patient, eye = whose(file)
            for path in frame_names(file):
                name = image_name(path, root)
                records.append(Record(name, str(path), grade, patient or image_name(file, root), eye, split))
    parents = {parent for _, parent in _split_folders(root)}
    others = [f for parent in sorted(parents) for f in _subfolders(parent) if f not in {*folders, *parents}]
    notes = []
    if others:
        notes.append(
            f"folders that name no grade are left out: {', '.join(image_name(f, root) for f in others)}"
        )
    return records, notes + _patient_notes(records)


def grade_of_folder(name):
    """Returns the grade that a folder's name stands for ("2", "No_DR", "3-Severe"), or None."""
    words = re.sub(r"[\s_.-]+", " ", name.lower()).strip()
    numbered = _NUMBERED.match(words)
    if numbered:
        return int(numbered[1])
    return next((grade for grade, names in enumerate(_GRADE_WORDS) if words in names), None)


def _label(row):
    eye, split = row["eye"].lower(), row["split"].lower()
    if eye not in ("", "left", "right"):
        raise row.error(f"eye {row['eye']!r} isn't left or right")
    if split not in _SPLIT_NAMES:
        raise row.error(f"split {row['split']!r} isn't train, validation or test")
    is_dicom = split_name(row["image"])[0].lower().endswith(DICOM_SUFFIXES)  # it tells both itself
    patient, eye_by_name = ("", "") if is_dicom else eye_of(row["image"])
    patient = row["patient"] or patient
    return Label(row, row["image"], row.grade("level"), patient, eye or eye_by_name, _SPLIT_NAMES[split])


def _patient_notes(records):
    if not records or any(record.patient != record.image for record in records):
        return []
    return ["patients aren't said: each photograph counts as a patient of its own"]


def _split_folders(root):
    named = [(_SPLIT_NAMES[f.name.lower()], f) for f in _subfolders(root) if f.name.lower() in _SPLIT_NAMES]
    return [("", root), *named]


def _subfolders(folder):
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
