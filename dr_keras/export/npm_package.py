"""ONNX Runtime Web from npm, in the one version that `browser/package-lock.json` pins by hash."""

import contextlib
import json
import shutil
import subprocess
import tempfile
from importlib import resources
from pathlib import Path

from dr_keras.errors import InputError

_PACKAGE = "onnxruntime-web"
# For each engine its files: the second computes on graphics units, too.
ENGINES = {
    "wasm": ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"),
    "webgpu": ("ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm"),
}
_SECONDS = 600


@contextlib.contextmanager
def engine_files(node_modules=None):
    """Yields a dict of a path in the site's folder `engine` -> the file to copy.

    Args:
        node_modules: folder in which npm has installed the package; None installs it in a folder that is gone
            when the block ends.

    Raises:
        InputError: if npm is missing or fails, or the folder has another version.
    """
    with tempfile.TemporaryDirectory() as folder:
        if node_modules is None:
            _install(Path(folder))
        found = Path(node_modules or Path(folder) / "node_modules") / _PACKAGE
        _check_version(found, node_modules)
        yield {
            f"{engine}/{name}": found / "dist" / name for engine, names in ENGINES.items() for name in names
        }


def is_at_hand():
    """Whether npm can be run."""
    return shutil.which("npm") is not None


def _install(folder):
    if not is_at_hand():
        raise InputError(
            "--format=web: npm isn't installed; install Node.js (Debian: apt-get install npm), or name with "
            f"--node_modules a folder that has {_PACKAGE} {_pinned()}"
        )
    for name in ("package.json", "package-lock.json"):
        (folder / name).write_bytes(browser_file(name))
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise InputError(f"--format=web: npm ci took over {_SECONDS} seconds") from None
    if done.returncode:
        reason = next(iter(done.stderr.strip().splitlines()), f"status {done.returncode}")
        raise InputError(f"--format=web: npm ci failed ({reason}); is the registry within reach?")


def _check_version(folder, node_modules):
    try:
        version = json.loads((folder / "package.json").read_text(encoding="utf-8"))["version"]
    except OSError:
        version = None
    if version != _pinned():
        raise InputError(f"--node_modules={node_modules}: expected {_PACKAGE} {_pinned()}, found {version}")


def _pinned():
    return json.loads(browser_file("package.json"))["dependencies"][_PACKAGE]


def browser_file(name):
    """Bytes of one of the project's own files in `browser/`."""
    return resources.files(__package__).joinpath("browser", name).read_bytes()
