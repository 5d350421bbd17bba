"""The TURN servers that the platform names, and its time-limited credentials for them. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import ConfigurationError


@dataclass(slots=True)
class TurnAccess:
    """What the TURN endpoints tell.

    The sandbox has no TURN server. With the secret of a real one (coturn's ``static-auth-secret``) the
    credentials are good there: the TURN REST API that coturn documents.

    Attributes:
        urls: In the platform's order.
        life: Seconds that credentials live; the ``ttl``. A negative one gives them expired.
        secret: Shared with the TURN server.
        asked: How often credentials were given.
    """

    urls: tuple[str, ...]
    life: int
    secret: str = field(repr=False)
    asked: int = 0

    def change(self, body: Mapping[str, object]) -> None:
        """Set some of it anew.

        Raises:
            ConfigurationError: A value is of the wrong type.
        """
        urls, life = body.get("urls", list(self.urls)), body.get("life", self.life)
        secret = body.get("secret", self.secret)
        if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
            raise ConfigurationError("urls is a list of addresses", path="urls")
        if isinstance(life, bool) or not isinstance(life, int):
            raise ConfigurationError("life is a whole number of seconds", path="life")
        if not isinstance(secret, str):
            raise ConfigurationError("secret is a string", path="secret")
        self.urls, self.life, self.secret = tuple(urls), life, secret

    def credentials(self, name: str, now: float) -> dict[str, object]:
        """Make credentials for somebody, at a time in unix seconds."""
        self.asked += 1
        username = f"{int(now) + self.life}:{name}"
        digest = hmac.new(self.secret.encode(), username.encode(), hashlib.sha1).digest()
        return {
            "urls": list(self.urls),
            "username": username,
            "credential": base64.b64encode(digest).decode(),
            "ttl": self.life,
        }
