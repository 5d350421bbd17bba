"""Our client: floods of messages, or many idle channels. Arguments as those of ``phoenix_npm.mjs``."""

from __future__ import annotations

import asyncio
import logging
import resource
import sys
import time
from random import Random

import structlog

from bench.process import tell
from voki_bots.signalling.pool import SocketPool
from voki_bots.signalling.socket import Received, Socket


async def token(fresh: bool) -> str:
    return "t"


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def messages(sockets: SocketPool, count: int) -> None:
    """Receive so many; the first thousand warm up."""
    channel = sockets.channel("call:1")
    await channel.join()
    for number in (1000, count):
        began, spent, left = time.perf_counter(), cpu(), number
        channel.send("signal", {"flood": number})
        async for event in channel:
            left -= isinstance(event, Received)
            if not left:
                break
    tell(result={"seconds": time.perf_counter() - began, "cpu": cpu() - spent})


async def idle(sockets: SocketPool, count: int, seconds: float) -> None:
    """Hold so many channels, and do nothing."""
    channels = [sockets.channel(f"call:{number}") for number in range(count)]
    await asyncio.gather(*(channel.join() for channel in channels))
    spent = cpu()
    await asyncio.sleep(seconds)
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tell(result={"cpu": cpu() - spent, "seconds": seconds, "rss_kb": rss})


async def main(url: str, what: str, count: int, seconds: float, heartbeat: float) -> None:
    """Do what was asked for."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    rng = Random(1)
    make = lambda: Socket(url, token, random=rng, heartbeat=heartbeat, timeout=30.0)  # noqa: E731
    async with SocketPool(make) as sockets:
        await sockets.connected()
        await (messages(sockets, count) if what == "messages" else idle(sockets, count, seconds))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5])))
