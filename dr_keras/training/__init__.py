"""Training of graders: `train` runs a whole training; names are imported when they are first used."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dr_keras.training.config import HostConfig, SplitPlan, TrainingConfig, stage_configs
    from dr_keras.training.protocol import Hooks, Interrupted
    from dr_keras.training.runs import train

_PLACES = {
    "config": ("HostConfig", "SplitPlan", "TrainingConfig", "stage_configs"),
    "protocol": ("Hooks", "Interrupted"),
    "runs": ("train",),
}
__all__ = ["HostConfig", "Hooks", "Interrupted", "SplitPlan", "TrainingConfig", "stage_configs", "train"]


def __getattr__(name):
    for module, names in _PLACES.items():
        if name in names:
            return getattr(importlib.import_module(f"dr_keras.training.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return [*globals(), *__all__]
