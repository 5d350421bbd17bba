"""Chromium as the customer and as the attendant of a call that a bot records."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np

from tests.oracles.chromium.conftest import HUM, RATE, Scene, flowing
from voki_bots import DigitPressed, Prompt
from voki_bots.testing.signals import Samples, assert_tone, correlation, tone

PACKETS = 150
FRAME = RATE // 50


async def test_browsers_and_the_bot_hear_each_other(scene: Scene, speech: Samples) -> None:
    """Each browser hears the other, and the bot's files are what the two microphones heard."""
    states = [await page.until(flowing(PACKETS), "audio") for page in (scene.customer, scene.attendant)]
    found = await scene.finish()
    assert all(one["energy"] > 0.01 for state in states for one in state["inbound"])
    assert_tone(HUM, scene.voices(found, "attendant")[0], at=1.0)
    assert correlation(scene.voices(found, "customer")[0], speech) > 0.7


async def test_what_the_bot_says_is_heard_in_the_browser(scene: Scene) -> None:
    """Two seconds of a tone arrive whole: as many packets, and the energy of a tone of that amplitude."""
    packets, energy = 2.0 / 0.02, 2.0 * 0.5**2  # libwebrtc takes the peaks for the level
    await scene.speaker.call.say(Prompt.from_pcm(tone(880, 2.0, amplitude=0.5)))

    def loud(state: dict[str, Any]) -> bool:
        lines = [one for one in state["inbound"] if packets <= one["packets"] < packets + 20]
        return any(abs(one["energy"] - energy) < 0.2 * energy for one in lines)

    assert (await scene.customer.until(loud, "the bot's words", timeout=5.0))["errors"] == []


async def test_a_muted_microphone_is_silence(scene: Scene) -> None:
    """The page mutes and says so to the platform; the recording has silence for as long."""
    told = []
    for muted in (True, False):
        await scene.customer.call("mute", muted)
        told.append(scene.member(await scene.call.state())["muted"]["audio"])
        await scene.heard(75)
    found = await scene.finish()
    assert (told, 1.0 < silent(scene.voices(found, "customer")[0]) < 3.0) == ([True, False], True)


async def test_keys_that_are_pressed_in_a_browser_are_known(scene: Scene) -> None:
    """Chromium's telephone events come one each, with who pressed them."""
    await scene.heard(PACKETS)
    events = scene.session.bus.events("keys")
    await scene.customer.call("press", "1#7")
    pressed: list[DigitPressed] = []
    async with asyncio.timeout(5.0):
        while len(pressed) < 3:
            if isinstance(event := await anext(events), DigitPressed):
                pressed.append(event)
    assert [(one.digit, one.by.role) for one in pressed] == [(digit, "customer") for digit in "1#7"]


async def test_a_tab_that_is_killed_leaves_and_comes_back(scene: Scene, speech: Samples) -> None:
    """The customer's tab crashes and is opened again: he left and joined, and both stretches are his."""
    await scene.heard(PACKETS)
    await scene.customer.kill()
    await scene.call.until(lambda state: not scene.member(state)["connected"], "the leaving")
    await scene.again()
    await scene.heard(PACKETS)
    voices = scene.voices(await scene.finish(), "customer")
    assert [correlation(voice, speech) > 0.7 for voice in voices] == [True, True]


async def test_a_network_that_is_gone_for_ten_seconds_is_a_gap(scene: Scene, speech: Samples) -> None:
    """The customer's cable is pulled: the gap is as long as that was, and he is heard again."""
    scene.town.cable("down")
    await asyncio.sleep(10.0)
    scene.town.cable("up")
    await scene.heard(PACKETS, timeout=40.0)
    found = await scene.finish()
    gaps = [g for t in found["tracks"] if t["role"] == "customer" for g in t["gaps"] if g["start"] > 0]
    lengths = [gap["end"] - gap["start"] for gap in gaps if gap["end"] - gap["start"] > 1]
    assert [9.5 < length < 13.0 for length in lengths] == [True]
    assert correlation(scene.voices(found, "customer")[-1][-2 * RATE :], speech) > 0.7


def silent(samples: Samples) -> float:
    """Seconds of the longest silence."""
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64)
    quiet = np.sqrt((frames**2).mean(axis=1)) < 30
    edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet.astype(int), [0]])))
    return float(np.max(edges[1::2] - edges[::2], initial=0)) * 0.02
