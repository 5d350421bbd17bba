"""A far end that answers as Phoenix does, and can send faster than any client reads."""

from __future__ import annotations

import asyncio
import json
import struct

from websockets.asyncio.server import ServerConnection, serve

from bench.process import tell

BATCH = 500
"""Messages written at once."""


def frame(text: str) -> bytes:
    """A text frame of a server (RFC 6455 section 5.2)."""
    body = text.encode()
    if len(body) < 126:
        return struct.pack("!BB", 0x81, len(body)) + body
    return struct.pack("!BBH", 0x81, 126, len(body)) + body


async def attend(socket: ServerConnection) -> None:
    """Say ok to everything; ``flood`` is answered with so many broadcasts, and then the reply."""
    async for data in socket:
        join_ref, ref, topic, event, payload = json.loads(data)
        if event == "signal" and isinstance(payload, dict) and "flood" in payload:
            await flood(socket, topic, int(payload["flood"]))
        body = {"status": "ok", "response": {}}
        await socket.send(json.dumps([join_ref, ref, topic, "phx_reply", body]))


async def flood(socket: ServerConnection, topic: str, count: int) -> None:
    """Broadcast as fast as the client takes it."""
    payload = {"call_id": "5f3c", "customer_name": "Carlos", "position": 3, "queue_size": 5}
    one = frame(json.dumps([None, None, topic, "customer_joined", payload]))
    for _ in range(count // BATCH):
        socket.transport.write(one * BATCH)  # type: ignore[attr-defined]
        transport: asyncio.WriteTransport = socket.transport  # type: ignore[assignment]
        while transport.get_write_buffer_size() > 1 << 18:  # noqa: ASYNC110 - nothing tells when it drains
            await asyncio.sleep(0.001)


async def main() -> None:
    """Serve until killed."""
    async with serve(attend, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        tell(port=next(iter(server.sockets)).getsockname()[1])
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main())
