"""Where the files lie that come with the project: models, recipes, scripts."""

import os
from pathlib import Path

from dr_keras.errors import InputError

PACKAGE = Path(__file__).resolve().parent
GRADER = ("savedmodels", "dr_grader")
RETINA_CHECK = ("savedmodels", "retina_check", "retina_check.npz")
ALEXNET_TRUNK = ("savedmodels", "alexnet_trunk", "alexnet_trunk.weights.h5")


def model_path(model):
    """Path of a model: that which comes with the project under this name, unless there is such a path."""
    own = shipped_path(GRADER[0], os.fspath(model), missing_ok=True) if os.fspath(model) else None
    return model if own is None or os.path.exists(model) else own


def shipped_path(*names, missing_ok=False):
    """Path of a file or folder: inside an installed package, beside it in a checkout.

    Args:
        *names: its parts, such as "savedmodels", "dr_grader".
        missing_ok: returns None for what isn't there.

    Raises:
        InputError: if this installation doesn't have it.
    """
    for root in (PACKAGE, PACKAGE.parent):
        if root.joinpath(*names).exists():
            return root.joinpath(*names)
    if missing_ok:
        return None
    raise InputError(f"{'/'.join(names)}: isn't part of this installation; expected it in {PACKAGE.parent}")
