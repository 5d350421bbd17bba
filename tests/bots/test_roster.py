"""Who is in the call, and which track is whose."""

import pytest

from voki_bots.bots.roster import Roster
from voki_bots.calls import Attribution, Call, Participant, Role, Track

ALICE = Participant("u-alice", "Alice", Role.ATTENDANT)
CARL = Participant("u-carl", "Carl", Role.CUSTOMER)
ONE, TWO = Track(0, "0", 11), Track(0, "1", 22)


def roster(**details: str) -> Roster:
    return Roster(Call("acme", "c1", **details), own_id="u-bot")


def test_the_bot_is_not_a_participant() -> None:
    """Our own announcement is ignored."""
    people = roster()
    assert people.joined(Participant("u-bot", "Minutes", Role.ATTENDANT), 0.0) is None
    assert people.participants == []


def test_details_seed_expected_participants() -> None:
    """The call's details name whom to expect, as not yet present."""
    people = roster(attendant_id="u-alice", attendant_name="Alice", customer_name="Carl")
    assert [(p.role, p.present) for p in people.participants] == [
        (Role.ATTENDANT, False),
        (Role.CUSTOMER, False),
    ]


def test_an_active_call_has_both_sides_present() -> None:
    """What the platform calls active has both sides in it."""
    people = roster(attendant_id="u-alice", customer_name="Carl", status="active")
    assert [p.present for p in people.participants] == [True, True]


def test_an_expected_customer_becomes_the_one_who_joins() -> None:
    """The customer of the details has no id; the first of that name takes their place."""
    people = roster(customer_name="Carl")
    people.joined(Participant("u-carl", "Carl", Role.UNKNOWN), 1.0)
    assert people.participants == [CARL]


def test_joining_twice_is_told_once() -> None:
    """A duplicate announcement is nothing new."""
    people = roster()
    assert people.joined(ALICE, 0.0) == ALICE
    assert people.joined(ALICE, 0.1) is None


def test_msid_that_names_a_user_is_certain() -> None:
    """A stream id that contains a user id attributes the track with full confidence."""
    people = roster()
    people.joined(ALICE, 0.0)
    people.joined(CARL, 0.0)
    people.started(ONE, 9.0, tokens=["stream-u-carl-1"])
    assert people.who(ONE) == Attribution(CARL, 1.0, "msid")


def test_a_track_right_after_a_join_is_theirs() -> None:
    """One newcomer and one new track within the window belong together."""
    people = roster()
    people.joined(ALICE, 0.0)
    people.joined(CARL, 20.0)
    people.started(ONE, 20.4)
    assert people.who(ONE) == Attribution(CARL, 0.8, "activation")


def test_two_people_and_two_tracks_at_once_stay_unknown() -> None:
    """Where evidence does not decide, the track is unknown: a role is never guessed."""
    people = roster()
    people.joined(ALICE, 0.0)
    people.joined(CARL, 0.1)
    people.started(ONE, 0.5)
    people.started(TWO, 0.6)
    assert [people.who(t).role for t in (ONE, TWO)] == [Role.UNKNOWN, Role.UNKNOWN]


def test_a_track_of_nobody_is_unknown() -> None:
    """A track in a call of which nobody is known is unknown."""
    people = roster()
    people.started(ONE, 3.0)
    assert people.who(ONE) == Attribution()


def test_elimination_names_the_last_one() -> None:
    """If one track and one participant are left over, they belong together, with less confidence."""
    people = roster()
    people.joined(ALICE, 0.0)
    people.joined(CARL, 1.0)
    people.started(ONE, 60.0, tokens=["u-alice"])
    people.started(TWO, 60.0)
    assert people.who(TWO) == Attribution(CARL, 0.6, "elimination")


def test_an_extra_track_takes_elimination_back() -> None:
    """A third track shows that elimination was wrong, and the change is reported."""
    people = roster()
    people.joined(CARL, 0.0)
    people.started(ONE, 60.0)
    assert people.who(ONE).why == "elimination"
    changed = people.started(TWO, 61.0)
    assert changed == {ONE: Attribution()}


def test_a_clock_survives_a_redial() -> None:
    """After a re-dial the same RTP clock tells whose track it is, across a wrap of the timestamp."""
    people = roster()
    people.joined(ALICE, 0.0)
    people.joined(CARL, 0.0)
    people.started(ONE, 0.2, clock=2**32 - 12 * 48_000 + 9_600, tokens=["u-alice"])
    people.started(TWO, 0.2, clock=1_000_000)
    assert people.who(TWO).why == "activation"
    alice, carl = Track(1, "0", 33), Track(1, "1", 44)
    people.started(carl, 13.0, clock=1_000_000 + round(12.8 * 48_000))
    people.started(alice, 13.0, clock=48_000)
    assert [people.who(t) for t in (alice, carl)] == [
        Attribution(ALICE, 0.95, "clock"),
        Attribution(CARL, 0.95, "clock"),
    ]


@pytest.mark.parametrize("track", [ONE, Track(3, "a-b", 2**32 - 1, use=2)], ids=str)
def test_the_name_of_a_track_can_be_read(track: Track) -> None:
    """As the journal has it."""
    assert Track.parse(str(track)) == track


@pytest.mark.parametrize("text", ["", "0:1", "0:a:b:7", "0:a:b:c:7", "x:1:2"])
def test_what_is_no_name_of_a_track_is_refused(text: str) -> None:
    """A far end may name a line with colons."""
    with pytest.raises(ValueError):
        Track.parse(text)


def test_a_clock_survives_a_crash() -> None:
    """Two voices that start together after it are told apart; who is remembered is present once heard."""
    people = roster(customer_name="Carl")
    people.remember(ONE, ALICE, 0.6, 500, 10.0)
    people.remember(TWO, CARL, 0.8, 1_000_000, 10.0)
    assert people.present == []
    alice, carl = Track(1, "0", 33), Track(1, "1", 44)
    people.started(carl, 20.0, clock=1_000_000 + 10 * 48_000)
    changed = people.started(alice, 20.0, clock=500 + 10 * 48_000)
    assert [people.who(t).role for t in (alice, carl)] == [Role.ATTENDANT, Role.CUSTOMER]
    assert {p.id for p in people.present} == {"u-carl", "u-alice"} and not {ONE, TWO} & set(changed)


def test_whose_clock_is_not_known_from_before_a_crash_stays_unknown() -> None:
    """Roles are never guessed, though both people are remembered."""
    people = roster()
    people.remember(ONE, ALICE, 0.6, 500, 10.0)
    people.remember(TWO, CARL, 0.8, 1_000_000, 10.0)
    strange = [Track(1, "0", 33), Track(1, "1", 44)]
    for number, track in enumerate(strange):
        people.started(track, 20.0, clock=77_000_000 * (number + 1))
    assert [people.who(track).role for track in strange] == [Role.UNKNOWN] * 2


def test_a_reused_line_can_be_relabelled() -> None:
    """When a re-offer gives an m-line another msid, its track changes owner and says so."""
    people = roster()
    people.joined(ALICE, 0.0)
    people.joined(CARL, 0.0)
    people.started(ONE, 50.0, tokens=["u-alice"])
    changed = people.relabelled(0, "0", ["u-carl"])
    assert changed == {ONE: Attribution(CARL, 1.0, "msid")}


def test_whoever_left_is_no_candidate() -> None:
    """A track that starts after somebody left is not theirs."""
    people = roster()
    people.joined(ALICE, 0.0)
    people.left("u-alice", 5.0)
    people.started(ONE, 60.0)
    assert people.who(ONE).role is Role.UNKNOWN


def test_people_who_join_one_after_another_are_told_apart() -> None:
    """A second join within the first one's window takes nothing back: only one matching is possible."""
    people = roster()
    people.joined(ALICE, 0.6)
    people.started(ONE, 0.7)
    people.joined(CARL, 1.7)
    people.started(TWO, 1.75)
    assert [people.who(t).participant for t in (ONE, TWO)] == [ALICE, CARL]


def test_two_tracks_after_one_join_stay_unknown() -> None:
    """One newcomer cannot be told from whoever else began to send at the same time."""
    people = roster()
    people.joined(ALICE, 10.0)
    people.started(ONE, 10.2)
    people.started(TWO, 10.3)
    assert [people.who(t).role for t in (ONE, TWO)] == [Role.UNKNOWN, Role.UNKNOWN]


def test_somebody_who_comes_back_keeps_the_track_of_before() -> None:
    """The first track stays theirs when they leave, come back and begin another."""
    people = roster()
    people.joined(CARL, 1.0)
    people.started(ONE, 1.5)
    people.left(CARL.id, 3.0)
    people.ended(ONE, 2.5)
    people.joined(CARL, 4.0)
    people.started(TWO, 4.5)
    assert [people.who(track).why for track in (ONE, TWO)] == ["activation", "activation"]


def test_a_picture_is_whose_voice_is_in_its_stream() -> None:
    """Audio and video of one stream are one participant's."""
    people = roster()
    people.joined(ALICE, 0.0)
    people.started(ONE, 0.2, tokens=["s1", "a"])
    people.joined(CARL, 9.0)
    picture = Track(0, "5", 55, "video")
    people.started(picture, 9.1, tokens=["s1", "v"])
    assert people.who(picture) == Attribution(ALICE, 0.9, "stream")


def test_a_picture_in_a_stream_of_its_own_is_nobodys() -> None:
    """Who joined last need not be who turned a camera on."""
    people = roster()
    people.joined(ALICE, 0.0)
    people.started(ONE, 0.2, tokens=["s1", "a"])
    people.started(picture := Track(0, "5", 55, "video"), 0.3, tokens=["s2", "v"])
    assert people.who(picture) == Attribution()
