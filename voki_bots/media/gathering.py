"""ICE servers and candidates of one connection, ours and the far end's, in aiortc's terms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import structlog
from aiortc import RTCIceServer, RTCPeerConnection
from aiortc.rtcicetransport import parse_stun_turn_uri
from aiortc.sdp import candidate_from_sdp, candidate_to_sdp

from voki_bots.errors import IceError
from voki_bots.media import quirks
from voki_bots.media.ice import Candidate, IceServer, usable_candidate
from voki_bots.media.quirks import FOREIGN, brief

_log = structlog.get_logger(__name__)

MAX_CANDIDATES = 256


def usable_servers(servers: Iterable[IceServer]) -> list[RTCIceServer]:
    """Give the servers that aiortc can use, without the urls that it cannot read."""
    found = [(server, [url for url in server.urls if _usable(url)]) for server in servers]
    return [RTCIceServer(urls, s.username, s.credential) for s, urls in found if urls]


class Candidates:
    """What both ends can be reached at.

    Args:
        pc: The connection.
        servers: What it was given.
        relay_only: TURN alone may be used.
        clock: Seconds of the event loop.
    """

    def __init__(
        self,
        pc: RTCPeerConnection,
        servers: Sequence[RTCIceServer],
        *,
        relay_only: bool,
        clock: Callable[[], float],
    ) -> None:
        self._pc = pc
        self._relay_only = relay_only
        self._clock = clock
        # Asked for once: gathering happens once.
        self._wanted = relay_only or any(url.startswith("turn") for s in servers for url in s.urls)
        self._early: list[str] | None = []

    def local(self) -> list[Candidate]:
        """Give ours, as in the description."""
        transceivers = self._pc.getTransceivers()
        if not transceivers:
            return []
        mid = transceivers[0].mid
        gatherer = transceivers[0].receiver.transport.transport.iceGatherer
        return [Candidate(f"candidate:{candidate_to_sdp(c)}", mid, 0) for c in gatherer.getLocalCandidates()]

    async def check_gathered(self, since: float, segment: int) -> None:
        """Say what aiortc keeps to itself: that a TURN server did not answer, or refused us.

        Args:
            since: When gathering began.
            segment: For the log.

        Raises:
            IceError: If TURN alone may be used.
        """
        kinds = {c.candidate.partition(" typ ")[2].partition(" ")[0] for c in self.local()}
        transceivers = self._pc.getTransceivers()
        wanted, self._wanted = self._wanted, self._relay_only
        if "relay" in kinds or not wanted or not transceivers:
            return
        why = await quirks.turn_trouble(transceivers[0].receiver.transport, self._clock() - since)
        if self._relay_only:
            state = str(self._pc.connectionState)
            raise IceError(f"only TURN may be used, and there is no address: {why}", state=state)
        _log.warning("turn_unavailable", segment=segment, why=why)

    async def add(self, text: str) -> None:
        """Take one of the far end's, at any time; what comes before its description waits for that."""
        if self._early is None:
            await self._add(text)
        elif len(self._early) < MAX_CANDIDATES:
            self._early.append(text)

    async def described(self, candidates: Iterable[str]) -> None:
        """Take those of a description that was applied, and those that waited for it."""
        early, self._early = self._early or [], None
        for text in [*candidates, *early][:MAX_CANDIDATES]:
            await self._add(text)

    async def _add(self, text: str) -> None:
        bare = usable_candidate(text)
        if bare is None:
            return
        try:
            candidate = candidate_from_sdp(bare)
            transport = self._pc.getTransceivers()[0].receiver.transport.transport
            await transport.addRemoteCandidate(candidate)
        except FOREIGN as error:
            _log.debug("candidate_skipped", why=brief(error))


def _usable(url: str) -> bool:
    """Say whether aiortc can read the url of a STUN or TURN server; it raises on others."""
    try:
        parse_stun_turn_uri(url)
    except ValueError:
        _log.warning("ice_server_skipped", scheme=url.partition(":")[0][:8])
        return False
    return True
