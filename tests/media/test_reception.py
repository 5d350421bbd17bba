"""Loss and jitter, as receiver reports say them."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from voki_bots.media.reception import Reception


def counted(numbers: Iterable[int]) -> Reception:
    found = Reception(48_000)
    for n in numbers:
        found.add(n & 0xFFFF, n * 960 & 0xFFFFFFFF, n * 0.02)
    return found


@given(st.integers(0, 65_535), st.sets(st.integers(1, 198)))
def test_lost_is_what_is_missing_between_first_and_last(start: int, gone: set[int]) -> None:
    """Wherever the numbers begin, and whether or not they wrap."""
    found = counted(start + n for n in range(200) if n not in gone)
    assert found.packets_lost == len(gone)


def test_the_highest_number_carries_its_cycles() -> None:
    """RFC 3550 section 6.4.1: the upper 16 bits count how often it wrapped."""
    assert counted(range(65_530, 65_546)).max_seq == 65_545


def test_a_late_packet_is_not_lost() -> None:
    """Packets out of order are only late."""
    assert counted([1, 2, 4, 5, 3, 6]).packets_lost == 0


def test_the_fraction_is_that_since_the_last_report() -> None:
    """Asked again without anything new it is 0."""
    found = counted([0, 1, 3, 4])
    assert (found.fraction_lost, found.fraction_lost) == (256 // 5, 0)


def test_a_new_numbering_is_no_loss() -> None:
    """An encoder that starts anew must not look like a disaster."""
    assert counted([*range(10), *range(30_000, 30_010)]).packets_lost == 0


def test_a_steady_stream_has_no_jitter() -> None:
    """Also where the timestamps wrap."""
    found = Reception(48_000)
    for n in range(200):
        found.add(n, (2**32 - 96_000 + n * 960) & 0xFFFFFFFF, 5.0 + n * 0.02)
    assert found.jitter == 0


def test_jitter_tends_to_the_mean_deviation() -> None:
    """Packets that come 5 ms early and late in turn deviate by 10 ms from one to the next."""
    found = Reception(48_000)
    for n in range(400):
        found.add(n, n * 960, n * 0.02 + (0.005 if n % 2 else -0.005))
    assert abs(found.jitter / 48_000 - 0.010) < 0.0005
