"""Makes this package's layers and metrics known to Keras, without loading Keras.

`keras.models.load_model(FILE)` finds a class by its registered name, and refuses to import the module that
defines it. So these modules are imported as soon as Keras is there: now, or when it is imported. None of
them imports another of them: the first import of Keras may be that of any.
"""

import importlib
import importlib.util
import sys

PACKAGE = "dr_keras"  # what Keras puts before the names of the classes
_REGISTERED = (
    "dr_keras.models.layers",
    "dr_keras.models.alexnet_layers",
    "dr_keras.models.lesion_layers",
    "dr_keras.metrics",
)


def register_with_keras():
    """Registers the classes with Keras, now or once Keras has been imported."""
    if "keras" in sys.modules:
        _register()
    elif _AfterKeras not in sys.meta_path:
        sys.meta_path.insert(0, _AfterKeras)


def _register():
    for name in _REGISTERED:
        importlib.import_module(name)


class _AfterKeras:
    """A finder on `sys.meta_path` that has the classes registered when the import of Keras ends."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "keras":
            return None
        sys.meta_path.remove(cls)  # so that the next line asks the other finders
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, cls)  # a search need not end in an import
        if spec is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_register(module):
            execute(module)
            if cls in sys.meta_path:
                sys.meta_path.remove(cls)
            _register()

        spec.loader.exec_module = execute_and_register
        return spec
