"""A cache of a model's compiled functions that lives as long as the model itself."""


def kept(model, key, build):
    """Returns the result of `build()`, which is called once for each model and key.

    The result is stored on the model, so that both are freed together: a cache in this module would keep
    every model that was ever explained in memory.

    Args:
        model: a Keras model.
        key: hashable; identifies this function among the model's others.
        build: takes no arguments and returns the function.
    """
    functions = vars(model).setdefault("_dr_keras_compiled", {})  # bypasses Keras' tracking of attributes
    if key not in functions:
        functions[key] = build()
    return functions[key]
