"""A far end: a stock aiortc connection on loopback that speaks numbered packets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from fractions import Fraction
from typing import Any

import av
import pytest
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcconfiguration import RTCBundlePolicy


class Speaker(MediaStreamTrack):
    """Sends payloads that count up, 50 a second."""

    kind = "audio"

    def __init__(self, mark: int = 0) -> None:
        super().__init__()
        self.mark = mark
        self.sent: list[bytes] = []

    async def recv(self) -> Any:
        await asyncio.sleep(0.02)
        payload = b"\xf8" + bytes([self.mark]) + len(self.sent).to_bytes(4, "big")
        packet: Any = av.Packet(payload)
        packet.pts, packet.time_base = len(self.sent) * 960, Fraction(1, 48_000)
        self.sent.append(payload)
        return packet


class FarEnd:
    """A stock RTCPeerConnection that gathers 127.0.0.1 and nothing else."""

    def __init__(self) -> None:
        self.pc = RTCPeerConnection(RTCConfiguration([], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self.speakers: list[Speaker] = []

    def speak(self, mark: int = 0) -> Speaker:
        speaker = Speaker(mark)
        self.pc.addTransceiver(speaker, "sendonly")
        self.speakers.append(speaker)
        return speaker

    def loopback(self) -> None:
        for transceiver in self.pc.getTransceivers():
            connection = transceiver.receiver.transport.transport._connection
            stock = type(connection).get_component_candidates

            async def gather(
                component: int, addresses: list[str], timeout: int = 5, c: Any = connection, s: Any = stock
            ) -> Any:
                return await s(c, component=component, addresses=["127.0.0.1"], timeout=timeout)

            setattr(connection, "get_component_candidates", gather)  # noqa: B010

    async def offer(self) -> str:
        offer = await self.pc.createOffer()
        self.loopback()
        await self.pc.setLocalDescription(offer)
        return str(self.pc.localDescription.sdp)

    async def accept(self, text: str) -> None:
        await self.pc.setRemoteDescription(RTCSessionDescription(text, "answer"))

    async def answer(self, text: str) -> str:
        await self.pc.setRemoteDescription(RTCSessionDescription(text, "offer"))
        self.loopback()
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        return str(self.pc.localDescription.sdp)

    @property
    def transport(self) -> Any:
        return self.pc.getTransceivers()[0].receiver.transport


@pytest.fixture
async def far() -> AsyncIterator[FarEnd]:
    end = FarEnd()
    yield end
    await end.pc.close()
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def until() -> Callable[..., Any]:
    """Wait for a condition, with a time limit."""

    async def wait(condition: Callable[[], Any], seconds: float = 5.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.01)

    return wait
