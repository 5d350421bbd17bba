"""What SFUs do with lines, sources, offers and connections, one call each. Voices are told by their tones."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.journeys.conftest import journal, sidecar
from tests.journeys.test_faults import happened
from voki_bots import Bot, MediaConnected, MediaLost, TrackMeasured
from voki_bots.bots.session import CallSession
from voki_bots.testing.signals import decode
from voki_bots.testing.sim import Sim, SimCall

RATE = 16_000
ANA = {"role": "attendant", "name": "Ana", "tone": 440}
CARLOS = {"role": "customer", "name": "Carlos", "tone": 660}
DORA = {"name": "Dora", "tone": 880, "joins": "now"}
TONES = {"Ana": 440, "Carlos": 660, "Dora": 880, "Eva": 1100}
PACKETS = 100


def minutes() -> Bot:
    return Bot("minutes").record()


def shares(samples: Any) -> dict[str, float]:
    """How much of the energy is each person's."""
    energy = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE)
    near = {name: energy[np.abs(hertz - hz) < 25].sum() for name, hz in TONES.items()}
    return {name: float(part / energy.sum()) for name, part in near.items()}


def voices(directory: Path, least: float = 0.5) -> dict[str, set[str]]:
    """Who is to be heard on each track that lasts, by the track's participant (or its id, if unknown)."""
    found: dict[str, set[str]] = {}
    known = sidecar(directory)
    names = {person["id"]: person["name"] for person in known["participants"]}
    for track in known["tracks"]:
        if track["file"] and track["audio"] >= least:
            share = shares(decode(directory / track["file"], RATE))
            owner = names.get(track["participant"], track["id"])
            found.setdefault(owner, set()).update(name for name, part in share.items() if part > 0.1)
    return found


def sound(directory: Path) -> bool:
    """Whether audio and gaps of every track add up."""
    return bool(sidecar(directory)["invariant"]["ok"])


async def person(call: SimCall, name: str) -> dict[str, Any]:
    return next(p for p in (await call.state())["people"] if p["name"] == name)


async def heard(call: SimCall, name: str, packets: int = PACKETS) -> None:
    """Wait until somebody was forwarded to the bot so often."""
    one = (await person(call, name))["id"]
    await call.until(
        lambda s: sum(b["forwarded"].get(one, 0) for b in s["bots"]) >= packets, f"hearing {name}"
    )


async def replaced(call: SimCall, leaver: str, **script: Any) -> None:
    """Somebody leaves, and another comes."""
    one = await person(call, leaver)
    await call._sim.control("DELETE", f"/calls/{call.id}/people/{one['id']}")
    await call.until(
        lambda s: next(p for p in s["people"] if p["id"] == one["id"])["left_at"], f"{leaver} leaving"
    )
    await asyncio.sleep(0.3)
    await call.join(**script)
    await heard(call, script["name"])


# ---------------------------------------------------------------- lines and sources


@pytest.mark.parametrize("new_ssrc", [True, False], ids=["new_source", "same_source"])
async def test_a_line_is_used_again_for_somebody_else(sim: Sim, new_ssrc: bool) -> None:
    """A line that became inactive carries somebody else: they are heard, on a track of their own."""
    switches = {"reuse_lines": True, "new_ssrc": new_ssrc, "own_line": False}
    call = await sim.call(ANA, CARLOS, switches=switches)
    async with sim.attend(call, minutes()) as session:
        await heard(call, "Carlos")
        await replaced(call, "Carlos", role="customer", **DORA)
    assert voices(session.directory) == {"Ana": {"Ana"}, "Carlos": {"Carlos"}, "Dora": {"Dora"}}
    assert sound(session.directory)


async def test_our_own_line_is_used_again_for_somebody_else(sim: Sim) -> None:
    """The line we offered carries one, then another with the same source: only its msid changes."""
    call = await sim.call(ANA, switches={"reuse_lines": True})
    async with sim.attend(call, minutes()) as session:
        await heard(call, "Ana")
        await replaced(call, "Ana", role="customer", **DORA)
        sources = {t.ssrc for t in session.pipeline.tracks}
        first = {line["track"].split(":")[2] for line in journal(session.directory) if "track" in line}
    assert (len(sources), len(first)) == (1, 1)
    assert voices(session.directory) == {"Ana": {"Ana"}, "Dora": {"Dora"}}


@pytest.mark.parametrize("offers", [False, True], ids=["we_offer", "server_offers"])
async def test_lines_are_told_by_mid_alone(sim: Sim, offers: bool) -> None:
    """Descriptions that name neither source nor stream: packets are told apart by MID."""
    switches = {"no_ssrc": True, "no_msid": True, "server_offers": offers, "own_line": False}
    call = await sim.call(ANA, CARLOS, switches=switches)
    async with sim.attend(call, minutes()) as session:
        await call.heard_by_bots(PACKETS)
    assert voices(session.directory) == {"Ana": {"Ana"}, "Carlos": {"Carlos"}}


async def test_rejected_lines_are_used_again(sim: Sim) -> None:
    """An SFU that rejects lines gets them rejected back, so that they are recycled and do not pile up."""
    call = await sim.call(ANA, CARLOS, switches={"reject_lines": True, "own_line": False})
    async with sim.attend(call, minutes()) as session:
        await heard(call, "Carlos")
        before = set((await call.state())["bots"][0]["lines"])
        await replaced(call, "Carlos", role="customer", **DORA)
        await replaced(call, "Dora", role="customer", name="Eva", tone=1100)
        after = set((await call.state())["bots"][0]["lines"])
    assert after == before
    assert voices(session.directory) == {
        "Ana": {"Ana"},
        "Carlos": {"Carlos"},
        "Dora": {"Dora"},
        "Eva": {"Eva"},
    }


async def test_padding_packets_deafen_nobody(sim: Sim) -> None:
    """Bandwidth probes among the packets are neither audio nor loss."""
    call = await sim.call(ANA, switches={"padding": 0.3})
    async with sim.attend(call, minutes()) as session:
        await call.heard_by_bots(150)
    (track,) = sidecar(session.directory)["tracks"]
    assert voices(session.directory) == {"Ana": {"Ana"}}
    assert track["audio"] >= 2.8
    assert not [gap for gap in track["gaps"] if gap["cause"] == "lost"]


async def test_a_mixed_line_is_nobodys_own(sim: Sim) -> None:
    """Everybody on one line: all are recorded, and the track is not said to be one person's."""
    call = await sim.call(ANA, CARLOS, switches={"mixed_only": True})
    async with sim.attend(call, minutes()) as session:
        mixed = lambda s: s["bots"] and s["bots"][0]["forwarded"].get("mix", 0)  # noqa: E731
        await call.until(lambda s: mixed(s) >= 100 and s["people"][1]["packets_sent"] > 480, "the mixture")
    (track,) = sidecar(session.directory)["tracks"]
    assert voices(session.directory) == {track["id"]: {"Ana", "Carlos"}}
    assert (track["role"], track["why"]) == ("unknown", "mixed")


async def test_video_is_refused_and_audio_goes_on(sim: Sim) -> None:
    """A line of video beside those of audio is answered, unwanted, and harms nothing."""
    call = await sim.call(ANA, CARLOS, switches={"video": True, "server_offers": True})
    async with sim.attend(call, minutes()) as session:
        await call.heard_by_bots(PACKETS)
    assert voices(session.directory) == {"Ana": {"Ana"}, "Carlos": {"Carlos"}}
    assert {t["kind"] for t in sidecar(session.directory)["tracks"]} == {"audio"}


# ---------------------------------------------------------------- offers


async def test_an_elixir_sfu_that_offers_is_answered_at_once(sim: Sim) -> None:
    """RSA, and no nomination before the end of candidates: connected within a second, not after ten."""
    switches = {"server_offers": True, "rsa_certificate": True, "waits_for_end": True}
    call = await sim.call(ANA, CARLOS, switches=switches)
    async with sim.attend(call, minutes()) as session:
        await call.heard_by_bots(PACKETS)
        bot = (await call.state())["bots"][0]
    assert bot["connected_at"] - bot["joined_at"] < 2.0
    assert voices(session.directory) == {"Ana": {"Ana"}, "Carlos": {"Carlos"}}


async def test_offers_come_at_any_time(sim: Sim) -> None:
    """Offers that change nothing interrupt nothing, however many."""
    call = await sim.call(ANA, CARLOS)
    async with sim.attend(call, minutes()) as session:
        await call.heard_by_bots(PACKETS)
        for _ in range(4):
            await call.fault("reoffer")
            await asyncio.sleep(0.1)
        await call.heard_by_bots(2 * PACKETS)
    assert len(sidecar(session.directory)["tracks"]) == 2
    assert sound(session.directory)


async def test_glare_is_yielded_to(sim: Sim) -> None:
    """Both offer at once: ours gives way, and theirs is answered at once by a new Peer."""
    call = await sim.call(ANA, CARLOS, switches={"glare": True})
    async with sim.attend(call, minutes()) as session:
        await call.heard_by_bots(PACKETS)
        bot = (await call.state())["bots"][0]
    assert bot["connected_at"] - bot["joined_at"] < 3.0
    assert voices(session.directory) == {"Ana": {"Ana"}, "Carlos": {"Carlos"}}


async def test_glare_in_a_live_call_loses_nothing(sim: Sim) -> None:
    """Our offer of a line crosses the SFU's: theirs counts, and no connection is replaced."""
    call = await sim.call(ANA, CARLOS)
    async with sim.attend(call, minutes()) as session:
        await call.heard_by_bots(PACKETS)
        await call.fault("glare")
        await call.join("customer", **DORA)
        await heard(call, "Dora", 50)
        bot = (await call.state())["bots"][0]
    assert (bot["connections"], bot["glares"]) == (1, 1)
    assert voices(session.directory) == {"Ana": {"Ana"}, "Carlos": {"Carlos"}, "Dora": {"Dora"}}
    gaps = [gap for track in sidecar(session.directory)["tracks"] for gap in track["gaps"]]
    missing = [gap["end"] - gap["start"] for gap in gaps if gap["cause"] != "late_join"]
    assert (max(missing, default=0.0) < 0.2, sound(session.directory)) == (True, True)


async def test_where_the_sfu_never_offers_we_offer_more_lines(sim: Sim) -> None:
    """Somebody joins and nothing is offered to us: once for each who joined, we offer a line more."""
    call = await sim.call(ANA, switches={"client_offers": True})
    async with sim.attend(call, minutes()) as session:
        await heard(call, "Ana", 50)
        bot = (await call.state())["bots"][0]
    assert bot["offers_received"] == 2
    assert voices(session.directory) == {"Ana": {"Ana"}}


@pytest.mark.parametrize("switch", ["insists_on_video", "insists_on_sending"])
async def test_the_ladder_of_offers_is_climbed(sim: Sim, switch: str) -> None:
    """An SFU that gives nothing for our plain offer is offered otherwise until somebody is heard."""
    call = await sim.call(ANA, switches={switch: True, "client_offers": switch == "insists_on_sending"})
    async with sim.attend(call, minutes()) as session:
        await heard(call, "Ana", 50)
    assert voices(session.directory) == {"Ana": {"Ana"}}


# ---------------------------------------------------------------- the next segment


async def lost_and_found(call: SimCall, session: CallSession, fault: str, **settings: Any) -> float:
    """Let a fault happen; give the seconds from there to the next connection."""
    lost = asyncio.create_task(happened(session, MediaLost))
    found = asyncio.create_task(happened(session, MediaConnected, 30.0))
    await asyncio.sleep(0)
    began = session.now
    await call.fault(fault, **settings)
    await asyncio.gather(lost, found)
    return session.now - began


CAUSES = {
    "kill_ice": ("silent", "no media"),
    "hang_up": ("closed",),
    "ice_restart": ("restarted ICE",),
}


@pytest.mark.parametrize("fault", CAUSES)
async def test_a_new_peer_within_three_seconds(sim: Sim, fault: str) -> None:
    """Whatever ends a connection, the next one is up within 3 s, on the same timeline, the gap named."""
    call = await sim.call(ANA, CARLOS)
    async with sim.attend(call, minutes()) as session:
        await call.heard_by_bots(PACKETS)
        took = await lost_and_found(call, session, fault)
        await call.until(lambda _: len(session.pipeline.tracks) == 2, "both tracks in the new segment")
        await asyncio.sleep(1.0)
    lost = next(line for line in journal(session.directory) if line["type"] == "media_lost")
    gaps = [gap for track in sidecar(session.directory)["tracks"] for gap in track["gaps"]]
    assert took < 3.2
    assert any(cause in lost["cause"] for cause in CAUSES[fault])
    assert sum(gap["cause"] == "redial" for gap in gaps) == 2
    assert sound(session.directory)
    assert voices(session.directory) == {"Ana": {"Ana"}, "Carlos": {"Carlos"}}


async def test_an_sfu_that_ignores_us_is_joined_anew(sim: Sim) -> None:
    """Two offers in a row without an answer: the topic is left and joined anew, and the recording goes on."""
    call = await sim.call(ANA)
    async with sim.attend(call, minutes()) as session:
        await call.heard_by_bots(PACKETS)
        await call.fault("ignore_offers")
        await lost_and_found(call, session, "kill_ice")
        await asyncio.sleep(1.0)
    assert [line for line in journal(session.directory) if line["type"] == "rejoining"]
    assert voices(session.directory) == {"Ana": {"Ana"}}


async def test_a_lossy_path_is_recorded_with_its_holes(sim: Sim) -> None:
    """One packet in ten is lost: what came is in its place, what did not is a gap by its name."""
    call = await sim.call(ANA, switches={"lose": 0.1})
    async with sim.attend(call, minutes()) as session:
        measured = await happened(session, TrackMeasured)
        await call.heard_by_bots(130)
    (track,) = sidecar(session.directory)["tracks"]
    lost = sum(gap["end"] - gap["start"] for gap in track["gaps"] if gap["cause"] == "lost")
    assert lost == pytest.approx(0.1 * (track["audio"] + lost), rel=0.6)
    assert isinstance(measured, TrackMeasured)
    assert (0.02 < measured.loss < 0.25, 1.0 <= measured.mos < 3.8) == (True, True)
    assert sound(session.directory)
    assert voices(session.directory) == {"Ana": {"Ana"}}
