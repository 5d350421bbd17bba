"""What must have happened before a call may be recorded. Pure.

A policy asks for an announcement, or for an announcement and everybody's agreement. It concerns those whose
roles it names; while one of them is present for whom it does not hold, nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from voki_bots.calls import Participant, Role

SOMEBODY = ""
"""Stands for those who are heard, and whom the platform never named."""


class ConsentPolicy(BaseModel):
    """Whether people are told that they are recorded, or asked: table ``[consent]``, or a bot's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: Literal["none", "announce", "ask"] = Field(
        default="none",
        description="`none`: nothing; `announce`: the announcement was played; `ask`: they agreed, too",
    )
    announcement: Path | None = Field(default=None, description="the file that is played to everybody")
    of: tuple[Role, ...] = Field(
        default=(Role.CUSTOMER, Role.UNKNOWN), description="the roles of those who must be told, or asked"
    )

    @model_validator(mode="after")
    def _announced(self) -> ConsentPolicy:
        if self.policy == "announce" and self.announcement is None:
            raise ValueError("announcement: the policy 'announce' needs a file to play")
        if not self.of:
            raise ValueError("of: expected at least one role")
        return self


class Consent:
    """Who was told, who agreed, and whether that is enough. Its facts come from the journal and the call.

    Args:
        policy: What is asked for.
    """

    def __init__(self, policy: ConsentPolicy) -> None:
        self.policy = policy
        self._told: set[str] = set()
        self._agreed: set[str] = set()
        self._refused: set[str] = set()

    def told(self, to: Iterable[str]) -> None:
        """The announcement was played while these were present (ids, or `SOMEBODY`)."""
        self._told |= {SOMEBODY, *to}

    def came_back(self) -> None:
        """After a crash somebody may be there who came meanwhile: where names are known, only they count."""
        if self._told - {SOMEBODY}:
            self._told.discard(SOMEBODY)
            self._agreed.discard(SOMEBODY)

    def renamed(self, former: str, now: str) -> None:
        """The platform told the id of somebody who was known by role and name alone."""
        for names in (self._told, self._agreed, self._refused):
            if former in names:
                names.add(now)
        self._refused.discard(former)

    def given(self, by: str, present: Iterable[Participant]) -> tuple[str, ...]:
        """Somebody agreed: one participant if `by` is an id, else whoever speaks for all who are there.

        Returns:
            The ids of those for whom it counts.
        """
        there = {each.id for each in present}
        of = (by,) if by in there else tuple(sorted(there))
        self.taken_up(by, of)
        return of

    def refused(self, by: str) -> None:
        """Somebody does not agree: nothing is written any more, unless they change their mind."""
        self._refused.add(by)
        self._agreed.discard(by)

    def taken_up(self, by: str, of: Iterable[str]) -> None:
        """Somebody's agreement counts for these, and for whoever has no name."""
        self._refused.discard(by)
        self._agreed |= {SOMEBODY, by, *of}

    def met(self, present: Iterable[Participant]) -> bool:
        """Say whether everything that the policy asks for has happened for all who are concerned."""
        if self._refused or self.policy.policy == "none":
            return not self._refused
        there = {each.id for each in self._concerned(present)} or {SOMEBODY}
        if not there <= self._told | (set() if self.policy.announcement else there):
            return False
        return self.policy.policy == "announce" or there <= self._agreed

    def to_tell(self, present: Iterable[Participant], *, sure: bool) -> set[str]:
        """Give those who have not been told and could hear it now; empty if nothing is to be played.

        Args:
            present: Who is in the call, as far as is known.
            sure: Whether somebody who is concerned came before our eyes, or is heard. That the platform
                expects a customer is not enough: it would be told to nobody.
        """
        if self.policy.policy == "none" or self.policy.announcement is None or self._refused or not sure:
            return set()
        there = {each.id for each in self._concerned(present)} or {SOMEBODY}
        return there if there - self._told else set()

    def _concerned(self, present: Iterable[Participant]) -> list[Participant]:
        return [each for each in present if each.role in self.policy.of]
