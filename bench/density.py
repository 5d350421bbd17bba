"""What a stream costs: ours and others at the same job, with the same packets, in one run.

`python -m bench density --peers ours,aiortc --job record --streams 25 --seconds 8 --json`
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import check, report
from bench.counters import Counters, resident, threads
from bench.places import PEERS, place, unavailable
from bench.process import Child

JOBS = ("record", "pcm", "play")
WARM_UP = 3.0
FIRST_ALONE = 2.0


def main(arguments: list[str]) -> int:
    """Measure, print, and keep the results if asked."""
    options = _options(arguments)
    peers = options.peers.split(",")
    results = [asyncio.run(_runs(options, peers, job, n)) for job in options.job for n in options.streams]
    if options.keep:
        report.keep(results, Path(__file__).parent / "results")
    if options.json:
        print(json.dumps(results[0] if len(results) == 1 else {"runs": results}))
    else:
        print("\n\n".join(report.table(result) for result in results))
    return 0 if all(_sound(result) for result in results) else 1


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench density", description=__doc__)
    everybody = ",".join(PEERS)
    parser.add_argument(
        "--peers", default="ours,aiortc" if arguments else everybody, help=f"of {', '.join(PEERS)}"
    )
    parser.add_argument("--job", type=lambda text: text.split(","), default=["record", "pcm"])
    parser.add_argument("--streams", type=lambda text: [int(n) for n in text.split(",")], default=[25])
    parser.add_argument("--lines", type=int, default=1, help="streams of each connection: 2 for two parties")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of the measured window")
    parser.add_argument("--repeat", type=int, default=1, help="interleaved runs; the median counts")
    parser.add_argument("--path", default=None, help="receive path of ours: tick, hook or receiver")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--keep", action="store_true", default=not arguments, help="write table and plot to bench/results"
    )
    parser.add_argument("--loud", action="store_true", help="show what the processes write to stderr")
    options = parser.parse_args(arguments)
    if unknown := [job for job in options.job if job not in JOBS]:
        parser.error(f"unknown job {unknown[0]}; choose of {', '.join(JOBS)}")
    return options


def _sound(result: dict[str, Any]) -> bool:
    ours = result["peers"].get("ours")
    return ours is None or bool(ours["content_ok"])


async def _runs(options: argparse.Namespace, peers: list[str], job: str, streams: int) -> dict[str, Any]:
    """Run every peer, interleaved; give the issue's JSON object."""
    measured: dict[str, list[dict[str, Any]]] = {}
    skipped: dict[str, str] = {}
    for _ in range(options.repeat):
        for peer in peers:
            if peer in skipped:
                continue
            if why := unavailable(peer, job, options.lines):
                skipped[peer] = why
                continue
            try:
                measured.setdefault(peer, []).append(await measure(options, peer, job, streams))
            except (RuntimeError, TimeoutError, OSError) as error:
                skipped[peer] = f"{type(error).__name__}: {error}"[:200]
    found = {peer: _median(rows) for peer, rows in measured.items() if rows}
    return {
        "job": job,
        "streams": streams,
        "seconds": options.seconds,
        "repeat": options.repeat,
        "peers": found,
        "ratios": ratios(found),
        "skipped": skipped,
    }


def ratios(found: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Ours divided by each other: of instructions where both have them, else of CPU time."""
    ours, made = found.get("ours"), {}
    for peer, row in found.items():
        if ours is None or peer == "ours":
            continue
        key = "minstr_per_stream_second"
        if ours[key] is None or row[key] is None:
            key = "cpu_ms_per_stream_second"
        made[peer] = round(ours[key] / row[key], 4)
    return made


def _median(rows: list[dict[str, Any]]) -> dict[str, Any]:
    first = dict(rows[0])
    for key, value in first.items():
        if isinstance(value, float) and all(row[key] is not None for row in rows):
            first[key] = round(statistics.median(row[key] for row in rows), 3)
    first["content_ok"] = all(row["content_ok"] for row in rows)
    return first


async def measure(options: argparse.Namespace, peer: str, job: str, streams: int) -> dict[str, Any]:
    """Run one peer once."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, place(PEERS[peer]) as (prefix, address):
        receiver = [*prefix, PEERS[peer].python, "-m", "bench.receiver", "--peer", peer, "--job", job]
        receiver += ["--directory", directory, *(["--path", options.path] if options.path else [])]
        direction = "recvonly" if job == "play" else "sendonly"
        generator = [*prefix, sys.executable, "-m", "bench.generator", "--streams", str(streams)]
        generator += ["--direction", direction, "--address", address, "--lines", str(options.lines)]
        receiver += ["--lines", str(options.lines)]
        async with (
            Child(*receiver, "--address", address, quiet=not options.loud) as under,
            Child(*generator, quiet=not options.loud) as source,
        ):
            return await _measure(options, under, source, job, streams, bent=PEERS[peer].bends)


async def _measure(
    options: argparse.Namespace, under: Child, source: Child, job: str, streams: int, *, bent: bool
) -> dict[str, Any]:
    pid = await under.hear("ready")
    counters = Counters(pid)
    under.say(go=True)
    up = await under.hear("up")
    if up is not True:
        counters.close()
        pid, counters = up, Counters(up)
        under.say(attached=True)
        await under.hear("running")
    await source.hear("ready")
    await connect(under, source, 0)
    source.say(start=[0])
    await source.hear("started")
    await asyncio.sleep(min(FIRST_ALONE, options.seconds))
    alone = resident(pid)
    connections = -(-streams // options.lines)
    for n in range(1, connections):
        await connect(under, source, n)
    source.say(start=list(range(connections)))
    await source.hear("started")
    await asyncio.sleep(min(WARM_UP, options.seconds))
    under.say(window=True)
    before = counters.read()
    await asyncio.sleep(options.seconds)
    after = counters.read()
    memory, count = resident(pid), threads(pid)
    under.say(lag=True)
    lag = await under.hear("lag")
    if job == "play":
        under.say(finish=True)
        finished = await under.hear("finished", 120)
        await asyncio.sleep(0.5)
        source.say(stop=True)
        stopped = await source.hear("stopped")
        sent, received = finished["sent"], stopped["heard"]
        ok, remark = check.played_ok(stopped["kept"])
    else:
        source.say(stop=True)
        sent = (await source.hear("stopped"))["sent"]
        await asyncio.sleep(0.5)
        under.say(finish=True)
        finished = await under.hear("finished", 120)
        received = [n for n in finished["received"] if n is not None]
        ok, remark = check.content_ok(sent, finished["files"], bent=bent)
    counters.close()
    share = delivered(sent, received, finished.get("files", ()) if job != "play" else ())
    work = streams * options.seconds * share
    instructions = None
    if before.instructions is not None and after.instructions is not None:
        instructions = round((after.instructions - before.instructions) / work / 1e6, 3)
    return {
        "cpu_ms_per_stream_second": round((after.cpu - before.cpu) / work * 1000, 4),
        "minstr_per_stream_second": instructions,
        "rss_kb_per_stream": more_each(memory - alone, streams - options.lines),
        "rss_kb": memory,
        "threads": count,
        "loop_lag_ms": lag if up is True else None,
        "stream_seconds_delivered": round(work, 2),
        "packets_expected": sum(sent),
        "packets_received": sum(received) if len(received) == len(sent) else None,
        "content_ok": ok,
        "remark": "; ".join(filter(None, [remark, finished.get("remark")])),
    }


def delivered(sent: list[int], received: list[int], files: list[str]) -> float:
    """The share of what was sent that arrived: of packets, or of seconds in files where none are counted.

    Who drops half of what it gets must not look as if it did the work at half the cost.

    Raises:
        RuntimeError: If nothing arrived.
    """
    whole = sum(sent)
    if len(received) == len(sent):
        came: float = sum(received)
    else:
        came = sum(len(check.made(Path(file))) for file in files) / check.RATE * 50
    if not came or not whole:
        raise RuntimeError("nothing of what was sent arrived")
    return min(1.0, came / whole)


def more_each(kilobytes: int, streams: int) -> float | None:
    """Memory of each stream beyond the first connection's; None if there was only that."""
    return round(kilobytes / streams, 1) if streams > 0 else None


async def connect(under: Child, source: Child, n: int) -> None:
    """Let a receiver answer the generator's offer of a stream, and wait until packets can flow."""
    source.say(offer=n)
    offer = await source.hear("offer")
    under.say(stream=n, offer=offer)
    answer = await under.hear("answer")
    source.say(stream=n, answer=answer)
    await source.hear("connected")
