"""The server as an ASGI application: routes of the Open Inference Protocol, limits, metrics."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio.to_thread
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import pullback
from pullback.bundle import load
from pullback.errors import InputError, NotExportedError, PullbackError
from pullback.function import Function
from pullback.serving import protocol, supervisor
from pullback.serving.batching import Batcher, Overloaded
from pullback.serving.datatypes import models
from pullback.serving.metrics import Metrics
from pullback.serving.options import Options

PARSED_IN_THREAD = 64 * 1024  # bytes: larger bodies would hold up other requests while they are read
GONE = 499  # nginx's code for a client that went away; for the metrics alone


class Refused(Exception):
    """An answer other than 200: its status and what to say."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def from_environment() -> Starlette:
    """What a worker runs."""
    supervisor.follow()
    return application(Options.from_environment())


def application(options: Options) -> Starlette:
    """The application of a bundle; raises what :func:`pullback.load` raises."""
    bundle = load(
        options.bundle,
        options.backend,
        threads=options.threads,
        check_finite=options.check_finite,
        check_range=options.check_range,
        cache=options.cache,
    )
    server = Server(
        options, {name: bundle.function(function) for name, function in models(bundle, options.name).items()}
    )
    model = "/v2/models/{model}"
    routes = [
        Route("/v2", server.about),
        Route("/v2/health/live", server.live),
        Route("/v2/health/ready", server.ready),
        Route("/metrics", server.metrics_page),
        Route("/v2/models", server.index),
    ]
    for path in (model, f"{model}/versions/{{version}}"):
        routes += [
            Route(path, server.metadata),
            Route(f"{path}/ready", server.model_ready),
            Route(f"{path}/infer", server.infer, methods=["POST"]),
        ]
    handlers: Any = {404: _not_found, 405: _not_found}
    return Starlette(routes=routes, lifespan=server.lifespan, exception_handlers=handlers)


async def _not_found(request: Request, error: Any) -> Response:
    return JSONResponse({"error": f"{request.method} {request.url.path}: {error.detail}"}, error.status_code)


class Server:
    """The functions of a bundle by the names of their models."""

    def __init__(self, options: Options, functions: dict[str, Function]) -> None:
        self._options = options
        self._functions = functions
        self._metrics = Metrics()
        self._accepting = False
        self._underway = 0
        self._batchers: dict[str, Batcher] = {}

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Any) -> AsyncIterator[None]:
        """Ready between start and shutdown; a queue for each function."""
        compute = functools.partial(
            anyio.to_thread.run_sync, limiter=anyio.CapacityLimiter(max(1, len(self._functions)))
        )
        for name, function in self._functions.items():
            seen = self._metrics.rows.labels(name).observe
            self._batchers[name] = Batcher(function, self._options.rows, self._options.requests, compute, seen)
        self._accepting = True
        yield
        self._accepting = False
        supervisor.inherit()

    async def about(self, _: Request) -> Response:
        """Server metadata."""
        return JSONResponse({"name": "pullback", "version": pullback.__version__, "extensions": ["binary_tensor_data"]})

    async def live(self, _: Request) -> Response:
        """Whether the process answers at all."""
        return JSONResponse({"live": True})

    async def ready(self, _: Request) -> Response:
        """Whether it takes requests."""
        return JSONResponse({"ready": self._accepting}, 200 if self._accepting else 503)

    async def index(self, _: Request) -> Response:
        """The models, one for each function."""
        return JSONResponse({"models": list(self._functions)})

    async def metrics_page(self, _: Request) -> Response:
        """Prometheus' text format."""
        text, kind = self._metrics.text()
        return Response(text, media_type=kind)

    async def metadata(self, request: Request) -> Response:
        """Names, datatypes and shapes of a model."""
        return self._of_model(request, lambda name: protocol.metadata(name, self._functions[name].spec))

    async def model_ready(self, request: Request) -> Response:
        """Whether a model takes requests: as soon as the server does."""
        return self._of_model(request, lambda name: {"name": name, "ready": self._accepting})

    def _of_model(self, request: Request, answer: Any) -> Response:
        try:
            return JSONResponse(answer(self._model(request)))
        except Refused as error:
            return JSONResponse({"error": str(error)}, error.status)

    def _model(self, request: Request) -> str:
        name, version = request.path_params["model"], request.path_params.get("version", "1")
        if name not in self._functions or version != "1":
            held = ", ".join(self._functions)
            raise Refused(
                404, f"there is no model {name[:100]!r} of version {version[:20]!r}; there are {held}, version 1"
            )
        return str(name)

    async def infer(self, request: Request) -> Response:
        """Evaluate a function."""
        start, name, status = time.perf_counter(), "", 500
        self._underway += 1
        self._metrics.underway.inc()
        try:
            name = self._model(request)
            if self._underway > self._options.requests:
                raise Refused(503, f"{self._options.requests} requests are under way; try again")
            body, headers = await self._within_time(self._answer(name, request))
            status = 200
            return Response(body, headers=headers)
        except ClientDisconnect:
            status = GONE
            return Response(status_code=400)
        except Exception as error:
            refused = _refusal(error)
            status = refused.status
            headers = {"retry-after": "1"} if status == 503 else {}
            if status in (408, 413):
                headers["connection"] = "close"
            if status == 413:
                await self._discard(request)
            return JSONResponse({"error": str(refused)}, status, headers)
        finally:
            self._underway -= 1
            self._metrics.underway.dec()
            self._metrics.requests.labels(name, str(status)).inc()
            if name:
                self._metrics.seconds.labels(name).observe(time.perf_counter() - start)

    async def _within_time(self, answer: Any) -> Any:
        try:
            async with asyncio.timeout(self._options.seconds):
                return await answer
        except TimeoutError as error:
            raise Refused(504, f"the request took more than {self._options.seconds:g} seconds") from error

    async def _answer(self, name: str, request: Request) -> tuple[bytes, dict[str, str]]:
        body = await self._body(request)
        parse = functools.partial(
            protocol.parse, body, request.headers.get(protocol.HEADER_LENGTH), self._functions[name].spec
        )
        large = len(body) > PARSED_IN_THREAD
        found = await anyio.to_thread.run_sync(parse) if large else parse()
        results = await self._batchers[name].results(found.feeds, found.outputs)
        respond = functools.partial(protocol.respond, name, found, results)
        large = sum(array.nbytes for array in results.values()) > PARSED_IN_THREAD
        return await anyio.to_thread.run_sync(respond) if large else respond()

    async def _discard(self, request: Request) -> None:
        """Lets a client that sends too much come to the end, within limits: many read no answer before that."""
        size = 0
        with contextlib.suppress(TimeoutError, ClientDisconnect, RuntimeError):
            async with asyncio.timeout(2):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > 4 * self._options.body:
                        return

    async def _body(self, request: Request) -> bytes:
        """All of it, within the limits of size and time."""
        limit = self._options.body
        too_large = Refused(413, f"the body has more than {limit:,} bytes")
        length = request.headers.get("content-length", "0")
        if length.isdigit() and int(length) > limit:
            raise too_large
        chunks, size = [], 0
        try:
            async with asyncio.timeout(self._options.seconds / 2):
                async for chunk in request.stream():
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > limit:
                        raise too_large
        except TimeoutError as error:
            raise Refused(408, f"the body took more than {self._options.seconds / 2:g} seconds to arrive") from error
        return b"".join(chunks)


def _refusal(error: Exception) -> Refused:
    """What the client is told: the fault is its own (400), or not (500), in one line."""
    if isinstance(error, Refused):
        return error
    text = " ".join(str(error).split())
    if isinstance(error, Overloaded):
        return Refused(503, text)
    if isinstance(error, (InputError, NotExportedError)):
        return Refused(400, text)
    return Refused(500, text if isinstance(error, PullbackError) else f"{type(error).__name__}: {text}")
