"""Saves and restores the whole state of a training, so that a killed run ends as an undisturbed one."""

import io
import json
import zipfile

import numpy as np

from dr_keras.errors import InputError
from dr_keras.files import atomic_path
from dr_keras.training.hosts import workers


def save_state(path, trainer, progress):
    """Writes the variables of model and optimizer, and `progress` (a JSON-able dict), atomically."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        _write(file, trainer, progress)


def load_state(path, trainer):
    """Restores what `save_state` wrote and returns its `progress`, or None if there is no such file.

    Raises:
        InputError: if the file is damaged or belongs to another model.
    """
    try:
        return _read(path, path, trainer)
    except FileNotFoundError:
        return None
    except InputError:
        raise
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile):
        raise InputError(f"{path}: not a whole file of a training's state; delete it to start over") from None


def share_state(trainer, progress, strategy):
    """Gives the chief's variables and progress to the other processes. Returns the progress."""
    if workers.place(strategy)[1] == 1:
        return progress
    data = io.BytesIO()
    _write(data, trainer, progress)
    return _read(io.BytesIO(workers.from_chief(strategy, data.getvalue())), "the chief's state", trainer)


def _write(file, trainer, progress):
    arrays = {f"v{index}": np.asarray(v) for index, v in enumerate(_variables(trainer))}
    np.savez(file, progress=json.dumps(progress), **arrays)


def _read(file, name, trainer):
    with np.load(file, allow_pickle=False) as arrays:
        saved = dict(arrays)
    progress, variables = json.loads(str(saved.pop("progress"))), _variables(trainer)
    values = [saved[f"v{index}"] for index in range(len(saved))]
    if [value.shape for value in values] != [tuple(v.shape) for v in variables]:
        raise InputError(f"{name}: saved by a run with another network; name another --run_dir")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return progress


def _variables(trainer):
    return [*trainer.grader.variables, *trainer.optimizer.variables]
