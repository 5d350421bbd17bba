"""Who is let into the service, as its settings say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

from voki_bots.archive.layout import split_template
from voki_bots.errors import ConfigurationError
from voki_bots.service.access import Access, Grant, Principal, Proxy, Rank
from voki_bots.service.audit import Audit
from voki_bots.settings import Settings, check_exposure, control_token, tokens_of


@contextmanager
def entrance(settings: Settings) -> Iterator[Access]:
    """Who may ask, and where it is kept what they did.

    Raises:
        ConfigurationError: If nobody could use the console, or too many could use the service.
    """
    service = settings.service
    grants = [
        Grant(Principal(person.name, Rank(person.role), frozenset(person.tenants)), token)
        for person, token in tokens_of(service)
    ]
    proxy = None
    if service.proxy is not None:
        ranks = {name: Rank(rank) for name, rank in service.proxy.roles.items()}
        user, roles = service.proxy.user_header, service.proxy.roles_header
        proxy = Proxy(service.proxy.trusted, user, roles, ranks, service.proxy.tenants_header)
    audit = Audit(
        split_template(settings.archive.directory)[0], clock=time.monotonic, wall=lambda: datetime.now(UTC)
    )
    token = control_token(settings.voki, service)
    access = Access(
        token, grants, proxy, audit=audit, rate=service.rate, burst=5 * service.rate, clock=time.monotonic
    )
    check_exposure(service, guarded=not access.closed)
    if service.console and access.closed:
        raise ConfigurationError(
            "service.console: nobody could use the console; set VOKI_CONTROL_TOKEN or "
            "service.control_token_file, or write [[service.access]] or [service.proxy]",
            path="service.console",
        )
    with closing(audit):
        yield access
