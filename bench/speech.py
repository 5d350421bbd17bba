"""What the generator says: speech that was encoded before, another stretch of it for each stream."""

from __future__ import annotations

from functools import cache

from voki_bots.sandbox.voices import LANGUAGES, utterance, utterances

TICKS = 960
"""Samples at 48 kHz of each packet."""


@cache
def corpus() -> tuple[bytes, ...]:
    """All speech of the sandbox, one utterance after another: Opus packets of 20 ms, about 30 kbit/s."""
    names = [name for language in LANGUAGES for speaker in (0, 1) for name in utterances(language, speaker)]
    return tuple(packet for name in dict.fromkeys(names) for packet in utterance(name))


def packet(stream: int, number: int) -> bytes:
    """Give the packet that a stream sends as its n-th."""
    said = corpus()
    return said[(stream * 131 + number) % len(said)]
