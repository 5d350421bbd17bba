"""Text for a terminal."""

import pytest

from voki_bots.cli.text import clock, shown, size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ana", "Ana"),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\nb", r"a\nb"),
        ("a\u202eb", r"a\u202eb"),
        ("a\ud800", r"a\ud800"),
        ("Olá 漢字", "Olá 漢字"),
    ],
)
def test_what_could_move_the_cursor_is_written_as_an_escape(text: str, expected: str) -> None:
    """A name from the network cannot play tricks on a terminal."""
    assert shown(text) == expected


def test_long_text_is_cut_to_its_width() -> None:
    """What is longer than its column ends with an ellipsis."""
    assert shown("abcdefgh", 5) == "abcd…"


@pytest.mark.parametrize(("seconds", "expected"), [(7.9, "0:07"), (754, "12:34"), (3723, "1:02:03")])
def test_durations_read_like_a_clock(seconds: float, expected: str) -> None:
    """Hours appear only where there are some."""
    assert clock(seconds) == expected


@pytest.mark.parametrize(
    ("count", "expected"), [(812, "812 B"), (34_500, "34.5 kB"), (7_200_000_000, "7.2 GB")]
)
def test_sizes_have_a_unit(count: int, expected: str) -> None:
    """Bytes are told in the unit that fits."""
    assert size(count) == expected
