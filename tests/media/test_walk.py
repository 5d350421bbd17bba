"""The whole walk of a packet: a real connection, the pipeline, a file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from voki_bots.calls import CallEvent, GapFound, TrackEnded
from voki_bots.media.containers import OggOpusWriter, read_opus
from voki_bots.media.frames import Packet
from voki_bots.media.peer import Peer, ReceivePath
from voki_bots.media.pipeline import Pipeline
from voki_bots.media.tap import Lane, Tap


class Files:
    """The smallest recorder: one file for each track."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.writers: dict[str, OggOpusWriter] = {}

    def write(self, packet: Packet) -> None:
        mid = packet.track.mid
        if mid not in self.writers:
            self.writers[mid] = OggOpusWriter(self.directory / f"{mid}.opus")
        self.writers[mid].write(packet.payload, round(packet.start * 48_000), packet.duration)

    def flush(self) -> None:
        for writer in self.writers.values():
            writer.flush()

    def close(self) -> None:
        for writer in self.writers.values():
            writer.close()


@pytest.mark.parametrize("path", list(ReceivePath))
async def test_two_voices_end_up_in_two_files_bit_for_bit(
    path: ReceivePath, far: Any, until: Any, tmp_path: Path
) -> None:
    """What each speaker sent is what each file holds, and with the gaps it makes up the call."""
    events: list[CallEvent] = []
    pipeline = Pipeline(clock=time.monotonic, zero=time.monotonic(), report=events.append)
    tap = Tap(Lane("recorder"), Files(tmp_path))
    pipeline.packets(tap, lambda track: True)
    speakers = [far.speak(1), far.speak(2)]
    on_packet, clock = (lambda p: pipeline.push(0, p)), time.monotonic
    async with Peer(0, loopback=True, on_packet=on_packet, clock=clock, path=path) as peer:
        await far.accept(await peer.answer(await far.offer()))
        await peer.connected(5)
        await until(lambda: min(len(s.sent) for s in speakers) >= 40)
    pipeline.close()
    tap.close()
    await tap.drain()
    await tap.lane.join()
    for mid, speaker in enumerate(speakers):
        written = [payload for _, payload in read_opus(tmp_path / f"{mid}.opus")]
        assert len(written) >= 38
        assert written == speaker.sent[: len(written)]
    for ended in [e for e in events if isinstance(e, TrackEnded)]:
        gaps = sum(e.end - e.start for e in events if isinstance(e, GapFound) and e.track == ended.track)
        assert abs(ended.audio + gaps - ended.at) < 1e-6
