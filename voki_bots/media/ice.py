"""ICE servers and candidates as values and text. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server. Of all TURN urls given to a Peer, aiortc uses the first."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of our ICE candidates, as it goes to the far end; `candidate` begins with ``candidate:``."""

    candidate: str
    mid: str | None
    line: int | None


def usable_candidate(text: str) -> str | None:
    """Strip a candidate of its prefixes (RFC 8839 section 5.1); None if it is of no use to us.

    aioice speaks no TCP, and would look up a ``.local`` name by multicast.
    """
    bare = text.strip().removeprefix("a=").removeprefix("candidate:")
    words = bare.split()
    if len(words) < 8 or words[2].lower() != "udp" or words[4].lower().endswith(".local"):
        return None
    return bare
