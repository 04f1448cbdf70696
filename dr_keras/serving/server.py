"""Runs the server: sockets, event loop, HTTP and gRPC, until it is asked to end."""

import asyncio
import math
import resource
import socket

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from dr_keras.errors import InputError
from dr_keras.files import private_folder
from dr_keras.serving import saved_photographs
from dr_keras.serving.application import make_application
from dr_keras.serving.predictor import Predictor
from dr_keras.serving.settings import check_settings
from dr_keras.serving.telemetry import LOG, Metrics

_MOST_CONNECTIONS = 1000
# The loop accepts connections in rounds of this many, with a file descriptor each, before one can be closed.
_ACCEPTED_AT_ONCE = 16
_WAITING_CONNECTIONS = 2048  # that the system holds until they are accepted


class _Protocol(H11Protocol):
    """HTTP/1.1 that limits the time for the head of each request, and the number of connections.

    Where there are too many, the one is closed that has waited longest for a request to begin.
    """

    def connection_made(self, transport):
        """Starts the clock for the first request."""
        super().connection_made(transport)
        self._expect_request(None)
        alive = [item for item in self.connections if not item.transport.is_closing()]
        if len(alive) > self.config.max_connections:
            idle = (item for item in alive if item.cycle is None or item.cycle.response_complete)
            min(idle, key=lambda item: item.idle_since).transport.abort()

    def on_response_complete(self):
        """Starts the clock for the next request; what trickles in doesn't stop it."""
        answered = self.cycle
        super().on_response_complete()
        self._expect_request(answered)

    def _expect_request(self, answered):
        self.idle_since = self.loop.time()
        self.loop.call_later(self.timeout_keep_alive, self._hang_up_unless_asked, answered)

    def _hang_up_unless_asked(self, answered):
        if self.cycle is answered and not self.transport.is_closing():
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
    if settings.save_dir is not None:
        private_folder(settings.save_dir, saved_photographs.FLAG)
    asyncio.get_running_loop().set_exception_handler(_LoopErrors())
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
        ssl_keyfile=settings.tls_key, lifespan="off", backlog=_ACCEPTED_AT_ONCE,
    )  # fmt: skip
    config.max_connections = min(_MOST_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
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
        for listener in sockets:
            listener.listen(_WAITING_CONNECTIONS)
        self.when_started()


class _LoopErrors:
    """Logs errors that the event loop catches, running out of file descriptors above all, one a minute."""

    def __init__(self):
        self._next = -math.inf

    def __call__(self, loop, context):
        """Logs one: what the loop says of it, and the kind of error, whose words may quote a request."""
        if loop.time() >= self._next:
            self._next = loop.time() + 60
            fields = {"what": context["message"], "error": type(context.get("exception")).__name__}
            LOG.error("connection failed", extra={"fields": fields})


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
