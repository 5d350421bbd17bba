"""The generator, a process of its own: connections that send pre-encoded speech, 50 packets a second a line.

aiortc makes the connections; the packets are laid out, protected and sent by hand, so that many streams
fit beside what is measured. Phases are spread over the 20 ms; a sender report goes out every two seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import struct
import time
from collections.abc import Sequence
from typing import Any

import aioice.ice
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcconfiguration import RTCBundlePolicy
from aiortc.rtcrtpreceiver import RTCRtpReceiver

from bench import speech
from bench.process import tell, told

PERIOD = 0.02
REPORT = 100
"""Packets from one sender report to the next."""

_HEADER = struct.Struct("!BBHII")
_REPORT = struct.Struct("!BBHIIIIII")
_NTP_EPOCH = 2_208_988_800


class Nothing(MediaStreamTrack):
    """A track that never has anything, so that aiortc's own sender sleeps."""

    kind = "audio"

    async def recv(self) -> Any:
        await asyncio.Event().wait()


class Connection:
    """One connection with one line for each of its streams, as an SFU sends the parties of a call.

    Args:
        numbers: Which streams; they decide what is said.
        direction: ``sendonly``, or ``recvonly`` to be played to.
    """

    def __init__(self, numbers: Sequence[int], direction: str) -> None:
        self._pc = RTCPeerConnection(RTCConfiguration([], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self.streams = [Stream(number, direction, self._pc) for number in numbers]

    async def offer(self) -> str:
        """Make the offer, complete."""
        await self._pc.setLocalDescription(await self._pc.createOffer())
        return str(self._pc.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        """Take the answer, and wait until packets can flow."""
        up = asyncio.Event()

        def changed() -> None:
            if self._pc.connectionState == "connected":
                up.set()

        self._pc.on("connectionstatechange", changed)
        await self._pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        async with asyncio.timeout(30):
            await up.wait()
        for stream in self.streams:
            stream.connected()


class Stream:
    """One line of a connection.

    Args:
        number: Which; it decides what is said.
        direction: ``sendonly``, or ``recvonly`` to be played to.
        connection: Whose line it is.
    """

    def __init__(self, number: int, direction: str, connection: RTCPeerConnection) -> None:
        self.number = number
        self.sent = 0
        self.heard = 0
        self.kept: list[tuple[int, bytes]] = []
        self.running = False
        self.times: list[tuple[int, float]] = []
        self._octets = 0
        self._ssrc = random.getrandbits(32)
        self._sequence = random.getrandbits(16)
        self._origin = random.getrandbits(32)
        sending = direction != "recvonly"
        self._transceiver = connection.addTransceiver(Nothing() if sending else "audio", direction)
        codecs = RTCRtpReceiver.getCapabilities("audio").codecs  # type: ignore[union-attr]
        self._transceiver.setCodecPreferences([c for c in codecs if c.mimeType.lower() == "audio/opus"])
        if sending:
            sender: Any = self._transceiver.sender
            sender._ssrc = self._ssrc
            sender._run_rtcp = _no_reports

    def connected(self) -> None:
        """Packets can flow."""
        dtls: Any = self._transceiver.receiver.transport
        ice = dtls.transport._connection
        pair = ice._nominated[1]
        self._protect, self._protect_report = dtls._tx_srtp.protect, dtls._tx_srtp.protect_rtcp
        # asyncio's public view of the socket cannot send.
        self._socket, self._far = pair.protocol.transport.get_extra_info("socket")._sock, pair.remote_addr
        self._type = self._transceiver._codecs[0].payloadType
        self._extension = _extensions(self._transceiver)
        if self._transceiver.direction == "recvonly":
            self._listen(dtls, ice)

    def send(self) -> None:
        """Send the next packet, and a report when one is due."""
        payload = speech.packet(self.number, self.sent)
        timestamp = (self._origin + self.sent * speech.TICKS) & 0xFFFFFFFF
        sequence = (self._sequence + self.sent) & 0xFFFF
        header = _HEADER.pack(0x90 if self._extension else 0x80, self._type, sequence, timestamp, self._ssrc)
        self.times.append((timestamp, time.monotonic()))
        self._send(self._protect(header + self._extension + payload))
        if self.sent % REPORT == 0:
            now = time.time() + _NTP_EPOCH
            ntp, part = int(now), int(now % 1 * 2**32)
            numbers = (self._ssrc, ntp, part, timestamp, self.sent, self._octets & 0xFFFFFFFF)
            self._send(self._protect_report(_REPORT.pack(0x80, 200, 6, *numbers)))
        self.sent += 1
        self._octets += len(payload)

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendto(data, self._far)
        except BlockingIOError:  # a full buffer: what is lost here was sent, for whoever counts
            return

    def _listen(self, dtls: Any, ice: Any) -> None:
        """Count what is played to us, and keep the first stream's packets."""
        stock = ice.data_received

        def data_received(data: bytes, component: int) -> None:
            if 127 < data[0] < 192 and not 192 <= data[1] <= 208 and dtls._rx_srtp is not None:
                self.heard += 1
                if self.number == 0:
                    plain = dtls._rx_srtp.unprotect(data)
                    at = 12 + (4 + 4 * int.from_bytes(plain[14:16], "big") if plain[0] & 16 else 0)
                    self.kept.append((int.from_bytes(plain[4:8], "big"), plain[at:]))
            else:
                stock(data, component)

        ice.data_received = data_received


async def _no_reports() -> None:
    """Aiortc's sender knows nothing of our packets, so it must not report of them."""


def _extensions(transceiver: Any) -> bytes:
    """Lay out MID and audio level, as an SFU sends them (RFC 8285 section 4.2)."""
    ids = {e.uri.rsplit(":", 1)[-1]: e.id for e in transceiver._headerExtensions}
    parts = b""
    if "mid" in ids:
        mid = transceiver.mid.encode()
        parts += bytes([ids["mid"] << 4 | len(mid) - 1]) + mid
    if "ssrc-audio-level" in ids:
        parts += bytes([ids["ssrc-audio-level"] << 4, 0x80 | 30])
    parts += bytes(-len(parts) % 4)
    return struct.pack("!HH", 0xBEDE, len(parts) // 4) + parts if parts else b""


async def pump(streams: list[Stream]) -> None:
    """Send for ever: the k-th stream a k-th of the period later than the first; deadlines are absolute."""
    loop = asyncio.get_running_loop()
    zero = loop.time()
    round_ = 0
    while True:
        for place, stream in enumerate(streams):
            due = zero + (round_ + place / len(streams)) * PERIOD
            if (early := due - loop.time()) > 0:
                await asyncio.sleep(early)
            if stream.running:
                stream.send()
        round_ += 1


async def run(count: int, direction: str, lines: int) -> None:
    """Do what is asked until whoever started us hangs up."""
    connections = [
        Connection(range(first, min(first + lines, count)), direction) for first in range(0, count, lines)
    ]
    streams = [stream for connection in connections for stream in connection.streams]
    pumping: asyncio.Task[None] | None = None
    tell(ready=os.getpid())
    async for asked in told():
        if "offer" in asked:
            tell(offer=await connections[asked["offer"]].offer())
        elif "answer" in asked:
            await connections[asked["stream"]].accept(asked["answer"])
            tell(connected=asked["stream"])
        elif "start" in asked:
            for n in asked["start"]:
                for stream in connections[n].streams:
                    stream.running = direction != "recvonly"
            if pumping is None:
                pumping = asyncio.create_task(pump(streams))
                pumping.add_done_callback(lambda task: tell(failed=str(task.exception())))
            tell(started=True)
        elif "count" in asked:
            tell(sent=[s.sent for s in streams], heard=[s.heard for s in streams])
        elif "times" in asked:
            tell(times=[stream.times for stream in streams])
        elif "stop" in asked:
            for stream in streams:
                stream.running = False
            kept = [[at, payload.hex()] for at, payload in streams[0].kept]
            heard = [s.heard for s in streams]
            tell(stopped={"sent": [s.sent for s in streams], "heard": heard, "kept": kept})
    os._exit(0)


def main() -> None:
    """Run the generator."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--lines", type=int, default=1)
    parser.add_argument("--direction", default="sendonly")
    parser.add_argument("--address", default="127.0.0.1")
    options = parser.parse_args()
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [options.address]
    speech.corpus()
    asyncio.run(run(options.streams, options.direction, options.lines))


if __name__ == "__main__":
    main()
