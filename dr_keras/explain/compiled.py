"""Compiled functions of a model, kept for as long as the model itself."""


def kept(model, key, build):
    """Returns `build()`, made once for a model and a key.

    It is kept on the model, so that both go together: a cache of the module's own would keep every model that
    was ever explained in memory.

    Args:
        model: a Keras model.
        key: hashable; what tells this function of the model from others.
        build: makes the function.
    """
    functions = vars(model).setdefault("_dr_keras_compiled", {})  # not seen by Keras' tracking of attributes
    if key not in functions:
        functions[key] = build()
    return functions[key]
