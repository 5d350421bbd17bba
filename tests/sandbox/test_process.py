"""The sandbox as a process of its own."""

import asyncio
import json
import signal
import sys


async def started(*arguments):
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "voki_bots.sandbox",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_ready_line_says_everything(world):
    """One line of JSON has what a client needs, and closing stdin ends the process cleanly."""
    process = await started("--json", "--stdin-guard")
    ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
    process.stdin.close()
    wanted = [
        "url",
        "socket_url",
        "tenant",
        "email",
        "password",
        "tokens",
        "call_id",
        "department_id",
        "control",
    ]
    assert (list(ready), await asyncio.wait_for(process.wait(), 10)) == (wanted, 0)


async def test_it_says_what_it_is_and_ends_on_sigterm():
    """The banner warns; SIGTERM is a clean end."""
    process = await started("--switch", "server_offers", "--no-call")
    banner = await asyncio.wait_for(process.stdout.readline(), 20)
    await asyncio.wait_for(process.stdout.readuntil(b"manager:"), 5)
    process.send_signal(signal.SIGTERM)
    _, errors = await asyncio.wait_for(process.communicate(), 10)
    assert (b"no production server" in banner, process.returncode, errors) == (True, 0, b"")


async def test_an_unknown_switch_is_one_sentence():
    """A mistake on the command line ends with status 2."""
    process = await started("--switch", "nope")
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, errors.count(b"\n")) == (2, 1)
