"""What is kept of a call for those who read it."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from voki_bots.calls import Call, CallJoined, CallLeft, HintGiven, OfferReceived, Role, UtteranceHeard
from voki_bots.service.feeds import KEPT, LINGER, Entry, Feed, Feeds, Reading, described

AT = datetime(2030, 1, 1, tzinfo=UTC)
KIM = UtteranceHeard("u1", 0, False, "it", Role.CUSTOMER, "c", 1.0, 1.5)


def put(feed: Feed, *events: object, bot: str = "minutes") -> list[Entry | None]:
    return [feed.put(bot, event, at=AT, now=1.0) for event in events]  # type: ignore[arg-type]


def hints(count: int) -> list[HintGiven]:
    return [HintGiven(str(n), Role.ATTENDANT, "test") for n in range(count)]


def kinds(entries: list[Entry]) -> list[str]:
    return [entry.kind for entry in entries]


def test_everything_is_read_once_and_in_order() -> None:
    """A reader gets what it has not read; the body says whose it is."""
    feed, reading = Feed("acme", "a/b"), Reading()
    put(feed, CallJoined(Call("acme", "a/b"), "u"), *hints(2))
    found = feed.read(reading)
    assert kinds(found) == ["CallJoined", "HintGiven", "HintGiven"]
    assert feed.read(reading) == []
    assert described(found[1]) == {
        "id": 2,
        "type": "HintGiven",
        "tenant": "acme",
        "call": "a/b",
        "bot": "minutes",
        "at": "2030-01-01T00:00:00.000+00:00",
        "now": 1.0,
        "event": {"text": "0", "to": "attendant", "by": "test"},
    }


def test_who_reads_slowly_skips_partials_and_no_final() -> None:
    """Only the newest revision of what is going on is kept, and every final."""
    feed, reading = Feed("acme", "1"), Reading()
    put(feed, *(replace(KIM, rev=n) for n in range(50)))
    assert [entry.caption for entry in feed.read(reading)] == ["u1.49"]
    put(feed, replace(KIM, rev=50, final=True), replace(KIM, id="u2"))
    assert [entry.caption for entry in feed.read(reading)] == ["u1.50", "u2.0"]


def test_two_bots_may_use_the_same_names() -> None:
    """The partial of one does not replace that of the other."""
    feed = Feed("acme", "1")
    put(feed, KIM)
    put(feed, KIM, bot="other")
    assert len(feed.read(Reading())) == 2


def test_who_is_too_slow_is_told_how_much_is_gone() -> None:
    """What fell out of the ring is counted, for each reader by itself."""
    feed, slow, quick = Feed("acme", "1"), Reading(), Reading()
    put(feed, *hints(KEPT))
    while feed.read(quick):
        pass
    put(feed, *hints(10))
    feed.read(slow)
    feed.read(quick)
    assert (slow.missed, quick.missed) == (10, 0)


def test_only_wanted_kinds_are_given_and_the_place_moves_on() -> None:
    """What is not wanted counts as read."""
    feed, reading = Feed("acme", "1"), Reading(kinds=frozenset({"UtteranceHeard"}))
    put(feed, *hints(3), KIM)
    assert kinds(feed.read(reading)) == ["UtteranceHeard"]
    assert not feed.waiting(reading)


@pytest.mark.parametrize(
    ("last", "then"),
    [
        ("1", ["u1.1", "u1.2", "u2.0"]),
        ("u1.2", ["u2.0"]),
        ("u1.1", ["u1.2", "u2.0"]),  # a partial, which was replaced since
        ("99", ["0", "u1.2", "u2.0"]),  # of before a restart
        ("u9.1", ["0", "u1.2", "u2.0"]),
        ("", ["0", "u1.2", "u2.0"]),
        ("x" * 100, ["0", "u1.2", "u2.0"]),
    ],
)
def test_a_reader_goes_on_where_it_was(last: str, then: list[str]) -> None:
    """After an id that is known; from the beginning if it is not: twice is better than never."""
    feed = Feed("acme", "1")
    put(feed, *hints(1), replace(KIM, rev=1), replace(KIM, rev=2, final=True), replace(KIM, id="u2"))
    found = feed.read(Reading(feed.place_of(last)))
    expected = [name for name in then if name != "u1.1"]
    assert [entry.caption or described(entry)["event"]["text"] for entry in found] == expected


def test_keys_of_the_transport_are_told_to_nobody() -> None:
    """Offers, answers and candidates stay inside."""
    assert put(Feed("acme", "1"), OfferReceived("v=0")) == [None]


def test_a_partial_does_not_outlive_its_bot() -> None:
    """What was never finished is not shown for ever."""
    feed = Feed("acme", "1")
    put(feed, KIM, CallLeft("stopped"))
    assert kinds(feed.read(Reading())) == ["CallLeft"]


def test_a_feed_lingers_for_those_who_come_back() -> None:
    """After the call it can be read for some minutes, then it is forgotten; a bot that returns keeps it."""
    now = [0.0]
    feeds = Feeds(lambda: now[0])
    feed = feeds.open("acme", "1")
    feeds.close(feed)
    now[0] = LINGER - 1
    assert feeds.get("acme", "1") is feed
    now[0] = LINGER + 1
    assert feeds.get("acme", "1") is None
