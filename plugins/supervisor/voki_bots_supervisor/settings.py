"""The settings of the plugin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from voki_bots import Login, PluginSettings, Supervision, SupervisionStrategy, check_voice


class SupervisorSettings(PluginSettings):
    """How people supervise the calls of a bot.

    Attributes:
        strategy: How the platform is asked for a mode. Nothing of it is documented, so without it nobody
            speaks.
        login: The account of whoever has none of their own.
        people: Accounts of people, by how the console knows them. Two people cannot be in one call with the
            same account.
        modes: In which people may be heard.
        told_by: How the attendant hears of who listens: from the platform, which is asked to monitor, or by
            a hint on their screen. There is no way to listen without either.
        voice: Says texts, such as ``espeak-ng:pt-br``; without it they are only shown.
        whispers: What is done with `WhisperAsked`: a ``hint`` on the attendant's screen, which cannot leak,
            or said ``aloud``, and shown if that cannot be.
        profile: A capability profile that an operator signed.
        operator: The public key of the operator, or a file that holds it.
    """

    strategy: SupervisionStrategy | None = None
    login: Login | None = None
    people: Mapping[str, Login] = Field(default={})
    modes: tuple[Supervision, ...] = (Supervision.WHISPER, Supervision.BARGE)
    told_by: Literal["platform", "hint"] = "platform"
    voice: str = ""
    whispers: Literal["hint", "aloud"] = "hint"
    profile: Path | None = None
    operator: str = ""

    @field_validator("voice")
    @classmethod
    def _known(cls, value: str) -> str:
        if value and (problem := check_voice(value)):
            raise ValueError(problem)
        return value

    @field_validator("modes")
    @classmethod
    def _heard(cls, value: tuple[Supervision, ...]) -> tuple[Supervision, ...]:
        if Supervision.MONITOR in value:
            raise ValueError("who monitors is heard by nobody; expected whisper, barge, both or none")
        return value

    def problems(self) -> list[str]:
        """What does not fit together, one sentence each."""
        found = []
        if self.told_by == "platform" and (self.strategy is None or not (self.login or self.people)):
            found.append(
                "told_by: to let the platform tell who listens takes a strategy, and a login or people; "
                'write them, or told_by = "hint"'
            )
        if self.whispers == "aloud" and not (self.voice and self.strategy and self.login):
            found.append("whispers: to say them aloud takes a voice, a strategy and a login")
        if bool(self.profile) != bool(self.operator):
            found.append("profile: a profile and its operator's public key go together")
        elif self.profile is not None and not self.profile.is_file():
            found.append(f"profile: {self.profile} is no file; `voki-bots probe` writes one")
        return found
