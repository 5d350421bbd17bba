"""What a channel's user is told while it moves from one socket to another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voki_bots.signalling.membership import ChannelEvent, Closed, Errored, Joined, Received, Subscription
from voki_bots.signalling.overlap import Overlap

OLD, NEW = Subscription("queue:1", dict), Subscription("queue:1", dict)


def told(overlap: Overlap, *events: tuple[Subscription, ChannelEvent]) -> list[ChannelEvent]:
    return [told for whose, event in events if (told := overlap.admit(whose, event)) is not None]


def test_an_event_that_both_sockets_bring_is_told_once() -> None:
    """In whichever order they come."""
    a, b = Received("a", {"n": 1, "m": 2}), Received("b", {})
    assert told(Overlap(OLD), (OLD, a), (NEW, b), (OLD, b), (NEW, Received("a", {"m": 2, "n": 1}))) == [a, b]


def test_the_same_event_twice_is_told_twice() -> None:
    """Each has one twin."""
    a = Received("a", {})
    assert told(Overlap(OLD), (OLD, a), (OLD, a), (NEW, a), (NEW, a)) == [a, a]


def test_the_move_itself_is_not_told() -> None:
    """Neither that the new socket joined, nor that the old one was left."""
    overlap = Overlap(OLD)
    before = told(overlap, (NEW, Joined({}, False)))
    overlap.switched()
    assert (before, told(overlap, (OLD, Closed("left")))) == ([], [])


def test_a_channel_that_was_away_is_back() -> None:
    """It lost its old socket before the new one joined: events may be missing, so it says again."""
    assert told(Overlap(OLD), (OLD, Errored("gone")), (NEW, Joined({}, False))) == [
        Errored("gone"),
        Joined({}, True),
    ]


def test_after_the_switch_the_new_socket_speaks() -> None:
    """The old one's loss is of no interest any more, the new one's is."""
    overlap = Overlap(OLD)
    overlap.switched()
    assert told(overlap, (OLD, Errored("old")), (NEW, Errored("new"))) == [Errored("new")]


@given(st.lists(st.integers(0, 3), max_size=12), st.data())
def test_whatever_the_order_each_event_counts_once(numbers: list[int], data: st.DataObject) -> None:
    """Both bring all of it, each in its order, interleaved at will."""
    events = [Received("e", number) for number in numbers]
    overlap, waiting, got = Overlap(OLD), {True: list(events), False: list(events)}, list[ChannelEvent]()
    while waiting[True] or waiting[False]:
        old = bool(waiting[True]) and (not waiting[False] or data.draw(st.booleans()))
        got += told(overlap, (OLD if old else NEW, waiting[old].pop(0)))
    assert got == events
