"""Imported first by every script: where the package isn't installed, one line says how to install it."""

import importlib.util
import pathlib
import sys

if any(importlib.util.find_spec(name) is None for name in ("dr_keras", "absl")):
    root = pathlib.Path(__file__).resolve().parents[1]
    sys.exit(f"error: dr_keras isn't installed; run: {sys.executable} -m pip install -e '{root}[cpu]'")
