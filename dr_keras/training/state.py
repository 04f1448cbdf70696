"""The whole state of a training, so that a killed run goes on as if it had not been."""

import json
import zipfile

import numpy as np

from dr_keras.errors import InputError
from dr_keras.files import atomic_path


def save_state(path, trainer, progress):
    """Writes the variables of model and optimizer, and `progress` (a JSON-able dict), atomically."""
    arrays = {f"v{index}": np.asarray(v) for index, v in enumerate(_variables(trainer))}
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, progress=json.dumps(progress), **arrays)


def load_state(path, trainer):
    """Restores what `save_state` wrote and returns its `progress`, or None if there is no such file.

    Raises:
        InputError: if the file is damaged or belongs to another model.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            saved = dict(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile):
        raise InputError(f"{path}: not a whole file of a training's state; delete it to start over") from None
    progress, variables = json.loads(str(saved.pop("progress"))), _variables(trainer)
    values = [saved[f"v{index}"] for index in range(len(saved))]
    if [value.shape for value in values] != [tuple(v.shape) for v in variables]:
        raise InputError(f"{path}: saved by a run with another network; name another --run_dir")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return progress


def _variables(trainer):
    return [*trainer.grader.variables, *trainer.optimizer.variables]
