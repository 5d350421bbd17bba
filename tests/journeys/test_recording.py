"""A call is recorded end to end, and the recording is proved by its content."""

from __future__ import annotations

import pytest

from tests.journeys.conftest import journal, likeness, sidecar
from voki_bots import Bot
from voki_bots.archive.seal import verify
from voki_bots.testing.sim import Sim

PACKETS = 200  # four seconds of everybody


@pytest.mark.parametrize("sim", ["tick", "hook", "receiver"], indirect=True)
async def test_each_voice_is_on_its_own_track(sim: Sim) -> None:
    """Each participant's file is what they sent (>= 0.99), and nothing of the other one (< 0.3)."""
    call = await sim.call()
    async with sim.attend(call, Bot("minutes").record()) as session:
        await call.heard_by_bots(PACKETS)
    like = await likeness(call, session.directory)
    assert like["attendant", "attendant"] >= 0.99 and like["customer", "customer"] >= 0.99
    assert like["attendant", "customer"] < 0.3 and like["customer", "attendant"] < 0.3


async def test_audio_and_gaps_make_up_the_time_in_the_call(sim: Sim) -> None:
    """Decoded audio plus listed gaps is the time in the call, within 20 ms, for every track."""
    call = await sim.call()
    async with sim.attend(call, Bot("minutes").record()) as session:
        await call.heard_by_bots(PACKETS)
    found = sidecar(session.directory)
    for track in found["tracks"]:
        gaps = sum(gap["end"] - gap["start"] for gap in track["gaps"])
        assert track["audio"] + gaps == pytest.approx(found["duration"], abs=0.02)


async def test_the_first_packet_is_recorded_within_two_seconds(sim: Sim) -> None:
    """Somebody who is in the call when the bot joins is on record within 2 s."""
    call = await sim.call({"role": "attendant", "joins": "now"})
    await call.until(lambda state: state["people"][0]["connected"], "the attendant's media")
    async with sim.attend(call, Bot("minutes").record()) as session:
        await call.heard_by_bots(50)
    (track,) = sidecar(session.directory)["tracks"]
    assert track["start"] < 2.0


async def test_a_finished_call_is_sealed_and_verifies(sim: Sim) -> None:
    """After the call the folder is sealed; every checksum, the chain and the invariant hold."""
    call = await sim.call()
    async with sim.attend(call, Bot("minutes").record()) as session:
        await call.heard_by_bots(50)
        await call.end("completed")
        assert await session.ended() == "the call ended: completed"
    assert sidecar(session.directory)["sealed"]
    assert verify(session.directory) == []


async def test_a_track_of_two_strangers_is_unknown(sim: Sim) -> None:
    """Two who were there before us, on a platform that names nobody, stay unknown and are recorded."""
    people = [{"role": "attendant", "joins": "now"}, {"role": "customer", "joins": "now"}]
    call = await sim.call(*people, switches={"together": True})
    await call.until(lambda s: all(p["connected"] for p in s["people"]), "both being in the call")
    async with sim.attend(call, Bot("minutes").record()) as session:
        await call.heard_by_bots(50)
    tracks = sidecar(session.directory)["tracks"]
    assert [(track["role"], track["participant"]) for track in tracks] == [("unknown", None)] * 2
    assert all(track["file"].startswith("tracks/unknown-") for track in tracks)


async def test_ids_in_the_description_are_believed(sim: Sim) -> None:
    """Where the SFU names users in its descriptions, tracks are attributed at once and with certainty."""
    people = [{"role": "attendant", "joins": "now"}, {"role": "customer", "joins": "now"}]
    call = await sim.call(*people, switches={"msid_user_ids": True, "snapshot": True, "reply_bodies": True})
    await call.until(lambda s: all(p["connected"] for p in s["people"]), "both being in the call")
    async with sim.attend(call, Bot("minutes").record()) as session:
        await call.heard_by_bots(50)
    tracks = sidecar(session.directory)["tracks"]
    assert sorted((t["role"], t["confidence"]) for t in tracks) == [("attendant", 1.0), ("customer", 1.0)]


async def test_the_journal_tells_the_call(sim: Sim) -> None:
    """The journal has the call's story in order, and each line knows its call time."""
    call = await sim.call()
    async with sim.attend(call, Bot("minutes").record()) as session:
        await call.heard_by_bots(50)
    lines = journal(session.directory)
    types = [line["type"] for line in lines]
    told = [
        t for t in types if t in ("call_joined", "media_connected", "track_started", "call_left", "sealed")
    ]
    story = ["call_joined", "media_connected", "track_started", "track_started", "call_left", "sealed"]
    assert told[:6] == story and set(told[6:]) <= {"sealed"}  # what is made afterwards seals it again
