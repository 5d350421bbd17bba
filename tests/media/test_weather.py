"""Loss, jitter and odd clocks, through order, timeline and decoder: what came lies in its place."""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.media.hearing import Walk
from voki_bots.calls import GapCause
from voki_bots.media.opus import Encoder
from voki_bots.media.rtp import Received
from voki_bots.testing.signals import tone

PACKET = 960
SECONDS = 6.0
COUNT = int(SECONDS * 50)
DELAY = 0.04
LATE = 0.15  # what is later than this is given up


@functools.cache
def coded(fec: bool = False) -> tuple[bytes, ...]:
    encoder = Encoder(bitrate=24_000, fec=fec)
    samples = tone(440, SECONDS)
    return tuple(encoder.encode(samples[n * PACKET : (n + 1) * PACKET]) for n in range(COUNT))


@dataclass(frozen=True)
class Sent:
    """A packet with its true time: when its first sample was spoken, in seconds of call time."""

    packet: Received
    spoken: float


def stream(
    *, first: int = 7, stamp: int = 1000, ssrc: int = 1, skew: float = 0.0, fec: bool = False
) -> list[Sent]:
    """A sender whose clock is off by `skew`, 40 ms away."""
    found = []
    for n, payload in enumerate(coded(fec)):
        spoken = n * 0.02 / (1 + skew)
        at = spoken + DELAY
        sequence, timestamp = (first + n) & 0xFFFF, (stamp + n * PACKET) & 0xFFFFFFFF
        packet = Received("0", ssrc, "audio", 111, sequence, timestamp, False, payload, None, at, 48_000)
        found.append(Sent(packet, spoken))
    return found


def delayed(sent: Sent, seconds: float) -> Sent:
    late = sent.packet._replace(arrival=sent.packet.arrival + seconds)
    return Sent(late, sent.spoken)


def walk(sent: Sequence[Sent], *, decoded: bool = False) -> Walk:
    made = Walk(decoded=decoded)
    made.play([one.packet for one in sent])
    made.close()
    return made


def misplacement(made: Walk, sent: Sequence[Sent]) -> float:
    """The largest error of a packet's place, in seconds, given that the path takes `DELAY`."""
    spoken = {(s.packet.ssrc, s.packet.sequence): s.spoken for s in sent}
    errors = [abs(p.start - DELAY - spoken[p.track.ssrc, p.sequence & 0xFFFF]) for p in made.packets]
    return max(errors)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    loss=st.floats(0.0, 0.2),
    jitter=st.floats(0.0, 0.2),
    twice=st.floats(0.0, 0.1),
    skew=st.sampled_from([-300e-6, 0.0, 300e-6]),
    first=st.sampled_from([0, 65_400]),
    stamp=st.sampled_from([0, 2**32 - 48_000]),
    seed=st.integers(0, 2**32),
)
def test_whatever_the_network_does(
    loss: float, jitter: float, twice: float, skew: float, first: int, stamp: int, seed: int
) -> None:
    """Loss, jitter, duplicates, skew and wraps at once: all adds up, and what is kept is in place."""
    rng = random.Random(seed)
    sent = [
        delayed(one, rng.random() * jitter)
        for one in stream(first=first, stamp=stamp, skew=skew)
        if rng.random() >= loss
        for _ in range(2 if rng.random() < twice else 1)
    ]
    made = walk(sent)
    assert abs(made.balance()) < 0.02
    # Where delays vary by a fifth of a second, no packet of the first second may have been quick.
    assert misplacement(made, sent) <= (0.02 if jitter <= 0.1 else 0.03)
    assert len({p.sequence for p in made.packets}) == len(made.packets)


@pytest.mark.parametrize("burst", [1, 3, 5, 10, 50, 100])
def test_a_burst_of_losses_is_a_gap_of_its_length(burst: int) -> None:
    """So many packets in a row are missing: one gap, named, exactly as long."""
    sent = stream()
    made = walk(sent[:100] + sent[100 + burst :])
    gaps = [g for g in made.gaps if g.cause is GapCause.LOST]
    assert [round(g.end - g.start, 6) for g in gaps] == [round(burst * 0.02, 6)]


@pytest.mark.parametrize(("lost", "concealed", "silent"), [(1, 0.02, 0.0), (5, 0.1, 0.0), (15, 0.1, 0.2)])
def test_losses_are_concealed_for_a_tenth_of_a_second(lost: int, concealed: float, silent: float) -> None:
    """What is decoded is whole: up to 100 ms are made up from what was heard, the rest is silence."""
    sent = stream()
    made = walk(sent[:100] + sent[100 + lost :], decoded=True)
    filled = np.concatenate([f.samples for f in made.frames if f.concealed])
    level = np.abs(filled.astype(int)).reshape(-1, 160).max(axis=1)  # of each 10 ms
    assert len(filled) == lost * 320
    assert np.count_nonzero(level > 200) * 0.01 >= min(concealed, 0.04)
    assert np.count_nonzero(level[round(concealed * 100) :] > 0) == 0
    assert sum(f.seconds for f in made.frames) == pytest.approx(SECONDS, abs=0.02)
    assert silent == pytest.approx(lost * 0.02 - concealed)


def test_the_next_packet_brings_back_the_one_before() -> None:
    """In-band redundancy: a single loss is closer to what was said than concealment alone can be."""
    whole = np.concatenate([f.samples for f in walk(stream(fec=True), decoded=True).frames]).astype(float)
    sent = stream(fec=True)
    holed = np.concatenate([f.samples for f in walk(sent[:150] + sent[151:], decoded=True).frames]).astype(
        float
    )
    at = slice(150 * 320, 151 * 320)
    error = np.linalg.norm(whole[at] - holed[at]) / np.linalg.norm(whole[at])
    assert error < 0.5


def test_a_sender_that_pauses_between_words_is_placed_by_its_clock() -> None:
    """Discontinuous transmission: the clock goes on though nothing is sent, and so does ours."""
    sent = [one for n, one in enumerate(stream()) if n % 100 < 50 or n % 20 == 0]
    made = walk(sent)
    assert misplacement(made, sent) <= 0.02
    assert {g.cause for g in made.gaps} <= {GapCause.DTX, GapCause.LATE_JOIN, GapCause.LOST}
    assert abs(made.balance()) < 0.02


def test_another_source_goes_on_where_the_first_one_ended() -> None:
    """A new SSRC on the same line: another track, nothing lost between."""
    sent = stream()[:150] + stream(ssrc=2, first=9000, stamp=77)[150:]
    made = walk(sent)
    assert misplacement(made, sent) <= 0.02
    assert [p.track.ssrc for p in made.packets] == [1] * 150 + [2] * 150


@pytest.mark.parametrize("jump", [PACKET * 500, -PACKET * 500, 2**31 - 5])
def test_a_clock_that_jumps_moves_nothing(jump: int) -> None:
    """Timestamps jump while sequence and pace go on: the audio goes on too."""
    before, after = stream()[:150], stream(stamp=(1000 + jump) & 0xFFFFFFFF)[150:]
    made = walk([*before, *after])
    assert misplacement(made, [*before, *after]) <= 0.12
    assert len(made.packets) == COUNT
    assert abs(made.balance()) < 0.02


def test_a_stall_of_our_own_is_no_gap() -> None:
    """Everything of half a second arrives at once, late: it was spoken when its timestamps say."""
    sent = [
        delayed(one, max(0.0, 3.5 - one.packet.arrival)) if 3.0 <= one.packet.arrival < 3.5 else one
        for one in stream()
    ]
    made = walk(sent)
    assert misplacement(made, sent) <= 0.02
    assert len(made.packets) == COUNT
