"""How a server listens, and what it takes on."""

import dataclasses
import ipaddress
from pathlib import Path

from dr_keras.errors import InputError

_LEAST_TOKEN = 16  # characters


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a server takes on.

    Attributes:
        max_batch: photographs in a batch.
        max_wait: seconds that the first photograph of a batch waits for others.
        max_queue: photographs that wait; with `max_batch`, requests that are answered at once.
        max_body: bytes of a request.
        max_pixels: of a photograph.
        body_seconds: in which a request must have arrived.
        seconds: in which a request must be answered.
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
    """How a server listens.

    Attributes:
        host, port: of HTTP; port 0 takes a free one.
        grpc_port: None for no gRPC.
        token: asked for in every request of substance; None asks for none, on this machine only.
        tls_cert, tls_key: files for HTTPS, or None.
        save_dir: folder for photographs sent from the page and their results; None keeps none.
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
    """Raises `InputError` for settings under which nothing should be served."""
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
