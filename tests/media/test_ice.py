"""Candidates as text."""

import pytest

from voki_bots.media.ice import usable_candidate

BARE = "1 1 UDP 2128898559 10.77.0.1 59393 typ host"


@pytest.mark.parametrize("text", [BARE, f"candidate:{BARE}", f"a=candidate:{BARE}\r\n"])
def test_a_candidate_may_come_with_any_prefix(text: str) -> None:
    """Platforms differ in what they call a candidate."""
    assert usable_candidate(text) == BARE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "candidate:",
        BARE.replace("UDP", "tcp"),
        BARE.replace("10.77.0.1", "4f0e.local"),
        "1 1 udp 1 10.0.0.1",
    ],
)
def test_what_is_of_no_use_is_none(text: str) -> None:
    """TCP, multicast names and fragments are skipped, and fail nothing."""
    assert usable_candidate(text) is None
