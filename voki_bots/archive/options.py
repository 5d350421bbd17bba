"""What finishing a call shall make of its tracks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self, TypeAlias

from voki_bots.calls import Role
from voki_bots.errors import ConfigurationError

FORMATS = ("opus", "flac", "wav")
"""What finished files can be."""

RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
"""Samples per second that finished files can have: what Opus can be decoded at."""

_ROLES = tuple(str(role) for role in Role)

Side: TypeAlias = "tuple[str, ...]"


@dataclass(frozen=True, slots=True)
class FinishOptions:
    """What is made of a call's tracks when it is over.

    Attributes:
        stereo: Roles on the left and roles on the right; None makes no stereo file.
        mix: Roles in the mono mix; None makes no mix.
        participants: Whether everybody gets a file of their own over the whole call.
        picture: Whether a picture of who was loud when is drawn.
        composite: Whether a film of all cameras with the mix is made, where there are any.
        captions: Whether captions and text are made, where there is a transcript.
        keep_original: Whether tracks keep what was redacted in the transcript; only where they are encrypted.
        format: One of `FORMATS`.
        rate: One of `RATES`.
    """

    stereo: tuple[Side, Side] | None = (("attendant",), ("customer",))
    mix: Side | None = ("attendant", "customer", "unknown")
    participants: bool = True
    picture: bool = True
    composite: bool = True
    captions: bool = True
    keep_original: bool = False
    format: str = "opus"
    rate: int = 48_000

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise _wrong("format", f"must be one of {', '.join(FORMATS)}, got {self.format!r}")
        if self.rate not in RATES:
            raise _wrong("rate", f"must be one of {', '.join(map(str, RATES))}, got {self.rate!r}")
        for name, side in (("stereo", self.stereo), ("mix", (self.mix,))):
            for roles in side or ():
                for role in roles or ():
                    if role not in _ROLES:
                        raise _wrong(name, f"{role!r} is no role; there are {', '.join(_ROLES)}")
        if self.stereo and (both := set(self.stereo[0]) & set(self.stereo[1])):
            raise _wrong("stereo", f"{sorted(both)[0]!r} cannot be on both sides")

    @property
    def anything(self) -> bool:
        """Whether there is anything to make."""
        wanted = (self.stereo, self.mix, self.participants, self.picture, self.composite, self.captions)
        return any(wanted)

    def as_json(self) -> dict[str, Any]:
        """What the journal keeps."""
        return asdict(self)

    @classmethod
    def of(cls, said: object) -> Self:
        """Read what a journal kept; what is missing or not understood is as by default."""
        if not isinstance(said, Mapping):
            return cls()
        known = {each.name: said[each.name] for each in fields(cls) if each.name in said}
        try:
            if known.get("stereo") is not None:
                known["stereo"] = sides(known["stereo"])
            if known.get("mix") is not None:
                known["mix"] = tuple(known["mix"])
            return cls(**known)
        except (ConfigurationError, TypeError, ValueError):
            return cls()


def sides(said: Sequence[str | Sequence[str]]) -> tuple[Side, Side]:
    """Read two sides, each a role or several.

    Raises:
        ConfigurationError: If there are not two.
    """
    if isinstance(said, str) or len(said) != 2:
        raise _wrong("stereo", 'must name two sides, such as ["attendant", "customer"]')
    left, right = ((side,) if isinstance(side, str) else tuple(side) for side in said)
    return left, right


def _wrong(name: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"{name}: {why}", path=name)
