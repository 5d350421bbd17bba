"""What a scripted person is told to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

from ..errors import ConfigurationError
from . import voices
from .pictures import CODECS, COLOURS

SUPERVISION = ("monitor", "whisper", "barge")
"""How a supervisor takes part in a call."""

PERSON_ROLES = ("attendant", "customer", "supervisor", "manager")


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonScript:
    """One person's part in a call.

    Attributes:
        name: As the others see it.
        role: One of `PERSON_ROLES`.
        speech: A language, names of assets, or None for silence in packets.
        tone: Hertz of a sine wave instead of speech.
        joins: ``now``, ``after_bot`` (once a bot's media is up), or seconds after the call was made.
        leaves: Seconds between this person's media being up and the leaving, or None to stay.
        listens: Keep the packets received, not only their count.
        redundant: Speak with in-band redundancy (FEC).
        camera: The codec of the picture that this person shows, ``vp8`` or ``h264``; None shows nothing.
    """

    name: str
    role: str
    speech: str | tuple[str, ...] | None = None
    tone: int | None = None
    joins: str | float = "now"
    leaves: float | None = None
    listens: bool = False
    redundant: bool = False
    camera: str | None = None

    @classmethod
    def parse(cls, body: Mapping[str, object]) -> PersonScript:
        """Read a person from the control API.

        Raises:
            ConfigurationError: A field is missing, unknown or of the wrong type.
        """
        unknown = set(body) - {field.name for field in fields(cls)}
        if unknown:
            raise ConfigurationError(f"a person has no field {min(unknown)!r}", path=min(unknown))
        speech, tone, joins, leaves = (body.get(k) for k in ("speech", "tone", "joins", "leaves"))
        role = body.get("role", "customer")
        if role not in PERSON_ROLES:
            raise ConfigurationError(f"a person's role is one of {', '.join(PERSON_ROLES)}", path="role")
        if isinstance(speech, list):
            speech = tuple(str(name) for name in speech)
        if not (speech is None or isinstance(speech, str | tuple)):
            raise ConfigurationError("speech is a language or a list of asset names", path="speech")
        if not (tone is None or (isinstance(tone, int) and 50 <= tone <= 8_000)):
            raise ConfigurationError("tone is a whole number of hertz, 50 to 8000", path="tone")
        if (camera := body.get("camera")) not in (None, *CODECS):
            raise ConfigurationError(f"a camera is one of {', '.join(CODECS)}, or null", path="camera")
        if joins is None:
            joins = "now"
        if joins not in ("now", "after_bot") and not _is_seconds(joins):
            raise ConfigurationError("joins is 'now', 'after_bot' or seconds", path="joins")
        if not (leaves is None or _is_seconds(leaves)):
            raise ConfigurationError("leaves is seconds or null", path="leaves")
        return cls(
            name=str(body.get("name", role)),
            role=str(role),
            speech=speech,
            tone=tone if isinstance(tone, int) else None,
            joins=joins if isinstance(joins, str) else _seconds(joins),
            leaves=None if leaves is None else _seconds(leaves),
            listens=bool(body.get("listens", False)),
            redundant=bool(body.get("redundant", False)),
            camera=None if camera is None else str(camera),
        )

    @staticmethod
    def colour(speaker: int) -> str:
        """Say what the how-many-th person's picture is filled with."""
        return list(COLOURS)[speaker % len(COLOURS)]

    def packets(self, speaker: int) -> Iterator[bytes]:
        """Return what this person says: Opus payloads of 20 ms, for ever.

        Args:
            speaker: The how-many-th person of the call this is; two people never say the same at once.

        Raises:
            ConfigurationError: The language or an asset does not exist.
        """
        if self.tone is not None:
            return voices.tone(self.tone)
        if self.speech is None:
            return voices.quiet()
        names = self.speech if isinstance(self.speech, tuple) else voices.utterances(self.speech, speaker)
        for name in names:
            voices.utterance(name)
        spoken = voices.speech(names)
        return voices.redundant(spoken) if self.redundant else spoken


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _seconds(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)
