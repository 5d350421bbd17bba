"""A process that records is killed at any moment."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from voki_bots.archive.finish import finish
from voki_bots.archive.seal import verify
from voki_bots.media.containers import read_opus

_RECORD = """
import asyncio, random, sys
from datetime import UTC, datetime
from pathlib import Path
from tests.archive.test_hour import Recorded, stream
from voki_bots import Attribution, Call, Participant, Role, Track
from voki_bots.archive.folder import CallFolder
from voki_bots.calls import TrackStarted
from voki_bots_recorder.files import TrackFiles

async def main():
    clock = [0.0]
    folder = CallFolder.open(Path(sys.argv[1]), Call("acme", "c-1"), "minutes",
                             clock=lambda: clock[0], wall=lambda: datetime(2026, 3, 1, tzinfo=UTC))
    files = TrackFiles(Recorded(folder))
    tracks = [Track(0, str(number), number) for number in (1, 2)]
    for track in tracks:
        folder.record(TrackStarted(track, 0.0))
    arriving = [stream(track, 50.0, 3600.0, random.Random(track.ssrc)) for track in tracks]
    for count, both in enumerate(zip(*arriving), 1):
        clock[0] = count * 0.02
        for packet in both:
            files.write(packet)
        if count % 50 == 0:
            files.flush()
            print(count, flush=True)
            await asyncio.sleep(0)

asyncio.run(main())
"""


@pytest.mark.parametrize("seed", [1, 2, 3, *(pytest.param(n, marks=pytest.mark.soak) for n in range(4, 21))])
def test_nothing_beyond_a_second_is_lost_and_repair_seals(tmp_path: Path, seed: int) -> None:
    """Killed somewhere in the middle: all flushed packets are there, and the repaired folder verifies."""
    process = subprocess.Popen(
        [sys.executable, "-c", _RECORD, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    for _ in range(random.Random(seed).randrange(5, 120)):
        flushed = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    rest = process.stdout.read().split()
    process.stdout.close()
    process.wait()
    flushed = int(rest[-1]) if rest else flushed
    folder = tmp_path / "acme/c-1"
    sidecar = finish(folder)
    assert verify(folder) == [] and sidecar["sealed"] and sidecar["invariant"]["ok"]
    held = [len(read_opus(folder / track["file"])) for track in sidecar["tracks"]]
    assert len(held) == 2 and min(held) >= flushed
