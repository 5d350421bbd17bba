"""The one token broker of a (tenant, user): signs in, renews before the end, and never too often.

Voki's access token lives 15 minutes, its refresh token 7 days, and ``/api/auth/*`` allows 5 requests a
minute. So there is one broker per account in a process, one request at a time, and the refresh token is kept
across restarts in a file of mode 0600.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import jwt
import pyotp
import structlog
from pydantic import SecretStr

from voki_bots.errors import AuthenticationError, ConfigurationError, ConnectionLostError, ProtocolError
from voki_bots.signalling.pace import AuthPace
from voki_bots.signalling.rest import Identity, MfaNeeded, Rest, Tokens, retry_after

LIFE = 15 * 60.0
"""Seconds that an access token lives if it does not say (Voki's manual, chapter 7)."""

FRESH = 10.0
"""Seconds during which a token counts as fresh: asking for a fresh one does not make another."""

_RENEW = (0.70, 0.80)  # of a token's life; spread, so that a fleet does not renew in step
_MARGIN = 0.05  # of a token's life, at its end, in which it is not given out any more
_RETRIES = 3  # after HTTP 429
_BACKOFF = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_MFA_COST = 3  # requests that finding the name of the code's field may take
_MAX_LIFE = 31 * 24 * 3600.0
_T = TypeVar("_T")
_log = structlog.get_logger(__name__)


class _Totp(pyotp.TOTP):
    """The platform chose the secret, and 16 characters are still common (RFC 4226 wants 26)."""

    min_secret_length_bits = 80


class TokenBroker:
    """Access tokens of one account.

    Args:
        rest: The platform and tenant.
        email: The account.
        password: Asked for only when signing in.
        clock: Monotonic seconds, the event loop's.
        wall: Unix seconds.
        random: Spreads the renewals of a fleet.
        totp_secret: Base32, for an account with a second factor.
        refresh_file: Where the refresh token is kept between restarts; None keeps none.
        pace: The platform's limit of sign-in requests, where other accounts share it.
    """

    def __init__(
        self,
        rest: Rest,
        email: str,
        password: Callable[[], str] | SecretStr,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        random: Random,
        totp_secret: SecretStr | str | None = None,
        refresh_file: Path | None = None,
        pace: AuthPace | None = None,
    ) -> None:
        self._rest = rest
        self._email = email
        self._password = password.get_secret_value if isinstance(password, SecretStr) else password
        self._clock = clock
        self._wall = wall
        self._random = random
        self._totp = SecretStr(totp_secret) if isinstance(totp_secret, str) else totp_secret
        self._file = refresh_file
        self._lock = asyncio.Lock()
        self._pace = pace or AuthPace(clock)
        self._access: str | None = None
        self._refresh: str | None = None
        self._read = False
        self._identity: Identity | None = None
        self._made = self._renew_at = self._ends = 0.0

    @property
    def identity(self) -> Identity:
        """Whose tokens these are.

        Raises:
            AuthenticationError: Nobody has signed in yet; await `token` first.
        """
        if self._identity is None:
            raise AuthenticationError(f"{self._email} has not signed in yet")
        return self._identity

    async def token(self, fresh: bool = False) -> str:
        """Give an access token that is still good for a while.

        Args:
            fresh: The last one was refused: make a new one, unless it was made just now.

        Raises:
            AuthenticationError: The platform refuses the account.
            ConnectionLostError: The platform cannot be reached, and there is no good token left.
            ConfigurationError: The second factor is missing or mistyped.
        """
        asked = self._clock()
        async with self._lock:  # whoever waited here gets what the first one made
            if self._access is not None:
                young = self._clock() - self._made < FRESH
                alive = self._clock() < self._ends
                if self._made >= asked or (alive and (young or not fresh)):
                    return self._access
            await self._renew()
            assert self._access is not None
            return self._access

    async def another(self) -> str:
        """Make a new access token now, however good the last one still is; raises what `token` does."""
        async with self._lock:
            await self._renew()
            assert self._access is not None
            return self._access

    async def renewals(self) -> AsyncGenerator[str, None]:
        """Renew in the background at about 75 % of each token's life, and yield each new token.

        While the platform cannot be reached it tries again and again.

        Raises:
            AuthenticationError: The platform refuses the account.
            ConfigurationError: There never was a token, and there is no such platform.
        """
        failures = 0
        while True:
            made = self._made
            if self._access is not None:
                await asyncio.sleep(max(0.0, self._renew_at - self._clock()))
            if self._made != made:  # somebody asked for a fresh one meanwhile
                continue
            try:
                async with self._lock:
                    if self._made == made:
                        await self._renew()
                failures = 0
            except (ConnectionLostError, ConfigurationError, ProtocolError) as error:
                if self._access is None and not isinstance(error, ConnectionLostError):
                    raise
                delay = _BACKOFF[min(failures, len(_BACKOFF) - 1)] * self._random.uniform(0.8, 1.2)
                failures += 1
                _log.warning(
                    "token.renewal_failed", account=self._email, why=str(error), delay=round(delay, 1)
                )
                await asyncio.sleep(delay)
                continue
            assert self._access is not None
            yield self._access

    # ------------------------------------------------------------ inside

    async def _renew(self) -> None:
        if not self._read:
            self._read, self._refresh = True, self._load()
        tokens = None
        if self._refresh is not None:
            try:
                tokens = await self._ask(lambda: self._rest.refresh(self._refresh or ""))
            except (AuthenticationError, ConfigurationError, ProtocolError):
                self._refresh = None  # used up or too old: sign in anew
        if tokens is None:
            tokens = await self._sign_in()
        identity = tokens.identity or self._identity
        if identity is None:
            identity = await self._rest.me(tokens.access)
        self._identity, self._access = identity, tokens.access
        if tokens.refresh is not None and tokens.refresh != self._refresh:
            self._refresh = tokens.refresh
            self._save()
        life = self._life(tokens.access)
        self._made = self._clock()
        self._renew_at = self._made + life * self._random.uniform(*_RENEW)
        self._ends = self._made + life * (1 - _MARGIN)
        _log.info("token.renewed", account=self._email, life=round(life))

    async def _sign_in(self) -> Tokens:
        answer = await self._ask(lambda: self._rest.login(self._email, self._password()))
        if isinstance(answer, Tokens):
            return answer
        return await self._second_factor(answer)

    async def _second_factor(self, needed: MfaNeeded) -> Tokens:
        if self._totp is None:
            raise AuthenticationError(f"{self._email} needs a second factor: set its TOTP secret")
        secret = self._totp.get_secret_value().replace(" ", "")
        await self._pace.wait(_MFA_COST)
        code = None
        with contextlib.suppress(ValueError, TypeError):
            code = str(_Totp(secret).at(int(self._wall())))
        if code is None:
            raise ConfigurationError(
                "the TOTP secret is not base32 of at least 16 characters", path="voki.totp_secret"
            )
        return await self._rest.verify_mfa(needed.mfa_token, code)

    async def _ask(self, request: Callable[[], Awaitable[_T]]) -> _T:
        """Make one request to the sign-in API, within its limit; wait when it says so."""
        for _ in range(_RETRIES):
            await self._pace.wait()
            try:
                return await request()
            except ConnectionLostError as error:
                delay = retry_after(error)
                if delay is None:
                    raise
                _log.warning("token.asked_too_often", account=self._email, delay=delay)
            await asyncio.sleep(delay)
        await self._pace.wait()
        return await request()

    def _life(self, token: str) -> float:
        """Seconds that a new token lives; by its own two times if it has them, whatever our clock says."""
        try:
            claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError:
            return LIFE
        ends, begins = claims.get("exp"), claims.get("iat", self._wall())
        if not isinstance(ends, int | float) or not isinstance(begins, int | float):
            return LIFE
        return ends - begins if 1.0 <= ends - begins <= _MAX_LIFE else LIFE

    def _load(self) -> str | None:
        if self._file is None:
            return None
        try:
            kept = json.loads(self._file.read_text())
            self._file.chmod(0o600)  # it may have been copied here
        except (OSError, ValueError):
            return None
        if not isinstance(kept, dict) or (kept.get("tenant"), kept.get("email")) != (
            self._rest.tenant,
            self._email,
        ):
            return None
        token = kept.get("refresh_token")
        return token if isinstance(token, str) and token else None

    def _save(self) -> None:
        """Keep the refresh token; written aside and renamed, so that a crash leaves the old or the new."""
        if self._file is None:
            return
        body = {"tenant": self._rest.tenant, "email": self._email, "refresh_token": self._refresh}
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, aside = tempfile.mkstemp(dir=self._file.parent, prefix=".token-")  # mode 0600
            try:
                with os.fdopen(handle, "w") as file:
                    json.dump(body, file)
                Path(aside).replace(self._file)
            except OSError:
                Path(aside).unlink(missing_ok=True)
                raise
        except OSError as error:
            _log.warning("token.not_kept", path=str(self._file), why=error.strerror)
