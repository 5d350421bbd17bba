"""A bot that may speak is heard, and one that may not has nothing to be heard by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.journeys.conftest import sidecar
from voki_bots import Attendance, Bot, Plugin, PluginSettings, Prompt, SupervisionError
from voki_bots.testing.signals import assert_tone, decode, tone
from voki_bots.testing.sim import Sim, SimCall

GREETING = Prompt.from_pcm(tone(880, 1.5))


class Greeter(Plugin[PluginSettings]):
    """Says what it is told to."""

    call: Attendance

    @asynccontextmanager
    async def attend(self, call: Attendance) -> AsyncIterator[None]:
        self.call = call
        yield


def greeter() -> Greeter:
    return Greeter(PluginSettings(), name="greeter")


async def heard(sim: Sim, call: SimCall, path: Path) -> list[Path]:
    """What the first person heard of whom, one file for each line with more than half a second on it."""
    person = call.people[0].id
    lines = (await sim.control("GET", f"/calls/{call.id}/people/{person}/heard"))["tracks"]
    names = {p.id for p in call.people}
    found = []
    for line in lines:
        if line["from"] not in names and line["packets"] > 40:
            file = path / f"heard-{line['mid']}.opus"
            file.write_bytes(await sim.raw(f"/calls/{call.id}/people/{person}/heard/{line['mid']}"))
            found.append(file)
    return found


@pytest.mark.parametrize("offers", [False, True], ids=["we_offer", "server_offers"])
async def test_everybody_hears_what_the_bot_says(sim: Sim, tmp_path: Path, offers: bool) -> None:
    """`say` waits until it can be heard, resolves when all was sent, and says how long it took."""
    people = [{"role": "attendant", "tone": 300, "listens": True}, {"role": "customer", "tone": 500}]
    call = await sim.call(*people, switches={"server_offers": offers})
    speaker = greeter()
    async with sim.attend(call, Bot("greeter", speaks=True).use(speaker).record()) as session:
        await call.heard_by_bots(25)
        assert await speaker.call.say(GREETING) == pytest.approx(1.5, abs=0.02)
        await asyncio.sleep(0.3)
        (line,) = await heard(sim, call, tmp_path)
        state = await call.state()
    assert_tone(880, line, at=0.4)
    # Unmuted before the first word, muted again after the last.
    assert state["bots"][0]["muted"] == {"audio": True, "video": True}
    (own,) = [track for track in sidecar(session.directory)["tracks"] if track["local"]]
    assert (own["role"], own["why"]) == ("bot", "local")
    assert_tone(880, session.directory / own["file"], at=0.4)


async def test_prompts_that_overlap_are_mixed(sim: Sim, tmp_path: Path) -> None:
    """Two prompts at once are heard as both."""
    call = await sim.call({"role": "attendant", "tone": 300, "listens": True})
    speaker = greeter()
    async with sim.attend(call, Bot("greeter", speaks=True).use(speaker)) as _:
        await call.heard_by_bots(25)
        other = Prompt.from_pcm(tone(1500, 1.5))
        await asyncio.gather(speaker.call.say(GREETING), speaker.call.say(other))
        await asyncio.sleep(0.3)
        (line,) = await heard(sim, call, tmp_path)
    both = share_of(decode(line, 16_000)[6_400:16_000], 880, 1500)
    assert min(both) > 0.3


def share_of(samples: npt.NDArray[np.int16], *tones: int) -> list[float]:
    """How much of the energy is near each tone."""
    energy = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / 16_000)
    return [float(energy[np.abs(hertz - tone) < 30].sum() / energy.sum()) for tone in tones]


async def test_a_bot_that_may_not_speak_has_no_sender(sim: Sim) -> None:
    """Nothing but recvonly leaves it, the SFU gets no packet of it, and `say` says why."""
    call = await sim.call({"role": "attendant", "tone": 300})
    speaker = greeter()
    async with sim.attend(call, Bot("listener").use(speaker)) as session:
        await call.heard_by_bots(25)
        with pytest.raises(SupervisionError) as refused:
            await speaker.call.say(GREETING)
        peer_has_sender = [t.local for t in session.pipeline.tracks]
        bot = (await call.state())["bots"][0]
    assert refused.value.why == "not_configured"
    assert (bot["received"], any(peer_has_sender)) == (0, False)
