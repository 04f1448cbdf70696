"""Sending results to an archive by C-STORE."""

import dataclasses
import re

from dr_keras.data import dicom
from dr_keras.errors import InputError

_DESTINATION = re.compile(r"^([^@\\]{1,16})@(.+):(\d{1,5})$")
SECONDS = 30  # that an archive may take to answer


@dataclasses.dataclass(frozen=True)
class Destination:
    """Where results go: an application entity's title, its host and port."""

    ae_title: str
    host: str
    port: int

    @classmethod
    def parse(cls, text):
        """Reads `AE@host:port`; raises `InputError` for other text."""
        match = _DESTINATION.match(text)
        if match is None or not 0 < int(match[3]) < 65536:
            raise InputError(f"--destination={text}: expected AE@host:port, such as ARCHIVE@10.0.0.5:104")
        return cls(match[1], match[2], int(match[3]))

    def __str__(self):
        """As `parse` reads it."""
        return f"{self.ae_title}@{self.host}:{self.port}"


def send(paths, destination, ae_title, on_sent):
    """Sends DICOM files over one association.

    Args:
        paths: the files.
        destination: `Destination`.
        ae_title: the sender's own title.
        on_sent: called with the path of each file that the archive has stored.

    Returns:
        "", or why some weren't stored, in words without the patient.
    """
    pydicom = dicom.load_pydicom()
    from pynetdicom import AE

    datasets = [(path, pydicom.dcmread(path)) for path in paths]
    entity = AE(ae_title=ae_title)
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = SECONDS
    for kind, syntax in {(each.SOPClassUID, each.file_meta.TransferSyntaxUID) for _, each in datasets}:
        entity.add_requested_context(kind, syntax)
    association = entity.associate(destination.host, destination.port, ae_title=destination.ae_title)
    if not association.is_established:
        return f"{destination}: " + (
            "the association was rejected" if association.is_rejected else "can't be reached"
        )
    reason = ""
    try:
        for path, dataset in datasets:
            try:
                status = association.send_c_store(dataset)
            except (ValueError, RuntimeError):  # a class that the archive doesn't take, or a lost connection
                reason = f"{destination}: doesn't take {dicom.class_words(dataset.SOPClassUID)}, or broke off"
                continue
            # Warnings (0xBxxx) mean that it is stored.
            if "Status" in status and (status.Status == 0 or status.Status >> 12 == 0xB):
                on_sent(path)
            else:
                code = f"status 0x{status.Status:04X}" if "Status" in status else "no answer"
                reason = f"{destination}: didn't store a result ({code})"
    finally:
        association.release()
    return reason
