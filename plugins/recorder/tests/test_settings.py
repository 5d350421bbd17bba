"""Settings are checked as a whole, in Python as in TOML."""

from pathlib import Path
from typing import Any

import pytest
from voki_bots_recorder import Recorder, RecorderSettings

from voki_bots import Bot, ConfigurationError


def refusal(**settings: Any) -> str:
    """What is said of settings that are wrong."""
    from voki_bots.bots.registry import Registry

    with pytest.raises(ConfigurationError) as caught:
        Bot("minutes").record(**settings).plugins(Registry())
    return str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"stereo": "attendant"}, "stereo: must name two sides"),
        (
            {"stereo": ["attendant", "client"]},
            "stereo: 'client' is no role; there are attendant",
        ),
        ({"stereo": ["customer", "customer"]}, "customer cannot be on both sides"),
        ({"stereo": True}, "must name two sides"),
        ({"mix": []}, "mix: must be true, false or roles"),
        ({"mix": ["everybody"]}, "'everybody' is no role"),
        ({"format": "mp3"}, "format: input should be 'opus', 'flac' or 'wav'"),
        ({"rate": 44_100}, "rate: input should be 8000, 12000, 16000, 24000 or 48000"),
        ({"keep": "90"}, 'keep: must look like "90d"'),
        ({"name": "{tenant}/{date}"}, "must hold {call}"),
        ({"name": "{tenant}/{caller}"}, "{caller} is no placeholder"),
        ({"name": "/etc/{tenant}/{call}"}, "name: must be like {tenant}"),
        ({"finishers": 0}, "finishers: "),
        ({"stero": False}, "stero: there is no such setting"),
    ],
)
def test_a_mistake_is_told_with_its_place(settings: dict[str, Any], said: str) -> None:
    """The sentence names the setting and what it can be."""
    assert said in refusal(**settings)


def test_what_is_made_by_default() -> None:
    """Stereo by role, a mix without those who coach, everybody's own file and a picture, in Opus."""
    options = RecorderSettings().finish
    assert options.stereo == (("attendant",), ("customer",))
    assert options.mix == ("attendant", "customer", "unknown")
    assert (options.participants, options.picture, options.format, options.rate) == (
        True,
        True,
        "opus",
        48_000,
    )


def test_sides_can_have_several_roles() -> None:
    """As tuples in Python or arrays in TOML."""
    settings = RecorderSettings.model_validate({"stereo": [["attendant", "supervisor"], "customer"]})
    assert settings.finish.stereo == (("attendant", "supervisor"), ("customer",))


def test_everything_can_be_switched_off() -> None:
    """Then nothing is made, and tracks are all there is."""
    nothing = RecorderSettings(stereo=False, mix=False, participants=False, picture=False, captions=False)
    assert not nothing.finish.anything


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({}, None),
        ({"directory": "/srv"}, "/srv/{tenant}/{call}"),
        ({"name": "{tenant}/{date}/{call}"}, "{tenant}/{date}/{call}"),
        ({"directory": "/srv", "name": "{tenant}/{bot}/{call}"}, "/srv/{tenant}/{bot}/{call}"),
    ],
)
def test_where_calls_are_kept(settings: dict[str, Any], place: str | None) -> None:
    """A name alone is below the directory of the service."""
    recorder = Recorder(RecorderSettings.model_validate(settings))
    assert recorder.archive() == (None if place is None else Path(place))
