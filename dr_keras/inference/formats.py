"""The forms in which a model is kept, told apart without loading any of them."""

import json
import zipfile
from pathlib import Path

from dr_keras.errors import InputError
from dr_keras.models.rules import GradingRules
from dr_keras.training import run_folder

KERAS, SAVED_MODEL, TFLITE, ONNX = FORMATS = ("keras", "savedmodel", "tflite", "onnx")
EXTRA, METADATA = "assets.extra", "dr_keras.json"  # in a SavedModel; the other formats hold METADATA too
_SUFFIXES = {".tflite": TFLITE, ".onnx": ONNX}


def format_of(path):
    """Which of `FORMATS` a path holds; a run folder, and what is none of them, counts as "keras"."""
    path = Path(path)
    if path.suffix in _SUFFIXES:
        return _SUFFIXES[path.suffix]
    folders = [path, *(path / str(version) for version in versions(path))]
    return SAVED_MODEL if any((folder / "saved_model.pb").is_file() for folder in folders) else KERAS


def check_model(path):
    """Raises `InputError` unless a path holds a model; nothing of it is loaded."""
    kind = format_of(path)
    if kind == KERAS and not Path(path).exists():
        expected = "expected a run folder, a .keras, .tflite or .onnx file, or the folder of a SavedModel"
        raise InputError(f"{path}: no such model; {expected}")
    if kind == KERAS:
        run_folder.find_models(path)
    elif kind == SAVED_MODEL:
        find_version(path)
    elif not Path(path).is_file():
        raise InputError(f"{path}: no such model; expected a file made by scripts/export.py")


def find_version(path):
    """Finds an exported SavedModel: the folder of a version, `path` itself or the highest version in it.

    Raises:
        InputError: if there is none, or one that this project didn't export.
    """
    path = Path(path)
    if not (path / "saved_model.pb").is_file():
        path = path / str(max(versions(path), default=""))
    if not (path / "saved_model.pb").is_file():
        raise InputError(f"{path}: no SavedModel there; expected a folder made by scripts/export.py")
    if not (path / EXTRA / METADATA).is_file():
        raise InputError(f"{path}: not exported by scripts/export.py (it has no {EXTRA}/{METADATA})")
    return path


def versions(folder):
    """Numbers of the versions in a folder: a list, empty if there is no such folder."""
    folder = Path(folder)
    names = [item.name for item in folder.iterdir()] if folder.is_dir() else []
    return [int(name) for name in names if name.isdigit()]


def model_files(path):
    """The files that a model consists of: several where there are folds, and for a SavedModel.

    Raises:
        InputError: if there is no model.
    """
    check_model(path)
    kind = format_of(path)
    if kind == KERAS:
        return run_folder.find_models(path)
    if kind == SAVED_MODEL:
        return sorted(item for item in find_version(path).rglob("*") if item.is_file())
    return [Path(path)]


def read_saved_model_metadata(version):
    """Reads what an exported SavedModel says of itself: a dict, see `export.metadata.describe`.

    Raises:
        InputError: if it is missing or damaged.
    """
    return parse_metadata((Path(version) / EXTRA / METADATA).read_bytes, Path(version) / EXTRA / METADATA)


def read_tflite_metadata(content, name):
    """Reads the metadata inside a .tflite file, whose end is a zip archive, as LiteRT's own metadata is.

    Args:
        content: the file, opened for reading bytes.
        name: what errors call it.

    Raises:
        InputError: if there is none.
    """

    def read():
        with zipfile.ZipFile(content) as archive:
            return archive.read(METADATA)

    return parse_metadata(read, name)


def parse_metadata(read, name):
    """Parses the JSON bytes that `read()` returns; `InputError` naming `name` if that isn't metadata."""
    try:
        metadata = json.loads(read())
        return metadata | {"rules": GradingRules.from_dict(metadata["rules"])}
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        raise InputError(
            f"{name}: doesn't say how to prepare photographs for it and to grade its scores; expected a "
            "model made by this version's scripts/export.py"
        ) from None
