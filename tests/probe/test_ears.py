"""Ears of the probe: each tone is measured for itself, to the last packet before a hole."""

from __future__ import annotations

import numpy as np
import pytest

from voki_bots.bots.profile import HEARD, SILENT
from voki_bots.calls import Role, Track
from voki_bots.media.frames import AudioFrame
from voki_bots.probe.ears import HERTZ, HOP, NOTHING, RATE, WINDOW, Ears, levels, tone
from voki_bots.testing.signals import packets
from voki_bots.testing.signals import tone as sine

LINE = Track(0, "1", 7)
OTHER = Track(0, "2", 8)
OURS = Track(0, "out", 9, local=True)


def said(role: Role, seconds: float, level: float = -12.0) -> np.ndarray:
    """A party's tone, without soft ends."""
    wave = np.sin(2 * np.pi * HERTZ[role] * np.arange(round(seconds * RATE)) / RATE)
    return np.round(wave * 10 ** (level / 20) * 32_767).astype(np.int16)


def frame(samples: np.ndarray, start: float, track: Track = LINE, *, concealed: bool = False) -> AudioFrame:
    """A frame of a line."""
    return AudioFrame(track, samples, RATE, start, concealed=concealed)


@pytest.mark.parametrize("role", HERTZ)
@pytest.mark.parametrize("level", [-12.0, -40.0, -58.0])
def test_a_tone_is_measured_and_the_others_are_not(role: Role, level: float) -> None:
    """Within half a decibel; what another says is far below what counts as heard."""
    found = levels(said(role, WINDOW / RATE, level))
    assert found[role] == pytest.approx(level, abs=0.5)
    assert max(value for other, value in found.items() if other is not role) < max(SILENT, level - 40)


def test_nothing_is_the_lowest_level() -> None:
    """Digital silence."""
    assert set(levels(np.zeros(WINDOW, np.int16)).values()) == {NOTHING}


def test_two_who_speak_do_not_make_a_third() -> None:
    """No sum, difference or multiple of two tones is where the supervisor's is, through Opus too."""
    from voki_bots.media.opus import Decoder

    both = (tone(HERTZ[Role.ATTENDANT]).samples[:96_000] + tone(HERTZ[Role.CUSTOMER]).samples[:96_000]) // 2
    decoder, ears = Decoder(RATE), Ears("ears")
    for packet in packets(both.astype(np.int16), LINE):
        decoder.collect(packet.payload)
        ears.take(frame(decoder.collected(), packet.start))
    assert ears.loudest(Role.CUSTOMER, 0.5) > HEARD
    assert ears.loudest(Role.SUPERVISOR, 0.0) < SILENT


@pytest.mark.parametrize("cut", ["hole", "concealed"])
def test_the_last_packet_before_a_hole_counts(cut: str) -> None:
    """A leak of 20 ms is a leak, though no window is filled by it."""
    ears = Ears("ears")
    ears.take(frame(said(Role.SUPERVISOR, 0.02), 1.0))
    later = frame(np.zeros(320, np.int16), 1.02 if cut == "concealed" else 9.0, concealed=cut == "concealed")
    ears.take(later)
    assert ears.loudest(Role.SUPERVISOR, 0.0) > HEARD


def burst(at: int, level: float, beside: np.ndarray) -> np.ndarray:
    """One packet of the supervisor's tone, somewhere in what others say."""
    made = beside.astype(np.float64)
    made[at : at + 320] += said(Role.SUPERVISOR, 0.02, level)
    return made.astype(np.int16)


@pytest.mark.parametrize("others", [False, True])
def test_a_single_packet_is_found_wherever_it_is(others: bool) -> None:
    """A tone of 20 ms stands out of what lies beside it, alone or in a mixture."""
    mixture = said(Role.ATTENDANT, 0.6) + said(Role.CUSTOMER, 0.6) if others else np.zeros(9_600, np.int16)
    for at in range(3_200, 4_800, 37):
        ears = Ears("ears")
        ears.take(frame(burst(at, -30.0, mixture), 1.0))
        assert ears.loudest(Role.SUPERVISOR, 0.0) > -46.0


def test_a_mixture_that_stumbles_is_nobodys_tone() -> None:
    """Clicks have something of every tone, and of what lies beside it too."""
    rng = np.random.default_rng(7)
    mixture = said(Role.ATTENDANT, 0.6) + said(Role.CUSTOMER, 0.6)
    ears = Ears("ears")
    for trial in range(200):
        stumbling = mixture.copy()
        for at in rng.integers(0, 9_000, 3):
            stumbling[at : at + rng.integers(1, 600)] = 0
        ears.take(frame(stumbling, float(trial)))
    assert ears.loudest(Role.CUSTOMER, 0.0) > HEARD
    assert ears.loudest(Role.SUPERVISOR, 0.0) < SILENT


def test_what_a_decoder_made_up_is_not_measured() -> None:
    """A tone that it draws out was not sent."""
    ears = Ears("ears")
    ears.take(frame(said(Role.SUPERVISOR, 0.5), 1.0, concealed=True))
    assert ears.loudest(Role.SUPERVISOR, 0.0) == NOTHING


def test_what_we_say_ourselves_is_kept_apart() -> None:
    """It proves that there was something to be heard, and is heard of nobody else."""
    ears = Ears("ears")
    ears.take(frame(said(Role.SUPERVISOR, 0.5), 1.0, OURS))
    assert (ears.loudest(Role.SUPERVISOR, 0.0), ears.said(Role.SUPERVISOR, 0.0) > HEARD) == (NOTHING, True)


def test_a_span_of_time_is_asked_for() -> None:
    """Before and after it there may be anything."""
    ears = Ears("ears")
    ears.take(frame(said(Role.CUSTOMER, 0.5), 1.0))
    ears.take(frame(np.zeros(RATE // 2, np.int16), 1.5))
    assert ears.loudest(Role.CUSTOMER, 1.0, 1.4) > HEARD
    assert ears.loudest(Role.CUSTOMER, 1.5 + WINDOW / RATE) == NOTHING


def test_two_tones_on_one_line_are_a_mixture() -> None:
    """On two lines they are none."""
    apart, mixed = Ears("apart"), Ears("mixed")
    one, two = said(Role.CUSTOMER, 0.3), said(Role.ATTENDANT, 0.3)
    apart.take(frame(one, 1.0, LINE))
    apart.take(frame(two, 1.0, OTHER))
    mixed.take(frame(one // 2 + two // 2, 1.0))
    assert (apart.together(0.0, HEARD), mixed.together(0.0, HEARD)) == (False, True)


def test_frames_of_any_size_are_measured_without_a_gap() -> None:
    """Each hop of a stream is in a window of its own."""
    ears = Ears("ears")
    samples, at = said(Role.CUSTOMER, 1.0), 0
    for size in (320, 960, 1_600, 777, 4_000, 8_343):
        ears.take(frame(samples[at : at + size], 1.0 + at / RATE))
        at += size
    starts = [moment.start for moment in ears.moments]
    assert np.diff(starts) == pytest.approx(HOP / RATE)
    assert min(moment.levels[Role.CUSTOMER] for moment in ears.moments) > -12.5


def test_a_tone_begins_and_ends_softly() -> None:
    """Nothing of its edges is heard as another's tone."""
    samples = tone(HERTZ[Role.ATTENDANT]).samples[::3]
    assert len(samples) == 12 * RATE
    ears = Ears("ears")
    ears.take(frame(np.concatenate([np.zeros(800, np.int16), samples, np.zeros(1_600, np.int16)]), 0.0))
    assert ears.loudest(Role.SUPERVISOR, 0.0) < SILENT


def test_a_sine_of_the_kit_is_no_partys_tone() -> None:
    """Tones of the tests are others than those of the probe."""
    assert max(levels(sine(440, 0.1, RATE)).values()) < HEARD
