"""What can be said about recording; every mistake is told before anything connects."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from voki_bots import (
    Archive,
    ConfigurationError,
    FinishOptions,
    PluginSettings,
    Role,
    StorageTarget,
    check_recipients,
)

_EVERYBODY = (Role.ATTENDANT, Role.CUSTOMER, Role.UNKNOWN)


class RecorderSettings(PluginSettings):
    """Settings of the recorder.

    Attributes:
        directory: Where calls are kept; without it, where the service keeps them.
        name: How their folders are named below it.
        stereo: Which roles are left and which are right; False makes no stereo file.
        mix: Which roles are in the mono mix; True takes attendants, customers and unknown voices.
        participants: Whether everybody gets a file of their own over the whole call.
        picture: Whether a picture of the call is drawn.
        video: Whether pictures are recorded too, as they come.
        composite: Whether a film of all pictures with the mix is made at the end.
        captions: Whether captions and text are made, where a transcriber kept a transcript.
        keep_original: Whether tracks keep what a transcriber redacts; only with recipients.
        recipients: Public keys of age for whom all files are encrypted; without any they are readable.
        upload: Where calls are copied to when they are finished; all of them get every call.
        delete_after_upload: Whether the local copy goes once all of them have it, read back and compared.
        format: Of these files.
        rate: Their samples per second.
        keep: After what time a call may be purged, such as ``90d``; None keeps it.
        finishers: How many calls are finished at once.
    """

    directory: Path | None = None
    name: str = "{tenant}/{call}"
    stereo: tuple[tuple[Role, ...], tuple[Role, ...]] | Literal[False] = (
        (Role.ATTENDANT,),
        (Role.CUSTOMER,),
    )
    mix: tuple[Role, ...] | bool = True
    participants: bool = True
    picture: bool = True
    video: bool = False
    composite: bool = True
    captions: bool = True
    keep_original: bool = False
    recipients: tuple[str, ...] = ()
    upload: tuple[StorageTarget, ...] = ()
    delete_after_upload: bool = False
    format: Literal["opus", "flac", "wav"] = "opus"
    rate: Literal[8_000, 12_000, 16_000, 24_000, 48_000] = 48_000
    keep: str | None = None
    finishers: int = Field(default=1, ge=1, le=64)

    @field_validator("stereo", mode="before")
    @classmethod
    def _two_sides(cls, said: Any) -> Any:
        if said is False:
            return said
        if isinstance(said, str) or not isinstance(said, list | tuple) or len(said) != 2:
            raise ValueError('must name two sides, such as ["attendant", "customer"], or be false')
        both = [tuple(_role(each) for each in ([side] if isinstance(side, str) else side)) for side in said]
        if shared := sorted(set(both[0]) & set(both[1])):
            raise ValueError(f"{shared[0]} cannot be on both sides")
        return tuple(both)

    @field_validator("mix", mode="before")
    @classmethod
    def _mixed(cls, said: Any) -> Any:
        if isinstance(said, bool):
            return said
        if isinstance(said, str) or not isinstance(said, list | tuple) or not said:
            raise ValueError('must be true, false or roles, such as ["attendant", "customer"]')
        return tuple(_role(each) for each in said)

    @field_validator("keep")
    @classmethod
    def _period(cls, said: str | None) -> str | None:
        if said is not None:
            Archive.seconds(said)
        return said

    @model_validator(mode="after")
    def _encryptable(self) -> Self:
        if found := check_recipients(self.recipients):
            raise ValueError("; ".join(found))
        if self.recipients and self.format == "wav":
            raise ValueError("format: a WAV file cannot be encrypted; take opus or flac")
        if self.keep_original and not self.recipients:
            raise ValueError("keep_original: what must not be kept is kept encrypted alone; set recipients")
        return self

    @field_validator("name")
    @classmethod
    def _template(cls, said: str) -> str:
        if "{" not in said.partition("/")[0]:
            raise ValueError(f"must be like {{tenant}}/{{date}}/{{call}}, below the directory; got {said!r}")
        try:
            Archive(Path(said))
        except ConfigurationError as error:
            raise ValueError(str(error)) from None
        return said

    @property
    def place(self) -> Path:
        """Where calls are kept, as a template."""
        return Path(self.name) if self.directory is None else self.directory / self.name

    @property
    def finish(self) -> FinishOptions:
        """What is made of a call when it is over."""
        mixed = _EVERYBODY if self.mix is True else self.mix or None
        return FinishOptions(
            stereo=None if self.stereo is False else (_names(self.stereo[0]), _names(self.stereo[1])),
            mix=None if mixed is None else _names(mixed),
            participants=self.participants,
            picture=self.picture,
            composite=self.video and self.composite,
            captions=self.captions,
            keep_original=self.keep_original,
            format=self.format,
            rate=self.rate,
        )

    @property
    def keep_seconds(self) -> float | None:
        """`keep` in seconds."""
        return None if self.keep is None else Archive.seconds(self.keep)


def _role(said: Any) -> Role:
    if said not in tuple(Role):
        raise ValueError(f"{said!r} is no role; there are {', '.join(Role)}")
    return Role(said)


def _names(roles: tuple[Role, ...]) -> tuple[str, ...]:
    return tuple(str(role) for role in roles)
