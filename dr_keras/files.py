"""Atomic writing of files, of which a reader finds a whole one or none; folders for their owner alone."""

import contextlib
import csv
import errno
import fcntl
import functools
import hashlib
import json
import os
import platform
import re
import secrets
import stat
from pathlib import Path

from dr_keras.errors import InputError

_TEMPORARY = ".part-"
_STEM = 40  # characters of a file's name that its temporary one repeats: a file system allows 255 bytes
_OWNER = re.compile(r"\.part-([0-9a-f]{8})\.(\d+)\.")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for a formula
_cleared = set()  # folders that this process has looked through for leftovers


@contextlib.contextmanager
def atomic_path(path, mode=0o666):
    """Yields a temporary path beside `path` that replaces it when the block ends without error.

    The temporary name keeps the suffix of `path`, since some writers choose their format by it. If the
    block raises (a full disk, say), the temporary file goes and `path` is left as it was; an `OSError` names
    `path`.
    What a killed process left in the folder is removed.

    Args:
        path: the file.
        mode: its permissions, less the umask.
    """
    path = Path(path)
    if path.is_dir():  # said before the work is done that the file is to hold
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear_once(path.parent)
    owner = f"{_host()}.{os.getpid()}.{secrets.token_hex(4)}"
    temporary = path.parent / f"{_TEMPORARY}{owner}-{path.stem[:_STEM]}{path.suffix[:_STEM]}"
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename in (None, str(temporary), temporary):
            error.filename = str(path)
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def sole_writer(folder):
    """Makes `folder` and locks it; waits while another process holds the lock.

    Temporary files that a killed process left in the folder are removed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network drives have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        _clear(folder)
        yield
    finally:
        os.close(handle)


def _clear_once(folder):
    if str(folder) not in _cleared:
        _cleared.add(str(folder))
        _clear(folder)


def _clear(folder):
    """Removes temporary files whose writer on this host lives no more; another host's are left alone."""
    with contextlib.suppress(OSError):  # a folder that can't be listed: what is there stays
        for leftover in folder.glob(f"{_TEMPORARY}*"):
            owner = _OWNER.match(leftover.name)
            if not owner or (owner[1] == _host() and not _is_alive(int(owner[2]))):
                leftover.unlink(missing_ok=True)


def _is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@functools.cache
def _host():
    """A short name of this host, without characters that a file name can't have."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def printable(text):
    """Returns text with its control characters escaped: those in a file's name would steer a terminal."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "surrogatepass").decode() for one in text
    )


def spreadsheet_text(value):
    """Returns text that a spreadsheet doesn't take for a formula: such a file name gets a quote before it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def plain_text(value):
    """Takes back what `spreadsheet_text` did."""
    return value[1:] if value.startswith("'") and value[1:].startswith(_FORMULA) else value


@contextlib.contextmanager
def csv_rows(path, columns):
    """Writes a table as CSV, atomically; yields a function that takes a row: a list of values.

    Names of files that aren't UTF-8 are written byte for byte; text that a spreadsheet would take for a
    formula gets a quote before it.
    """
    with (
        atomic_path(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        yield lambda row: writer.writerow([spreadsheet_text(value) for value in row])


def read_csv(path):
    """Reads a table that `csv_rows` wrote, names of files as they were.

    Returns:
        columns: list of their names.
        rows: list of (number of the line, dict of column to text); a cell that isn't there is None.

    Raises:
        OSError, csv.Error: if the file can't be read, or not as CSV.
    """
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file)
        rows = [
            (reader.line_num, {name: value and plain_text(value) for name, value in row.items() if name})
            for row in reader
        ]
        return list(reader.fieldnames or ()), rows


def read_text(path):
    """Reads what `write_text` wrote; names of files that aren't UTF-8 come back byte for byte."""
    return Path(path).read_text(encoding="utf-8", errors="surrogateescape")


def write_text(path, text):
    """Writes `text` to `path` as UTF-8, atomically; names of files that aren't UTF-8 byte for byte."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


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


def private_folder(folder, flag):
    """Makes a folder that only its owner can enter, for patients' photographs and results.

    Args:
        folder: the folder.
        flag: the flag that named it, for errors.

    Returns:
        Its `Path`.

    Raises:
        InputError: if it can't be made, or if it exists and others may enter it.
    """
    folder = Path(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            folder.chmod(0o700)  # whatever the umask
        mode = stat.S_IMODE(os.stat(f"{folder}/").st_mode)
    except OSError as error:
        raise InputError(f"{flag}={folder}: can't be made ({error.strerror})") from None
    if mode & 0o077:
        raise InputError(
            f"{flag}={folder}: others may enter it (mode {mode:04o}), and what is of patients will lie "
            "there; expected a new folder, or chmod 700"
        )
    return folder
