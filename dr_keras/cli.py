"""The console command `dr-keras VERB ...`: the project's scripts, from any folder."""

import ast
import runpy
import sys

from dr_keras import __version__
from dr_keras.shipped import shipped_path

ALIASES = {"grade": "predict"}
_USAGE = """dr-keras {version}: interpretable grading of diabetic retinopathy. Research use only.

usage: dr-keras VERB [--flag=value ...] [photographs ...]
       dr-keras VERB --help

{verbs}
"""


def main():
    """Runs the script that the first argument names, as `python scripts/VERB.py` does."""
    scripts = {path.stem: path for path in shipped_path("scripts").glob("[a-z]*.py")}
    verb, *arguments = sys.argv[1:] or ["--help"]
    if verb in ("-h", "--help", "help"):
        print(_USAGE.format(version=__version__, verbs=_describe(scripts)), end="")
        return
    if verb == "--version":
        print(__version__)
        return
    name = ALIASES.get(verb, verb.replace("-", "_"))
    if name not in scripts:
        known = ", ".join(sorted([*ALIASES, *scripts]))
        print(f"error: {verb!r}: no such verb; expected one of {known}", file=sys.stderr)
        sys.exit(2)
    path = scripts[name]
    sys.argv = [str(path), *arguments]
    sys.path.insert(0, str(path.parent))  # as Python does for a script
    runpy.run_path(str(path), run_name="__main__")


def _describe(scripts):
    """A line for each verb: its name and the first sentence of its script; nothing is imported for it."""
    lines = {name: ast.get_docstring(ast.parse(path.read_text("utf-8"))) for name, path in scripts.items()}
    lines |= {alias: f"the same as {name}" for alias, name in ALIASES.items()}
    return "\n".join(f"  {name:<24}{text.splitlines()[0]}" for name, text in sorted(lines.items()))


if __name__ == "__main__":
    main()
