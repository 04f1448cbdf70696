"""The inputs of a screening: the photographs that `--input` names."""

import glob
import os
from pathlib import Path

from dr_keras.data import dicom
from dr_keras.data.layouts import photograph_files
from dr_keras.errors import InputError

_LIST_SUFFIXES = (".txt", ".lst", ".list")


def find_photographs(named):
    """Yields the absolute paths of the photographs that `--input` names.

    Args:
        named: a folder, searched with its subfolders; a glob pattern; a photograph; or a text file with a
            path a line, whose order and repeats are kept.

    Raises:
        InputError: if there is no photograph.
    """
    if Path(named).suffix.lower() in _LIST_SUFFIXES:
        found = _lines(named)
    elif glob.has_magic(str(named)) and not os.path.exists(named):
        found = photograph_files.list_photographs(sorted(glob.glob(str(named), recursive=True)))
    else:
        found = photograph_files.list_photographs([named])
        is_missing = os.path.isdir(named) or not os.path.exists(dicom.split_frame(named)[0])
        found = [] if found == [named] and is_missing else found
    empty = True
    for path in found:
        empty = False
        yield os.path.abspath(path)
    if empty:
        raise InputError(
            f"--input={named}: no photograph there; expected a folder, a pattern or a list (.txt)"
        )


def _lines(path):
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            yield from (line.rstrip("\r\n") for line in file if line.strip())
    except OSError as error:
        raise InputError(f"--input={path}: can't be read ({error.strerror})") from None
