"""Asking a running service for something, over its HTTP endpoints."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from voki_bots.errors import AuthenticationError, ConfigurationError, ConnectionLostError, VokiError

TIMEOUT = 10.0
"""Seconds that a service on the same machine may take to answer."""


class RunningService:
    """A running service, as its configuration says where it is.

    Args:
        config: The file that it runs with; None takes the environment alone.
        url: Where it is, if not where the file says.
        tenant: Goes before the tenant of the file and of the environment.

    Raises:
        ConfigurationError: If there is no control token, or something else is missing.
    """

    def __init__(self, config: Path | None, url: str | None, tenant: str | None) -> None:
        from voki_bots.settings import control_token, load_control

        voki, service = load_control(config, tenant=tenant)
        token = control_token(voki, service)
        if token is None:
            raise ConfigurationError(
                "no control token; set VOKI_CONTROL_TOKEN or service.control_token_file",
                path="control_token",
            )
        self.tenant = voki.tenant
        self._token = token
        host = f"[{service.host}]" if ":" in service.host else service.host
        self.url = (url or f"http://{host}:{service.port}").rstrip("/")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(
                f"--url: must look like http://127.0.0.1:8080, got {self.url!r}", path="url"
            )

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask for something; give the JSON of the answer.

        Raises:
            ConnectionLostError: If nobody answers there.
            AuthenticationError: If the service refuses the token.
            VokiError: If it refuses what is asked, with its own sentence.
        """
        status, said = self._exchange(method, path, body)
        if status in (401, 403):
            raise AuthenticationError(f"{self.url}: {_detail(said)}", status=status)
        if status >= 400:
            raise VokiError(f"{self.url}: {_detail(said)}")
        return said

    def command(self, call: str, verb: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Command something about a call; give its state, one entry for each bot in it."""
        address = f"/api/v1/calls/{quote(self.tenant, safe='')}/{quote(call, safe='')}/{verb}"
        found: list[dict[str, Any]] = self.ask("POST", address, body)
        return found

    def _exchange(self, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[int, Any]:
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        try:
            connection.request(
                method, parts.path + path, None if body is None else json.dumps(body).encode(), headers
            )
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ConnectionLostError(f"no running service answers at {self.url}: {why}") from None
        except ValueError:
            raise VokiError(
                f"{self.url}: expected JSON, which voki-bots answers; is it something else?"
            ) from None
        finally:
            connection.close()


def _detail(said: Any) -> str:
    """What the service said was wrong, in one line."""
    detail = said.get("detail") if isinstance(said, dict) else said
    if isinstance(detail, list):  # of FastAPI's validation
        return "; ".join(f"{each.get('loc', ['', ''])[-1]}: {each.get('msg')}" for each in detail)
    return str(detail)
