"""How good a track sounds, from what the network did to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voki_bots.media.quality import mos, rating


def test_a_perfect_path_is_as_good_as_it_gets() -> None:
    """Nothing lost, nothing late: what G.107 calls very satisfied."""
    assert mos(rtt=0.0, loss=0.0, jitter=0.0) == pytest.approx(4.4, abs=0.05)


@pytest.mark.parametrize(
    ("rtt", "loss", "jitter", "low", "high"),
    [
        (0.1, 0.0, 0.01, 4.2, 4.4),
        (0.1, 0.05, 0.02, 2.5, 3.6),
        (0.8, 0.0, 0.0, 2.2, 3.6),
        (0.2, 0.2, 0.1, 1.0, 1.8),
    ],
)
def test_known_conditions(rtt: float, loss: float, jitter: float, low: float, high: float) -> None:
    """Good, lossy, far away and hopeless are told apart."""
    assert low <= mos(rtt=rtt, loss=loss, jitter=jitter) <= high


@given(st.floats(0, 2), st.floats(0, 0.5), st.floats(0, 0.3))
def test_worse_is_never_better(rtt: float, loss: float, jitter: float) -> None:
    """More delay, more loss, more jitter: never a better rating; the score stays on its scale."""
    worse = rating(rtt=rtt + 0.1, loss=loss + 0.05, jitter=jitter + 0.01)
    assert worse <= rating(rtt=rtt, loss=loss, jitter=jitter)
    assert 1.0 <= mos(rtt=rtt, loss=loss, jitter=jitter) <= 4.5
