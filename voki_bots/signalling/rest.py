"""Voki's REST API: sign-in, refresh, calls, TURN credentials. The only module that imports httpx.

Lenient in (bodies under ``data`` or flat, ids opaque), minimal out. Foreign exceptions become ours here, in
one sentence that names the host and never a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx

from voki_bots.calls import Call, Role, problem_with_id
from voki_bots.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionLostError,
    JoinRefusedError,
    ProtocolError,
)
from voki_bots.signalling.payloads import clean_id, clean_text

PAGE_SIZE = 100
MAX_PAGES = 50
"""Pages of the list of calls that are read at most."""

DEFAULT_RETRY = 60.0
"""Seconds to wait after HTTP 429 where the platform does not say."""

_MAX_RETRY = 300.0
_MFA_FIELDS = ("code", "totp_code", "otp")  # Voki's page is cut off before the name (Q13)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token belongs to."""

    user_id: str
    name: str = ""
    role: Role = Role.UNKNOWN


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a sign-in or a refresh gives. `refresh` and `identity` are None where the platform gives none."""

    access: str = field(repr=False)
    refresh: str | None = field(default=None, repr=False)
    identity: Identity | None = None


@dataclass(frozen=True, slots=True)
class MfaNeeded:
    """The account wants a second factor: `Rest.verify_mfa`."""

    mfa_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Admission:
    """What a customer gets who entered a queue by an access link.

    Attributes:
        call_id: The call that this made.
        token: Good for the websocket, as that customer.
        socket_url: The websocket, if the platform says where it is.
    """

    call_id: str
    token: str = field(repr=False)
    socket_url: str | None = None


@dataclass(frozen=True, slots=True)
class TurnCredentials:
    """Servers that relay media, and the password for them.

    Attributes:
        urls: In the platform's order.
        username: Usually ``<unix seconds of expiry>:<user>``.
        credential: The password.
        expires: Unix seconds, if the username tells.
        ttl: Seconds from now, if the platform tells.
    """

    urls: tuple[str, ...]
    username: str = ""
    credential: str = field(default="", repr=False)
    expires: float | None = None
    ttl: float | None = None


def retry_after(error: ConnectionLostError) -> float | None:
    """Seconds that the platform wants us to wait, if it said that we ask too often (HTTP 429)."""
    if error.code != 429:
        return None
    try:
        return min(max(float(error.reason), 0.0), _MAX_RETRY)
    except ValueError:
        return DEFAULT_RETRY


class Rest:
    """One platform and one tenant; an async context manager.

    Args:
        base_url: ``https://voki.example``, with or without ``/api``.
        tenant: Its slug, sent as ``X-Tenant``.
        transport: Replaces the network, for tests.
        timeout: Seconds for each request.

    Every method raises ConnectionLostError if the platform cannot be reached, is not well (5xx) or wants us
    to slow down (429, see `retry_after`), AuthenticationError if it refuses us (401, 403, 422),
    ConfigurationError if there is no such API at this address, and ProtocolError if its answer cannot be
    read.
    """

    def __init__(
        self,
        base_url: str,
        tenant: str,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout: float = 10.0,
    ) -> None:
        self.tenant = tenant
        try:
            url = urlsplit(base_url)
            host, port = url.hostname, url.port
        except ValueError:
            host = None
        if not host or url.scheme not in ("http", "https"):
            raise ConfigurationError("expected an address like https://voki.example", path="voki.url")
        at = f"[{host}]" if ":" in host else host
        at = f"{at}:{port}" if port else at
        root = url.path.rstrip("/").removesuffix("/api")
        self.shown = f"{url.scheme}://{at}{root}"
        self._client = httpx.AsyncClient(
            base_url=self.shown,
            headers={"X-Tenant": quote(tenant, safe=""), "Accept": "application/json"},
            transport=transport,
            timeout=timeout,
            follow_redirects=False,  # a redirect would carry the token elsewhere
            trust_env=False,  # by default httpx reads the environment
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    # ------------------------------------------------------------ who we are

    async def login(self, email: str, password: str) -> Tokens | MfaNeeded:
        """Sign in."""
        body = {"email": email, "password": password, "tenant": self.tenant}
        answer = await self._ask("POST", "/api/auth/login", body=body)
        token = answer.get("mfa_token")
        if answer.get("mfa_required") and isinstance(token, str):
            return MfaNeeded(token)
        return self._tokens(answer)

    async def verify_mfa(self, mfa_token: str, code: str) -> Tokens:
        """Give the second factor; makes up to three requests to find the name of the code's field."""
        names = list(_MFA_FIELDS)
        while True:
            name = names.pop(0)
            response = await self._request(
                "POST", "/api/auth/mfa/verify", body={"mfa_token": mfa_token, name: code}
            )
            if response.status_code == 422 and names:
                wanted = _fields(response) - {"mfa_token", name, "detail"}
                names = [*sorted(wanted)[:1], *names][:2] if wanted else names
                continue
            return self._tokens(self._read(response))

    async def refresh(self, refresh_token: str) -> Tokens:
        """Trade a refresh token for an access token."""
        return self._tokens(
            await self._ask("POST", "/api/auth/refresh", body={"refresh_token": refresh_token})
        )

    async def me(self, token: str) -> Identity:
        """Say who the token belongs to."""
        answer = await self._ask("GET", "/api/v1/users/me", token=token)
        identity = _identity(answer)
        if identity is None:
            raise ProtocolError(f"{self.shown} does not say who we are")
        return identity

    # ------------------------------------------------------------ calls

    async def calls(
        self, token: str, *, status: str | None = None, department_id: str | None = None
    ) -> list[Call]:
        """List calls, newest first: all pages up to `MAX_PAGES`, without items whose id cannot be one."""
        found: dict[str, Call] = {}
        for page in range(1, MAX_PAGES + 1):
            params: dict[str, str | int] = {"page": page, "page_size": PAGE_SIZE}
            if status is not None:
                params["status"] = status
            if department_id is not None:
                params["department_id"] = department_id
            response = await self._request("GET", "/api/v1/calls", token=token, params=params)
            self._check(response)
            items, pages = _page(_json(response))
            if items is None:
                raise ProtocolError(f"{self.shown} answered with something that is no list of calls")
            calls = [call for item in items if (call := self._call(item)) is not None]
            news = {call.call_id: call for call in calls if call.call_id not in found}
            found.update(news)
            # a platform that ignores `page` repeats itself
            if not news or (page >= pages if pages is not None else len(items) < PAGE_SIZE):
                break
        return list(found.values())

    async def call(self, token: str, call_id: str) -> Call:
        """Read one call.

        Raises:
            JoinRefusedError: There is no such call.
            ConfigurationError: The id cannot be one.
        """
        if problem := problem_with_id(call_id):
            raise ConfigurationError(f"the call id {problem}")
        # dots are escaped too, for httpx resolves "." and ".." in paths
        segment = quote(call_id, safe="").replace(".", "%2E")
        response = await self._request("GET", f"/api/v1/calls/{segment}", token=token)
        if response.status_code == 404:
            raise JoinRefusedError(f"call:{call_id}", "there is no such call")
        call = self._call(self._read(response))
        if call is None:
            raise ProtocolError(f"{self.shown} answered with something that is no call")
        return call

    async def enter_queue(self, link: str, name: str) -> Admission:
        """Enter a department's queue by an access link, as its customer does (30 a minute for each address).

        It makes a new call. The link is a secret, and in no error.

        Args:
            link: The link's token.
            name: The customer's name.

        Raises:
            ConfigurationError: The platform does not take the link.
        """
        segment = quote(link, safe="").replace(".", "%2E")
        response = await self._request("POST", f"/api/v1/call/{segment}/join", body={"name": name})
        if 300 <= response.status_code < 500 and response.status_code != 429:
            raise ConfigurationError(
                f"{self.shown} does not take the access link (HTTP {response.status_code}): it is unknown, "
                "used or expired",
                path="link",
            )
        if response.status_code >= 500:
            raise ConnectionLostError(
                f"{self.shown} answered an access link with HTTP {response.status_code}"
            )
        self._check(response)  # what is left is that we ask too often
        body = _json(response)
        inner = body.get("data", body) if isinstance(body, Mapping) else None
        answer: Mapping[str, Any] = inner if isinstance(inner, Mapping) else {}
        call_id, token = clean_id(answer.get("call_id")), answer.get("websocket_token")
        if call_id is None or not isinstance(token, str) or not token.isascii() or not token:
            raise ProtocolError(f"{self.shown} answered an access link without a call or a token")
        address = answer.get("websocket_url")
        return Admission(call_id, token, address if isinstance(address, str) and address else None)

    def _call(self, item: object) -> Call | None:
        if not isinstance(item, Mapping):
            return None
        call_id = clean_id(item.get("id")) or clean_id(item.get("call_id"))
        if call_id is None:
            return None
        return Call(
            tenant=self.tenant,
            call_id=call_id,
            department_id=clean_id(item.get("department_id")),
            department=clean_text(item.get("department_name")) or None,
            attendant_id=clean_id(item.get("user_id")),
            attendant_name=clean_text(item.get("user_name")) or None,
            customer_name=clean_text(item.get("customer_name")) or None,
            status=clean_text(item.get("status")) or None,
        )

    # ------------------------------------------------------------ TURN

    async def command(self, token: str, path: str, body: Mapping[str, str]) -> None:
        """Post to a path that somebody configured.

        Raises:
            AuthenticationError, JoinRefusedError: If the platform refuses.
            ConnectionLostError: If it cannot be reached.
        """
        self._check(await self._request("POST", path, token=token, body=body))

    async def turn_credentials(self, token: str) -> TurnCredentials:
        """Get TURN credentials for this user."""
        return self._turn(await self._ask("GET", "/api/v1/turn/credentials", token=token))

    async def public_turn_credentials(self) -> TurnCredentials:
        """Get TURN credentials without a token (30 requests a minute for each address)."""
        return self._turn(await self._ask("GET", "/api/v1/call/turn-credentials"))

    def _turn(self, answer: Mapping[str, Any]) -> TurnCredentials:
        urls = answer.get("urls", answer.get("url", answer.get("uris")))
        urls = [urls] if isinstance(urls, str) else urls
        if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
            raise ProtocolError(f"{self.shown} answered with something that is no TURN credential")
        username, credential, ttl = answer.get("username"), answer.get("credential"), answer.get("ttl")
        username = username if isinstance(username, str) else ""
        head = username.partition(":")[0]
        # draft-uberti-behave-turn-rest-00, section 2.2: the username begins with the time of expiry
        expires = float(head) if head.isascii() and head.isdigit() and 9 <= len(head) <= 11 else None
        lasts = float(ttl) if isinstance(ttl, int | float) and not isinstance(ttl, bool) and ttl > 0 else None
        secret = credential if isinstance(credential, str) else ""
        return TurnCredentials(tuple(urls), username, secret, expires, lasts)

    # ------------------------------------------------------------ requests

    async def _ask(
        self, method: str, path: str, *, token: str | None = None, body: Mapping[str, str] | None = None
    ) -> Mapping[str, Any]:
        return self._read(await self._request(method, path, token=token, body=body))

    async def _request(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: Mapping[str, str] | None = None,
        params: Mapping[str, str | int] | None = None,
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        try:
            return await self._client.request(method, path, json=body, params=params, headers=headers)
        except httpx.TimeoutException:
            problem = f"{self.shown} did not answer in time"
        except (httpx.TransportError, UnicodeEncodeError) as error:
            problem = f"{self.shown} cannot be reached ({type(error).__name__})"
        raise ConnectionLostError(problem)  # outside the except block: httpx' errors hold the request

    def _read(self, response: httpx.Response) -> Mapping[str, Any]:
        self._check(response)
        body = _json(response)
        inner = body.get("data") if isinstance(body, Mapping) else None
        answer = inner if isinstance(inner, Mapping) else body
        if not isinstance(answer, Mapping):
            raise ProtocolError(
                f"{self.shown} answered {response.request.url.path} with something unreadable"
            )
        return answer

    def _check(self, response: httpx.Response) -> None:
        status, path = response.status_code, response.request.url.path
        if status < 300:
            return
        if status in (401, 403, 422):
            detail = _detail(response)
            raise AuthenticationError(
                f"{self.shown} refused {path} (HTTP {status}){f': {detail}' if detail else ''}", status=status
            )
        if status == 429:
            wait = response.headers.get("Retry-After", "")
            raise ConnectionLostError(
                f"{self.shown} says that we ask too often (HTTP 429)", code=429, reason=wait[:20]
            )
        if status >= 500:
            raise ConnectionLostError(f"{self.shown} answered {path} with HTTP {status}", code=status)
        raise ConfigurationError(f"{self.shown} has no {path} (HTTP {status})", path="voki.url")

    def _tokens(self, answer: Mapping[str, Any]) -> Tokens:
        access, refresh = answer.get("access_token", answer.get("token")), answer.get("refresh_token")
        if not isinstance(access, str) or not access.isascii() or not access:
            raise ProtocolError(f"{self.shown} answered a sign-in without a token")
        user = answer.get("user")
        identity = _identity(user) if isinstance(user, Mapping) else None
        return Tokens(access, refresh if isinstance(refresh, str) and refresh else None, identity)


def _identity(user: Mapping[str, Any]) -> Identity | None:
    user_id = clean_id(user.get("id")) or clean_id(user.get("user_id"))
    if user_id is None:
        return None
    return Identity(user_id, clean_text(user.get("name")), Role.parse(user.get("role")))


def _json(response: httpx.Response) -> object:
    try:
        body: object = response.json()
    except (ValueError, RecursionError):
        return None
    return body


def _page(body: object) -> tuple[list[Any] | None, int | None]:
    """The items of a page, and how many pages there are if it says."""
    if isinstance(body, list):
        return body, None
    if not isinstance(body, Mapping):
        return None, None
    items, meta = body.get("data", body.get("calls")), body.get("meta")
    pages = meta.get("total_pages") if isinstance(meta, Mapping) else None
    return (items if isinstance(items, list) else None), (pages if isinstance(pages, int) else None)


def _fields(response: httpx.Response) -> set[str]:
    body = _json(response)
    errors = body.get("errors") if isinstance(body, Mapping) else None
    return {key for key in errors if isinstance(key, str)} if isinstance(errors, Mapping) else set()


def _detail(response: httpx.Response) -> str:
    """What the platform says is wrong: its ``detail``, or the names of the fields, never their values."""
    body = _json(response)
    errors = body.get("errors") if isinstance(body, Mapping) else None
    if not isinstance(errors, Mapping):
        return ""
    if detail := clean_text(errors.get("detail")):
        return detail[:100]
    return ", ".join(clean_text(key)[:40] for key in list(errors)[:5])
