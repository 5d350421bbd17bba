"""The short cut for packets that simply follow one another gives what the long way gives."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from voki_bots.calls import GapCause
from voki_bots.media.reorder import Reorder
from voki_bots.media.rtp import Received
from voki_bots.media.timeline import Placed, Timeline

STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 0, 0, 960, 9_600, 96_000, -960]),  # a step of the timestamp beside 20 ms
        st.floats(-0.01, 0.9),  # how late it comes
        st.sampled_from([None] * 12 + ["hold", "release"]),
    ),
    max_size=60,
)


def walk(steps: list[tuple[int, float, str | None]], *, short: bool, origin: int) -> list[Any]:
    """Place packets, with or without the short cut."""
    line: Timeline[int] = Timeline(48_000)
    out: list[Any] = []
    timestamp = origin
    for number, (step, late, act) in enumerate(steps):
        timestamp += 960 + step
        now = number * 0.02 + 1.0 + late
        if act == "hold":
            out += line.hold(now, GapCause.MASKED)
        elif act == "release":
            out += line.release(now)
        start = line.follow(timestamp & 0xFFFFFFFF, 960, now) if short else None
        if start is None:
            out += line.place(number, timestamp, 960, now)
        else:
            assert line.offset == start - timestamp
            out.append(Placed(number, start, 960))
        out += line.tick(now)
    return [(p.item, p.start, p.duration) if isinstance(p, Placed) else p for p in [*out, *line.finish(60.0)]]


@given(STEPS, st.sampled_from([0, 2**32 - 9_600]))
def test_the_timeline_is_the_same(steps: list[tuple[int, float, str | None]], origin: int) -> None:
    """Jumps, stalls, holds and the wrap of timestamps included."""
    assert walk(steps, short=True, origin=origin) == walk(steps, short=False, origin=origin)


def packet(sequence: int) -> Received:
    return Received("0", 1, "audio", 111, sequence & 0xFFFF, 0, False, b"x", None, sequence * 0.02, 48_000)


@given(st.lists(st.integers(-3, 6), max_size=60), st.integers(0, 65_535))
def test_the_order_is_the_same(steps: list[int], start: int) -> None:
    """Loss, reordering, duplicates and the wrap of sequence numbers included."""
    plain, short = Reorder(), Reorder()
    sequence, want, have = start, [], []
    for step in steps:
        sequence += step
        want += [o.sequence for o in plain.push(packet(sequence))]
        if short.ready(sequence & 0xFFFF):
            have.append(short.follow())
        else:
            have += [o.sequence for o in short.push(packet(sequence))]
    assert [*have, *(o.sequence for o in short.flush())] == [*want, *(o.sequence for o in plain.flush())]
