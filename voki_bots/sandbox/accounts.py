"""Who may sign in, and the tokens they hold: JWTs signed with HS256, refresh tokens, one-time codes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import random
import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

ROLES = ("attendant", "supervisor", "manager")


@dataclass(slots=True)
class User:
    """Somebody with an account, or a customer with a temporary token."""

    user_id: str
    name: str
    role: str
    email: str = ""
    password: str = field(default="", repr=False)
    totp_secret: str | None = field(default=None, repr=False)
    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """What a valid access token says: whose it is, and until when (unix seconds)."""

    user: User
    expires: float
    token_id: str


class Accounts:
    """Users and tokens of one tenant.

    Args:
        tenant: Its slug.
        wall: Unix seconds.
        choose: Source of ids and secrets; the sandbox is reproducible, not secure.
        access_life: Seconds.
        refresh_life: Seconds.
        rotate: Whether a refresh token is good for one refresh only.
    """

    def __init__(
        self,
        tenant: str,
        *,
        wall: Callable[[], float],
        choose: random.Random,
        access_life: float,
        refresh_life: float,
        rotate: bool,
    ) -> None:
        self.tenant = tenant
        self.users: dict[str, User] = {}
        self._wall = wall
        self._choose = choose
        self._access_life = access_life
        self._refresh_life = refresh_life
        self._rotate = rotate
        self._key = choose.randbytes(32)
        self._issued: dict[str, set[str]] = {}
        self._revoked: set[str] = set()
        self._refresh: dict[str, tuple[User, float]] = {}
        self._mfa: dict[str, User] = {}

    def new_id(self) -> str:
        """Return a fresh id in the form of a UUID."""
        return str(uuid.UUID(bytes=self._choose.randbytes(16), version=4))

    def add(
        self, name: str, role: str, *, email: str = "", password: str = "", call_id: str | None = None
    ) -> User:
        """Create a user."""
        user = User(self.new_id(), name, role, email, password, call_id=call_id)
        self.users[user.user_id] = user
        return user

    def sign_in(self, email: str, password: str) -> User | None:
        """Return the user whose credentials these are."""
        for user in self.users.values():
            if user.email and user.email == email:
                return user if hmac.compare_digest(user.password.encode(), password.encode()) else None
        return None

    def access_token(self, user: User) -> str:
        """Issue a JWT with the claims Voki documents (sub, tenant, role, exp) and an id."""
        token_id = self.new_id()
        expires = self._wall() + self._access_life
        self._issued.setdefault(user.user_id, set()).add(token_id)
        claims = {
            "sub": user.user_id,
            "tenant": self.tenant,
            "role": user.role,
            "exp": math.ceil(expires) if self._access_life >= 1 else round(expires, 3),
            "jti": token_id,
        }
        head = _base64(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
        body = _base64(json.dumps(claims).encode())
        return f"{head}.{body}.{self._sign(f'{head}.{body}')}"

    def refresh_token(self, user: User) -> str:
        """Issue a refresh token."""
        token = self._choose.randbytes(24).hex()
        self._refresh[token] = (user, self._wall() + self._refresh_life)
        return token

    def refreshed(self, token: str) -> tuple[User, str] | None:
        """Return whose refresh token this is, and the one to use from now on."""
        user, expires = self._refresh.get(token, (None, 0.0))
        if user is None or expires <= self._wall():
            return None
        if not self._rotate:
            return user, token
        del self._refresh[token]
        return user, self.refresh_token(user)

    def sign_out(self, identity: Identity) -> None:
        """End an access token, and the user's refresh tokens."""
        self._revoked.add(identity.token_id)
        self._refresh = {t: v for t, v in self._refresh.items() if v[0] is not identity.user}

    def verify(self, token: str) -> Identity | None:
        """Return who an access token belongs to, or None if it is no good (any more)."""
        try:
            head, body, signature = token.split(".")
            if not hmac.compare_digest(signature.encode(), self._sign(f"{head}.{body}").encode()):
                return None
            claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        except (ValueError, binascii.Error):
            return None
        user = self.users.get(claims["sub"])
        if user is None or claims["exp"] <= self._wall() or claims["jti"] in self._revoked:
            return None
        return Identity(user, claims["exp"], claims["jti"])

    def valid(self, identity: Identity) -> bool:
        """Whether the token behind `identity` is still good."""
        return identity.expires > self._wall() and identity.token_id not in self._revoked

    def expire(self, user_id: str) -> None:
        """End every access token this user has got so far; his refresh token stays good."""
        self._revoked |= self._issued.pop(user_id, set())

    def challenge(self, user: User) -> str:
        """Begin the second step of a sign-in with a one-time code."""
        token = self._choose.randbytes(16).hex()
        self._mfa[token] = user
        return token

    def answer(self, token: str, code: str) -> User | None:
        """Finish it: `code` is a TOTP of now, or of 30 s around (RFC 6238)."""
        user = self._mfa.get(token)
        if user is None or user.totp_secret is None:
            return None
        step = int(self._wall() // 30)
        if code not in {one_time_code(user.totp_secret, step + near) for near in (-1, 0, 1)}:
            return None
        del self._mfa[token]
        return user

    def _sign(self, text: str) -> str:
        return _base64(hmac.new(self._key, text.encode(), hashlib.sha256).digest())


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def one_time_code(secret: str, step: int) -> str:
    """Compute the six digits for a time step of 30 s (RFC 6238; the secret is base32)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8), casefold=True)
    digest = hmac.new(key, struct.pack(">Q", step), hashlib.sha1).digest()
    start = digest[-1] & 0x0F
    number = int.from_bytes(digest[start : start + 4], "big") & 0x7FFFFFFF
    return f"{number % 1_000_000:06d}"
