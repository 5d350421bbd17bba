"""How good a track sounds, estimated from what the network did to it (ITU-T G.107, the E-model). Pure."""

from __future__ import annotations

BASE = 93.2
"""The rating R of a connection without any impairment (G.107 table 3)."""

CODEC_SECONDS = 0.0265
"""Delay of Opus for packets of 20 ms: the packet and the encoder's look-ahead (RFC 6716 section 2)."""

ROBUSTNESS = 10.0
"""Percent of loss at which a codec with concealment loses half of what loss can cost (Bpl of G.113; there is
no figure for Opus, and this is that of a codec with concealment and no redundancy)."""


def rating(*, rtt: float, loss: float, jitter: float) -> float:
    """Compute the rating R, 0 to `BASE`.

    Args:
        rtt: Seconds to the far end and back; half of it is taken for one way.
        loss: Share of packets that never came, 0 to 1.
        jitter: Seconds, as receiver reports tell it; a buffer holds back about twice as much.
    """
    delay = (rtt / 2 + 2 * jitter + CODEC_SECONDS) * 1000.0
    slow = 0.024 * delay + (0.11 * (delay - 177.3) if delay > 177.3 else 0.0)
    percent = 100.0 * min(max(loss, 0.0), 1.0)
    lost = 95.0 * percent / (percent + ROBUSTNESS)
    return max(0.0, BASE - slow - lost)


def mos(*, rtt: float, loss: float, jitter: float) -> float:
    """Estimate the mean opinion score, 1.0 (bad) to 4.4 (as good as it gets); arguments as for `rating`.

    The curve is G.107's annex B.
    """
    r = rating(rtt=rtt, loss=loss, jitter=jitter)
    return max(1.0, min(4.5, 1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6))
