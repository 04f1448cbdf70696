"""Settings of a server: addresses, access, and limits on its load."""

import dataclasses
import ipaddress
from pathlib import Path

from dr_keras.errors import InputError

_LEAST_TOKEN = 16  # characters


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits on a server's load.

    Attributes:
        max_batch: largest number of photographs in a batch.
        max_wait: seconds that the first photograph of a batch waits for others.
        max_queue: largest number of photographs that wait, and of rows in a request.
        max_body: largest size of a request, in bytes.
        max_pixels: largest size of a photograph, in pixels.
        body_seconds: time for a request to arrive, and for the next one to begin on an open connection.
        seconds: time from a request's arrival to its answer, parsing included.
    """

    max_batch: int = 16
    max_wait: float = 0.005
    max_queue: int = 64
    max_body: int = 32 << 20
    max_pixels: int = 50_000_000
    body_seconds: float = 30.0
    seconds: float = 60.0


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a server.

    Attributes:
        host, port: address for HTTP; port 0 takes a free one.
        grpc_port: port for gRPC, or None for no gRPC.
        token: bearer token that clients must send; None, for a server on this machine only, requires none.
        tls_cert, tls_key: paths of the certificate and its key, for HTTPS; or None.
        save_dir: folder in which photographs sent from the page are saved with their results, or None.
        limits: `Limits`.
    """

    host: str = "127.0.0.1"
    port: int = 8501
    grpc_port: int | None = None
    token: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    save_dir: Path | None = None
    limits: Limits = Limits()


def check_settings(settings):
    """Raises `InputError` for settings that are unsafe or contradict one another."""
    if settings.token is not None and len(settings.token) < _LEAST_TOKEN:
        raise InputError(f"the token has {len(settings.token)} characters, expected at least {_LEAST_TOKEN}")
    if settings.token is None and not _is_loopback(settings.host):
        raise InputError(
            f"--host={settings.host}: others can reach it; expected --token_file, or --host=127.0.0.1"
        )
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise InputError("expected --tls_cert and --tls_key together")
    for name in ("tls_cert", "tls_key"):
        path = getattr(settings, name)
        if path is not None and not Path(path).is_file():
            raise InputError(f"--{name}={path}: no such file")


def _is_loopback(host):
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
