"""Labels meet the photographs on disk: names are resolved, repeats merged, missing files noted."""

import collections
import os
from pathlib import Path

from dr_keras.data import dicom
from dr_keras.data.layouts.label_files import eye_of, without_suffix
from dr_keras.data.records import Record
from dr_keras.data.suffixes import IMAGE_SUFFIXES, UNREAD_SUFFIXES
from dr_keras.errors import InputError

_NAMES_SHOWN = 5
_DIRECTORY = "DICOMDIR"  # a disk's table of contents


class PhotographIndex:
    """The photographs in a folder and its subfolders, found by name, case and suffix left aside.

    Args:
        folder: the folder to walk; hidden files and folders are passed over.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.paths = sorted(_walk(self.folder))
        self._by_path, self._by_name = collections.defaultdict(set), collections.defaultdict(set)
        for path in self.paths:
            for names, name in (
                (self._by_path, path.relative_to(self.folder).as_posix().lower()),
                (self._by_name, path.name.lower()),
            ):
                names[name].add(path)
                names[without_suffix(name)].add(path)

    def find(self, name):
        """Returns the path of photograph `name`, or None.

        `name` may be a path from the folder or a file name, with or without suffix, and may end in the number
        of a DICOM file's frame; a match of the whole path goes before one of the file name.

        Raises:
            InputError: if several files answer to the name.
        """
        exact = Path(os.path.normpath(self.folder / name))
        if os.path.isfile(dicom.split_frame(exact)[0]):  # unlike Path.is_file, False for impossible names too
            return exact
        file, frame = dicom.split_name(name)
        if frame is not None:
            path = self.find(file)
            return path and Path(f"{path}#{frame}")
        key = name.replace("\\", "/").removeprefix("./").lower()
        found = next((paths for paths in self._candidates(key) if paths), ())
        if len(found) > 1:
            first, second = sorted(found)[:2]
            raise InputError(f"{self.folder}: {name!r} could be {first} or {second}; give the whole path")
        return next(iter(found), None)

    def _candidates(self, key):
        for names in (self._by_path, self._by_name):
            yield names.get(key)
            yield names.get(without_suffix(key))


def list_photographs(paths):
    """Lists the photographs that paths name: of folders those in them, sorted.

    Each frame of a DICOM file is one, `eye.dcm#1`, `eye.dcm#2`, where there are several. A file that isn't
    there, a picture in a format that isn't read, or a folder without a photograph, is listed too, for its
    error to be told.

    Returns:
        List of paths as text, each once.
    """
    found = []
    for path in paths:
        is_folder = os.path.isdir(path)
        files = (sorted(map(str, _walk(path, UNREAD_SUFFIXES))) or [path]) if is_folder else [path]
        found += [name for file in files for name in dicom.frame_names(file)]
    return list(dict.fromkeys(found))


def whose(path):
    """Tells (patient, eye) of a photograph: a DICOM file's own words, else a name like EyePACS's, else "".

    The patient of a DICOM file is a hash, see `dicom.patient_hash`.
    """
    patient, eye = dicom.whose(path)
    by_name = eye_of(os.path.basename(dicom.split_frame(path)[0]))
    return patient or by_name[0], eye or by_name[1]


def make_records(root, labels, index):
    """Finds each label's photograph.

    Args:
        root: the dataset's folder; image names are paths relative to it.
        labels: `Label`s in the order of their file.
        index: `PhotographIndex` of the folder that holds the photographs.

    Returns:
        (records, missing, notes): list of `Record`; names of listed photographs that aren't on
        disk; remarks on rows that were merged.

    Raises:
        InputError: if two rows of one photograph disagree.
    """
    first, records, missing, repeated = {}, [], [], 0
    for label in labels:
        if not label.name:
            raise label.row.error("no image name")
        path = index.find(label.name)
        key = path or label.name
        if key in first:
            _check_equal(first[key], label)
            repeated += 1
            continue
        first[key] = label
        if path is None:
            missing.append(label.name)
            continue
        image, is_dicom = image_name(path, root), dicom.is_dicom_file(dicom.split_frame(path)[0])
        patient, eye = whose(path) if is_dicom else ("", "")
        patient, eye = label.patient or patient or image, label.eye or eye
        records.append(Record(image, str(path), label.grade, patient, eye, label.split))
    notes = [f"{repeated} repeated rows with equal labels were merged"] if repeated else []
    return records, missing, notes


def missing_note(missing, where):
    """Returns the remark on listed photographs that aren't on disk."""
    names = ", ".join(missing[:_NAMES_SHOWN]) + (", ..." if len(missing) > _NAMES_SHOWN else "")
    return f"{len(missing)} photographs listed in {where} aren't on disk and are left out: {names}"


def image_name(path, root):
    """Returns the name of a photograph: its path relative to `root`, or whole if it lies elsewhere."""
    path, root = Path(path), Path(root)
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _check_equal(first, second):
    for field in ("grade", "patient", "split"):
        values = getattr(first, field), getattr(second, field)
        if values[0] != values[1]:
            raise second.row.error(
                f"{second.name} is listed with {field} {values[1]}, but with {field} {values[0]} in row "
                f"{first.row.number}" + (f" of {first.row.file}" if first.row.file != second.row.file else "")
            )


def _walk(folder, more=()):
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        for name in files:
            if not name.startswith(".") and _is_photograph(parent, name, more):
                yield Path(parent, name)


def _is_photograph(parent, name, more):
    """Whether a file counts: by its suffix, also one of `more`, or if it has none, by how it begins."""
    if name.lower().endswith((*IMAGE_SUFFIXES, *more)):
        return True
    return name.upper() != _DIRECTORY and dicom.is_dicom_file(os.path.join(parent, name))
