"""Pipecat's SmallWebRTC transport: a pipeline for each stream, as its guide has it.

Recording is its AudioBufferProcessor, whose buffers are written to a file; it keeps 16 kHz PCM, no packets.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any

import aioice.ice
from loguru import logger
from pipecat.frames.frames import Frame, InputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.audio.audio_buffer_processor import AudioBufferProcessor
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_transport import TransportParams
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection
from pipecat.transports.smallwebrtc.transport import SmallWebRTCTransport

RATE = 16_000
SECOND = 2 * RATE


class ToFile(FrameProcessor):  # type: ignore[misc]
    """Code of somebody's own who wants 16 kHz."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("wb")

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            self._file.write(frame.audio)
        else:
            await self.push_frame(frame, direction)


class Receiver:
    """See `bench.receiver.Receiver`."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._files: list[str] = []
        self._connections: list[Any] = []
        self._buffers: list[Any] = []
        self._runs: list[asyncio.Task[None]] = []
        logger.remove()  # its debug lines would count too
        aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [options.address]

    async def start(self) -> None:
        """Nothing to get ready."""

    async def answer(self, number: int, offer: str) -> str:
        connection = SmallWebRTCConnection(ice_servers=[])
        await connection.initialize(sdp=offer, type="offer")
        parameters = TransportParams(
            audio_in_enabled=True, audio_in_sample_rate=RATE, audio_in_channels=1, audio_out_enabled=False
        )
        transport = SmallWebRTCTransport(webrtc_connection=connection, params=parameters)
        path = self._options.directory / f"{number}.pcm"
        self._files.append(str(path))
        if self._options.job == "record":
            end: Any = AudioBufferProcessor(sample_rate=RATE, num_channels=1, buffer_size=SECOND)
            file = path.open("wb")

            async def written(buffer: Any, audio: bytes, rate: int, channels: int) -> None:
                file.write(audio)
                file.flush()

            end.add_event_handler("on_audio_data", written)
            self._buffers.append(end)
        else:
            end = ToFile(path)
        task = PipelineTask(
            Pipeline([transport.input(), end]),
            params=PipelineParams(audio_in_sample_rate=RATE),
            cancel_on_idle_timeout=False,
        )
        self._runs.append(asyncio.create_task(PipelineRunner(handle_sigint=False).run(task)))
        if self._options.job == "record":
            await asyncio.sleep(0.1)
            await end.start_recording()
        self._connections.append(connection)
        answer: str = connection.get_answer()["sdp"]
        await connection.connect()
        return answer

    async def finish(self) -> dict[str, Any]:
        for buffer in self._buffers:
            await buffer.stop_recording()
        await asyncio.sleep(0.5)
        for connection in self._connections:
            await connection.disconnect()
        sizes = [Path(name).stat().st_size for name in self._files]  # noqa: ASYNC240  # measuring is over
        return {"received": [size // 640 for size in sizes], "files": self._files}
