"""Which calls a bot attends."""

import pytest

from voki_bots.bots.rule import Rule
from voki_bots.calls import Call

ASSIGNED = Call("acme", "c1", department_id="d-1", department="Support", attendant_id="u-1", status="queued")


def test_everything_assigned_is_attended_by_default() -> None:
    """An empty rule attends a call from its assignment on."""
    assert Rule().decide(ASSIGNED).attend


@pytest.mark.parametrize("name", ["support", "Support", "d-1"])
def test_a_department_goes_by_name_or_id(name: str) -> None:
    """A department is named by its id or, in any case, by its name."""
    assert Rule(departments=(name,)).decide(ASSIGNED).attend


def test_another_department_is_refused_with_the_reason() -> None:
    """The no says which department came and which were wanted."""
    decision = Rule(departments=("sales",)).decide(ASSIGNED)
    assert (decision.attend, decision.reason) == (False, "department 'Support' is not among ['sales']")


def test_a_queued_call_waits_for_assignment() -> None:
    """A call that nobody took yet is refused until it is assigned."""
    decision = Rule().decide(Call("acme", "c1", status="queued"))
    assert (decision.attend, decision.reason) == (False, "the call is queued, waiting until it is assigned")


def test_a_call_that_is_over_is_refused() -> None:
    """Nothing that ended is attended."""
    assert Rule().decide(Call("acme", "c1", attendant_id="u", status="missed")).reason == "the call is missed"


def test_only_some_attendants() -> None:
    """A rule can name the attendants whose calls it wants."""
    assert not Rule(attendants=("u-2",)).decide(ASSIGNED).attend
