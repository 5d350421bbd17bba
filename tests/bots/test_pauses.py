"""Pauses of several, and their times."""

import pytest

from voki_bots.bots.pauses import Pause, Pauses
from voki_bots.errors import ConfigurationError


def test_each_actor_has_a_pause_of_their_own() -> None:
    """One who resumes ends no pause of another."""
    pauses = Pauses()
    pauses.pause("ana", 1.0)
    pauses.pause("pci", 2.0)
    assert [pause.actor for pause in pauses.resume("ana")] == ["ana"]
    assert pauses.actors == ("pci",)


def test_everyones_pauses_end_where_that_is_asked_for() -> None:
    """Even by somebody who has none."""
    pauses = Pauses()
    pauses.pause("ana", 1.0)
    pauses.pause("pci", 2.0)
    assert len(pauses.resume("boss", everyone=True)) == 2 and pauses.standing == ()


def test_who_has_no_pause_ends_none() -> None:
    """Resuming without having paused changes nothing."""
    pauses = Pauses()
    pauses.pause("ana", 1.0)
    assert pauses.resume("pci") == [] and pauses.actors == ("ana",)


def test_pausing_again_renews_the_time() -> None:
    """The beginning stays, the end is counted from now, the reason is the new one."""
    pauses = Pauses()
    pauses.pause("ana", 1.0, reason="card", seconds=10.0)
    assert pauses.pause("ana", 8.0, reason="iban", seconds=10.0) == Pause("ana", 1.0, "iban", 18.0)


@pytest.mark.parametrize(
    ("seconds", "longest", "until"),
    [(None, None, None), (5.0, None, 105.0), (None, 60.0, 160.0), (5.0, 60.0, 105.0), (90.0, 60.0, 160.0)],
)
def test_the_longest_pause_goes_before_what_is_asked(
    seconds: float | None, longest: float | None, until: float | None
) -> None:
    """A bound holds for every pause, also for those without a time."""
    assert Pauses(longest).pause("ana", 100.0, seconds=seconds).until == until


def test_a_pause_ends_when_its_time_is_over_and_not_before() -> None:
    """Each at its own."""
    pauses = Pauses()
    pauses.pause("ana", 0.0, seconds=5.0)
    pauses.pause("pci", 0.0, seconds=6.0)
    assert pauses.expired(4.999) == []
    assert [pause.actor for pause in pauses.expired(5.0)] == ["ana"]


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_no_pause_lasts_no_time(seconds: float) -> None:
    """A timer that would end at once, or never, is a mistake."""
    with pytest.raises(ConfigurationError, match="seconds"):
        Pauses().pause("ana", 0.0, seconds=seconds)
