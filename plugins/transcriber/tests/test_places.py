"""Where what was recognised lies in the call."""

from hypothesis import given
from hypothesis import strategies as st
from voki_bots_transcriber.engine import RATE
from voki_bots_transcriber.places import Places


def test_a_word_after_a_pause_lies_after_the_pause() -> None:
    """What was not fed is skipped, in the engine's time and not in the call's."""
    places = Places()
    places.feed(RATE, 10.0)
    places.feed(RATE, 50.0)
    assert (places.at(RATE // 2), places.at(RATE, end=True), places.at(RATE)) == (10.5, 11.0, 50.0)


@given(st.lists(st.tuples(st.integers(1, 5_000), st.integers(0, 3 * RATE)), min_size=1, max_size=40))
def test_every_sample_lies_where_it_was_fed_from(fed: list[tuple[int, int]]) -> None:
    """For any pieces with any holes between them, as far back as an utterance can reach."""
    places, truth, at = Places(), [], 0
    for samples, hole in fed:
        at += hole
        position = places.feed(samples, at / RATE)
        truth.append((position, at / RATE))
        at += samples
    assert all(abs(places.at(position) - start) < 0.001 for position, start in truth)
