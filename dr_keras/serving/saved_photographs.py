"""Photographs that the server saves, with their results, where it was asked to: patients' data."""

import contextlib
import datetime
import json
import os
import secrets
import stat
from pathlib import Path

from dr_keras.errors import InputError
from dr_keras.files import atomic_path
from dr_keras.serving.plain_photographs import plain_bytes
from dr_keras.serving.telemetry import LOG


def make_folder(folder):
    """Makes a folder that only its owner can enter.

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
        raise InputError(f"--save_dir={folder}: can't be made ({error.strerror})") from None
    if mode & 0o077:
        raise InputError(
            f"--save_dir={folder}: others may enter it (mode {mode:04o}), and photographs of patients will "
            "lie there; expected a new folder, or chmod 700"
        )


def save(folder, data, result):
    """Saves a photograph and its result under a name made of the time and chance, both or neither.

    A DICOM file is saved as a PNG, without what it says of the patient.

    Args:
        folder: from `make_folder`.
        data: bytes of the photograph's file.
        result: dict for JSON.

    Returns:
        "", or why they weren't saved: a full disk doesn't take the answer from those who wait for it.
    """
    time = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    stem = Path(folder) / f"{time}-{secrets.token_hex(4)}"
    data = plain_bytes(data)
    suffix = ".png" if data.startswith(b"\x89PNG") else ".jpg"
    contents = {suffix: data, ".json": json.dumps(result, indent=2, ensure_ascii=False).encode() + b"\n"}
    try:
        make_folder(folder)  # it may be gone by now
        for suffix, content in contents.items():
            with atomic_path(stem.with_suffix(suffix), 0o600) as temporary:
                temporary.write_bytes(content)
    except (OSError, InputError) as error:
        with contextlib.suppress(OSError):
            stem.with_suffix(next(iter(contents))).unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or "the folder isn't as it was"
        LOG.error("not saved", extra={"fields": {"reason": reason}})
        return reason
    return ""
