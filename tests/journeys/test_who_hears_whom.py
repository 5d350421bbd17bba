"""The matrix of supervision as sound: every mode, for every party, before, during and after what may happen.

Each word of the supervisor has a tone of its own, so that what anybody heard of it is told apart at the end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.journeys.hearing import QUIET, loudest, reached
from voki_bots import Bot, Prompt, Supervision, SupervisionError, SupervisionStrategy, Supervisor
from voki_bots.bots.arming import SupervisionGate
from voki_bots.media.livemix import LiveMix
from voki_bots.media.tap import Tap
from voki_bots.testing.signals import tone
from voki_bots.testing.sim import Sim, SimCall

WAY = SupervisionStrategy(by="rest", path="/api/v1/calls/{call}/supervise")
PEOPLE = (
    {"role": "attendant", "name": "Ana", "tone": 300, "listens": True},
    {"role": "customer", "name": "Carlos", "tone": 500, "listens": True},
)
WORDS = {
    (mode, phase): 1_100 + 250 * n
    for n, (mode, phase) in enumerate(
        (mode, phase)
        for mode in (Supervision.WHISPER, Supervision.BARGE)
        for phase in ("before", "during", "after")
    )
}
"""Hertz of each word."""

LOUD = -25.0

NUMBERS = count()

Disturb = Callable[[SimCall, Supervisor, str], Awaitable[None]]


def fault(name: str, **settings: Any) -> Disturb:
    async def happen(call: SimCall, _: Supervisor, user_id: str) -> None:
        await call.fault(name, target=user_id, **settings)

    return happen


def told(event: str, **payload: Any) -> Disturb:
    async def happen(call: SimCall, _: Supervisor, user_id: str) -> None:
        made = {
            key: f"{value}{next(NUMBERS)}" if key == "user_id" else value for key, value in payload.items()
        }
        body = {"topic": f"call:{call.id}", "event": event, "payload": made}
        await call._sim.control("POST", "/broadcast", body)

    return happen


DISTURBANCES: dict[str, tuple[Disturb, dict[str, Any]]] = {
    "the signalling is lost, and with it the mode": (fault("drop_socket"), {"mode_lost": True}),
    "the media are lost": (fault("kill_ice"), {}),
    "the SFU offers anew": (fault("reoffer"), {}),
    "somebody unknown joins": (told("participant_joined", user_id="x", name="?", role="guest"), {}),
    "another supervisor takes the call": (told("barge_start", supervisor_id="y", supervisor_name="Y"), {}),
    "the mode ends": (told("whisper_stop"), {}),
}


async def said(supervisor: Supervisor, mode: Supervision, hertz: int) -> None:
    """Say a word, to its end; it is armed as often as that takes."""
    prompt = await asyncio.to_thread(Prompt.from_pcm, tone(hertz, 0.8))
    for left in reversed(range(8)):
        try:
            await supervisor.speak(mode, prompt)
        except SupervisionError:
            if not left:
                raise
            await asyncio.sleep(0.5)
        else:
            return


async def interrupted(
    supervisor: Supervisor, mode: Supervision, hertz: int, happen: Callable[[], Awaitable[None]]
) -> bool:
    """Begin a long word, and let something happen in its middle; give whether that stopped it."""
    prompt = await asyncio.to_thread(Prompt.from_pcm, tone(hertz, 12.0))
    saying = asyncio.create_task(supervisor.speak(mode, prompt))
    async with asyncio.timeout(20.0):
        while not (supervisor.session and supervisor.refusal is None and supervisor.session.pipeline.tracks):
            assert not saying.done(), saying.exception()
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.4)
    await happen()
    await asyncio.wait({saying}, timeout=6.0)
    saying.cancel()
    (came,) = await asyncio.gather(saying, return_exceptions=True)
    return isinstance(came, SupervisionError)


async def play(sim: Sim, directory: Path, disturb: Disturb, switches: dict[str, Any]) -> None:
    """Play the whole matrix over one disturbance, and assert who heard what.

    Raises:
        AssertionError: If anybody heard what was not for them, or did not hear what was.
    """
    call = await sim.call(*PEOPLE, switches={"supervise_by_rest": True, **switches})
    async with sim.attend(call, Bot("minutes").record()), sim.account(await sim.user("Marina")) as own:
        await call.heard_by_bots(25)
        async with Supervisor(call.call, own, WAY, archive=directory / "own") as supervisor:
            for mode in (Supervision.WHISPER, Supervision.BARGE):
                await said(supervisor, mode, WORDS[mode, "before"])
                long = WORDS[mode, "during"]
                stopped = await interrupted(
                    supervisor, mode, long, lambda: disturb(call, supervisor, own.user_id)
                )
                await said(supervisor, mode, WORDS[mode, "after"])
                await asyncio.sleep(0.2)
                if mode is Supervision.WHISPER:
                    customer = next(person for person in call.people if person.role == "customer")
                    assert await reached(sim, call, customer, own.user_id) == 0
                for phase in ("before", "during", "after"):
                    levels = await loudest(sim, call, directory, WORDS[mode, phase])
                    where = f"{mode} {phase}: {levels}"
                    assert levels["attendant"] > LOUD, where
                    assert levels["customer"] > LOUD or mode is Supervision.WHISPER, where
                    assert levels["customer"] < QUIET or mode is Supervision.BARGE, where
                assert stopped, mode
            await hears_all(supervisor)


async def hears_all(supervisor: Supervisor) -> None:
    """Who monitors hears everybody, and is heard by nobody: there is no sender."""
    session = await supervisor.monitor()
    mix = LiveMix(16_000)
    with session.pipeline.packets(Tap("listening", mix), lambda track: not track.local):
        async with asyncio.timeout(10.0):
            while True:
                await asyncio.sleep(0.3)
                heard = np.concatenate([mix.take() for _ in range(10)]).astype(np.float64)
                spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
                found = {round(hertz / 5) * 5 for hertz in np.argsort(spectrum)[-6:] * 5}
                if {300, 500} <= found:
                    break
    with pytest.raises(SupervisionError):
        await session.say(Prompt.from_pcm(tone(440, 0.1)))


@pytest.mark.parametrize("what", DISTURBANCES)
async def test_everybody_hears_what_is_for_them(sim: Sim, tmp_path: Path, what: str) -> None:
    """Before, during and after it; the first and the last packet included."""
    await play(sim, tmp_path, *DISTURBANCES[what])


async def test_without_the_gate_the_matrix_is_red(
    sim: Sim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A platform forgets the mode when a channel is joined anew: the gate alone keeps a whisper in."""
    monkeypatch.setattr(SupervisionGate, "refusal", lambda self: None)
    with pytest.raises(AssertionError):
        await play(sim, tmp_path, *DISTURBANCES["the signalling is lost, and with it the mode"])


async def test_a_supervisor_who_is_killed_is_heard_by_nobody_else(
    sim: Sim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a word, by kill -9; the next one arms anew and whispers again."""
    own = await sim.user("Marina")
    words = {1_900: tmp_path / "first.wav", 1_500: tmp_path / "second.wav"}
    for hertz, path in words.items():
        await asyncio.to_thread(write_wave, path, tone(hertz, 12.0 if hertz == 1_900 else 0.6))
    config = tmp_path / "s.toml"
    config.write_text(
        f'[voki]\nurl = "{sim.url}"\ntenant = "{sim.tenant}"\nemail = "{own.email}"\n'
        f'[supervision]\nby = "rest"\npath = "{WAY.path}"\n'
    )
    call = await sim.call(*PEOPLE, switches={"supervise_by_rest": True, "mode_lost": True})

    async def supervise(path: Path) -> asyncio.subprocess.Process:
        command = [sys.executable, "-m", "voki_bots", "supervise", call.id, "--config", str(config)]
        more = ["--say", str(path), "--seconds", "3", "--output", str(tmp_path / "own")]
        env = {**os.environ, "VOKI_PASSWORD": own.password()}
        quiet = asyncio.subprocess.DEVNULL
        return await asyncio.create_subprocess_exec(*command, *more, env=env, stdout=quiet, stderr=quiet)

    async with sim.attend(call, Bot("minutes").record()):
        await call.heard_by_bots(25)
        attendant = next(person for person in call.people if person.role == "attendant")
        process = await supervise(words[1_900])
        async with asyncio.timeout(30.0):
            while (await loudest(sim, call, tmp_path, 1_900))["attendant"] < LOUD:
                await asyncio.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        assert await (await supervise(words[1_500])).wait() == 0
        heard = {hertz: await loudest(sim, call, tmp_path, hertz) for hertz in words}
    assert attendant
    assert [levels["attendant"] > LOUD for levels in heard.values()] == [True, True]
    assert [levels["customer"] < QUIET for levels in heard.values()] == [True, True]


def write_wave(path: Path, samples: np.ndarray) -> None:
    import wave

    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(samples.tobytes())
