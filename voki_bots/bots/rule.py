"""Which calls a bot attends, and when it leaves them. Pure; every answer carries its reason."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from voki_bots.calls import Call

_STAGES = {"queued": 0, "assigned": 1, "active": 2}


class Decision(BaseModel):
    """A yes or no with its reason; it becomes a log line, a metric and a row at ``/calls``."""

    model_config = ConfigDict(frozen=True)

    attend: bool
    reason: str


class Rule(BaseModel):
    """Which calls a bot attends, and when it leaves.

    ``Rule()`` attends every call from the moment it is assigned to an attendant.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    departments: tuple[str, ...] = Field(
        default=(), description="ids or names of departments; empty means all of them"
    )
    on: Literal["queued", "assigned", "active"] = Field(
        default="assigned", description="the stage of a call from which on the bot wants to be in it"
    )
    attendants: tuple[str, ...] = Field(
        default=(), description="only calls of these attendants (user ids); empty means all"
    )
    leave_after_others: float = Field(
        default=5.0, gt=0, description="seconds after everybody else has left (question Q28)"
    )
    leave_when_alone: float = Field(
        default=60.0, gt=0, description="seconds alone and in silence where nobody was ever announced"
    )
    maximum: float = Field(default=4 * 3600.0, gt=0, description="longest attendance, in seconds")

    def decide(self, call: Call) -> Decision:
        """Say whether a call is to be attended, and why."""
        if call.over:
            return Decision(attend=False, reason=f"the call is {call.status}")
        if not self.wants(call):
            came = call.department or call.department_id or "unknown"
            return Decision(attend=False, reason=f"department {came!r} is not among {list(self.departments)}")
        if self.attendants and call.attendant_id not in self.attendants:
            return Decision(attend=False, reason=f"attendant {call.attendant_id!r} is not among those named")
        stage = self._stage(call)
        if _STAGES[stage] < _STAGES[self.on]:
            return Decision(attend=False, reason=f"the call is {stage}, waiting until it is {self.on}")
        return Decision(attend=True, reason=f"the call is {stage}")

    def wants(self, call: Call) -> bool:
        """Whether calls of this call's department are attended at all."""
        return not self.departments or self._in_department(call)

    def _in_department(self, call: Call) -> bool:
        wanted = {name.casefold() for name in self.departments}
        return any(name.casefold() in wanted for name in (call.department_id, call.department) if name)

    @staticmethod
    def _stage(call: Call) -> str:
        if call.status == "active":
            return "active"
        # Whether `assign` alone changes the status is undocumented; an attendant's id tells either way.
        return "assigned" if call.attendant_id or call.status == "assigned" else "queued"
