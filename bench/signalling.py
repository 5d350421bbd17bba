"""What a message and an idle channel cost, our client beside npm's `phoenix` in one run.

``messages``: a server on loopback broadcasts as fast as each client takes it; messages per second and
microseconds of CPU for each. ``idle``: 1,000 joined channels on 20 sockets that say nothing but heartbeats;
CPU per second, as a share of one core. The two take turns, and the median of each is what counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.process import Child

HERE = Path(__file__).parent
NPM = HERE.parent / ".venv" / "node" / "bench-signalling"
PACKAGES = ("phoenix@1.8.16", "ws@8")
HEARTBEAT = 5.0  # of both, so that several fall into a measurement


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench signalling", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--messages", type=int, default=100_000, help="messages of one measurement")
    parser.add_argument("--channels", type=int, default=1000, help="idle channels")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long they idle")
    parser.add_argument("--rounds", type=int, default=3, help="how often each client is measured")
    given = parser.parse_args(arguments)
    clients = {"ours": [sys.executable, "-m", "bench.peers.phoenix_ours"]}
    skipped = {}
    if command := npm_client():
        clients["npm phoenix"] = command
    else:
        skipped["npm phoenix"] = "node or npm is missing, or npm's registry cannot be reached"
    result = asyncio.run(measure(clients, given)) | {"skipped": skipped}
    print(json.dumps(result, indent=None if given.json else 1) if given.json else table(result))
    return 0


def npm_client() -> list[str] | None:
    """The command of the npm client; None where it cannot be had."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    NPM.mkdir(parents=True, exist_ok=True)
    script = shutil.copy(HERE / "peers" / "phoenix_npm.mjs", NPM)
    if not all((NPM / "node_modules" / name.partition("@")[0]).is_dir() for name in PACKAGES):
        options = ["--prefix", str(NPM), "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"]
        command = [npm, "install", *options, "--fetch-retries=1", *PACKAGES]
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=90)
        except subprocess.TimeoutExpired:
            return None
        if done.returncode:
            return None
    return [node, script]


async def measure(clients: dict[str, list[str]], given: argparse.Namespace) -> dict[str, Any]:
    """Let the clients take turns against one server."""
    found: dict[str, dict[str, list[dict[str, float]]]] = {
        what: {name: [] for name in clients} for what in ("messages", "idle")
    }
    async with Child(sys.executable, "-m", "bench.peers.phoenix_server") as server:
        url = f"ws://127.0.0.1:{await server.hear('port')}/socket"
        counts = {"messages": given.messages, "idle": given.channels}
        for what, rows in found.items():
            for _ in range(given.rounds):
                for name, command in clients.items():
                    options = [url, what, str(counts[what]), str(given.seconds), str(HEARTBEAT)]
                    async with Child(*command, *options, quiet=False) as client:
                        rows[name].append(await client.hear("result", 120 + given.seconds))
    messages = {
        name: {
            "messages_per_second": round(given.messages / median(row["seconds"] for row in rows)),
            "cpu_us_per_message": round(1e6 * median(row["cpu"] for row in rows) / given.messages, 2),
        }
        for name, rows in found["messages"].items()
    }
    idle = {
        name: {
            "cpu_percent_per_1000_channels": round(
                1e5 * median(row["cpu"] / row["seconds"] for row in rows) / given.channels, 3
            ),
            "rss_mb": round(median(row["rss_kb"] for row in rows) / 1024, 1),
        }
        for name, rows in found["idle"].items()
    }
    return {
        "messages": messages,
        "idle": idle,
        "count": given.messages,
        "channels": given.channels,
        "seconds": given.seconds,
        "heartbeat": HEARTBEAT,
        "rounds": given.rounds,
        "ratios": ratios(messages, "cpu_us_per_message") | ratios(idle, "cpu_percent_per_1000_channels"),
    }


def ratios(rows: dict[str, dict[str, float]], key: str) -> dict[str, float]:
    """What ours costs, as a multiple of the other in the same run."""
    other = rows.get("npm phoenix", {}).get(key)
    return {key: round(rows["ours"][key] / other, 2)} if other else {}


def table(result: dict[str, Any]) -> str:
    """Lay it out as Markdown."""
    lines = [
        f"**{result['count']} messages; {result['channels']} idle channels for {result['seconds']:g} s**",
        "",
        "| client | messages/s | CPU µs a message | CPU % per 1,000 idle channels | peak RSS MB |",
        "|---|---|---|---|---|",
    ]
    for name, row in result["messages"].items():
        cells = [*row.values(), *result["idle"][name].values()]
        lines.append(f"| {name} | " + " | ".join(str(cell) for cell in cells) + " |")
    lines += ["", *(f"Ours costs {value:g} times npm's: {key}" for key, value in result["ratios"].items())]
    lines += [f"Skipped {name}: {why}" for name, why in result["skipped"].items()]
    return "\n".join(lines)
