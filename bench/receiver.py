"""A receiver, a process of its own: `python -m bench.receiver --peer NAME --job JOB --directory DIR`.

It says who is to be measured before it has imported anything of weight, and goes on when it is told.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import Any, Protocol

from bench.process import tell, told

LAG_PERIOD = 0.1


class Receiver(Protocol):
    """One peer at one job."""

    async def start(self) -> int | None:
        """Get ready; whoever is a server of its own gives its process, held back until `attached`."""

    async def answer(self, number: int, offer: str) -> str:
        """Answer the offer of a stream, and do the job for it from then on."""

    async def finish(self) -> dict[str, Any]:
        """End it all: packets received by stream (or None), files by stream, and remarks."""


class Lag:
    """How late the event loop is, looked at ten times a second."""

    def __init__(self) -> None:
        self.late: list[float] = []

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_PERIOD
            await asyncio.sleep(LAG_PERIOD)
            self.late.append(loop.time() - due)

    def summary(self) -> dict[str, float]:
        ordered = sorted(self.late) or [0.0]
        at = {"p50": len(ordered) // 2, "p99": len(ordered) * 99 // 100, "max": len(ordered) - 1}
        return {name: round(ordered[n] * 1000, 2) for name, n in at.items()}


async def run(receiver: Receiver) -> None:
    """Do what is asked until whoever started us hangs up."""
    server = await receiver.start()
    lag = Lag()
    watching = asyncio.create_task(lag.watch())
    tell(up=server or True)
    async for asked in told():
        try:
            if "offer" in asked:
                tell(answer=await receiver.answer(asked["stream"], asked["offer"]))
            elif "attached" in asked:
                await receiver.attached()  # type: ignore[attr-defined]  # servers alone have it
                tell(running=True)
            elif "window" in asked:
                lag.late.clear()
            elif "lag" in asked:
                tell(lag=lag.summary())
            elif "finish" in asked:
                tell(finished=await receiver.finish())
        except Exception as error:  # noqa: BLE001  # whatever a peer raises is its result
            traceback.print_exc()
            tell(failed=f"{type(error).__name__}: {error}"[:300])
    watching.cancel()
    os._exit(0)


def main() -> None:
    """Run one receiver."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", required=True)
    parser.add_argument("--job", required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--path", default=None)
    parser.add_argument("--lines", type=int, default=1)
    options = parser.parse_args()
    tell(ready=os.getpid())
    sys.stdin.readline()
    module = importlib.import_module(f"bench.peers.{options.peer}")
    asyncio.run(run(module.Receiver(options)))


if __name__ == "__main__":
    main()
