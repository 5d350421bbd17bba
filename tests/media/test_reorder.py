"""Order and loss."""

import random

from hypothesis import given
from hypothesis import strategies as st

from voki_bots.media.reorder import Ordered, Reorder
from voki_bots.media.rtp import Received


def packet(sequence: int, arrival: float = 0.0, payload: bytes = b"x") -> Received:
    sequence &= 0xFFFF
    return Received("0", 1, "audio", 111, sequence, sequence * 960, False, payload, None, arrival, 48_000)


def order(sequences: list[int], patience: float = 0.15) -> list[Ordered]:
    reorder, out = Reorder(patience), []
    for n, sequence in enumerate(sequences):
        now = n * 0.02
        out += reorder.tick(now)
        out += reorder.push(packet(sequence, now))
    return out + reorder.flush()


def test_packets_in_order_are_not_delayed() -> None:
    """Each packet that continues the sequence comes out at once."""
    reorder = Reorder()
    assert [len(reorder.push(packet(n))) for n in (65_534, 65_535, 0, 1)] == [1, 1, 1, 1]


def test_a_late_packet_is_put_in_its_place() -> None:
    """Two packets that overtook each other come out in order, and nothing is lost."""
    out = order([1, 3, 2, 4])
    assert [(o.sequence, o.lost) for o in out] == [(1, 0), (2, 0), (3, 0), (4, 0)]


def test_a_missing_packet_is_declared_lost_after_the_patience() -> None:
    """What waits behind a hole is held for the patience, then given with the size of the hole."""
    reorder = Reorder(0.15)
    reorder.push(packet(1, 0.00))
    assert reorder.push(packet(4, 0.06)) == []
    assert reorder.tick(0.20) == []
    assert [(o.sequence, o.lost) for o in reorder.tick(0.22)] == [(4, 2)]


def test_a_packet_that_comes_after_it_was_declared_lost_is_counted_and_dropped() -> None:
    """Order is never broken for a packet that comes too late."""
    reorder = Reorder(0.1)
    reorder.push(packet(1, 0.0))
    reorder.push(packet(3, 0.1))
    reorder.tick(0.3)
    assert (reorder.push(packet(2, 0.31)), reorder.late) == ([], 1)


def test_duplicates_come_out_once() -> None:
    """The same packet twice is one packet."""
    assert [o.sequence for o in order([1, 1, 3, 3, 2, 2, 4])] == [1, 2, 3, 4]


def test_a_new_numbering_is_believed_when_a_second_packet_continues_it() -> None:
    """One stray packet is dropped; two in a row are a restarted sender."""
    out = order([1, 2, 40_000, 3, 20_000, 20_001, 20_002])
    assert [(o.packet.sequence, o.restarted) for o in out] == [
        (1, False),
        (2, False),
        (3, False),
        (20_000, True),
        (20_001, False),
        (20_002, False),
    ]


@given(st.integers(0, 0xFFFF), st.integers(1, 300), st.integers(0, 2**32), st.floats(0, 0.4))
def test_whatever_happens_on_the_way_the_order_rises_and_losses_add_up(
    start: int, count: int, seed: int, loss: float
) -> None:
    """Shuffled within the patience and with losses, packets and losses together make up the sequence."""
    rng = random.Random(seed)
    sent = [start + n for n in range(count) if n == 0 or rng.random() >= loss]
    arrived = sorted(sent, key=lambda n: n + (rng.uniform(0, 3) if n > start else 0))
    out = order(arrived)
    assert [o.sequence for o in out] == sent
    assert len(out) + sum(o.lost for o in out) == sent[-1] - start + 1


@given(st.lists(st.integers(0, 0xFFFF), max_size=200))
def test_any_sequence_at_all_comes_out_rising(sequences: list[int]) -> None:
    """Nonsense from the network never breaks the order."""
    numbers = [o.sequence for o in order(sequences)]
    assert numbers == sorted(set(numbers))
