"""libdatachannel (C++) with its Python binding: RTP to Python, Ogg and decoding by PyAV."""

from __future__ import annotations

import argparse
import asyncio
from fractions import Fraction
from typing import Any

import av
import libdatachannel as rtc

POLL = 0.02


class Stream:
    """One connection; its packets are polled, for callbacks from its threads were seen to lock up."""

    def __init__(self, options: argparse.Namespace, number: int) -> None:
        configuration = rtc.Configuration()
        configuration.bind_address = options.address
        configuration.disable_auto_negotiation = True
        self.pc = rtc.PeerConnection(configuration)
        self.track: Any = None
        self.packets = 0
        self.kept: list[Any] = []
        self._record = options.job == "record"
        self.path = options.directory / f"{number}.{'ogg' if self._record else 'pcm'}"
        if self._record:
            self._container = av.open(str(self.path), "w", format="ogg")
            self._out = self._container.add_stream("libopus", rate=48_000)
            self._out.layout = "mono"
            self._first: int | None = None
        else:
            self._file = self.path.open("wb")
            self._decoder = av.CodecContext.create("libopus", "r")
            self._decoder.layout = "mono"
            self._resampler = av.AudioResampler("s16", "mono", 16_000)
        self.pc.on_track(self._met)

    def _met(self, track: Any) -> None:
        self.track = track
        self._session = rtc.RtcpReceivingSession()
        track.set_media_handler(self._session)

    def poll(self) -> None:
        if self.track is None:
            return
        while (message := self.track.receive()) is not None:
            packet = bytes(message)
            if len(packet) < 13 or 192 <= packet[1] <= 223:
                continue
            start = 12 + (4 + 4 * int.from_bytes(packet[14:16], "big") if packet[0] & 16 else 0)
            self.packets += 1
            self._take(int.from_bytes(packet[4:8], "big"), packet[start:])

    def _take(self, timestamp: int, payload: bytes) -> None:
        made = av.Packet(payload)
        made.time_base = Fraction(1, 48_000)
        if self._record:
            if self._first is None:
                self._first = timestamp
            made.pts = made.dts = (timestamp - self._first) & 0xFFFFFFFF
            made.duration = 960
            made.stream = self._out
            self._container.mux(made)
            return
        for frame in self._decoder.decode(made):
            for piece in self._resampler.resample(frame):
                self._file.write(bytes(piece.planes[0])[: piece.samples * 2])

    def close(self) -> None:
        self.poll()
        if self._record:
            self._container.close()
        else:
            self._file.close()


class Receiver:
    """See `bench.receiver.Receiver`."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._streams: list[Stream] = []

    async def start(self) -> None:
        self._polling = asyncio.create_task(self._poll())

    async def answer(self, number: int, offer: str) -> str:
        stream = Stream(self._options, number)
        self._streams.append(stream)
        stream.pc.set_remote_description(rtc.Description(offer, rtc.Description.Type.Offer))
        stream.pc.set_local_description(rtc.Description.Type.Answer)
        async with asyncio.timeout(10):
            while stream.pc.gathering_state() != rtc.PeerConnection.GatheringState.Complete:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return str(stream.pc.local_description())

    async def finish(self) -> dict[str, Any]:
        self._polling.cancel()
        for stream in self._streams:
            stream.close()
        files = [str(stream.path) for stream in self._streams]
        return {"received": [stream.packets for stream in self._streams], "files": files}

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL)
            for stream in self._streams:
                stream.poll()
