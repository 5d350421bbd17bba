"""Monitor: listen to a call of a running service from Python, and keep what was heard as a WAV file.

It sits down at the desk of the plugin `supervisor`, as the console's page does; the attendant is told by the
platform, or by a hint, as the plugin is configured. The token is the first line of standard input, so that
it is on no command line::

    python examples/monitor.py http://127.0.0.1:8080 acme 5f3c heard.wav < token
"""

import asyncio
import json
import sys
import wave
from urllib.parse import quote

from websockets.asyncio.client import connect


async def monitor(
    url: str, tenant: str, call: str, path: str, token: str, *, side: str = "all", seconds: float = 10.0
) -> None:
    """Write what is heard of a side of a call: mono, 16 kHz."""
    address = f"{url.replace('http', 'ws', 1)}/api/v1/calls/{quote(tenant, '')}/{quote(call, '')}/supervise"
    async with connect(address, additional_headers={"Authorization": f"Bearer {token}"}) as desk:
        await desk.send(json.dumps({"listen": side}))
        with wave.open(path, "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            async for said in desk:
                if isinstance(said, bytes):
                    file.writeframes(said)
                elif json.loads(said)["type"] in ("error", "end"):
                    raise SystemExit(said)
                if file.tell() >= seconds * 16_000:
                    return


if __name__ == "__main__":
    asyncio.run(monitor(*sys.argv[1:5], token=sys.stdin.readline().strip()))
