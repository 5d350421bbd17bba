"""voki-bots: Peer, Pipeline and Tap, as a session uses them; one call for each connection."""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any, BinaryIO

from bench import check
from voki_bots.media.containers import OggOpusWriter
from voki_bots.media.frames import AudioFrame, Packet
from voki_bots.media.peer import Peer
from voki_bots.media.pipeline import Pipeline
from voki_bots.media.prompts import Mixer, Prompt
from voki_bots.media.rtp import Received
from voki_bots.media.tap import Tap

REQUIRES = "voki_bots"
TICK = 0.05


class Ogg:
    """The recorder's sink without its names."""

    pace = 0.1

    def __init__(self, path: Any) -> None:
        self.packets = 0
        self._path = path
        self._writer: OggOpusWriter | None = None

    def write(self, packet: Packet) -> None:
        if self._writer is None:
            self._writer = OggOpusWriter(self._path)
        self.packets += 1
        self._writer.write(packet.payload, round(packet.start * 48_000), packet.duration)

    def flush(self) -> None:
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class Pcm:
    """Code of somebody's own who wants 16 kHz."""

    def __init__(self, path: Any) -> None:
        self.samples = 0
        self._file: BinaryIO = path.open("wb")

    @property
    def packets(self) -> int:
        return self.samples // 320

    def write(self, frame: AudioFrame) -> None:
        self.samples += len(frame.samples)
        self._file.write(frame.samples.tobytes())

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class Times:
    """Notes when each packet reached a plugin's code."""

    packets = 0

    def __init__(self) -> None:
        self.delivered: list[tuple[int, float]] = []
        self.written: list[tuple[int, float]] = []

    def deliver(self, received: Received) -> None:
        self.delivered.append((received.timestamp, time.monotonic()))

    def write(self, packet: Packet) -> None:
        self.written.append((packet.timestamp & 0xFFFFFFFF, time.monotonic()))

    def flush(self) -> None:
        """Nothing is kept back."""

    def close(self) -> None:
        """Nothing is open."""


class Receiver:
    """See `bench.receiver.Receiver`."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._peers: list[Peer] = []
        self._voices: list[tuple[Mixer, asyncio.Task[None]]] = []
        self._pipelines: list[Pipeline] = []
        self._calls: list[tuple[Tap, Ogg | Pcm | Times, Any]] = []

    async def start(self) -> None:
        if self._options.job == "play":
            self._prompt = Prompt.from_pcm(check.prompt())
            _ = self._prompt.packets
        self._ticking = asyncio.create_task(self._tick())

    async def answer(self, number: int, offer: str) -> str:
        pipeline = Pipeline(clock=time.monotonic, zero=time.monotonic(), report=lambda event: None)
        self._pipelines.append(pipeline)
        job = self._options.job
        mids: list[str] = []
        sink: Ogg | Pcm | Times
        for line in range(self._options.lines):
            path = self._options.directory / f"{number}-{line}.{'opus' if job == 'record' else 'pcm'}"
            sink = Times() if job == "latency" else Ogg(path) if job == "record" else Pcm(path)
            tap = Tap("bench", sink)
            if job == "pcm":
                pipeline.listen(tap, lambda track, line=line: track.mid == mids[line], 16_000)
            else:
                pipeline.packets(tap, lambda track, line=line: track.mid == mids[line])
            self._calls.append((tap, sink, path))
        more: dict[str, Any] = {"path": self._options.path} if self._options.path else {}

        def on_packet(received: Received) -> None:
            pipeline.push(0, received)

        def on_packet_noted(received: Received) -> None:
            if isinstance(sink, Times):
                sink.deliver(received)
            pipeline.push(0, received)

        take = on_packet_noted if job == "latency" else on_packet
        if job == "play":
            more["voice"] = mixer = Mixer(time.monotonic)
            self._voices.append((mixer, asyncio.create_task(self._speak(mixer))))
        peer = Peer(0, loopback=True, on_packet=take, clock=time.monotonic, **more)
        self._peers.append(await peer.__aenter__())
        answer = await peer.answer(offer)
        mids += [each.mid for each in peer.lines]
        return answer

    async def _speak(self, mixer: Mixer) -> None:
        while True:
            await mixer.say(self._prompt)

    async def finish(self) -> dict[str, Any]:
        path = self._peers[0].path
        for pipeline in self._pipelines:
            pipeline.close()
        for tap, _, _ in self._calls:
            tap.close()
        for tap, _, _ in self._calls:
            await tap.drain()
        for _, speaking in self._voices:
            speaking.cancel()
        received = [sink.packets for _, sink, _ in self._calls]
        files = [str(path) for *_, path in self._calls]
        times = [(s.delivered, s.written) for _, s, _ in self._calls if isinstance(s, Times)]
        made = {"received": received, "files": files, "remark": f"path {path}", "times": times}
        return made | {"sent": [mixer.sent for mixer, _ in self._voices]}

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            for pipeline in self._pipelines:
                pipeline.tick()
