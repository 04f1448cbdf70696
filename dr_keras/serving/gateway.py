"""Gateway that every request passes first: checks who may ask and how many at once, and logs the answer."""

import asyncio
import hmac
import ipaddress
import json
import time

from starlette.requests import Request
from starlette.responses import Response

from dr_keras.serving.refusal import Refused
from dr_keras.serving.telemetry import LOG

_CLOSING = (408, 413)  # answers after which the connection is closed and nothing more is read
_OPEN = ("/", "/page.css", "/page.js", "/source.js", "/healthz")  # answered without a token
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


class Gateway:
    """ASGI middleware that admits requests and logs the answers.

    Args:
        app: the application behind it.
        metrics: `telemetry.Metrics`.
        token: required of every request that grades or tells about the model; None requires none.
        host: address on which the server listens. Without a token, the Host header of a request must name it
            or this machine, so that a page from elsewhere can't reach the server through a domain that it
            points here (DNS rebinding).
        limits: `Limits`; at most `max_queue + max_batch` requests are worked on at a time.
    """

    def __init__(self, app, metrics, token, host, limits):
        self._app, self._metrics = app, metrics
        self._token, self._hosts = token, {host, "localhost"}
        self._limits, self._active = limits, 0
        self._max_requests = limits.max_queue + limits.max_batch

    async def __call__(self, scope, receive, send):
        """Answers one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        start, told = time.perf_counter(), {"status": 500, "started": False}
        is_post, counted = scope["method"] == "POST", False
        body = _Body(receive, self._limits)

        async def tell(message):
            if message["type"] == "http.response.start":
                if is_post and message["status"] not in _CLOSING:
                    await body.hear_out()
                told["status"], told["started"] = message["status"], True
                message = {**message, "headers": [*message["headers"], *_HEADERS]}
            await send(message)

        try:
            self._check(Request(scope))
            counted = is_post
            self._active += counted
            await self._app(scope, body.receive, tell)
        except Refused as refused:
            await refusal(refused)(scope, receive, tell)
        except Exception:
            LOG.error("unexpected error", exc_info=True, extra={"fields": {"method": scope["method"]}})
            if not told["started"]:
                await refusal(Refused(500, "unexpected error; the server's log has it"))(scope, receive, tell)
        finally:
            self._active -= counted
            self._tell(scope, told["status"], time.perf_counter() - start)

    def _check(self, request):
        if self._token is None and not self._is_here(request.headers.get("host", "")):
            raise Refused(421, "this server answers only for its own address")
        # Any page can make a browser on this machine send a form here, with no token to stop it.
        if request.method not in ("GET", "HEAD") and not _is_of_this_page(request.headers):
            raise Refused(403, "sent by a page from elsewhere; only this server's own page may do that")
        if self._token is not None and request.url.path not in _OPEN:
            if not bears(request.headers.get("authorization", ""), self._token):
                raise Refused(401, "expected the header Authorization: Bearer TOKEN")
        if request.method == "POST" and self._active >= self._max_requests:
            raise Refused(503, f"busy with {self._max_requests} requests; try again", retry_after=1)

    def _is_here(self, host):
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        name = name.strip("[]").lower()
        if name in self._hosts:
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    def _tell(self, scope, status, seconds):
        route = getattr(scope.get("route"), "path", "none")
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        fields = {"method": scope["method"], "route": route, "status": status, "ms": round(1000 * seconds, 1)}
        LOG.info("request", extra={"fields": {**fields, **scope.get("told", {})}})


class _Body:
    """The body of a request; knows whether it was received to its end."""

    def __init__(self, receive, limits):
        self._receive, self._limits, self._is_whole = receive, limits, False

    async def receive(self):
        """Returns the next ASGI message."""
        message = await self._receive()
        self._is_whole = message["type"] != "http.request" or not message.get("more_body")
        return message

    async def hear_out(self):
        """Reads and drops the rest: a client that is cut off while it sends never reads the answer."""
        size = 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while not self._is_whole and size <= self._limits.max_body:
                    size += len((await self.receive()).get("body", b""))
        except TimeoutError:
            pass


def _is_of_this_page(headers):
    """Whether a browser says that the server's own page sent a request; programs say nothing, and may ask."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site in ("same-origin", "none")
    own = headers.get("host", "").lower()
    return origin is None or origin.lower() in (f"http://{own}", f"https://{own}")


def bears(header, token):
    """Whether an Authorization header has the token."""
    kind, _, given = header.partition(" ")
    return kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def refusal(refused):
    """Makes the response to a refused request: JSON in TensorFlow Serving's form of an error."""
    headers = {"Connection": "close"} if refused.status in _CLOSING else {}
    if refused.retry_after is not None:
        headers["Retry-After"] = str(refused.retry_after)
    if refused.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    content = json.dumps({"error": str(refused)})
    return Response(content, refused.status, headers, media_type="application/json")
