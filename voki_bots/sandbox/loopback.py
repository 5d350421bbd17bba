"""Gathering of host candidates on chosen addresses.

aioice leaves 127.0.0.1 out by itself. The cure is put on each connection, never on the library: the
sandbox must not cure whatever else runs in its process.
"""

from __future__ import annotations

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
    """Let `pc` gather host candidates on `addresses` only. Call it before each local description."""
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
