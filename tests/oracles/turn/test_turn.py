"""coturn between a bot and an SFU that have no other way to each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.journeys.conftest import likeness, sidecar
from tests.oracles.places import ends, wiretap
from tests.oracles.turn.conftest import (
    BOT,
    DROPPED,
    REFUSED,
    RELAY,
    TCP,
    TLS,
    UDP,
    Calls,
    Office,
    server,
)
from voki_bots.bots.session import CallSession
from voki_bots.errors import IceError
from voki_bots.media.peer import IceServer, Peer
from voki_bots.media.prompts import LEAD_IN, Prompt
from voki_bots.testing.signals import tone

pytestmark = pytest.mark.usefixtures("coturn")
PACKETS = 100


@pytest.mark.parametrize("url", [UDP, TLS])
async def test_a_call_is_recorded_through_the_relay(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """Over UDP and over TLS (by an authority of our own), each voice arrives whole, and so do our words."""
    monkeypatch.setenv("SSL_CERT_FILE", str(calls.office.authority))
    await calls.turn(url)
    words = Prompt.from_pcm(tone(880, 0.5))
    async with calls.attend(speaks=True) as (call, session):
        await session.say(words)
        await call.heard_by_bots(PACKETS)
        sent = LEAD_IN + len(words.packets)
        await call.until(lambda state: state["bots"][0]["received"] == sent, "the bot's words")
    like = await likeness(call, session.directory)
    assert min(like["attendant", "attendant"], like["customer", "customer"]) >= 0.99


async def test_tcp_is_taken_where_udp_is_dropped(calls: Calls) -> None:
    """The first address of the list never answers; the next Peer takes the second, and all is heard."""
    await calls.turn(DROPPED, TCP)
    async with calls.attend(relay_only=True) as (call, session):
        await call.heard_by_bots(PACKETS)
    like = await likeness(call, session.directory)
    assert min(like["attendant", "attendant"], like["customer", "customer"]) >= 0.99
    first, second = sidecar(session.directory)["segments"]
    assert ("did not answer" in first["cause"], first["connected"]) == (True, None)
    assert second["connected"] is not None


async def test_relay_only_keeps_our_addresses_to_itself(at_the_bot: Office) -> None:
    """Neither the description nor the candidates name a host, not even as the relay's related address."""
    async with peer(server(UDP), relay_only=True) as made:
        said = await made.offer() + "".join(one.candidate for one in made.local_candidates())
    assert (" typ relay" in said, " typ host" in said, BOT in said) == (True, False, False)


async def test_relay_only_sends_to_the_relay_alone(calls: Calls) -> None:
    """On the wire there is nothing but signalling and TURN: no check is sent to the SFU itself."""
    await calls.turn(UDP)
    async with wiretap() as packets, calls.attend(relay_only=True) as (call, _):
        await call.heard_by_bots(PACKETS)
    sent = [(kind, to, port) for kind, by, to, _, port in map(ends, packets) if by == BOT]
    # The kernel answers what the relay still sends to a socket that is closed (ICMP), to the relay too.
    assert {to for _, to, _ in sent} == {RELAY}
    assert {port for kind, _, port in sent if kind == "udp"} == {3478}


async def test_credentials_are_renewed_under_a_running_call(calls: Calls) -> None:
    """The call outlives its credentials, and the Peer that follows it has new ones."""
    await calls.turn(f"turn:{RELAY}:3480?transport=udp", life=3)
    with calls.office.coturn(3480, "--max-allocate-lifetime", "4"):
        async with wiretap() as packets, calls.attend(relay_only=True) as (call, session):
            await call.heard_by_bots(250)  # 5 s: past the credentials' end and a refresh of the allocation
            await call.fault("kill_ice")
            await call.until(lambda _: segments(session) == [1, 1], "both tracks in the second segment")
    users = {name for name in map(username, packets) if name is not None}
    assert len(users) == 2


@pytest.mark.soak
async def test_a_relay_that_dies_is_left_for_the_next(calls: Calls) -> None:
    """The relay is killed in a call: the dead connection is noticed, and the next address carries on."""
    await calls.turn(f"turn:{RELAY}:3480?transport=udp", UDP)
    with calls.office.coturn(3480) as relay:
        async with calls.attend(relay_only=True) as (call, session):
            await call.heard_by_bots(PACKETS)
            relay.kill()
            killed = session.now
            await call.until(lambda _: max(segments(session), default=0) > 0, "the next segment's media")
            await call.heard_by_bots(3 * PACKETS)
    first = sidecar(session.directory)["segments"][0]
    assert first["lost"] - killed < 4.0


REFUSALS: dict[str, tuple[Callable[[], IceServer], str]] = {
    "wrong secret": (lambda: server(UDP, secret="guessed"), "refused.*401"),
    "expired": (lambda: server(UDP, life=-60), "refused.*401"),
    "no answer": (lambda: server(DROPPED), "did not answer"),
    "nobody there": (lambda: server(REFUSED), "cannot be reached"),
    "unknown authority": (lambda: server(TLS), "certificate"),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_a_failure_of_turn_is_told(at_the_bot: Office, case: str) -> None:
    """Whatever is wrong with the relay, the error says what, and not the credential."""
    make, said = REFUSALS[case]
    async with peer(make(), relay_only=True) as made:
        with pytest.raises(IceError, match=said) as told:
            await made.offer()
    assert str(make().credential) not in str(told.value)


def peer(server: IceServer, *, relay_only: bool) -> Peer:
    """A Peer that takes nothing."""
    clock = asyncio.get_running_loop().time
    return Peer(0, ice_servers=[server], relay_only=relay_only, on_packet=lambda _: None, clock=clock)


def segments(session: CallSession) -> list[int]:
    """Of which segment each track is that is there now."""
    return [track.segment for track in session.pipeline.tracks]


def username(packet: bytes) -> bytes | None:
    """The USERNAME of a TURN request over UDP (RFC 8489 section 14.3), where it is one of ours."""
    kind, by, to, _, _ = ends(packet)
    if kind != "udp" or (by, to) != (BOT, RELAY) or b":" not in packet:
        return None
    message = packet[28:]
    at = 20
    while message[4:8] == b"\x21\x12\xa4\x42" and at + 4 <= len(message):
        attribute, size = int.from_bytes(message[at : at + 2], "big"), message[at + 2] << 8 | message[at + 3]
        if attribute == 0x0006:
            return message[at + 4 : at + 4 + size]
        at += 4 + (size + 3) // 4 * 4
    return None
