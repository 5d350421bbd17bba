"""How fast calls are finished, and what live calls notice of it: two voices, everything made."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.speech import TICKS, packet
from voki_bots.archive.folder import CallFolder
from voki_bots.archive.options import FORMATS, FinishOptions
from voki_bots.archive.pool import FinishPool
from voki_bots.calls import (
    Attribution,
    Call,
    CallLeft,
    Participant,
    Role,
    Track,
    TrackAttributed,
    TrackEnded,
    TrackStarted,
)
from voki_bots.media.containers import OggOpusWriter

LOOK = 0.005
"""Seconds between two looks at the event loop."""


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench finish", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seconds", type=float, default=300.0, help="how long a call is")
    parser.add_argument("--calls", type=int, default=10, help="calls finished while the loop is watched")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as root:
        result = asyncio.run(measure(Path(root), given.seconds, given.calls))
    print(json.dumps(result) if given.json else table(result))
    return 0


async def measure(root: Path, seconds: float, calls: int) -> dict[str, Any]:
    """Finish one call in each format, then several at once while the loop is watched."""
    pool, formats = FinishPool(), {}
    for format_ in FORMATS:
        folder = await asyncio.to_thread(make_call, root, f"one-{format_}", seconds)
        began, spent = time.monotonic(), _children()
        await pool.finish(folder, FinishOptions(format=format_))
        formats[format_] = {
            "times_real_time": round(seconds / (time.monotonic() - began), 1),
            "times_real_time_per_cpu": round(seconds / (_children() - spent), 1),
        }
    folders = [await asyncio.to_thread(make_call, root, f"many-{n}", seconds) for n in range(calls)]
    late: list[float] = []
    watching = asyncio.create_task(watch(late))
    began = time.monotonic()
    await asyncio.gather(*(pool.finish(folder) for folder in folders))
    took = time.monotonic() - began
    watching.cancel()
    await asyncio.wait([watching])
    return {
        "seconds": seconds,
        "formats": formats,
        "calls": calls,
        "at_once": pool.size,
        "calls_times_real_time": round(calls * seconds / took, 1),
        "loop_lag_p99_ms": round(sorted(late)[len(late) * 99 // 100] * 1000, 2),
    }


def make_call(root: Path, name: str, seconds: float) -> Path:
    """Write the folder of a call of an attendant and a customer who speak all the time."""
    folder = CallFolder.open(
        root, Call("bench", name), "bench", clock=lambda: seconds, wall=lambda: datetime.now(UTC)
    )
    (folder.directory / "tracks").mkdir(mode=0o700)
    count = round(seconds * 50)
    for number, role in enumerate((Role.ATTENDANT, Role.CUSTOMER), 1):
        track, path = Track(0, str(number), number), f"tracks/{role}-1.0.opus"
        folder.record(TrackStarted(track, 0.0))
        folder.record(TrackAttributed(track, Attribution(Participant(str(role), "", role), 1.0, "msid")))
        folder.record("track_file", track=str(track), path=path, codec="opus", start=0.0)
        writer = OggOpusWriter(folder.directory / path)
        for index in range(count):
            writer.write(packet(number, index), index * TICKS, TICKS)
        writer.close()
        folder.record(TrackEnded(track, count / 50, count / 50))
    folder.record(CallLeft("over"))
    folder.seal()
    return folder.directory


def table(result: dict[str, Any]) -> str:
    """Lay a run out as a Markdown table."""
    lines = [
        f"**Finishing a call of two voices, {result['seconds']:g} s**: stereo, mix, participants, picture",
        "",
        "| format | times real time | for each CPU second |",
        "|---|---|---|",
    ]
    for name, row in result["formats"].items():
        lines.append(f"| {name} | {row['times_real_time']:g} | {row['times_real_time_per_cpu']:g} |")
    many = f"{result['calls']} calls, {result['at_once']} at once"
    speed = f"{result['calls_times_real_time']:g} times real time"
    return "\n".join([*lines, "", f"{many}: {speed}, loop lag p99 {result['loop_lag_p99_ms']:g} ms"])


async def watch(late: list[float]) -> None:
    """Note by how many seconds the event loop is late, again and again, until it is cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LOOK
        await asyncio.sleep(LOOK)
        late.append(loop.time() - due)


def _children() -> float:
    """CPU seconds of processes that have ended."""
    spent = os.times()
    return spent.children_user + spent.children_system
