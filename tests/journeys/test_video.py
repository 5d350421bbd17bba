"""Pictures of a call, recorded as they came, and proved by what is on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.journeys.conftest import sidecar
from tests.media.filming import numbers, pictures
from voki_bots import Bot
from voki_bots.archive.seal import verify
from voki_bots.sandbox.pictures import COLOURS
from voki_bots.testing.sim import Sim

CAMERAS = ({"role": "attendant", "camera": "vp8"}, {"role": "customer", "camera": "h264"})


def films(directory: Path) -> dict[str, dict[str, Any]]:
    """The tracks of video by role."""
    return {each["role"]: each for each in sidecar(directory)["tracks"] if each["kind"] == "video"}


def shows(path: Path, colour: str) -> bool:
    """Whether every picture is filled with a colour, as far as codecs let it."""
    middles = [picture[30:45, 60:100].mean(axis=(0, 1)) for picture in pictures(path)]
    return bool(middles) and bool(np.abs(np.array(middles) - COLOURS[colour]).max() < 25)


@pytest.mark.parametrize("sim", ["tick", "receiver"], indirect=True)
async def test_each_picture_is_on_its_own_track(sim: Sim) -> None:
    """Everybody's camera is a file of their role, in its own codec and colour, and no frame is missing."""
    call = await sim.call(*CAMERAS)
    async with sim.attend(call, Bot("minutes").record(video=True)) as session:
        await call.heard_by_bots(200)
    found = films(session.directory)
    assert {role: each["codec"] for role, each in found.items()} == {"attendant": "vp8", "customer": "h264"}
    for role, colour in (("attendant", "red"), ("customer", "green")):
        path = session.directory / found[role]["file"]
        shown = numbers(path)
        assert len(shown) > 45 and np.diff(shown).max() == 1 and shows(path, colour)
    # What the senders' clocks say is kept of voices and pictures, to lay them over each other.
    assert all(each["sync"] for each in sidecar(session.directory)["tracks"])
    assert pictures(session.directory / "composite.webm")
    assert verify(session.directory) == []


async def test_who_was_there_before_us_is_asked_for_a_key_frame(sim: Sim) -> None:
    """A camera that has been running gives no key frame by itself; its track begins with one all the same."""
    call = await sim.call({"role": "customer", "camera": "vp8", "joins": "now"})
    await call.until(lambda state: state["people"][0]["connected"], "the customer's media")
    async with sim.attend(call, Bot("minutes").record(video=True)) as session:
        await call.heard_by_bots(100)
    (track,) = films(session.directory).values()
    assert numbers(session.directory / track["file"])[0] > 2 and track["file_start"] < 2.0


async def test_a_bot_that_wants_no_pictures_gets_none(sim: Sim) -> None:
    """Cameras cost a bot nothing that records voices alone: no track, no request."""
    call = await sim.call(*CAMERAS)
    async with sim.attend(call, Bot("minutes").record()) as session:
        await call.heard_by_bots(100)
    assert films(session.directory) == {}
