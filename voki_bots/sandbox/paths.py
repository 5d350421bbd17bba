"""What the sandbox does to the ICE connections of its own peers.

Every change is made to one connection, never to the library: the sandbox must not cure, or break, whatever
else runs in its process.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any


def connections(pc: Any) -> list[Any]:
    """Return the ICE connections behind an RTCPeerConnection, each once."""
    found: dict[int, Any] = {}
    for transceiver in pc.getTransceivers():
        connection = transceiver.receiver.transport.transport._connection
        found[id(connection)] = connection
    return list(found.values())


def gather_on(pc: Any, addresses: Sequence[str]) -> None:
    """Let `pc` gather host candidates on `addresses` only, which may be loopback.

    Call it before each local description.
    """
    for connection in connections(pc):
        if "get_component_candidates" in vars(connection):
            continue
        original = connection.get_component_candidates

        async def gather(
            component: int,
            addresses: Sequence[str] = (),
            timeout: int = 5,
            *,
            original: Any = original,
            chosen: Sequence[str] = tuple(addresses),
        ) -> Any:
            return await original(component=component, addresses=list(chosen), timeout=timeout)

        connection.get_component_candidates = gather


def fall_silent(pc: Any, *, close: bool) -> None:
    """End this end of every path without a word: no STUN answers, no packets, no close_notify.

    Args:
        pc: The RTCPeerConnection.
        close: Close the sockets too, so that the far end's packets meet a closed port.
    """

    def ignore(*_: Any) -> None: ...

    async def nowhere(*_: Any) -> None: ...

    for transceiver in pc.getTransceivers():
        path: Any = transceiver.receiver.transport.transport
        path._send = nowhere
    for connection in connections(pc):
        connection.request_received = ignore
        connection.data_received = ignore
        if (consent := connection._query_consent_task) is not None:
            consent.cancel()
        for protocol in connection._protocols if close else ():
            protocol.transport.abort()


async def close_connection(pc: Any) -> None:
    """Close `pc`. A caller that is cancelled meanwhile stays until it is done.

    A close that is cancelled never finishes, nor does any later one.
    """
    closing = asyncio.ensure_future(_close(pc))
    try:
        await asyncio.shield(closing)
    except asyncio.CancelledError:
        await asyncio.wait({closing})
        raise


async def _close(pc: Any) -> None:
    # One that is still being made leaves tasks behind that wait for packets or consent for ever.
    owners = {id(pc), *(id(connection) for connection in connections(pc))}
    closing = asyncio.ensure_future(pc.close())
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(closing), 5)
    left = [t for t in asyncio.all_tasks() if t is not closing and id(_owner(t)) in owners]
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=1)
    for (
        transceiver
    ) in pc.getTransceivers():  # one may have been started behind the close; stopping twice is safe
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(transceiver.receiver.stop(), 1)


def _owner(task: asyncio.Task[Any]) -> object:
    """Return the object whose method a task runs, or None."""
    frame = getattr(task.get_coro(), "cr_frame", None)
    return frame.f_locals.get("self") if frame is not None else None
