"""Flagfiles, found from any folder: a recipe of the project needs no path."""

from pathlib import Path

from dr_keras.errors import InputError
from dr_keras.shipped import shipped_path


def expanded(arguments, folder=".", above=()):
    """Yields command-line arguments, each --flagfile replaced by the flags in it and in those that it names.

    A flagfile is looked for in the working directory, beside the one that names it, and among the project's
    own recipes.

    Args:
        arguments: list of arguments, without the program's name.
        folder: folder of the flagfile that they are from.
        above: flagfiles that lead to these arguments.

    Raises:
        InputError: if there is no such file, or it leads to itself.
    """
    arguments = iter(arguments)
    for argument in arguments:
        if argument == "--":
            yield argument
            yield from arguments
        elif argument.startswith(("--flagfile=", "-flagfile=")):
            named = argument.split("=", 1)[1]
            path = _find(named, folder)
            if path is None or path in above:
                expected = "leads to itself" if path else "no such file, nor a recipe of the project"
                raise InputError(f"--flagfile={named}: {expected}")
            lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
            yield from expanded([line for line in lines if line.startswith("-")], path.parent, (*above, path))
        else:
            yield argument


def _find(named, folder):
    own = shipped_path("flags", Path(named).name, missing_ok=True)
    places = [Path(named), Path(folder, named), Path(folder).parent / named, *([own] if own else [])]
    return next((path.resolve() for path in places if path.is_file()), None)
