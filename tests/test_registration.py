import subprocess
import sys

from dr_keras import registration


def test_each_module_with_layers_can_be_the_first_import():
    """Importing it imports Keras, which imports all of them: also the one that is being imported."""
    code = "import {0}; import keras; keras.saving.get_registered_object('dr_keras>OrdinalScore').__name__"
    started = {
        name: subprocess.Popen([sys.executable, "-c", code.format(name)], stderr=subprocess.PIPE, text=True)
        for name in registration._REGISTERED
    }
    errors = {name: process.communicate(timeout=200)[1] for name, process in started.items()}
    assert [(name, errors[name]) for name, process in started.items() if process.returncode] == []
