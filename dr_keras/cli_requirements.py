"""What a script needs besides the base install: said in one line where it is missing."""

import contextlib
import importlib
import importlib.util
import os
import sys

from dr_keras.errors import InputError


def load_tensorflow(log=False):
    """Loads TensorFlow.

    Args:
        log: whether to show what it logs while it is loaded.

    Raises:
        InputError: where it isn't installed.
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise InputError(
            "TensorFlow isn't installed: pip install 'dr-keras[cpu]', or 'dr-keras[gpu]', one or the other"
        )
    with contextlib.nullcontext() if log else _hidden_stderr():
        importlib.import_module("tensorflow")


def require_packages(extra, *modules):
    """Raises `InputError` with the remedy where modules of an extra aren't installed."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise InputError(f"{missing[0]} isn't installed: pip install 'dr-keras[{extra}]'")


@contextlib.contextmanager
def _hidden_stderr():
    """Hides what libraries written in C++ print on stderr, which no Python stream passes through."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
