"""The server's routes: TensorFlow Serving's REST paths, a page for people, health and metrics."""

import asyncio
import re
import urllib.parse
from importlib import resources

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from dr_keras.report import grading_page
from dr_keras.serving import answers, forms, page_answers, saved_photographs, status
from dr_keras.serving.gateway import Gateway, refusal
from dr_keras.serving.refusal import Refused

# TensorFlow Serving's own patterns; names reach no file, so nothing in them needs escaping.
_MODEL = r"models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
_PREDICT = re.compile(_MODEL + ":(classify|regress|predict)", re.IGNORECASE)
_STATUS = re.compile(_MODEL + "(/metadata)?", re.IGNORECASE)
_LONGEST_VERSION = 18  # digits of a 64-bit number
_DISCARDED = 4  # times the largest body: how much of a request that is too large is read and dropped
_PARSED_AT_ONCE = 2  # requests; the values of a large one take a hundred times its size in memory
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def make_application(predictor, metrics, token=None, host="127.0.0.1", save_dir=None):
    """Makes the server's ASGI application.

    Args:
        predictor: `Predictor`.
        metrics: `telemetry.Metrics`.
        token, host: see `Gateway`.
        save_dir: folder in which photographs sent from the page are saved with their results, or None.

    Returns:
        The application.
    """
    # FastAPI's documentation pages would load scripts from other servers.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _add_rest(app, predictor)
    _add_page(app, predictor, token, save_dir)

    @app.get("/healthz")
    async def health():
        return JSONResponse({"status": "ok"})

    @app.get("/metrics")
    async def prometheus():
        content, kind = metrics.text()
        return Response(content, headers={"Content-Type": kind})

    @app.exception_handler(Refused)
    async def refuse(request, error):
        return refusal(error)

    @app.exception_handler(HTTPException)
    async def refuse_route(request, error):
        return refusal(Refused(error.status_code, f"{error.detail}: {request.method} {request.url.path}"))

    @app.exception_handler(Exception)
    async def fail(request, error):  # the gateway logs it
        return refusal(Refused(500, "unexpected error; the server's log has it"))

    metrics.watch(predictor)
    return Gateway(app, metrics, token, host, predictor.limits)


def _add_rest(app, predictor):
    servable, limits = predictor.servable, predictor.limits
    parsing = asyncio.Semaphore(_PARSED_AT_ONCE)

    @app.get("/v1/models")
    async def tell_models():
        return JSONResponse(status.models(servable))

    @app.get("/v1/{path:path}")
    async def tell_status(request: Request, path: str):
        match = _STATUS.fullmatch(path)
        if not match:
            raise Refused(400, f"Malformed request: GET /v1/{path}")
        name, version, label, wants_metadata = match.groups()
        status.check_served(servable, name, _version(version, label), wants_status=not wants_metadata)
        return JSONResponse(status.metadata(servable) if wants_metadata else status.status(servable))

    @app.post("/v1/{path:path}")
    async def predict(request: Request, path: str):
        match = _PREDICT.fullmatch(path)
        if not match:
            raise Refused(400, f"Malformed request: POST /v1/{path}")
        name, version, label, method = match.groups()
        status.check_served(servable, name, _version(version, label))
        if method.lower() != "predict":
            raise Refused(400, f"Expected {method} signature. Was: tensorflow/serving/predict")
        body = await read_body(request, limits)
        try:
            async with asyncio.timeout(limits.seconds):  # what is sent may take long to parse, too
                async with parsing:
                    forms.check_size(body, servable, limits.max_queue)
                    signature, inputs, form = await asyncio.to_thread(
                        forms.read_request, body, servable.inputs, limits.max_queue
                    )
                del body
                outputs = await predictor.predict(signature, inputs)
                request.scope["told"] = {"signature": signature, "rows": len(next(iter(outputs.values())))}
                text = await asyncio.to_thread(answers.write_answer, outputs, form)
        except TimeoutError:
            raise predictor.too_late() from None
        return Response(text, media_type="application/json")


def _version(version, label):
    if label:
        raise Refused(400, f"Unrecognized servable version label: {label}")
    if version and len(version) > _LONGEST_VERSION:
        raise Refused(400, f"Failed to convert version: {version} to numeric.")
    return int(version) if version else None


def _add_page(app, predictor, token, save_dir):
    servable = predictor.servable
    about = page_answers.page_model(servable).about()
    about |= {"needs_token": token is not None, "keeps": save_dir is not None}
    headers = {"Content-Security-Policy": _POLICY}

    def add_file(path, text, kind):
        @app.get(path)
        async def give():
            return Response(text, headers=headers, media_type=kind)

    index = grading_page.index(about, '<link rel="icon" href="data:,">', page_answers.formats())
    add_file("/", index, "text/html")
    add_file("/page.css", grading_page.style(), "text/css")
    add_file("/page.js", grading_page.text("page.js"), "text/javascript")
    source = resources.files(__package__).joinpath("page", "source.js")
    add_file("/source.js", source.read_text(encoding="utf-8"), "text/javascript")

    @app.post("/grade")
    async def grade(request: Request):
        data = await read_body(request, predictor.limits)
        result = await page_answers.grade(predictor, data)
        if save_dir is not None:
            reason = await asyncio.to_thread(saved_photographs.save, save_dir, data, result)
            result |= {"not_saved": reason} if reason else {}
        result |= await asyncio.to_thread(page_answers.shown, data)
        return JSONResponse(result)

    @app.post("/occlude")
    async def occlude(request: Request):
        data = await read_body(request, predictor.limits)
        return JSONResponse(await page_answers.occlude(predictor, data))

    @app.post("/report")
    async def report(request: Request):
        data = await read_body(request, predictor.limits)
        result = await page_answers.grade(predictor, data)
        name = urllib.parse.unquote(request.headers.get("file-name", ""))
        text = await asyncio.to_thread(page_answers.report, servable, data, result, name)
        return Response(text, media_type="text/html")


async def read_body(request, limits):
    """Reads the body of a request: bytes.

    Raises:
        Refused: 413 if it is too large, 408 if it takes too long, 400 if it breaks off or is empty.
    """
    refused = Refused(413, f"the request is too large, expected at most {limits.max_body >> 20} MiB")
    claimed = int(request.headers.get("content-length") or 0)
    parts, size, is_too_large = [], 0, claimed > limits.max_body
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for part in request.stream():
                size += len(part)
                is_too_large |= size > limits.max_body
                if max(size, claimed) > _DISCARDED * limits.max_body:
                    raise refused
                # A somewhat too large body is read to its end: a client that is cut off misses the reason.
                if is_too_large:
                    parts.clear()
                else:
                    parts.append(part)
    except TimeoutError:
        slow = Refused(408, f"the request didn't arrive within {limits.body_seconds:g} seconds")
        raise refused if is_too_large else slow from None
    except ClientDisconnect:
        raise Refused(400, "the request broke off") from None
    if is_too_large:
        raise refused
    return b"".join(parts)
