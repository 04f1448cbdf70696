"""The whole state of a training, so that a killed run goes on as if it had not been."""

import json

import numpy as np

from dr_keras.errors import InputError
from dr_keras.files import atomic_path


def save_state(path, trainer, progress):
    """Writes all variables of the model and of the optimizer, and `progress` (a JSON-able dict), atomically."""
    arrays = {f"v{index}": np.asarray(v) for index, v in enumerate(_variables(trainer))}
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, progress=json.dumps(progress), **arrays)


def load_state(path, trainer):
    """Restores what `save_state` wrote and returns its `progress`, or None if there is no such file.

    Raises:
        InputError: if the file belongs to another model.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            variables = _variables(trainer)
            shapes = [arrays[f"v{index}"].shape for index in range(len(arrays.files) - 1)]
            if shapes != [tuple(v.shape) for v in variables]:
                raise InputError(f"{path}: saved by a run with another network; name another --run_dir")
            for index, variable in enumerate(variables):
                variable.assign(arrays[f"v{index}"])
            return json.loads(str(arrays["progress"]))
    except FileNotFoundError:
        return None


def _variables(trainer):
    return [*trainer.grader.variables, *trainer.optimizer.variables]
