"""The service's web application, served as it is in earnest, over calls that a test makes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import uvicorn
from fastapi import APIRouter, FastAPI

from voki_bots.service.access import Access
from voki_bots.service.api import application
from voki_bots.service.control import Control
from voki_bots.service.delivery import Delivery
from voki_bots.service.guard import Guard
from voki_bots.service.supervision import Desks
from voki_bots.service.telemetry import Telemetry
from voki_bots.settings import ServiceSettings


def made(
    access: Access,
    *,
    sessions: Sequence[Any] = (),
    desks: Sequence[Any] = (),
    routers: Sequence[APIRouter] = (),
    delivery: Delivery | None = None,
    clock: Any = lambda: 0.0,
) -> FastAPI:
    """The application with every router that the service has; sessions and desks are the far end."""
    service: Any = SimpleNamespace(
        settings=SimpleNamespace(service=ServiceSettings()), dispatch=None, beat=0.0, unready=None
    )
    found = Desks(desks, lambda: sessions, access, clock=clock, loopback=True)
    delivery = delivery or Delivery(access, clock=clock)
    control = Control(lambda: sessions, access, lambda session: found.of(session.call.key))
    every = [control.routes(), found.routes(), delivery.routes(), *routers]
    return application(service, Telemetry(), None, every, access=access)


@asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[int]:
    """Serve on a free port of this machine; give the port."""
    config = uvicorn.Config(
        Guard(app), port=0, log_config=None, timeout_graceful_shutdown=1, proxy_headers=False, **options
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        await task
