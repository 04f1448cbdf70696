"""What `--model` names besides a run: an exported model. Nothing heavy is imported to tell."""

import functools
import json
import math
from pathlib import Path

from dr_keras.data.decoding import read_bytes
from dr_keras.data.parallel import batches_ahead
from dr_keras.errors import InputError
from dr_keras.inference.graded import Graded
from dr_keras.training import run_folder

EXTRA, METADATA = "assets.extra", "dr_keras.json"
_FILES = (".tflite", ".onnx")


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


def is_exported(path):
    """Whether `--model` names a .tflite or .onnx file, a SavedModel or a folder of its versions."""
    path = Path(path)
    if path.suffix in _FILES:
        return True
    folders = [path, *(path / str(version) for version in versions(path))]
    return any((folder / "saved_model.pb").is_file() for folder in folders)


def read_metadata(path):
    """Reads what travels with an exported model: a dict, see `metadata.describe`.

    Raises:
        InputError: if it is missing or damaged, or there is no such model.
    """
    path = Path(path)
    if path.suffix in _FILES:
        beside = path.with_suffix(".json")
        if not path.is_file():
            raise InputError(f"{path}: no such model; expected a file made by scripts/export.py")
    else:
        beside = find_version(path) / EXTRA / METADATA
    try:
        return json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{beside}: expected the model's metadata, as scripts/export.py writes it") from None


def read_flags(path):
    """Reads what `--model` brings of a script's flags: a run's `run.cfg`, or an exported model's thresholds.

    Raises:
        InputError: if there is no such model.
    """
    if is_exported(path):
        return {"thresholds": ",".join(map(str, read_metadata(path)["thresholds"]))}
    run_folder.find_models(path)
    return run_folder.read_flags(path)


def score_files(path, files, batch_size=32):
    """Scores photographs by an exported model, as `grading.score_files` does by a run.

    Args:
        path: of a .tflite or .onnx file, a SavedModel or a folder of its versions.
        files: photographs. A SavedModel reads JPEG and PNG, without EXIF orientation.
        batch_size: photographs in a batch.

    Yields:
        `graded.Graded` of each file, in order.
    """
    yield from open_scorer(path)(files, batch_size)


def open_scorer(path):
    """Loads what `--model` names, a run or an exported model, to score photographs again and again.

    Returns:
        A function of files and the photographs in a batch that yields `graded.Graded` of each file.
    """
    from dr_keras.inference import grading

    if not is_exported(path):
        return functools.partial(grading.score_files, grading.GradingModel(path))
    if Path(path).suffix == ".tflite":
        from dr_keras.export.tflite import TFLiteModel

        return functools.partial(grading.score_files, TFLiteModel(path))
    if Path(path).suffix == ".onnx":
        from dr_keras.export.onnx import ONNXModel

        return functools.partial(grading.score_files, ONNXModel(path))
    from dr_keras.export.saved_model import load_saved_model

    return functools.partial(_score_by_saved_model, load_saved_model(path))


def _score_by_saved_model(model, files, batch_size):
    for batch in batches_ahead(_read_or_reason, files, batch_size):
        graded = model.grade([data for _, (data, _) in batch])
        for (file, (_, reason)), score, message in zip(
            batch, graded["score"], graded["message"], strict=True
        ):
            message = message.decode()
            is_read = not reason and not math.isnan(score)
            yield Graded(
                file, float(score), "" if is_read else reason or message, fault=message if is_read else None
            )


def _read_or_reason(path):
    try:
        return read_bytes(path), ""
    except InputError as error:
        return b"", str(error).removeprefix(f"{path}: ")
