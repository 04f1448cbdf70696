"""The file formats of models: telling them apart without loading a model, and reading their metadata."""

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
    """Returns which of `FORMATS` a path holds. A run folder counts as "keras", and so does anything else."""
    path = Path(path)
    if path.suffix in _SUFFIXES:
        return _SUFFIXES[path.suffix]
    folders = [path, *(path / str(version) for version in versions(path))]
    return SAVED_MODEL if any((folder / "saved_model.pb").is_file() for folder in folders) else KERAS


def check_model(path):
    """Raises `InputError` unless a path holds a model, without loading it."""
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
    """Returns the folder of an exported SavedModel's version: `path` itself, or the highest version in it.

    Raises:
        InputError: if there is no SavedModel, or this project didn't export it.
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
    """Returns the list of version numbers in a folder; it is empty if there is no such folder."""
    folder = Path(folder)
    names = [item.name for item in folder.iterdir()] if folder.is_dir() else []
    return [int(name) for name in names if name.isdigit()]


def model_files(path):
    """Returns the files of a model; a run with folds and a SavedModel have several.

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
    """Reads the metadata of an exported SavedModel: the dict of `export.metadata.describe`.

    Raises:
        InputError: if the metadata is missing or damaged.
    """
    return parse_metadata((Path(version) / EXTRA / METADATA).read_bytes, Path(version) / EXTRA / METADATA)


def read_tflite_metadata(content, name):
    """Reads the metadata in the zip archive at the end of a .tflite file, where LiteRT keeps its own, too.

    Args:
        content: path of the file, or a binary file object.
        name: name of the file in error messages.

    Raises:
        InputError: if the metadata is missing or damaged.
    """

    def read():
        with zipfile.ZipFile(content) as archive:
            return archive.read(METADATA)

    return parse_metadata(read, name)


def parse_metadata(read, name):
    """Parses the metadata, JSON bytes that `read()` returns; raises `InputError` with `name` if it can't."""
    try:
        metadata = json.loads(read())
        return metadata | {"rules": GradingRules.from_dict(metadata["rules"])}
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        raise InputError(
            f"{name}: doesn't say how to prepare photographs for it and to grade its scores; expected a "
            "model exported by this version's scripts/export.py"
        ) from None
