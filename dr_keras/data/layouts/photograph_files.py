"""Labels meet the photographs on disk: names are resolved, repeats merged, missing files noted."""

import collections
import os
from pathlib import Path

from dr_keras.data.decoding import IMAGE_SUFFIXES
from dr_keras.data.layouts.label_files import without_suffix
from dr_keras.data.records import Record
from dr_keras.errors import InputError

_NAMES_SHOWN = 5


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

        `name` may be a path from the folder or a file name, with or without suffix; a match of the
        whole path goes before one of the file name.

        Raises:
            InputError: if several files answer to the name.
        """
        exact = Path(os.path.normpath(self.folder / name))
        if os.path.isfile(exact):  # unlike Path.is_file, False for impossible names too
            return exact
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
    """Lists the files that paths name: files as they are, of folders the photographs in them, sorted.

    A file that isn't there, or a folder without a photograph, is listed too, for its error to be told.

    Returns:
        List of paths as text, each once.
    """
    found = []
    for path in paths:
        found += (sorted(map(str, _walk(path))) or [path]) if os.path.isdir(path) else [path]
    return list(dict.fromkeys(found))


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
        image = image_name(path, root)
        patient = label.patient or image
        records.append(Record(image, str(path), label.grade, patient, label.eye, label.split))
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


def _walk(folder):
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        for name in files:
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."):
                yield Path(parent, name)
