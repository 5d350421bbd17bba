"""The testing kit for plugin authors: a call without a network, signals, and ears."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voki_bots.testing.attendance import FakeAttendance, FakeLog, FakeMetrics
    from voki_bots.testing.signals import (
        Heard,
        assert_silence,
        assert_tone,
        correlation,
        decode,
        heard,
        packets,
        silence,
        tone,
        with_holes,
    )

_HOMES = {
    "voki_bots.testing.attendance": ("FakeAttendance", "FakeLog", "FakeMetrics"),
    "voki_bots.testing.signals": (
        "Heard",
        "assert_silence",
        "assert_tone",
        "correlation",
        "decode",
        "heard",
        "packets",
        "silence",
        "tone",
        "with_holes",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "FakeAttendance",
    "FakeLog",
    "FakeMetrics",
    "Heard",
    "assert_silence",
    "assert_tone",
    "correlation",
    "decode",
    "heard",
    "packets",
    "silence",
    "tone",
    "with_holes",
]


def __getattr__(name: str) -> object:
    """Fetch a name from the module it lives in, at its first use (PEP 562)."""
    if (home := _HOME_OF.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
