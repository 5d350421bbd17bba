"""Text for a terminal. What comes from the network is hostile there too. Pure."""

from __future__ import annotations

_ELLIPSIS = "…"


def shown(text: object, width: int | None = None) -> str:
    """Make any text fit to be printed on one line.

    Control characters (which could move the cursor or hide a line) are written as escapes.

    Args:
        text: Anything.
        width: The most characters to give; what is longer ends with an ellipsis.
    """
    plain = "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in str(text)
    )
    if width is not None and len(plain) > width:
        return plain[: max(0, width - 1)] + _ELLIPSIS
    return plain


def clock(seconds: float) -> str:
    """Write a duration as ``0:07``, ``12:34`` or ``1:02:03``."""
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def size(count: int) -> str:
    """Write a number of bytes as ``812 B``, ``34.5 kB``, ``1.2 MB``."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
