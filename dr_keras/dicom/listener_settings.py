"""Settings of a listener: where it listens, to whom, and where results go."""

import dataclasses
import ipaddress
from pathlib import Path

from dr_keras.dicom.sending import Destination
from dr_keras.errors import InputError


@dataclasses.dataclass(frozen=True)
class ListenerSettings:
    """Settings of a listener.

    Attributes:
        host, port: where it listens; port 0 takes a free one.
        ae_title: its own title.
        allowed_ae_titles: callers who are accepted; () accepts all, which a loopback address alone may.
        queue: folder of what was received and isn't done.
        output: folder in which results are kept, or None.
        destination: `Destination` to which results are sent, or None.
        overlays: whether the overlay and the lesions are made, too.
    """

    host: str
    port: int
    ae_title: str
    allowed_ae_titles: tuple
    queue: Path
    output: Path | None = None
    destination: Destination | None = None
    overlays: bool = False

    def __post_init__(self):
        if self.output is None and self.destination is None:
            raise InputError("expected --destination or --output, or both: results have to go somewhere")
        if not self.allowed_ae_titles and not _is_loopback(self.host):
            raise InputError(
                f"--host={self.host}: others can reach it; expected --allowed_ae_titles, or --host=127.0.0.1"
            )


def _is_loopback(host):
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
