"""Where somebody speaks."""

import numpy as np

from voki_bots.media.vad import Speech, Vad

RATE = 16_000


def sound(*parts: tuple[float, float]) -> np.ndarray:
    """Join stretches of (seconds, amplitude) of noise."""
    rng = np.random.default_rng(1)
    return np.concatenate([rng.normal(0, a, int(s * RATE)) for s, a in parts]).astype(np.int16)


def find(samples: np.ndarray, chunk: int, start: float = 0.0) -> list[Speech]:
    vad, found = Vad(RATE), []
    for n in range(0, len(samples), chunk):
        found += vad.process(samples[n : n + chunk], start + n / RATE)
    return found + vad.flush()


def rounded(found: list[Speech]) -> list[tuple[float, float]]:
    return [(round(s.start, 2), round(s.end, 2)) for s in found]


CALL = sound((1, 5), (1, 3_000), (1, 5), (0.2, 3_000), (0.2, 5), (0.6, 3_000), (1, 5))


def test_stretches_of_voice_are_found_and_short_pauses_bridged() -> None:
    """Two stretches: a pause of 0.2 s does not end one, a pause of a second does."""
    assert rounded(find(CALL, 1_600)) == [(1.0, 2.0), (3.0, 4.0)]


def test_the_size_of_the_pieces_does_not_matter() -> None:
    """Frames of any length give the same stretches."""
    assert rounded(find(CALL, 777)) == rounded(find(CALL, 1_600))


def test_a_click_is_no_voice() -> None:
    """What is shorter than the attack does not count."""
    assert find(sound((1, 5), (0.04, 8_000), (1, 5)), 1_600) == []


def test_steady_noise_is_no_voice_after_a_while() -> None:
    """The threshold follows the noise."""
    assert not [s for s in find(sound((1, 300), (20, 300)), 1_600) if s.end - s.start > 1]


def test_a_jump_in_time_ends_a_stretch() -> None:
    """Audio that goes on after a gap is another stretch."""
    vad = Vad(RATE)
    vad.process(sound((0.4, 2), (1, 3_000)), 0.0)
    assert rounded(vad.process(sound((0.4, 2)), 10.0)) == [(0.4, 1.4)]
