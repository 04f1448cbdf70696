"""Runs the server: sockets, event loop, HTTP and gRPC, until it is asked to end."""

import socket

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from dr_keras.errors import InputError
from dr_keras.serving.application import make_application
from dr_keras.serving.predictor import Predictor
from dr_keras.serving.settings import check_settings
from dr_keras.serving.telemetry import LOG, Metrics


class _Protocol(H11Protocol):
    """HTTP that hangs up on who connects and doesn't finish the head of a request in time."""

    def connection_made(self, transport):
        """Starts the clock."""
        super().connection_made(transport)
        self.loop.call_later(self.timeout_keep_alive, self._hang_up_if_silent)

    def _hang_up_if_silent(self):
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


async def serve(servable, settings, ready=None):
    """Serves a model until the process gets SIGTERM or Ctrl-C; what waits then is still answered.

    Args:
        servable: `Servable`.
        settings: `Settings`.
        ready: called with the address of the page, that of gRPC or None, and the `uvicorn.Server`, once
            requests are accepted.

    Raises:
        InputError: for settings that can't be served, or addresses that are taken.
    """
    check_settings(settings)
    metrics = Metrics()
    predictor = Predictor(servable, settings.limits, metrics.batches.observe)
    grpc_server = grpc_port = None
    try:
        listener = _listen(settings)
        if settings.grpc_port is not None:
            from dr_keras.serving import grpc_service

            grpc_server, grpc_port = await grpc_service.start(predictor, settings)
        await _serve_http(predictor, metrics, settings, listener, grpc_port, ready)
    finally:
        if grpc_server is not None:
            await grpc_server.stop(settings.limits.seconds)
        await predictor.close()
        LOG.info("ended")


async def _serve_http(predictor, metrics, settings, listener, grpc_port, ready):
    app = make_application(predictor, metrics, settings.token, settings.host, settings.save_dir)
    config = uvicorn.Config(
        app, http=_Protocol, ws="none", log_config=None, access_log=False, server_header=False,
        timeout_keep_alive=int(settings.limits.body_seconds), ssl_certfile=settings.tls_cert,
        timeout_graceful_shutdown=int(settings.limits.seconds + settings.limits.body_seconds),
        ssl_keyfile=settings.tls_key, lifespan="off",
    )  # fmt: skip
    server = _Server(config)
    host, port = listener.getsockname()[:2]
    address = f"{'https' if settings.tls_cert else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/"
    fields = {"model": predictor.servable.name, "version": predictor.servable.version, "address": address}
    LOG.info("serving", extra={"fields": fields})
    server.when_started = lambda: ready and ready(address, grpc_port and f"{host}:{grpc_port}", server)
    await server.serve([listener])


class _Server(uvicorn.Server):
    """Tells when it accepts requests."""

    async def startup(self, sockets=None):
        """Starts to listen."""
        await super().startup(sockets)
        self.when_started()


def _listen(settings):
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        reason = error.strerror or error
        raise InputError(
            f"--host={settings.host} --port={settings.port}: can't listen there ({reason})"
        ) from None
    return listener
