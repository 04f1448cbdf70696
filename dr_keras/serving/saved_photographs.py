"""Photographs that the server saves, with their results, where it was asked to: patients' data."""

import contextlib
import datetime
import json
import secrets
from pathlib import Path

from dr_keras.errors import InputError
from dr_keras.files import atomic_path, private_folder
from dr_keras.serving.plain_photographs import plain_bytes
from dr_keras.serving.telemetry import LOG

FLAG = "--save_dir"


def save(folder, data, result):
    """Saves a photograph and its result under a name made of the time and chance, both or neither.

    A DICOM file is saved as a PNG, without what it says of the patient.

    Args:
        folder: from `files.private_folder`.
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
        private_folder(folder, FLAG)  # it may be gone by now
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
