"""What a listener received and has still to grade or to send, on disk: it outlives the process."""

import contextlib
import fcntl
import hashlib
import os
from pathlib import Path

from dr_keras.errors import InputError
from dr_keras.files import atomic_path, private_folder

FLAG = "--queue"


class Inbox:
    """Folders of a listener: `received`, files to grade; `outgoing`, results to send; `done`, marks of both.

    A file moves on only after what follows it is on disk. A process that is killed at any moment leaves each
    photograph either still received or done with all of its results: none is lost, none is graded anew.

    Args:
        folder: where they are; made if it isn't there, for its owner alone.

    Raises:
        InputError: if another listener uses the folder, or others may enter it.
    """

    def __init__(self, folder):
        folder = private_folder(folder, FLAG)
        self._lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise InputError(
                f"{FLAG}={folder}: another listener uses it; expected a folder of its own"
            ) from None
        self._received, self._outgoing, self._done = (
            private_folder(folder / name, FLAG) for name in ("received", "outgoing", "done")
        )

    def close(self):
        """Lets another listener use the folder."""
        os.close(self._lock)

    def put(self, instance_uid, data, identity):
        """Keeps a received file; returns once it is on disk.

        Args:
            instance_uid: its SOP Instance UID. The same instance is kept once, and not if it is done.
            data: bytes of the file.
            identity: text that tells the model from others: another one grades anew.
        """
        if not self.is_done(instance_uid, identity):
            _write(self._received / f"{_hash(instance_uid)}.dcm", data)

    def received(self):
        """Paths of the files to grade, the oldest first."""
        return _oldest_first(self._received)

    def is_done(self, instance_uid, identity):
        """Whether all results of an instance are on disk, or were sent."""
        return (self._done / _hash(instance_uid, identity)).exists()

    def hand_on(self, path, results, instance_uid, identity):
        """Takes a received file away once its results are on disk.

        Args:
            path: the file.
            results: dict of file name to bytes, to send; {} where nothing is sent.
            instance_uid, identity: see `put`.
        """
        if not self.is_done(instance_uid, identity):
            for name, data in results.items():
                _write(self._outgoing / f"{_hash(instance_uid, identity)}.{name}", data)
            _write(self._done / _hash(instance_uid, identity), b"")
        self.drop(path)

    def drop(self, path):
        """Removes a file that was graded or sent."""
        Path(path).unlink(missing_ok=True)
        sync(Path(path).parent)

    def outgoing(self):
        """Paths of results to send, the oldest first; of a photograph all, or none until all are there."""
        paths = _oldest_first(self._outgoing)
        return [path for path in paths if (self._done / path.name.split(".")[0]).exists()]


def _hash(*parts):
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _oldest_first(folder):
    found = []
    for path in folder.glob("[!.]*"):
        with contextlib.suppress(FileNotFoundError):  # sent meanwhile
            found.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(found)]


def _write(path, data):
    if not path.exists():
        with atomic_path(path, 0o600) as temporary:
            temporary.write_bytes(data)
        sync(path.parent)


def sync(folder):
    """Returns once the names of a folder's files are on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
