"""fastrtc: a Stream with a handler that gets 16 kHz, as its guide has it; it stands on aiortc."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any, BinaryIO

import aioice.ice
from fastrtc import AsyncStreamHandler, Stream

RATE = 16_000


class ToFile(AsyncStreamHandler):  # type: ignore[misc]
    """Code of somebody's own who wants 16 kHz; there is one for each connection."""

    made: list[ToFile] = []  # noqa: RUF012 - they are copies that the library makes
    directory = Path()

    def __init__(self) -> None:
        super().__init__(input_sample_rate=RATE)
        self.samples = 0
        self._file: BinaryIO | None = None

    def copy(self) -> ToFile:
        made = ToFile()
        made.path = self.directory / f"{len(self.made)}.pcm"
        made._file = made.path.open("wb")
        self.made.append(made)
        return made

    async def start_up(self) -> None:
        """There is nothing to say."""

    async def receive(self, frame: tuple[int, Any]) -> None:
        _, samples = frame
        self.samples += samples.size
        assert self._file is not None
        self._file.write(samples.tobytes())

    async def emit(self) -> None:
        await asyncio.sleep(3600)

    async def shutdown(self) -> None:
        if self._file is not None:
            self._file.close()


class Receiver:
    """See `bench.receiver.Receiver`."""

    def __init__(self, options: argparse.Namespace) -> None:
        ToFile.directory = options.directory
        aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [options.address]

    async def start(self) -> None:
        self._stream = Stream(ToFile(), modality="audio", mode="send", concurrency_limit=10_000)

    async def answer(self, number: int, offer: str) -> str:
        asked = {"sdp": offer, "type": "offer", "webrtc_id": f"stream-{number}"}
        said = await self._stream.handle_offer(asked, set_outputs=lambda *_: None)
        # It waits for a data channel of the page, which a generator of audio does not open.
        ToFile.made[-1].channel_set.set()
        return str(said["sdp"])

    async def finish(self) -> dict[str, Any]:
        for handler in ToFile.made:
            await handler.shutdown()
        received = [handler.samples // 320 for handler in ToFile.made]
        return {"received": received, "files": [str(handler.path) for handler in ToFile.made]}
