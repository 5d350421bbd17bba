"""Tracks are laid on call time, whatever their clocks did."""

import math

import numpy as np
import pytest

from voki_bots.calls import Track
from voki_bots.media.mixing import Bend, ClockPoint, Mixer, TrackAudio, spans
from voki_bots.media.opus import SILENT_PACKET
from voki_bots.testing import assert_silence, assert_tone, correlation, packets, tone, with_holes

TRACK = Track(0, "1", 7)
RATE = 48_000


def said(samples: np.ndarray, *holes: tuple[float, float]) -> list[tuple[int, bytes]]:
    kept = with_holes(packets(samples, TRACK), holes)
    return [(each.timestamp, each.payload) for each in kept]


def whole(audio: TrackAudio, seconds: float, block: float = 0.3, rate: int = RATE) -> np.ndarray:
    total = round(seconds * rate)
    pieces = [(audio.read(*span), span) for span in spans(total, round(block * rate))]
    return np.concatenate([np.zeros(b - a, np.int16) if made is None else made for made, (a, b) in pieces])


def onset(samples: np.ndarray, rate: int = RATE) -> float:
    """When the first loud sample is heard."""
    return float(np.argmax(np.abs(samples) > 3000)) / rate


@pytest.mark.parametrize("block", [0.007, 0.3, 10.0])
def test_a_track_lies_at_its_place(block: float) -> None:
    """What begins at 1.5 s is heard from there on, however large the blocks are."""
    voice = tone(440, 1.0)
    heard = whole(TrackAudio(said(voice), 1.5, RATE), 4.0, block)
    assert_silence(heard, at=0.9)
    assert correlation(heard[72_000:120_000], voice, window=0.0) > 0.99 or onset(heard) == pytest.approx(
        1.5, abs=0.01
    )
    assert_silence(heard, at=3.0)


def test_a_long_hole_is_silence_of_its_length() -> None:
    """What follows a hole is at its own time."""
    voice = np.concatenate([tone(440, 1.0), tone(700, 2.0)])
    heard = whole(TrackAudio(said(voice, (1.0, 2.0)), 0.0, RATE), 3.0)
    assert_tone(440, heard, at=0.2)
    assert_silence(heard, at=1.2)
    assert_tone(700, heard, at=2.3)


def test_a_short_loss_is_concealed() -> None:
    """Two lost packets in a tone are made up for."""
    heard = whole(TrackAudio(said(tone(440, 2.0), (1.0, 1.04)), 0.0, RATE), 2.0)
    assert np.abs(heard[48_000:49_900].astype(int)).max() > 3000


def test_a_lower_rate_is_at_the_same_time() -> None:
    """At 16 kHz a track begins where it does at 48 kHz."""
    heard = whole(TrackAudio(said(tone(440, 1.0)), 1.5, 16_000), 3.0, rate=16_000)
    assert onset(heard, 16_000) == pytest.approx(1.5, abs=0.01)


@pytest.mark.parametrize("ppm", [-5000, -300, 100, 300, 5000])
def test_a_skewed_clock_is_made_good_for(ppm: float) -> None:
    """A tone after a minute of a sender's wrong clock is within 12 ms of its true time."""
    true = 60.0
    skew = 1 + ppm / 1e6
    by_sender = true / skew
    count = math.ceil(by_sender * 50)
    stream = [(n * 960, SILENT_PACKET) for n in range(count)]
    stream += [(at + count * 960, each) for at, each in said(tone(440, 1.0))]
    points = [ClockPoint(at, at * skew - at) for at in range(0, 62, 10)]
    heard = whole(TrackAudio(stream, 0.0, RATE, Bend(points)), 62.0, 1.0)
    assert onset(heard) - onset(tone(440, 1.0)) == pytest.approx(count * 0.02 * skew, abs=0.012)


def test_stretching_does_not_change_what_is_heard() -> None:
    """A voice that is bent by half a percent is still the same tone, whole."""
    points = [ClockPoint(at, at * 0.004) for at in range(6)]
    heard = whole(TrackAudio(said(tone(440, 5.0)), 0.0, RATE, Bend(points)), 5.0)
    assert_tone(440, heard, share=0.9)


def test_after_a_silence_a_track_jumps_to_its_place() -> None:
    """Where there is a hole anyway, positions are right at once, not little by little."""
    voice = np.concatenate([tone(440, 1.0), tone(440, 1.0)])
    stream = [(at + (48_000 * 9 if at >= 48_000 else 0), each) for at, each in said(voice)]
    points = [ClockPoint(0.0, 0.0), ClockPoint(10.0, 0.4, 1), ClockPoint(11.0, 0.4, 1)]
    heard = whole(TrackAudio(stream, 0.0, RATE, Bend(points)), 12.0)
    assert 9.0 + onset(heard[9 * RATE :]) == pytest.approx(10.4, abs=0.01)


def test_one_bad_moment_of_the_network_is_no_clock() -> None:
    """A single late point among good ones moves nothing."""
    points = [ClockPoint(at, 0.2 if at == 30 else 0.0) for at in range(0, 70, 10)]
    assert max(abs(Bend(points).at(at)) for at in range(70)) == 0.0


def test_what_is_too_loud_together_is_clipped_and_counted() -> None:
    """Two voices at full scale do not wrap around."""
    mixer = Mixer()
    loud = np.full(10, 30_000, dtype=np.int16)
    assert mixer.mix([loud, loud], 10).max() == 32_767
    assert mixer.clipped == 10


def test_everything_read_is_counted() -> None:
    """The audio of a track is counted to the tick, also what nobody asked for."""
    audio = TrackAudio(said(tone(440, 2.0)), 0.0, RATE)
    audio.read(0, 4800)
    audio.drain()
    assert audio.ticks == 96_000
