"""Somebody who speaks now is played as he comes; what comes too early, too fast or not at all delays none."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from voki_bots.media.live import LATE, MOST, START, Live
from voki_bots.media.prompts import Mixer, Prompt
from voki_bots.testing.signals import tone
from voki_bots.units import FRAME_SAMPLES

FRAME = np.full(FRAME_SAMPLES, 10_000, np.int16)
SILENT = np.zeros(FRAME_SAMPLES, np.int16)


def played(live: Live, count: int) -> list[int]:
    """The numbers that frames were filled with, in order; 0 is silence."""
    first = live._taken
    return [int(np.median(live.frame(first + n))) for n in range(count)]


def numbered(*numbers: int) -> np.ndarray:
    return np.concatenate([np.full(FRAME_SAMPLES, 1_000 * n, np.int16) for n in numbers])


def test_it_begins_when_a_little_waits_and_goes_on_in_order() -> None:
    """40 ms of jitter make no hole."""
    live = Live()
    live.push(numbered(1))
    assert played(live, 1) == [0]
    live.push(numbered(2))
    assert played(live, 1) == [1_000]
    live.push(numbered(3))
    assert played(live, 2) == [2_000, 3_000]
    assert played(live, 1) == [0]


def test_what_was_said_before_anybody_asked_delays_nothing() -> None:
    """The key is pressed a second before the gate opens: what was said then is not said late."""
    live = Live()
    for n in range(1, 31):
        live.push(numbered(n))
    assert played(live, START) == [29_000, 30_000]
    assert live.dropped == 28 * FRAME_SAMPLES


def test_pieces_of_any_length_make_frames() -> None:
    """A browser gives 10 ms, or 21.3."""
    live = Live()
    signal = tone(440, 0.2)
    live.frame(0)
    for at in range(0, len(signal), 1_024):
        live.push(signal[at : at + 1_024])
    whole = np.concatenate([live.frame(n) for n in range(1, 10)])
    assert np.array_equal(whole[480:], signal[480 : len(whole)])


def test_it_ends_after_what_waits_and_the_tail() -> None:
    """The last syllable comes after the key; the mixer's prompt is over then."""
    live = Live(tail=0.1)
    live.push(numbered(1, 2))
    played(live, 1)
    assert not live.released
    live.release()
    assert live.released
    live.push(numbered(3, 4, 5))
    assert played(live, 6) == [2_000, 3_000, 4_000, 5_000, 0, 0]
    assert live.frames == 7
    assert live.seconds == pytest.approx(0.14)


def test_a_delay_does_not_stay() -> None:
    """Once too much waits, silent frames are left out, and at last the oldest."""
    live = Live()
    live.frame(0)
    live.push(np.concatenate([FRAME, *[SILENT] * (LATE + 3)]))
    played(live, 4)
    assert len(live._waiting) <= LATE
    live.push(np.tile(FRAME, 3 * MOST))
    assert len(live._waiting) == MOST


def test_a_word_does_not_click() -> None:
    """It swells in and out within 5 ms."""
    live = Live(tail=0.0)
    live.push(np.concatenate([FRAME, FRAME]))
    first = live.frame(0)
    live.release()
    last = live.frame(1)
    assert (first[0], last[-1]) == (0, 0)
    assert (first[-1], last[0]) == (10_000, 10_000)


async def test_a_mixer_plays_it_beside_a_prompt() -> None:
    """It is a prompt without a known end, and ends when it is released."""
    now = 0.0
    mixer = Mixer(lambda: now)
    live = Live(tail=0.06)
    live.push(numbered(3, 3))
    saying = [asyncio.create_task(mixer.say(each)) for each in (live, Prompt.from_pcm(tone(300, 0.1)))]
    await asyncio.sleep(0)
    sent = 0
    while not all(task.done() for task in saying):
        sent += mixer.due(now) is not None
        now += 0.02
        if sent == 20:
            live.release()
        await asyncio.sleep(0)
        assert sent < 60
    assert saying[0].result() == pytest.approx(0.02 * (20 - 5 + 3))
    assert saying[1].result() == pytest.approx(0.1)
