"""The capability profile: what a probe found of one tenant's platform, and who answers for it.

It is a TOML file that people read, and an operator signs. The signature (Ed25519, RFC 8032) covers every
finding, the tenant, the host, the time and who signed; without a good one a profile proves nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from voki_bots.bots.operator import PREFIX, as_text, private_key, read_text, trusted_key
from voki_bots.bots.registry import problems
from voki_bots.calls import Supervision
from voki_bots.errors import ConfigurationError

HEARD = -40.0
"""dBFS from which on a tone of the probe counts as heard; it is sent at -12."""

SILENT = -60.0
"""dBFS up to which it counts as not heard. What lies between is neither, and proves nothing."""

_DOMAIN = b"voki-bots capability profile, version 1\n"
_MUST_HEAR = {
    Supervision.MONITOR: (False, False),
    Supervision.WHISPER: (True, False),
    Supervision.BARGE: (True, True),
}
"""Whether the attendant, and the customer, is to hear a supervisor: `supervision.HEARD_BY`, which a test
compares, without loading the media stack for it."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SignallingFindings(_Part):
    """What the channels do. None is what was not seen."""

    serializer: str | None = Field(default=None, description="of Phoenix: 1.0.0 or 2.0.0")
    socket_path: str | None = Field(default=None, description="the path of the websocket")
    joins_queued: bool | None = Field(
        default=None, description="a call that waits in the queue can be joined"
    )
    snapshot: bool | None = Field(default=None, description="the reply to a join lists who is there")
    announces_self: bool | None = Field(default=None, description="who joins is told of his own joining")
    names_customers: bool | None = Field(default=None, description="a customer is announced with an id")
    replies: bool | None = Field(default=None, description="a push is answered")
    closes_on_end: bool | None = Field(default=None, description="the channel is closed after call_ended")


class MediaFindings(_Part):
    """What the SFU does. None is what was not seen."""

    first_offer: Literal["client", "server"] | None = Field(default=None, description="who offers first")
    glare: bool | None = Field(default=None, description="its own offer crossed our first one")
    unanswered: bool | None = Field(
        default=None, description="our first offer, of one line of audio, was not answered"
    )
    must_send: bool | None = Field(
        default=None, description="who offers only to receive hears nobody, though he waits"
    )
    empty_answer: bool | None = Field(
        default=None, description="an offer that only receives is answered with lines that carry nothing"
    )
    own_line: bool | None = Field(
        default=None, description="the first line of our own offer carries somebody's voice"
    )
    late_join: Literal["server_offers", "own_lines", "client_offers", "not_heard"] | None = Field(
        default=None, description="how those who are there come to hear whoever joins later"
    )
    mixed: bool | None = Field(default=None, description="one line carries several voices")
    msid: Literal["user_id", "other", "none"] | None = Field(
        default=None, description="what names a line's stream: the user's id, something else, or nothing"
    )
    ssrcs: bool | None = Field(default=None, description="descriptions name the sources")
    line_reuse: Literal["new_lines", "same_source", "new_source", "new_mid"] | None = Field(
        default=None, description="what the next voice gets after one has gone"
    )
    video: bool | None = Field(default=None, description="lines of video come to who wants none")
    audio_level: bool | None = Field(default=None, description="packets carry RFC 6464 levels")
    certificate: Literal["rsa", "ecdsa", "other"] | None = Field(
        default=None, description="the key of the far end's DTLS certificate"
    )


class RejoinFindings(_Part):
    """What a supervisor's media do when his signalling changes. None is what was not seen."""

    token_change: Literal["kept", "replaced", "lost"] | None = Field(
        default=None, description="media after the socket was replaced for a fresh token"
    )
    rejoin: Literal["kept", "replaced", "lost"] | None = Field(
        default=None, description="media after the topic was left and joined anew"
    )
    silence: float | None = Field(
        default=None, ge=0, description="seconds from leaving the topic until somebody is heard again"
    )


class Levels(_Part):
    """How loud the supervisor's tone was at each, at its loudest, in dBFS; -127 is nothing at all."""

    attendant: float = Field(ge=-127.0, le=6.0)
    customer: float = Field(ge=-127.0, le=6.0)


class Routing(_Part):
    """What one mode of supervision did to the supervisor's voice."""

    action: Literal["taken", "refused", "unanswered"] = Field(description="what the platform did with it")
    why: str = Field(default="", max_length=500, description="why not, if it was not taken")
    confirmed: Literal["us", "another", "nobody"] = Field(
        default="nobody", description="whom the start event named"
    )
    confirmed_after: float | None = Field(
        default=None, ge=0, description="seconds from asking to the start event that named us"
    )
    told: tuple[Literal["attendant", "customer", "supervisor"], ...] = Field(
        default=(), description="who was sent the start event"
    )
    before: Levels | None = Field(default=None, description="from the first word after the action")
    during: Levels | None = Field(
        default=None, description="while the socket was replaced, and the topic left and joined anew"
    )
    after: Levels | None = Field(default=None, description="when the mode had been asked for again")
    hears_both: bool | None = Field(
        default=None, description="the supervisor heard the attendant and the customer"
    )
    survives_rejoin: bool | None = Field(
        default=None, description="it routed the same after a rejoin without being asked for again"
    )
    routes_as_documented: bool = Field(
        default=False, description="before, during and after: heard by whom it should be, by nobody else"
    )


class Signature(_Part):
    """Who answers for a profile."""

    by: str = Field(min_length=1, max_length=200, description="the operator, as people know them")
    key: str = Field(pattern=rf"^{PREFIX}[A-Za-z0-9+/]{{43}}=$", description="the operator's public key")
    value: str = Field(pattern=r"^[A-Za-z0-9+/]{86}==$", description="the signature itself")


class CapabilityProfile(_Part):
    """What a probe found of one tenant. `proven` says what a supervisor may rely on."""

    version: Literal[1] = 1
    tenant: str = Field(min_length=1, description="the tenant's slug")
    host: str = Field(min_length=1, description="the platform's host, with its port if it has one")
    department: str = Field(min_length=1, description="the test department of the call")
    made: AwareDatetime = Field(description="when the probe ran")
    software: str = Field(min_length=1, description="which version of voki-bots probed")
    signalling: SignallingFindings = SignallingFindings()
    media: MediaFindings = MediaFindings()
    rejoin: RejoinFindings = RejoinFindings()
    monitor: Routing | None = None
    whisper: Routing | None = None
    barge: Routing | None = None
    notes: tuple[str, ...] = Field(default=(), description="what could not be found out, and why")
    signature: Signature | None = None

    _verified: bytes | None = PrivateAttr(default=None)

    @property
    def proven(self) -> frozenset[Supervision]:
        """Modes that were measured to route right before, during and after a rejoin.

        None of them without a signature that `verify` has found good for exactly these findings.
        """
        if self._verified is None or self._verified != _digest(self):
            return frozenset()
        return frozenset(mode for mode in Supervision if routes(mode, self.routing(mode)))

    def routing(self, mode: Supervision) -> Routing | None:
        """What was found of a mode; None if it was not tried."""
        found: Routing | None = getattr(self, str(mode))
        return found

    def to_toml(self) -> str:
        """Write it as the text of a file."""
        return "\n".join(_toml(self.model_dump(mode="json", exclude_none=True))) + "\n"

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """Read the text of a file; whether it proves anything is not looked at.

        Raises:
            ConfigurationError: If it is no profile, with every problem and its path, one a line.
        """
        try:
            return cls.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"the profile is not valid TOML: {error}", path="profile") from None
        except ValidationError as error:
            raise ConfigurationError("\n".join(problems(error, "profile")), path="profile") from None


def host_of(url: str) -> str:
    """Name the platform of an address as a profile does: host, and port if there is one."""
    return urlsplit(url).netloc.rpartition("@")[2].lower()


def right(mode: Supervision, levels: Levels) -> bool:
    """Whether a supervisor was heard by whom he should be in a mode, and by nobody else."""
    pairs = zip(_MUST_HEAR[mode], (levels.attendant, levels.customer), strict=True)
    return all(level >= HEARD if heard else level <= SILENT for heard, level in pairs)


def leaked(mode: Supervision, levels: Levels) -> tuple[str, ...]:
    """Who heard a supervisor, and should not have, in a mode."""
    heard = {"attendant": levels.attendant, "customer": levels.customer}
    may = dict(zip(heard, _MUST_HEAR[mode], strict=True))
    return tuple(who for who, level in heard.items() if not may[who] and level > SILENT)


def routes(mode: Supervision, found: Routing | None) -> bool:
    """Whether a mode was measured to route right: all three measurements, and the probe's own word."""
    if found is None or found.action != "taken" or not found.routes_as_documented:
        return False
    return all(each is not None and right(mode, each) for each in (found.before, found.during, found.after))


# ---------------------------------------------------------------- signing


def sign(profile: CapabilityProfile, key_file: Path, *, by: str) -> CapabilityProfile:
    """Answer for a profile; a signature that it had is replaced.

    Args:
        profile: What was found.
        key_file: The operator's private key, of mode 0600.
        by: The operator, as people know them.

    Raises:
        ConfigurationError: If the key cannot be read, is no Ed25519 key, or others can read it too.
    """
    key = private_key(key_file)
    public = as_text(key.public_key())
    if not 1 <= len(by.strip()) <= 200:
        raise ConfigurationError("by: expected the name of who signs, of up to 200 characters", path="by")
    value = base64.b64encode(key.sign(_canonical(profile, by.strip(), public))).decode()
    signature = Signature(by=by.strip(), key=public, value=value)
    return CapabilityProfile.model_validate({**profile.model_dump(), "signature": signature.model_dump()})


def verify(profile: CapabilityProfile, trusted: str | Path) -> CapabilityProfile:
    """Check who answers for a profile, from which on it proves what it says.

    Args:
        profile: As it was read.
        trusted: The operator's public key (``ed25519:…``), or a file that holds it.

    Raises:
        ConfigurationError: If it is not signed, by another key, or was changed since.
    """
    wanted = trusted_key(trusted)
    signature = profile.signature
    if signature is None:
        raise ConfigurationError(
            "the profile is not signed; an operator signs it with voki-bots profile sign", path="signature"
        )
    if signature.key != as_text(wanted):
        raise ConfigurationError(
            f"the profile is signed by another key than the operator's: {signature.key}", path="signature.key"
        )
    from cryptography.exceptions import InvalidSignature

    try:
        wanted.verify(base64.b64decode(signature.value), _canonical(profile, signature.by, signature.key))
    except InvalidSignature:
        raise ConfigurationError(
            "the profile is not what was signed: it was changed since, or the signature was",
            path="signature.value",
        ) from None
    good = profile.model_copy()
    good._verified = _digest(good)
    return good


def load_profile(
    path: Path,
    *,
    trusted: str | Path,
    tenant: str,
    host: str,
    max_age: timedelta | None = None,
    now: datetime | None = None,
) -> CapabilityProfile:
    """Read a profile that proves something: signed by whom we trust, and about this platform.

    Args:
        path: The file.
        trusted: The operator's public key (``ed25519:…``), or a file that holds it.
        tenant: The tenant that is meant.
        host: The platform that is meant, as `host_of` names it.
        max_age: How old it may be; None sets no limit.
        now: The time in UTC.

    Raises:
        ConfigurationError: If it cannot be read, is not signed, by another key, was changed since, is about
            another tenant or host, or is too old.
    """
    try:
        profile = verify(read_profile(path), trusted)
    except ConfigurationError as error:
        lines = str(error).split("\n")
        told = (line if line.startswith(str(path)) else f"{path}: {line}" for line in lines)
        raise ConfigurationError("\n".join(told), path=error.path) from None
    for name, wanted, found in (("tenant", tenant, profile.tenant), ("host", host, profile.host)):
        if wanted != found:
            raise ConfigurationError(
                f"{path}: the profile is about the {name} {found!r}, and {wanted!r} is asked for", path=name
            )
    age = (now or datetime.now(UTC)) - profile.made
    if max_age is not None and age > max_age:
        raise ConfigurationError(
            f"{path}: the profile is {age.days} days old, and {max_age.days} are allowed; probe again",
            path="made",
        )
    if age < -timedelta(days=1):
        raise ConfigurationError(f"{path}: the profile is of the future; set the clock", path="made")
    return profile


def read_profile(path: Path) -> CapabilityProfile:
    """Read a profile, whoever answers for it; it proves nothing before `verify`.

    Raises:
        ConfigurationError: If it cannot be read, or is no profile.
    """
    return CapabilityProfile.from_toml(read_text(path, "profile"))


# ---------------------------------------------------------------- inside


def _canonical(profile: CapabilityProfile, by: str, key: str) -> bytes:
    """What is signed: everything but the signature's value, in one form only."""
    body = {"profile": profile.model_dump(mode="json", exclude={"signature"}), "by": by, "key": key}
    return _DOMAIN + json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _digest(profile: CapabilityProfile) -> bytes:
    whole = json.dumps(profile.model_dump(mode="json"), sort_keys=True, allow_nan=False)
    return hashlib.sha256(whole.encode()).digest()


def _toml(table: Mapping[str, Any], name: str = "") -> Iterator[str]:
    """The lines of a table: what it holds, then the tables in it."""
    if name:
        yield f"\n[{name}]"
    for key, value in table.items():
        if not isinstance(value, Mapping):
            yield f"{key} = {_value(value)}"
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _toml(value, f"{name}.{key}" if name else key)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        # Strings of JSON are strings of TOML, but for what is not ASCII and for DEL.
        return re.sub("\x7f", r"\\u007f", json.dumps(value, ensure_ascii=False))
    return json.dumps(value, allow_nan=False)
