"""Who hears a supervisor, asserted as sound: each party has a tone of its own."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.journeys.conftest import journal
from tests.journeys.hearing import QUIET, loudest
from voki_bots import Bot, ConfigurationError, Login, Prompt, Supervision, SupervisionError
from voki_bots.bots.operator import keygen
from voki_bots.bots.profile import CapabilityProfile, Levels, Routing, host_of, sign
from voki_bots.bots.supervision import SupervisionStrategy, Supervisor
from voki_bots.cli.supervise import _supervise
from voki_bots.settings import load_supervision
from voki_bots.testing.signals import tone
from voki_bots.testing.sim import Sim, SimCall

PEOPLE = (
    {"role": "attendant", "name": "Ana", "tone": 300, "listens": True},
    {"role": "customer", "name": "Carlos", "tone": 500, "listens": True},
)
VOICE = 1_100
SAID = Prompt.from_pcm(tone(VOICE, 1.5))

WAYS = {
    "rest": SupervisionStrategy(by="rest", path="/api/v1/calls/{call}/supervise"),
    "push": SupervisionStrategy(by="push", event="supervise"),
    "join": SupervisionStrategy(by="join"),
}


@asynccontextmanager
async def supervised(
    sim: Sim, by: str = "rest", *, role: str = "supervisor", **switches: Any
) -> AsyncIterator[tuple[SimCall, Supervisor]]:
    """A recorded call of two, and a supervisor for it."""
    call = await sim.call(*PEOPLE, switches={f"supervise_by_{by}": True, **switches})
    async with sim.attend(call, Bot("minutes").record()), sim.account(await sim.user("Marina", role)) as own:
        await call.heard_by_bots(25)
        async with Supervisor(call.call, own, WAYS[by], archive=sim.directory / "own") as supervisor:
            yield call, supervisor


async def loudness(sim: Sim, call: SimCall, path: Path) -> dict[str, float]:
    """How loud the supervisor's tone is in what each person received, in dBFS."""
    return await loudest(sim, call, path, VOICE)


@pytest.mark.parametrize("by", sorted(WAYS))
async def test_a_whisper_is_heard_by_the_attendant_alone(sim: Sim, tmp_path: Path, by: str) -> None:
    """Whichever way the platform has: nothing of it reaches the customer."""
    async with supervised(sim, by) as (call, supervisor):
        assert await supervisor.whisper(SAID) == pytest.approx(1.5, abs=0.02)
        await asyncio.sleep(0.3)
        heard = await loudness(sim, call, tmp_path)
    assert heard["attendant"] > -20.0
    assert heard["customer"] < QUIET


async def test_a_barge_is_heard_by_all_and_a_monitor_by_nobody(sim: Sim, tmp_path: Path) -> None:
    """A session that listens has no sender at all; modes are switched live."""
    async with supervised(sim) as (call, supervisor):
        listening = await supervisor.monitor()
        await call.until(lambda state: len(listening.pipeline.tracks) == 2, "both voices at the supervisor")
        with pytest.raises(SupervisionError) as refused:
            await listening.say(SAID)
        assert refused.value.why == "not_configured"
        peer = listening._leg._peer
        assert peer is not None
        lines = peer._pc.localDescription.sdp
        assert ("a=recvonly" in lines, "a=sendrecv" in lines, "a=sendonly" in lines) == (True, False, False)
        assert max((await loudness(sim, call, tmp_path)).values()) < QUIET
        await supervisor.barge(SAID)
        await asyncio.sleep(0.3)
        heard = await loudness(sim, call, tmp_path)
    assert min(heard.values()) > -20.0


@pytest.mark.parametrize(
    ("switch", "why"), [("no_start", "not_confirmed"), ("wrong_supervisor", "other_supervisor")]
)
async def test_what_the_platform_does_not_confirm_is_not_said(
    sim: Sim, tmp_path: Path, switch: str, why: str
) -> None:
    """No word of it, or a word about somebody else: refused, and nothing was sent."""
    async with supervised(sim, **{switch: True}) as (call, supervisor):
        with pytest.raises(SupervisionError) as refused:
            await supervisor.whisper(SAID)
        await asyncio.sleep(0.3)
        heard = await loudness(sim, call, tmp_path)
    assert refused.value.why == why
    assert max(heard.values()) < QUIET


async def test_what_is_proved_needs_no_word_of_the_platform(sim: Sim, tmp_path: Path) -> None:
    """An operator signed it for this tenant."""
    async with supervised(sim, no_start=True) as (call, supervisor):
        supervisor._proven = frozenset({Supervision.WHISPER})
        await supervisor.whisper(SAID)
        await asyncio.sleep(0.3)
        heard = await loudness(sim, call, tmp_path)
    assert (heard["attendant"] > -20.0, heard["customer"] < QUIET) == (True, True)


async def test_an_attendant_may_not_supervise(sim: Sim, tmp_path: Path) -> None:
    """The platform refuses, and that is what is told."""
    async with supervised(sim, role="attendant") as (call, supervisor):
        with pytest.raises(SupervisionError) as refused:
            await supervisor.whisper(SAID)
        heard = await loudness(sim, call, tmp_path)
    assert refused.value.why == "not_permitted"
    assert max(heard.values()) < QUIET


async def test_nobody_whispers_into_an_empty_chair(sim: Sim) -> None:
    """Without an attendant a whisper is for nobody, and says so."""
    call = await sim.call({"role": "customer", "tone": 500}, switches={"supervise_by_rest": True})
    async with sim.attend(call, Bot("minutes").record()), sim.account(await sim.user("Marina")) as own:
        await call.heard_by_bots(25)
        async with Supervisor(call.call, own, WAYS["rest"], archive=sim.directory / "own") as supervisor:
            with pytest.raises(SupervisionError) as refused:
                await supervisor.whisper(SAID)
    assert refused.value.why == "not_there"


async def test_nobody_whispers_to_a_call_on_hold(sim: Sim, tmp_path: Path) -> None:
    """Where the platform says so; once it goes on, it can be said."""
    async with supervised(sim) as (call, supervisor):
        await call.fault("hold")
        with pytest.raises(SupervisionError, match="wait until it goes on") as refused:
            await supervisor.whisper(SAID)
        assert refused.value.why == "on_hold"
        assert max((await loudness(sim, call, tmp_path)).values()) < QUIET
        await call.fault("hold", on=False)
        await supervisor.whisper(SAID)


@pytest.mark.parametrize("fault", ["drop_socket", "kill_ice"])
async def test_a_connection_that_breaks_closes_the_gate(sim: Sim, tmp_path: Path, fault: str) -> None:
    """In the middle of a word: the rest of it is not sent, and it must be armed again."""
    long = Prompt.from_pcm(tone(VOICE, 8.0))
    async with supervised(sim) as (call, supervisor):
        saying = asyncio.create_task(supervisor.whisper(long))
        await _open(supervisor)
        await call.fault(fault)
        with pytest.raises(SupervisionError):
            await saying
        assert supervisor.gate is not None
        assert supervisor.gate.refusal() is not None
        heard = await loudness(sim, call, tmp_path)
    assert heard["customer"] < QUIET
    lines = [line["type"] for line in journal(next((sim.directory / "own").glob("*/*")))]
    assert lines.count("armed") == 1
    assert "spoken" not in lines


async def test_a_supervisor_at_a_terminal_whispers(
    sim: Sim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command says a file to the attendant alone, then listens, and leaves when its time is over."""
    own = await sim.user("Marina")
    monkeypatch.setenv("VOKI_PASSWORD", own.password())
    config = tmp_path / "s.toml"
    config.write_text(
        f'[voki]\nurl = "{sim.url}"\ntenant = "{sim.tenant}"\nemail = "{own.email}"\n'
        '[supervision]\nby = "rest"\npath = "/api/v1/calls/{call}/supervise"\n'
    )
    voki, strategy = load_supervision(config)
    console = Console(file=io.StringIO(), width=200)
    call = await sim.call(*PEOPLE, switches={"supervise_by_rest": True})
    async with sim.attend(call, Bot("minutes").record()):
        await call.heard_by_bots(25)
        await _supervise(voki, strategy, call.call, SAID, Supervision.WHISPER, tmp_path / "own", 3.0, console)
        heard = await loudness(sim, call, tmp_path)
    assert (heard["attendant"] > -20.0, heard["customer"] < QUIET) == (True, True)
    assert "whisper: 1.5 s were said" in console.file.getvalue()  # type: ignore[attr-defined]


async def test_what_a_signed_profile_proves_needs_no_word_of_the_platform(sim: Sim, tmp_path: Path) -> None:
    """For whoever supervises by a plugin, too; one about another platform ends it at once."""
    trusted, levels = keygen(tmp_path / "key"), Levels(attendant=-12.0, customer=-110.0)
    right = {"before": levels, "during": levels, "after": levels, "survives_rejoin": True}
    routing = Routing(action="taken", routes_as_documented=True, hears_both=True, **right)
    host = host_of(sim.url)
    profile = {"tenant": sim.tenant, "department": "d", "made": datetime.now(UTC), "software": "voki-bots 0"}
    for name, of in (("here", host), ("elsewhere", "voki.example")):
        made = sign(CapabilityProfile(host=of, whisper=routing, **profile), tmp_path / "key", by="Ana")
        (tmp_path / f"{name}.toml").write_text(made.to_toml())
    own = await sim.user("Marina")
    (tmp_path / "password").write_text(own.password())
    login = Login(email=own.email, password_file=tmp_path / "password")
    call = await sim.call(*PEOPLE, switches={"supervise_by_rest": True, "no_start": True})
    async with sim.attend(call, Bot("minutes").record()) as session:
        await call.heard_by_bots(25)
        proof = tmp_path / "here.toml", trusted
        async with session.supervise(login, WAYS["rest"], proof=proof, name="marina") as marina:
            await marina.speak(Supervision.WHISPER, SAID)
        wrong = tmp_path / "elsewhere.toml", trusted
        with pytest.raises(ConfigurationError, match="about the host"):
            async with session.supervise(login, WAYS["rest"], proof=wrong, name="marina"):
                pass
        heard = await loudness(sim, call, tmp_path)
    assert (heard["attendant"] > -20.0, heard["customer"] < QUIET) == (True, True)


async def test_a_platform_that_leaks_is_heard_by_this_very_test(sim: Sim, tmp_path: Path) -> None:
    """The sandbox lets the customer hear a whisper: what asserts silence above would see it."""
    async with supervised(sim, whisper_leaks=True) as (call, supervisor):
        await supervisor.whisper(SAID)
        await asyncio.sleep(0.3)
        heard = await loudness(sim, call, tmp_path)
    assert heard["customer"] > -20.0


async def _open(supervisor: Supervisor) -> None:
    async with asyncio.timeout(20.0):
        while supervisor.gate is None or supervisor.gate.refusal() is not None:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
