"""What a listener hears: every voice, together, a little late, and none after it has gone."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import numpy as np
import pytest

from voki_bots.calls import Track
from voki_bots.media.frames import Packet
from voki_bots.media.livemix import GONE, START, Broadcast, LiveMix
from voki_bots.media.opus import SILENT_PACKET, Decoder, Encoder
from voki_bots.testing.signals import assert_tone, packets, silence, tone

RATE = 48_000
ANA, KIM = Track(0, "1", 1), Track(0, "2", 2)


def heard(mix: LiveMix, frames: int) -> np.ndarray:
    return np.concatenate([mix.take() for _ in range(frames)])


def feed(mix: LiveMix, *voices: list, until: int) -> np.ndarray:
    """Let packets come as they are due, and take as long; give what was heard."""
    out = []
    for n in range(until):
        for voice in voices:
            if n < len(voice):
                mix.write(voice[n])
        out.append(mix.take())
    return np.concatenate(out)


def test_voices_are_heard_together_forty_milliseconds_late() -> None:
    """Each at its own pitch; nothing is heard before the jitter's share has come."""
    mix = LiveMix()
    said = feed(mix, packets(tone(300, 1.0), ANA), packets(tone(900, 1.0), KIM), until=50)
    assert not said[: (START - 1) * 960].any()
    spectrum = np.abs(np.fft.rfft(said[14_400:24_000].astype(float)))
    assert sorted(np.argsort(spectrum)[-2:] * 5) == [300, 900]


def test_only_who_is_wanted_is_decoded() -> None:
    """One side at a time."""
    mix = LiveMix(16_000, wanted=lambda track: track == KIM)
    feed(mix, packets(tone(300, 0.5), ANA), packets(tone(900, 0.5), KIM), until=25)
    assert set(mix.levels()) == {KIM}


def test_a_short_loss_is_made_up_for() -> None:
    """Two packets are missing: the tone goes on."""
    voice = packets(tone(440, 1.0), ANA)
    mix = LiveMix()
    feed(mix, voice, until=20)
    for each in voice[22:25]:
        mix.write(each)
    frames = [np.abs(mix.take()).max() for _ in range(7)]
    assert [frame > 2_000 for frame in frames] == [True] * 6 + [False]


def test_a_delay_does_not_stay() -> None:
    """A second that comes at once is not heard a second late."""
    mix = LiveMix()
    for each in packets(tone(440, 1.0), ANA):
        mix.write(each)
    mix.take()
    assert heard(mix, START + 2)[-960:].any() == 0


def test_who_falls_silent_is_silent_and_at_last_forgotten() -> None:
    """Its level is that of silence; its decoder is given up."""
    mix = LiveMix()
    feed(mix, packets(tone(440, 0.5), ANA), until=25)
    assert mix.levels()[ANA] > -30
    heard(mix, 30)
    assert mix.levels()[ANA] == -127.0
    heard(mix, GONE)
    assert not mix.levels()


def test_it_is_sent_on_as_opus_and_silence_costs_nothing() -> None:
    """One packet for each 20 ms of the clock; what stood still is left out, and does not pile up."""
    mix, now = LiveMix(), 0.0
    source = Broadcast(mix.take, lambda: now)
    assert source.due(now) is not None
    assert source.due(now) is None
    voice, decoder, parts, stamps = packets(tone(440, 0.6), ANA), Decoder(RATE), [], []
    for each in voice:
        mix.write(each)
        now += 0.02
        made = source.due(now)
        assert made is not None
        stamps.append(made[0])
        parts.append(decoder.decode(made[1]))
    assert_tone(440, np.concatenate(parts), at=0.3)
    assert {b - a for a, b in pairwise(stamps)} == {960}
    now += 5.0
    late = []
    while (made := source.due(now)) is not None:
        late.append(made)
    assert len(late) < 3
    for _ in range(10):
        now += 0.02
        made = source.due(now)
    assert made is not None
    assert made[1] == SILENT_PACKET


async def test_a_sender_that_pulls_waits_for_the_clock() -> None:
    """It gets the same, when it is due."""
    loop = asyncio.get_running_loop()
    source = Broadcast(LiveMix().take, loop.time)
    first, second = await source.pull(), await source.pull()
    assert second[0] - first[0] == 960


@pytest.mark.parametrize("length", [2.5, 10, 60])
def test_packets_of_any_length_are_heard(length: float) -> None:
    """Opus knows 2.5 to 60 ms."""
    encoder, mix = Encoder(RATE), LiveMix()
    signal = np.concatenate([tone(440, 0.6), silence(0.1)])
    size = int(length * 48)
    out, at = [], 0
    for n in range(30):
        while (at + 1) * size <= (n + 1) * 960:
            payload = encoder.encode(signal[at * size : (at + 1) * size])
            mix.write(Packet(ANA, payload, at * size, at, at * size / RATE, size, 0.0))
            at += 1
        out.append(mix.take())
    assert_tone(440, np.concatenate(out), at=0.3)
