"""Seeded sequences of faults while somebody whispers, as real audio: no packet outside a valid arm.

What the gate does in virtual time over 200 sequences is in tests/bots/test_arming.py; these are whole calls.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.conftest import journal
from tests.journeys.hearing import QUIET, loudest, reached
from tests.journeys.test_who_hears_whom import PEOPLE, WAY
from voki_bots import (
    Attendance,
    Bot,
    MediaLost,
    OfferReceived,
    Packet,
    ParticipantJoined,
    Plugin,
    PluginSettings,
    Prompt,
    Role,
    SignallingLost,
    Supervision,
    SupervisionError,
    SupervisionStarted,
    SupervisionStopped,
    Supervisor,
)
from voki_bots.testing.signals import tone
from voki_bots.testing.sim import Sim

VOICE = 1_100
LATE = 0.040
"""Seconds after a closing event within which a packet may still go out."""

SECONDS = 6.0

FAULTS = ("drop_socket", "crash_channel", "reoffer", "kill_ice", "ice_restart")
EVENTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("barge_start", {"supervisor_id": "other", "supervisor_name": "Y"}),
    ("whisper_stop", {}),
    ("barge_stop", {}),
    ("monitor_start", {"supervisor_id": "other", "supervisor_name": "Y"}),
    ("participant_joined", {"user_id": "x", "name": "?", "role": "guest"}),
)


class Watch(Plugin[PluginSettings]):
    """Keep when each packet of our own went out, and when anything came that closes the gate."""

    def __init__(self, settings: PluginSettings) -> None:
        super().__init__(settings, name="watch")
        self.sent: list[float] = []
        self.closed: list[tuple[float, str]] = []
        self.zeros: dict[Path, float] = {}

    @asynccontextmanager
    async def attend(self, call: Attendance) -> AsyncIterator[None]:
        self.zeros[call.directory] = asyncio.get_running_loop().time() - call.now
        call.packets(self._sent, of="bot")
        call.start_soon(self._hear(call))
        yield

    def _sent(self, packet: Packet) -> None:
        self.sent.append(packet.arrival)

    def armed(self) -> list[float]:
        """When the gate was opened, as the journals have it: noted before anything is said."""
        return sorted(
            zero + line["at"]
            for directory, zero in self.zeros.items()
            for line in journal(directory)
            if line["type"] == "armed"
        )

    async def _hear(self, call: Attendance) -> None:
        loop = asyncio.get_running_loop()
        async for event in call.events():
            match event:
                case SupervisionStarted(mode=mode, supervisor_id=who):
                    if who != call.user_id or mode is not Supervision.WHISPER:
                        self.closed.append((loop.time(), str(event)))
                case ParticipantJoined(participant):
                    if participant.role is Role.UNKNOWN:
                        self.closed.append((loop.time(), str(event)))
                case OfferReceived() | SignallingLost() | MediaLost() | SupervisionStopped():
                    self.closed.append((loop.time(), type(event).__name__))


async def whisper_on(supervisor: Supervisor) -> None:
    """Whisper, and arm again whenever it is stopped, for as long as the test lasts."""
    prompt = await asyncio.to_thread(Prompt.from_pcm, tone(VOICE, 60.0))
    while True:
        try:
            await supervisor.whisper(prompt)
        except SupervisionError:
            await asyncio.sleep(0.05)


async def play(sim: Sim, directory: Path, seed: int) -> int:
    """Play one sequence; give how many packets were whispered.

    Raises:
        AssertionError: If one went out that must not have, or the customer received any.
    """
    rng = random.Random(seed)
    call = await sim.call(*PEOPLE, switches={"supervise_by_rest": True, "mode_lost": rng.random() < 0.5})
    watch = Watch(PluginSettings())
    async with sim.attend(call, Bot("minutes").record()), sim.account(await sim.user("Marina")) as own:
        await call.heard_by_bots(25)
        own_files = directory / "own"
        async with Supervisor(call.call, own, WAY, archive=own_files, plugins=(watch,)) as supervisor:
            speaking = asyncio.create_task(whisper_on(supervisor))
            until = asyncio.get_running_loop().time() + SECONDS
            while asyncio.get_running_loop().time() < until:
                await asyncio.sleep(rng.uniform(0.3, 1.6))
                if rng.random() < 0.5:
                    await call.fault(rng.choice(FAULTS), target=own.user_id)
                else:
                    event, payload = rng.choice(EVENTS)
                    payload = {**payload, **({"user_id": f"x{rng.random()}"} if "user_id" in payload else {})}
                    body = {"topic": f"call:{call.id}", "event": event, "payload": payload}
                    await sim.control("POST", "/broadcast", body)
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
        await asyncio.sleep(0.2)
        customer = next(person for person in call.people if person.role == "customer")
        assert await reached(sim, call, customer, own.user_id) == 0, f"seed {seed}"
        heard = await loudest(sim, call, directory, VOICE)
    assert heard["customer"] < QUIET, f"seed {seed}: {heard}"
    armed = watch.armed()
    for at, what in watch.closed:
        following = min((each for each in armed if each > at), default=float("inf"))
        late = [sent - at for sent in watch.sent if at + LATE < sent < following]
        assert not late, f"seed {seed}: {len(late)} packets up to {max(late):.3f} s after {what}"
    first = min(armed, default=float("inf"))
    assert not [sent for sent in watch.sent if sent < first], f"seed {seed}: before it was armed"
    return len(watch.sent)


@pytest.mark.parametrize("seed", range(10))
async def test_nothing_is_whispered_that_must_not_be(sim: Sim, tmp_path: Path, seed: int) -> None:
    """No packet outside a valid arm, or 40 ms after what closed it; nothing to the customer."""
    assert await play(sim, tmp_path, seed) > 0


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10, 200))
async def test_nothing_is_whispered_in_many_more(sim: Sim, tmp_path: Path, seed: int) -> None:
    """As above; 190 calls."""
    await play(sim, tmp_path, seed)
