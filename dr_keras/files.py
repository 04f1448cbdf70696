"""Files that are either whole or absent."""

import contextlib
import fcntl
import json
import os
import tempfile
from pathlib import Path

_TEMPORARY = ".part-"


@contextlib.contextmanager
def atomic_path(path, mode=0o644):
    """Yields a temporary path beside `path` that replaces it when the block ends without error.

    The file gets the permissions `mode`; until then only its owner can read it.
    The temporary name keeps the suffix of `path`, since some writers choose their format by it.
    If the block raises (a full disk, say), the temporary file goes and `path` is left as it was; an
    `OSError` names `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(
        prefix=f"{_TEMPORARY}{path.stem}-", suffix=path.suffix, dir=path.parent
    )
    os.close(handle)
    try:
        yield Path(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename in (None, temporary):
            error.filename = str(path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def sole_writer(folder):
    """Makes `folder` and holds it against other processes that ask for it too; waits for them.

    Temporary files in it that a killed process left are removed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network drives have no locks: then what is there stays
            fcntl.flock(handle, fcntl.LOCK_EX)
            for leftover in folder.glob(f"{_TEMPORARY}*"):
                leftover.unlink()
        yield
    finally:
        os.close(handle)


def write_text(path, text):
    """Writes `text` to `path` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path, value):
    """Writes `value` to `path` as indented JSON, atomically. NaN is written as null."""
    write_text(path, json.dumps(_without_nan(value), indent=2, ensure_ascii=False) + "\n")


def _without_nan(value):
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and value != value:
        return None
    return value
