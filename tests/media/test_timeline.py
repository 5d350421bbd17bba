"""Places and gaps."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voki_bots.calls import GapCause
from voki_bots.media.timeline import Gap, Placed, Timeline

TICKS = 960


def run(packets: list[tuple[float, int, int]], end: float) -> tuple[list[Gap], list[int]]:
    """Place (arrival, timestamp, lost) one after another; give gaps and starts."""
    timeline: Timeline[int] = Timeline(48_000)
    out = []
    for arrival, timestamp, lost in packets:
        out += timeline.tick(arrival)
        out += timeline.place(timestamp, timestamp, TICKS, arrival, lost=lost)
    out += timeline.finish(end)
    return [o for o in out if isinstance(o, Gap)], [o.start for o in out if isinstance(o, Placed)]


def steady(start: float, count: int, timestamp: int = 5_000) -> list[tuple[float, int, int]]:
    return [(start + n * 0.02, timestamp + n * TICKS, 0) for n in range(count)]


def test_the_first_packet_lies_where_it_arrived() -> None:
    """The time before the first packet is a late join."""
    gaps, starts = run(steady(2.0, 3), 2.06)
    assert (gaps, starts) == ([Gap(0, 96_000, GapCause.LATE_JOIN)], [96_000, 96_960, 97_920])


def test_jitter_moves_nothing() -> None:
    """Packets are placed by timestamp, whenever they arrive."""
    packets = [(1.0, 0, 0), (1.09, 960, 0), (1.095, 1920, 0), (1.3, 2880, 0)]
    assert run(packets, 1.08)[1] == [48_000, 48_960, 49_920, 50_880]


def test_a_first_packet_that_waited_for_us_is_not_taken_for_the_place() -> None:
    """Packets that lay in the socket while our loop was busy are placed by the one that waited least."""
    waited = [(1.0, n * TICKS, 0) for n in range(10)]
    gaps, starts = run([*waited, (1.02, 10 * TICKS, 0)], 1.02)
    assert (gaps[0].end, starts[0]) == (48_000 - 9 * TICKS, 48_000 - 9 * TICKS)


def test_a_hole_in_the_sequence_is_lost() -> None:
    """A missing packet leaves a gap of its length, with its cause."""
    gaps, _ = run([(0.0, 0, 0), (0.04, 1920, 1)], 0.06)
    assert gaps == [Gap(960, 1920, GapCause.LOST)]


def test_a_jump_without_a_hole_is_dtx_or_mute_by_its_length() -> None:
    """Silence that was not sent is no loss."""
    gaps, _ = run([(0.0, 0, 0), (0.4, 19_200, 0), (5.4, 259_200, 0)], 5.42)
    assert [g.cause for g in gaps] == [GapCause.DTX, GapCause.MUTED]


def test_a_burst_after_a_stall_keeps_its_timestamps() -> None:
    """Two seconds of packets that arrive at once lie where they were spoken."""
    late = [(3.0 + n * 0.0005, 48_000 + n * TICKS, 0) for n in range(100)]
    gaps, starts = run([*steady(0.0, 50, 0), *late, *steady(3.06, 5, 48_000 + 100 * TICKS)], 3.2)
    assert not [g for g in gaps if g.end - g.start > 6_000]
    assert starts == [n * TICKS for n in range(155)]


def test_a_sender_whose_timestamps_stood_still_is_placed_by_arrival() -> None:
    """After a pause that the sender did not count, the pause is a gap and the audio is where it was heard."""
    gaps, starts = run([*steady(0.0, 50, 0), *steady(11.0, 50, 50 * TICKS)], 12.0)
    assert gaps == [Gap(48_000, 528_000, GapCause.MUTED)]
    assert starts[50] == 528_000


def test_timestamps_that_jump_far_are_anchored_anew() -> None:
    """A sender that restarts its timestamps does not move its audio by hours."""
    gaps, starts = run([*steady(0.0, 50, 0), *steady(1.0, 50, 3_000_000_000)], 2.0)
    assert (gaps, starts[-1]) == ([], 99 * TICKS)


def test_timestamps_that_jump_back_are_anchored_anew() -> None:
    """Audio is never placed over audio."""
    gaps, starts = run([*steady(0.0, 50, 9_000_000), *steady(1.0, 50, 0)], 2.0)
    assert (gaps, starts[-1]) == ([], 99 * TICKS)


def test_a_hold_is_a_gap_and_what_was_spoken_in_it_stays_away() -> None:
    """Between pause and resume nothing is placed, to the tick."""
    timeline: Timeline[int] = Timeline(48_000)
    out = []
    for n in range(100):
        if n == 30:
            out += timeline.hold(0.60, GapCause.MASKED)
        if n == 60:
            out += timeline.release(1.205)
        out += timeline.place(n, n * TICKS, TICKS, n * 0.02)
    out += timeline.finish(2.0)
    assert [o.item for o in out if isinstance(o, Placed)] == [*range(30), *range(61, 100)]
    masked = [o for o in out if isinstance(o, Gap)]
    assert {g.cause for g in masked} == {GapCause.MASKED}
    assert (masked[0].start, masked[-1].end) == (28_800, 61 * TICKS)


def test_a_track_that_is_first_heard_while_held_is_a_late_join_and_then_held() -> None:
    """A hold from the beginning hides the audio, not the fact that somebody came."""
    timeline: Timeline[int] = Timeline(48_000)
    out = timeline.hold(0.0, GapCause.NO_CONSENT) + timeline.place(0, 0, TICKS, 1.0) + timeline.finish(2.0)
    assert all(isinstance(o, Gap) and o.cause is GapCause.NO_CONSENT for o in out)


steps = st.lists(
    st.tuples(
        st.sampled_from(["packet", "packet", "packet", "loss", "mute", "freeze", "jump", "burst", "hold"]),
        st.integers(1, 400),
    ),
    max_size=60,
)


@given(st.integers(0, 2**31), steps, st.integers(0, 2**32), st.floats(0, 30))
def test_audio_and_gaps_make_up_the_whole_call(
    timestamp: int, plan: list[tuple[str, int]], seed: int, start: float
) -> None:
    """Whatever a sender does, durations and gaps add up to the span and never overlap."""
    rng, now, lost = random.Random(seed), start, 0
    timeline: Timeline[None] = Timeline(48_000)
    out: list[Gap | Placed[None]] = []
    for what, n in plan:
        now += {"burst": 0.0, "mute": n * 0.02, "freeze": n * 0.02}.get(what, 0.02)
        timestamp += {"loss": n * TICKS, "mute": n * TICKS, "jump": n * 1_000_003 - 2 * 10**8}.get(what, 0)
        lost += n if what == "loss" else 0
        if what == "hold":
            out += timeline.hold(now, GapCause.HELD) if n % 2 else timeline.release(now)
        out += timeline.tick(now)
        out += timeline.place(None, timestamp, TICKS, now + rng.uniform(0, 0.08), lost=lost)
        timestamp, lost = timestamp + TICKS, 0
    out += timeline.finish(now)
    at = 0
    for o in out:
        begin, end = (o.start, o.end) if isinstance(o, Gap) else (o.start, o.start + o.duration)
        assert begin == at
        at = end
    assert at == timeline.cursor == max(at, round(now * 48_000))
    assert timeline.audio == sum(o.duration for o in out if isinstance(o, Placed))


@pytest.mark.parametrize("speed", [1.3, 2.0, 5.0, 50.0])
def test_a_burst_may_come_slowly(speed: float) -> None:
    """After a stall the backlog may come little by little; its timestamps are right, so nothing moves."""
    packets = []
    for number in range(400):
        caught_up = 2.8 + (number - 100) * 0.02 / speed
        arrival = max(number * 0.02, caught_up) if number >= 100 else number * 0.02
        packets.append((arrival, number * TICKS, 0))
    gaps, starts = run(packets, 8.0)
    assert (gaps, starts) == ([], [n * TICKS for n in range(400)])
