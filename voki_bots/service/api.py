"""Health, metrics and the calls that are attended, over HTTP."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import structlog
import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from voki_bots.errors import ConfigurationError, FileWriteError
from voki_bots.service.access import Access, Principal, Rank
from voki_bots.service.guard import LOOPBACK, Guard
from voki_bots.service.telemetry import Telemetry
from voki_bots.service.webhooks import Webhooks
from voki_bots.settings import ServiceSettings

if TYPE_CHECKING:
    from voki_bots.service.run import Service

_log = structlog.get_logger(__name__)

STUCK = 8.0
"""Seconds without a beat of the event loop after which the process counts as dead: an SFU gives a call up
after that time too (measured with ex_webrtc)."""

LARGEST_MESSAGE = 65_536
"""Bytes of a message of a websocket to us."""

NOBODY = Principal("", Rank.VIEWER)

STOP = 2.0
"""Seconds that open requests may take at the end."""


def application(
    service: Service,
    telemetry: Telemetry,
    webhooks: Webhooks | None = None,
    routers: Sequence[APIRouter] = (),
    *,
    access: Access,
) -> FastAPI:
    """The web application: /livez, /readyz, /metrics, /api/v1/calls, and what else is given."""
    # Where nobody is let in, whoever is on this machine still sees what becomes of calls.
    viewer = Depends(
        (lambda: NOBODY) if access.closed and service.settings.service.loopback else access.viewer
    )
    measured = [] if service.settings.service.loopback else [viewer]
    app = FastAPI(title="voki-bots", docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json")

    @app.get("/livez", tags=["health"])
    async def livez() -> Response:
        """200 as long as the event loop runs."""
        late = asyncio.get_running_loop().time() - service.beat if service.beat else 0.0
        if late > STUCK:
            return Response(f"the event loop stood still for {late:.0f} s\n", 503, media_type="text/plain")
        return Response("ok\n", media_type="text/plain")

    @app.get("/readyz", tags=["health"])
    async def readyz() -> Response:
        """200 if calls can be attended now, else 503 with the reason."""
        why = service.unready
        return Response(f"{why or 'ok'}\n", 503 if why else 200, media_type="text/plain")

    @app.exception_handler(FileWriteError)
    async def unwritten(_: Request, error: FileWriteError) -> Response:
        """What cannot be noted is not done."""
        _log.error("not_audited", why=str(error))
        return JSONResponse({"detail": "it cannot be noted, and so it is not done; is the disk full?"}, 503)

    @app.get("/metrics", tags=["health"], dependencies=measured)
    async def metrics() -> Response:
        """Prometheus metrics."""
        return Response(generate_latest(telemetry.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/api/v1/calls", tags=["calls"])
    async def calls(who: Principal = viewer) -> list[dict[str, Any]]:
        """Every call that was offered to a bot, with the decision and its reason."""
        rows = [
            row for row in (service.dispatch.rows if service.dispatch else ()) if who.sees(row.call.tenant)
        ]
        return [
            {
                "bot": row.bot,
                "tenant": row.call.tenant,
                "call": row.call.call_id,
                "state": row.state,
                "attend": row.decision.attend,
                "reason": row.decision.reason,
                "now": asdict(snapshot) if (snapshot := row.snapshot()) else None,
            }
            for row in rows
        ]

    for router in routers:
        app.include_router(router)
    if webhooks is not None:
        webhooks.serve(app)
    return app


class _Server(uvicorn.Server):
    """uvicorn without signals of its own: the service's come first."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serve_api(
    settings: ServiceSettings,
    service: Service,
    telemetry: Telemetry,
    webhooks: Webhooks | None = None,
    routers: Sequence[APIRouter] = (),
    *,
    access: Access,
) -> AsyncIterator[int]:
    """Serve the application while the ``async with`` lasts.

    Yields:
        The port.

    Raises:
        ConfigurationError: If the address cannot be bound.
    """
    listener = _bound(settings)
    port = int(listener.getsockname()[1])
    app = application(service, telemetry, webhooks, routers, access=access)
    hosts = {*LOOPBACK, settings.host, *settings.hosts} if settings.loopback or settings.hosts else ()
    config = uvicorn.Config(
        Guard(app, hosts=hosts),
        log_config=None,
        access_log=False,
        proxy_headers=False,  # whom we trust with them is in service.proxy
        server_header=False,
        ws_max_size=LARGEST_MESSAGE,
        timeout_graceful_shutdown=int(STOP),
        **_certificate(settings),
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="api")
    _log.info("serving", host=settings.host, port=port)
    try:
        yield port
    finally:
        server.should_exit = True
        await serving
        listener.close()


def _certificate(settings: ServiceSettings) -> dict[str, Any]:
    """What uvicorn needs to encrypt; nothing without [service.tls].

    Raises:
        ConfigurationError: If the files are no certificate and its key.
    """
    if settings.tls is None:
        return {}
    certificate, key = settings.tls.certificate, settings.tls.key
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        why = error.strerror or getattr(error, "reason", None) or type(error).__name__
        raise ConfigurationError(
            f"service.tls: {certificate} and {key} are no certificate and its key: {why}", path="service.tls"
        ) from None
    return {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}


def _bound(settings: ServiceSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"service.port: cannot listen on {settings.host}:{settings.port}: {error.strerror}",
            path="service.port",
        ) from None
    return listener
