"""What of a voice is recognised, and where its utterances end."""

from itertools import pairwise

import numpy as np
import pytest
from voki_bots_transcriber.engine import RATE
from voki_bots_transcriber.gate import End, Feed, SpeechGate, Step

from voki_bots.testing import decode

FRAME = RATE // 10


def speech(seconds: float) -> np.ndarray:
    """Something whose level changes as that of speech does."""
    rng, t = np.random.default_rng(1), np.arange(round(seconds * RATE)) / RATE
    return (rng.normal(0, 3_000, len(t)) * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * t))).astype(np.int16)


def quiet(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.int16)


def sines(seconds: float, *hertz: float) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return sum(5_000 * np.sin(2 * np.pi * each * t) for each in hertz).astype(np.int16)


def through(*parts: np.ndarray, start: float = 0.0, gate: SpeechGate | None = None) -> list[Step]:
    samples, gate = np.concatenate(parts), gate or SpeechGate()
    steps: list[Step] = []
    for at in range(0, len(samples), FRAME):
        steps += gate.take(samples[at : at + FRAME], start + at / RATE)
    return steps


def spans(steps: list[Step]) -> list[tuple[float, float]]:
    """From the first sample that was fed to the end, of each utterance."""
    found, begun = [], None
    for step in steps:
        if isinstance(step, End):
            assert begun is not None
            found.append((round(begun, 2), round(step.at, 2)))
            begun = None
        elif begun is None:
            begun = step.start
    return found


def test_an_utterance_begins_before_it_is_loud_and_ends_after_a_pause() -> None:
    """0.3 s are fed before, 0.6 s after; a short pause within it ends nothing."""
    found = spans(through(quiet(1.0), speech(1.0), quiet(0.3), speech(1.0), quiet(2.0)))
    assert found == [(pytest.approx(0.7, abs=0.11), pytest.approx(3.9, abs=0.15))]


def test_silence_is_never_fed() -> None:
    """A track on which nobody speaks costs no recognition."""
    assert through(quiet(5.0)) == []


def test_what_is_fed_lies_where_it_was_said() -> None:
    """Every piece has its own place, in order and without holes."""
    fed = [
        step for step in through(quiet(1.0), speech(2.0), quiet(1.0), start=40.0) if isinstance(step, Feed)
    ]
    assert [round(b.start - a.start, 3) for a, b in pairwise(fed)] == [0.1] * (len(fed) - 1)
    assert 40.6 < fed[0].start < 41.0


@pytest.mark.parametrize("hertz", [(425,), (440, 480), (480, 620), (350, 440)])
def test_ringback_and_other_tones_are_not_fed_for_long(hertz: tuple[float, ...]) -> None:
    """A tone is noticed within half a second, and not taken for speech again."""
    rings = [part for _ in range(4) for part in (sines(1.0, *hertz), quiet(3.0))]
    fed = sum(len(step.samples) for step in through(quiet(1.0), *rings) if isinstance(step, Feed))
    assert fed / RATE < 4.0 * 0.8


def test_keys_of_a_telephone_are_not_fed() -> None:
    """Eight keys in a row make no utterance."""
    pairs = [(697, 1209), (770, 1336), (852, 1477), (941, 1336), (697, 1477), (770, 1209)]
    keys = [part for pair in pairs for part in (sines(0.1, *pair), quiet(0.1))]
    assert spans(through(quiet(1.0), *keys, quiet(1.0))) == []


def test_nobody_speaks_for_ever() -> None:
    """What goes on for longer than an engine can hear is divided."""
    steps = through(quiet(0.5), speech(70.0), quiet(1.0))
    assert [round(end - begin) for begin, end in spans(steps)][:2] == [28, 28]
    assert sum(len(step.samples) for step in steps if isinstance(step, Feed)) / RATE > 70.0


def test_a_hole_in_the_call_ends_an_utterance() -> None:
    """What follows a hold is another utterance, though nobody was silent."""
    gate = SpeechGate()
    steps = through(quiet(0.5), speech(1.0), gate=gate) + through(speech(1.0), start=30.0, gate=gate)
    assert [step for step in steps if isinstance(step, End)] == [End(1.5)]


def test_steady_noise_is_not_taken_for_speech() -> None:
    """A fan at −35 dBFS is fed for a moment at most."""
    noise = np.random.default_rng(2).normal(0, 600, 20 * RATE).astype(np.int16)
    fed = sum(len(step.samples) for step in through(quiet(0.5), noise) if isinstance(step, Feed))
    assert fed / RATE < 2.5


@pytest.mark.parametrize("language", ["en", "ko", "pt"])
def test_people_are_let_through(language: str) -> None:
    """Of real speech next to nothing is kept back, and no sentence of a few seconds is divided."""
    from importlib.resources import files

    folder = files("voki_bots.sandbox") / "speech" / language
    names = sorted(each.name for each in folder.iterdir() if each.name.endswith(".opus"))
    for name in names:
        said = decode(str(folder / name), RATE)
        loud = np.abs(said) > 500
        steps = through(quiet(0.5), said, quiet(1.0))
        fed = np.zeros(len(said) + 3 * RATE, bool)
        for step in steps:
            if isinstance(step, Feed):
                at = round(step.start * RATE)
                fed[at : at + len(step.samples)] = True
        kept = (loud & fed[RATE // 2 : RATE // 2 + len(said)]).sum() / loud.sum()
        assert kept > 0.99, name


def test_of_the_silence_at_the_end_only_a_little_is_fed() -> None:
    """It costs as much as speech does; in a pause within an utterance all of it is fed in its place."""
    fed = [step for step in through(quiet(0.5), speech(1.0), quiet(2.0)) if isinstance(step, Feed)]
    assert fed[-1].start + 0.1 == pytest.approx(1.8, abs=0.11)
    fed = [
        step for step in through(quiet(0.5), speech(1.0), quiet(0.45), speech(1.0)) if isinstance(step, Feed)
    ]
    assert [round(b.start - a.start, 3) for a, b in pairwise(fed)] == [0.1] * (len(fed) - 1)
