"""What a script needs besides the base install: said in one line where it is missing."""

import contextlib
import importlib
import importlib.util
import logging
import os
import sys

from dr_keras.errors import InputError

ENGINES = AUTO, TENSORFLOW, OPENVINO = ("auto", "tensorflow", "openvino")
# What Keras imports, where it is installed, for wrappers and plots that nothing here uses: a second or more.
_UNUSED_BY_KERAS = ("matplotlib", "pandas", "sklearn")
_BACKEND = "KERAS_BACKEND"  # environment variable, which Keras reads when it is imported


def choose_backend(engine, log=False):
    """Decides what Keras models run on; Keras mustn't have been imported yet.

    Args:
        engine: one of `ENGINES`. "auto" is what KERAS_BACKEND names, else OpenVINO where only that is
            installed, else TensorFlow.
        log: see `load_tensorflow`.

    Raises:
        InputError: where it isn't installed, or KERAS_BACKEND names another.
    """
    if engine == AUTO:
        only = not importlib.util.find_spec(TENSORFLOW) and importlib.util.find_spec(OPENVINO)
        engine = _named_backend((TENSORFLOW, OPENVINO)) or (OPENVINO if only else TENSORFLOW)
    os.environ[_BACKEND] = engine
    if engine == TENSORFLOW:
        load_tensorflow(log)
    elif engine == OPENVINO:
        require_packages("openvino", "openvino", "keras")
        with _without(_UNUSED_BY_KERAS):
            importlib.import_module("keras")


def load_tensorflow(log=False):
    """Loads TensorFlow, for Keras too, whatever its own settings say.

    Args:
        log: whether to show what it logs while it is loaded.

    Raises:
        InputError: where it isn't installed, or KERAS_BACKEND names another.
    """
    os.environ[_BACKEND] = _named_backend((TENSORFLOW,)) or TENSORFLOW
    if importlib.util.find_spec("tensorflow") is None:
        raise InputError(
            "TensorFlow isn't installed: pip install 'dr-keras[cpu]', or 'dr-keras[gpu]', one or the other"
        )
    with contextlib.nullcontext() if log else _hidden_stderr(), _without(_UNUSED_BY_KERAS):
        importlib.import_module("tensorflow")
    if not log:
        logging.getLogger("tensorflow").setLevel(logging.ERROR)


def _named_backend(expected):
    """What KERAS_BACKEND names, or None; `InputError` unless it is one of those expected."""
    named = os.environ.get(_BACKEND)
    if named and named not in expected:
        listed = " or ".join(expected)
        raise InputError(f"{_BACKEND}={named}: this command runs on {listed}; unset the variable")
    return named


def require_packages(extra, *modules):
    """Raises `InputError` with the remedy where modules of an extra aren't installed."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise InputError(f"{missing[0]} isn't installed: pip install 'dr-keras[{extra}]'")


@contextlib.contextmanager
def _without(names):
    """Lets packages that aren't loaded yet look as if they weren't installed."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


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
