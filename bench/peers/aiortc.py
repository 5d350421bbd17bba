"""Plain aiortc, as one writes it in an afternoon."""

from __future__ import annotations

import argparse
import asyncio
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import aioice.ice
import av
from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.contrib.media import MediaRecorder
from aiortc.mediastreams import MediaStreamError

REQUIRES = "aiortc"


class Speaker(MediaStreamTrack):
    """Plays samples at 48 kHz over and over, paced as aiortc's own tracks are."""

    kind = "audio"

    def __init__(self, samples: Any) -> None:
        super().__init__()
        self.sent = 0
        self._samples = samples
        self._start = 0.0

    async def recv(self) -> Any:
        if not self.sent:
            self._start = time.monotonic()
        await asyncio.sleep(self._start + self.sent * 0.02 - time.monotonic())
        at = self.sent * 960 % (len(self._samples) - 960)
        frame = av.AudioFrame.from_ndarray(self._samples[None, at : at + 960], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, self.sent * 960, Fraction(1, 48_000)
        self.sent += 1
        return frame


class Receiver:
    """See `bench.receiver.Receiver`."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._connections: list[RTCPeerConnection] = []
        self._recorders: list[MediaRecorder] = []
        self._tasks: list[asyncio.Task[int]] = []
        self._files: list[str] = []
        self._speakers: list[Speaker] = []
        aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [options.address]

    async def start(self) -> None:
        if self._options.job == "play":
            from bench import check

            self._samples = check.prompt()

    async def answer(self, number: int, offer: str) -> str:
        pc = RTCPeerConnection(RTCConfiguration([], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self._connections.append(pc)
        await pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        for line, receiver in enumerate(pc.getReceivers()):
            name = str(self._options.directory / f"{number}-{line}")
            if self._options.job == "record":
                self._files.append(f"{name}.ogg")
                recorder = MediaRecorder(self._files[-1])
                recorder.addTrack(receiver.track)
                await recorder.start()
                self._recorders.append(recorder)
            elif self._options.job == "pcm":
                self._files.append(f"{name}.pcm")
                self._tasks.append(asyncio.create_task(_pcm(receiver.track, self._files[-1])))
        if self._options.job == "play":
            self._speakers.append(Speaker(self._samples))
            pc.addTrack(self._speakers[-1])
        await pc.setLocalDescription(await pc.createAnswer())
        return str(pc.localDescription.sdp)

    async def finish(self) -> dict[str, Any]:
        received: list[int | None] = []
        for recorder in self._recorders:
            await recorder.stop()
            received.append(None)
        for pc in self._connections:
            await pc.close()
        received += await asyncio.gather(*self._tasks)
        sent = [speaker.sent for speaker in self._speakers]
        return {"received": received, "files": self._files, "sent": sent}


async def _pcm(track: Any, path: str) -> int:
    resampler, frames = av.AudioResampler("s16", "mono", 16_000), 0
    with Path(path).open("wb") as file:  # noqa: ASYNC230  # what one writes in an afternoon
        try:
            while True:
                frame = await track.recv()
                frames += 1
                for made in resampler.resample(frame):
                    file.write(made.to_ndarray().tobytes())
        except MediaStreamError:
            return frames
