"""Counters that wrap."""

from hypothesis import given
from hypothesis import strategies as st

from voki_bots.media.rtp import Unwrapper, distance, extension_block, extension_elements


@given(st.integers(0, 0xFFFF), st.integers(-0x7FFF, 0x7FFF))
def test_distance_is_the_shorter_way_round(base: int, step: int) -> None:
    """Adding a step to a counter and asking for the distance gives the step."""
    assert distance((base + step) & 0xFFFF, base, 16) == step


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(-(2**30), 2**30), max_size=30))
def test_unwrapping_restores_the_counter_before_it_wrapped(start: int, steps: list[int]) -> None:
    """Whatever the steps, forward or back, the unwrapped differences are the true ones."""
    unwrapper, value = Unwrapper(32), start
    assert unwrapper.unwrap(start) == start
    for step in steps:
        value += step
        assert unwrapper.unwrap(value & 0xFFFFFFFF) == value


def test_one_packet_out_of_order_does_not_move_the_stream_by_a_turn() -> None:
    """A timestamp that steps back is a step back, not a wrap."""
    unwrapper = Unwrapper(32)
    assert [unwrapper.unwrap(v) for v in (960, 0, 1920)] == [960, 0, 1920]


@given(st.dictionaries(st.integers(1, 14), st.binary(min_size=1, max_size=16)))
def test_a_header_extension_reads_as_it_was_written(elements: dict[int, bytes]) -> None:
    """It fills whole words (RFC 8285 section 4.2), and every element is found again."""
    block = extension_block(elements)
    assert (dict(extension_elements(block)), len(block) % 4) == (elements, 0)
