"""Names of files say who is on them."""

from voki_bots_recorder.names import Names

from voki_bots import Attribution, Participant, Role, Track

ANA = Attribution(Participant("u1", "Ana", Role.CUSTOMER), 1.0, "msid")
EVA = Attribution(Participant("u2", "Eva", Role.CUSTOMER), 1.0, "msid")
NOBODY = Attribution()


def track(ssrc: int, segment: int = 0) -> Track:
    return Track(segment, "1", ssrc)


def test_participants_of_a_role_are_numbered() -> None:
    """Two customers are 1 and 2; a second microphone of the first shares the number."""
    names = Names()
    taken = [names.take(track(n), who) for n, who in enumerate([ANA, EVA, ANA])]
    assert taken == ["tracks/customer-1.0.opus", "tracks/customer-2.0.opus", "tracks/customer-1.0.2.opus"]


def test_what_was_right_keeps_its_name() -> None:
    """Nothing is renamed if nothing new is known."""
    names = Names()
    who = {track(1): ANA, track(2): NOBODY, track(3): EVA}
    for each, attribution in who.items():
        names.take(each, attribution)
    assert names.settle(who.__getitem__) == {}


def test_only_what_was_wrong_is_renamed() -> None:
    """A late-known voice gets the next number; those that were right stay."""
    names = Names()
    for each, attribution in {track(1): NOBODY, track(2): ANA}.items():
        names.take(each, attribution)
    assert names.settle({track(1): EVA, track(2): ANA}.__getitem__) == {
        track(1): ("tracks/unknown-1.0.opus", "tracks/customer-2.0.opus")
    }


def test_somebody_whose_id_became_known_late_keeps_the_number() -> None:
    """A participant that was known by a made-up key is not counted twice."""
    names = Names()
    names.take(track(1), ANA)
    names.take(track(2, segment=1), EVA)
    assert names.settle({track(1): EVA, track(2, segment=1): EVA}.__getitem__) == {
        track(2, segment=1): ("tracks/customer-2.1.opus", "tracks/customer-1.1.opus")
    }


def test_two_voices_that_were_mistaken_change_places() -> None:
    """If two attributions turn out swapped across roles, so do the names."""
    names = Names()
    rui = Attribution(Participant("u3", "Rui", Role.ATTENDANT), 1.0, "msid")
    names.take(track(1), ANA)
    names.take(track(2), rui)
    assert names.settle({track(1): rui, track(2): ANA}.__getitem__) == {
        track(1): ("tracks/customer-1.0.opus", "tracks/attendant-1.0.opus"),
        track(2): ("tracks/attendant-1.0.opus", "tracks/customer-1.0.opus"),
    }
