"""Senders' clocks are measured by their least delayed packets."""

import random
from typing import Any

import pytest
from voki_bots_recorder.clocks import Clocks

from voki_bots import Packet, Track

TRACK = Track(0, "1", 7)


def measured(*pieces: tuple[float, float, int], jitter: float = 0.02) -> list[dict[str, Any]]:
    """Points of a track whose pieces are (seconds, ppm, ticks that its timestamps jump before)."""
    rng, clocks, points = random.Random(1), Clocks(), []
    start, late, jumped = 0.0, 0.0, 0
    for seconds, ppm, jump in pieces:
        jumped += jump
        for _ in range(round(seconds * 50)):
            delay = late + rng.expovariate(1 / jitter)
            packet = Packet(TRACK, b"", round(start * 48_000) + jumped, 0, start, 960, 100.0 + start + delay)
            points.append(clocks.take(packet))
            start, late = start + 0.02, late + 0.02 * ppm / 1e6
    return [point for point in [*points, *clocks.rest()] if point]


def test_a_slow_clock_shows_in_spite_of_jitter() -> None:
    """Sixty seconds at 200 ppm are 10 ms between the first and the last of six windows."""
    points = measured((60.0, 200.0, 0))
    assert len(points) == 6 and points[0]["late"] == 0.0
    assert points[-1]["late"] == pytest.approx(0.010, abs=0.003)


def test_a_jump_of_the_timestamps_begins_anew() -> None:
    """Where the timeline is anchored anew, so is the measurement; the number tells."""
    assert [point["anchor"] for point in measured((15.0, 0.0, 0), (15.0, 0.0, 9_600))] == [0, 0, 1, 1]


def test_a_few_packets_tell_nothing() -> None:
    """Less than a second of packets is no point."""
    assert measured((0.9, 0.0, 0)) == []
