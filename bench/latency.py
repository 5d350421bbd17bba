"""How long a packet is on its way through us: from the far end's send to our code, on each receive path.

`python -m bench latency --streams 10 --seconds 5 --json`

Both processes read the same monotonic clock. `delivered` is the event loop's side (reordering begins there),
`written` a plugin's sink in its own thread. What a path adds is told against the receiver path, at the
median; beside it stands how late the event loop was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from typing import Any

from bench.density import connect
from bench.process import Child

PATHS = ("tick", "hook", "receiver")
WARM_UP = 1.5
TICK_MS = 20.0


def main(arguments: list[str]) -> int:
    """Measure and print; 1 if the tick adds more than one tick beyond the loop's lag."""
    parser = argparse.ArgumentParser(prog="python -m bench latency", description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--paths", default=",".join(PATHS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    found = {p: asyncio.run(measure(p, options.streams, options.seconds)) for p in options.paths.split(",")}
    result: dict[str, Any] = {"streams": options.streams, "seconds": options.seconds, "paths": found}
    within = True
    if "tick" in found and "receiver" in found:
        tick, plain = found["tick"], found["receiver"]
        added = tick["delivered_ms"]["p99"] - plain["delivered_ms"]["p50"]
        allowed = TICK_MS + tick["loop_lag_ms"]["p99"]
        within = added <= allowed
        result |= {"added_ms": round(added, 2), "allowed_ms": round(allowed, 2), "within_one_tick": within}
    print(json.dumps(result) if options.json else _table(result))
    return 0 if within else 1


def _table(result: dict[str, Any]) -> str:
    lines = ["| path | to our loop, ms p50 / p99 | to a sink | loop lag p99 |", "|---|---|---|---|"]
    for path, row in result["paths"].items():
        loop, sink = row["delivered_ms"], row["written_ms"]
        cells = f"{loop['p50']} / {loop['p99']} | {sink['p50']} / {sink['p99']} | {row['loop_lag_ms']['p99']}"
        lines.append(f"| {path} | {cells} |")
    if "added_ms" in result:
        lines += ["", f"The tick adds {result['added_ms']} ms at p99; allowed {result['allowed_ms']} ms."]
    return "\n".join(lines)


async def measure(path: str, streams: int, seconds: float) -> dict[str, Any]:
    """Run one path."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        arguments = ["--peer", "ours", "--job", "latency", "--directory", directory, "--path", path]
        async with (
            Child(sys.executable, "-m", "bench.receiver", *arguments) as under,
            Child(sys.executable, "-m", "bench.generator", "--streams", str(streams)) as source,
        ):
            await under.hear("ready")
            under.say(go=True)
            await under.hear("up")
            await source.hear("ready")
            for n in range(streams):
                await connect(under, source, n)
            source.say(start=list(range(streams)))
            await source.hear("started")
            await asyncio.sleep(WARM_UP)
            under.say(window=True)
            await asyncio.sleep(seconds)
            under.say(lag=True)
            lag = await under.hear("lag")
            source.say(stop=True)
            await source.hear("stopped")
            source.say(times=True)
            sent = await source.hear("times")
            under.say(finish=True)
            finished = await under.hear("finished")
    first = int(WARM_UP * 50)
    delivered, written = [], []
    for stream, (came, wrote) in enumerate(finished["times"]):
        left = dict(map(tuple, sent[stream][first:]))
        delivered += [at - left[timestamp] for timestamp, at in came if timestamp in left]
        written += [at - left[timestamp] for timestamp, at in wrote if timestamp in left]
    return {
        "packets": len(delivered),
        "delivered_ms": _summary(delivered),
        "written_ms": _summary(written),
        "loop_lag_ms": lag,
        "remark": finished["remark"],
    }


def _summary(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    at = {"p50": len(ordered) // 2, "p99": len(ordered) * 99 // 100}
    return {name: round(ordered[n] * 1000, 2) for name, n in at.items()}
