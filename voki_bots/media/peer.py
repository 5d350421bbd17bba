"""Our end of the WebRTC connection: one RTCPeerConnection as a context manager.

It speaks text: session descriptions and candidates in and out. It never restarts ICE, for aiortc cannot;
whoever needs that makes a new Peer.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from fractions import Fraction
from types import TracebackType
from typing import Any, Self

import av
import structlog
from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcconfiguration import RTCIceTransportPolicy

from voki_bots.errors import IceError, NegotiationError
from voki_bots.media import quirks, sdp
from voki_bots.media.datagrams import Entrance, ReceivePath
from voki_bots.media.gathering import Candidates, usable_servers
from voki_bots.media.ice import Candidate, IceServer
from voki_bots.media.prompts import Silence
from voki_bots.media.quirks import FOREIGN, brief
from voki_bots.media.receive import Intake, Received, SenderReport, TrackStatistics
from voki_bots.media.sdp import Line
from voki_bots.media.sending import Outlet, Source
from voki_bots.units import SAMPLE_RATE

__all__ = ["Candidate", "IceServer", "Line", "Peer", "ReceivePath", "Received"]

_log = structlog.get_logger(__name__)

CLOSE_SECONDS = 5.0

_lingering: set[asyncio.Task[None]] = set()


class Peer:
    """One connection to the SFU. Use it as an async context manager; it is used once.

    Args:
        segment: Which life of the session's media this is.
        ice_servers: All that may be used; none means host candidates alone.
        loopback: Gather 127.0.0.1 too; for a platform on this machine.
        relay_only: Use TURN alone.
        video: Receive video as well.
        sending: Have a sender that sends paced silence; without it the far end is only ever offered
            `recvonly` and `inactive`.
        voice: Have a sender that sends what this gives, such as a `Mixer`, and nothing else.
        on_packet: Takes every packet of every remote track, on the event loop.
        on_sent: Takes every packet that our own sender sends.
        on_report: Takes every sender report.
        on_fallback: Told once that the ``receive_path`` or the ``send_path`` is not as it should be;
            what is relayed goes another way, which is no fault.
        clock: Seconds of the event loop.
        patience: Seconds without a sign of life after which the connection counts as lost.
        jitter: Gives random numbers from 0 to 1, which spread the consent checks.
        path: The best receive path that may be used; what does not fit is fallen back from. `RECEIVER` means
            aiortc's own ways alone, also for what is sent.

    Attributes:
        segment: As above.
        relayed: Whether it connected through a TURN server; it stays true when the connection is lost.
    """

    def __init__(
        self,
        segment: int,
        *,
        ice_servers: Sequence[IceServer] = (),
        loopback: bool = False,
        relay_only: bool = False,
        video: bool = False,
        sending: bool = False,
        voice: Source | None = None,
        on_packet: Callable[[Received], None],
        on_sent: Callable[[Received], None] | None = None,
        on_report: Callable[[SenderReport], None] | None = None,
        on_fallback: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float],
        patience: float = 3.0,
        jitter: Callable[[], float] = random.random,
        path: ReceivePath | str = ReceivePath.TICK,
    ) -> None:
        self.segment = segment
        self._servers = tuple(ice_servers)
        self._loopback = loopback and not relay_only
        self._relay_only = relay_only
        self._video = video
        self._sending = sending or voice is not None
        self._voice = voice
        self._on_sent = on_sent
        self._on_fallback = on_fallback
        self._clock = clock
        self._patience = patience
        self._jitter = jitter
        self._intake = Intake(on_packet, clock, on_report)
        self._wanted = ReceivePath(path)
        self._entrances: list[Entrance] = []
        self._cured: set[int] = set()
        self._rolled_back: list[Any] = []
        self._offered: sdp.Description | None = None
        self._remote: sdp.Description | None = None
        self._ufrag: str | None = None
        self._cause = ""
        self.relayed = False
        self._closing: asyncio.Task[None] | None = None
        self._steps: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Make the connection; nothing is sent yet."""
        policy = RTCIceTransportPolicy.RELAY if self._relay_only else RTCIceTransportPolicy.ALL
        servers = usable_servers(self._servers)
        self._pc = RTCPeerConnection(
            RTCConfiguration(servers, iceTransportPolicy=policy, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self._candidates = Candidates(self._pc, servers, relay_only=self._relay_only, clock=self._clock)
        quirks.accept_rsa(self._pc)
        self._connecting = quirks.keep_connecting_tasks(self._pc, self._broken)
        loop = asyncio.get_running_loop()
        self._up: asyncio.Future[None] = loop.create_future()
        self._lost: asyncio.Future[str] = loop.create_future()
        self._pc.on("connectionstatechange", self._changed)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection, within `CLOSE_SECONDS`; closing twice is fine.

        aiortc's close never finishes once it is cancelled, so it runs in a task of its own that nobody
        cancels, and a cancellation of ours waits until it is done.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._shut(), name=f"peer-{self.segment}-close")
        deadline = self._clock() + CLOSE_SECONDS
        cancelled: asyncio.CancelledError | None = None
        while not self._closing.done() and (left := deadline - self._clock()) > 0:
            try:
                await asyncio.wait({self._closing}, timeout=left)
            except asyncio.CancelledError as error:
                cancelled = error
        if not self._closing.done():
            # Behind a dead TURN server the deletion of the allocation is repeated for a minute.
            _log.warning("peer_close_slow", segment=self.segment)
            _lingering.add(self._closing)
            self._closing.add_done_callback(_lingering.discard)
        if cancelled is not None:
            raise cancelled

    async def offer(self, audio_lines: int = 1, video_lines: int = 0, *, spare: int = 0) -> str:
        """Make an offer: complete, with our candidates inside, and saying that we trickle.

        Args:
            audio_lines: Lines of audio that there shall be at least.
            video_lines: Lines of video that there shall be at least; one, if video is to be received.
            spare: Lines of audio to receive on, beside those that there are.

        Raises:
            NegotiationError: If the connection is in no state to offer.
            IceError: If only TURN may be used and no TURN server gave us an address.
        """
        since = self._clock()
        try:
            have = [t.kind for t in self._pc.getTransceivers()]
            for kind, count in (("audio", audio_lines), ("video", max(video_lines, self._video))):
                for n in range(have.count(kind), count):
                    self._add_line(kind, sending=self._sending and kind == "audio" and n == 0)
            for _ in range(spare):
                self._add_line("audio", sending=False)
            self._cure()
            await self._whole(self._pc.setLocalDescription(await quirks.make_offer(self._pc)))
        except FOREIGN as error:
            raise NegotiationError(f"no offer can be made: {brief(error)}", step="offer") from error
        await self._candidates.check_gathered(since, self.segment)
        text = self._pc.localDescription.sdp
        self._offered = sdp.parse(text, "offer")
        return sdp.presentable(text, events=sdp.event_types(self._remote))

    async def answer(self, text: str) -> str:
        """Take the far end's offer, first or new, and give our answer to it.

        Raises:
            NegotiationError: With the step that failed. The Peer is of no use afterwards unless it was
                connected before; make a new one.
            IceError: If only TURN may be used and no TURN server gave us an address.
        """
        offer = sdp.parse(text, "offer")
        mine = sdp.acceptable_offer(offer)
        self._same_transport(mine, "offer")
        rejected = {s.mid for s in offer.sections if s.rejected or not s.usable}
        if self._ufrag is None and len(rejected) == len(offer.sections):
            raise NegotiationError("the far end's offer has no line that we can use", step="offer")
        since = self._clock()
        try:
            await self._whole(self._pc.setRemoteDescription(RTCSessionDescription(sdp.write(mine), "offer")))
            self._direct(mine)
            self._cure()
            self._learn(offer, mine)
            await self._whole(self._pc.setLocalDescription(await self._pc.createAnswer()))
        except FOREIGN as error:
            raise NegotiationError(
                f"the far end's offer cannot be answered: {brief(error)}", step="offer"
            ) from error
        await self._candidates.check_gathered(since, self.segment)
        await self._candidates.described(c for s in offer.sections for c in s.candidates)
        return sdp.presentable(self._pc.localDescription.sdp, offer, rejected)

    async def accept(self, text: str) -> None:
        """Take the far end's answer to our offer; NegotiationError if it is none."""
        answer = sdp.parse(text, "answer")
        if self._offered is None or self._pc.signalingState != "have-local-offer":
            raise NegotiationError("an answer came, but no offer of ours is open", step="answer")
        mine = sdp.acceptable_answer(answer, self._offered)
        self._same_transport(mine, "answer")
        if all(s.direction == "inactive" and not s.usable for s in answer.sections) and self._ufrag is None:
            raise NegotiationError("the far end's answer rejects every line", step="answer")
        try:
            self._cure()
            self._learn(answer, mine)
            await self._whole(self._pc.setRemoteDescription(RTCSessionDescription(sdp.write(mine), "answer")))
        except FOREIGN as error:
            raise NegotiationError(
                f"the far end's answer cannot be used: {brief(error)}", step="answer"
            ) from error
        await self._candidates.described(c for s in answer.sections for c in s.candidates)

    def roll_back(self) -> bool:
        """Take our open offer back in favour of one of the far end's; False if this cannot be done."""
        added = quirks.roll_back(self._pc) if self.state == "connected" else None
        if added is None:
            return False
        # Kept, for whoever knows them by their identity must not take a new one for an old one.
        self._rolled_back += added
        self._offered = None
        return True

    async def add_candidate(self, candidate: str, mid: str | None = None, line: int | None = None) -> None:
        """Take one of the far end's candidates, at any time and in any form; what is no use is skipped.

        With everything in one bundle there is one transport, so `mid` and `line` say nothing. An empty
        string ends the candidates; aiortc is not told, because it would refuse those that come later all
        the same, and because `connected` has a time limit of its own.
        """
        if not isinstance(candidate, str) or not candidate.strip():
            return
        await self._candidates.add(candidate)

    def local_candidates(self) -> list[Candidate]:
        """Give our candidates, as in the description; the caller adds the empty one that ends them."""
        return self._candidates.local()

    @property
    def lines(self) -> list[Line]:
        """The m-lines of the far end's current description, in order."""
        return [s.line() for s in self._remote.sections] if self._remote is not None else []

    @property
    def ufrag(self) -> str | None:
        """The far end's ICE user fragment; another one in a new offer means an ICE restart."""
        return self._ufrag

    @property
    def state(self) -> str:
        """``new``, ``connecting``, ``connected``, ``failed`` or ``closed``."""
        return str(self._pc.connectionState)

    @property
    def path(self) -> ReceivePath:
        """How packets are taken; what it is at last is known when the connection is up."""
        paths = {entrance.path for entrance in self._entrances}
        return next((path for path in ReceivePath if path in paths), ReceivePath.RECEIVER)

    async def connected(self, timeout: float = 15.0) -> None:
        """Wait until media can flow.

        Raises:
            IceError: If it fails, or takes longer than `timeout` seconds; aiortc alone would wait for ever.
        """
        either: set[asyncio.Future[Any]] = {self._up, self._lost}
        await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if self._lost.done():
            raise IceError(f"no media connection: {self._lost.result()}", state=self.state)
        if not self._up.done():
            raise IceError(f"no media connection within {timeout:g} s", state=self.state)

    async def failed(self) -> str:
        """Wait until the connection is lost; give the cause. It never resolves by our own `close`."""
        return await asyncio.shield(self._lost)

    def ask_for_key_frame(self, ssrc: int) -> None:
        """Ask the far end for a key frame of a source of video; nothing is waited for."""
        if (ask := self._intake.asker(ssrc)) is not None and self._closing is None:
            task = asyncio.ensure_future(ask(ssrc))
            self._steps.add(task)
            task.add_done_callback(self._steps.discard)

    async def statistics(self) -> list[TrackStatistics]:
        """Give the numbers of every remote source."""
        return self._intake.statistics()

    @property
    def certificate(self) -> str | None:
        """What key the far end's certificate has: ``rsa``, ``ecdsa`` or ``other``; None before DTLS is up."""
        transports = (t.receiver.transport for t in self._pc.getTransceivers())
        return next((kind for dtls in transports if (kind := quirks.certificate_kind(dtls))), None)

    @property
    def rtt(self) -> float | None:
        """Seconds that the last consent check took to the far end and back; None before the first."""
        return next((pulse.rtt for pulse in self._pulses if pulse.rtt is not None), None)

    @property
    def heard(self) -> float:
        """When anything was last heard of the far end, media or not, in seconds of the clock."""
        return max((pulse.at for pulse in self._pulses), default=self._clock())

    @property
    def hostile(self) -> int:
        """Datagrams and packets that were malformed or belonged to no line."""
        return self._intake.unrouted + sum(pulse.hostile for pulse in self._pulses)

    # ------------------------------------------------------------ inside

    _pulses: tuple[quirks.Pulse, ...] = ()

    def _changed(self) -> None:
        state = self.state
        if state == "connected" and not self._up.done():
            # Read now: aioice forgets its pairs when it closes.
            self.relayed = any(quirks.is_relayed(t.receiver.transport) for t in self._pc.getTransceivers())
            self._up.set_result(None)
        elif state in ("failed", "closed") and self._closing is None and not self._lost.done():
            self._lost.set_result(self._cause or self._why(state))

    def _why(self, state: str) -> str:
        dtls = [t.receiver.transport for t in self._pc.getTransceivers()]
        if any(d.transport.state == "failed" for d in dtls):
            return "ICE found no path"
        if any(d.state == "failed" for d in dtls):
            return "the DTLS handshake failed"
        return "the far end closed the connection" if state == "closed" else "the connection failed"

    def _broken(self, error: BaseException) -> None:
        if self._closing is None and not self._lost.done():
            self._lost.set_result(f"the connection could not be set up: {brief(error)}")

    def _lose(self, cause: str) -> None:
        self._cause = cause

    def _add_line(self, kind: str, *, sending: bool) -> None:
        direction = "sendrecv" if sending else "recvonly"
        if kind == "video" and not self._video:
            direction = "inactive"
        track = self._outbound() if sending else None
        transceiver = self._pc.addTransceiver(track or kind, direction)
        if track is not None:
            self._let_out(transceiver.sender, track)
        if kind == "audio":
            known = RTCRtpReceiver.getCapabilities("audio")
            codecs = known.codecs if known is not None else []
            transceiver.setCodecPreferences([c for c in codecs if c.mimeType.lower() == "audio/opus"])

    def _direct(self, offer: sdp.Description) -> None:
        """Decide what we want of each line before we answer."""
        theirs = {s.mid: s.direction for s in offer.sections}
        for transceiver in self._pc.getTransceivers():
            if transceiver.kind == "video":
                transceiver.direction = "recvonly" if self._video else "inactive"
        if self._sending and not any(t.sender.track for t in self._pc.getTransceivers()):
            for transceiver in self._pc.getTransceivers():
                if transceiver.kind == "audio" and theirs.get(transceiver.mid or "") in (
                    "sendrecv",
                    "recvonly",
                ):
                    track = self._outbound()
                    transceiver.sender.replaceTrack(track)
                    self._let_out(transceiver.sender, track)
                    transceiver.direction = "sendrecv"
                    break

    def _outbound(self) -> _Outbound:
        return _Outbound(self._voice if self._voice is not None else Silence(self._clock))

    def _let_out(self, sender: RTCRtpSender, track: _Outbound) -> None:
        track.outlet = Outlet(
            sender,
            track.source,
            clock=self._clock,
            on_sent=self._on_sent if self._voice is not None else None,
            own=self._wanted is not ReceivePath.RECEIVER,
            on_fallback=self._on_fallback,
        )

    def _cure(self) -> None:
        for transceiver in self._pc.getTransceivers():
            dtls = transceiver.receiver.transport
            if id(dtls) in self._cured:
                continue
            self._cured.add(id(dtls))
            pulse = quirks.Pulse(self._clock)
            self._pulses = (*self._pulses, pulse)
            quirks.guard(dtls, pulse)
            self._entrances.append(Entrance(dtls, pulse, self._intake, self._wanted, self._on_fallback))
            if self._loopback:
                quirks.gather_loopback(dtls)
            quirks.watch_consent(dtls, pulse, patience=self._patience, jitter=self._jitter, lost=self._lose)
        self._intake.attach(self._pc)

    def _same_transport(self, mine: sdp.Description, step: str) -> None:
        ufrag = mine.sections[0].ufrag
        if self._ufrag is not None and ufrag != self._ufrag:
            raise NegotiationError(
                f"the far end's {step} restarts ICE; only a new Peer can", step="ice-restart"
            )

    def _learn(self, described: sdp.Description, mine: sdp.Description) -> None:
        self._ufrag = mine.sections[0].ufrag
        self._remote = described
        self._intake.describe(mine.sections)

    async def _whole(self, step: Coroutine[Any, Any, None]) -> None:
        """Do a step of the negotiation to its end, though we may be cancelled in its middle.

        aioice forgets a socket that it was just opening when it is cancelled, and nobody closes it then.
        """
        task = asyncio.create_task(step, name=f"peer-{self.segment}-negotiating")
        self._steps.add(task)
        task.add_done_callback(self._steps.discard)
        await asyncio.shield(task)

    async def _shut(self) -> None:
        if self._steps:
            await asyncio.wait(set(self._steps))
        for dtls in {t.receiver.transport for t in self._pc.getTransceivers()}:
            quirks.hasten_turn_deletion(dtls)
        await self._pc.close()
        # What was still connecting notices at its next turn, 20 ms later at most.
        while self._connecting:
            await asyncio.wait(set(self._connecting))
        for dtls in {t.receiver.transport for t in self._pc.getTransceivers()}:
            await quirks.end_consent(dtls)
        for _ in range(3):
            await asyncio.sleep(0)


class _Outbound(MediaStreamTrack):
    """The sender's track. It never ends and never raises, for the sender would be gone for good with it."""

    kind = "audio"

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        self.outlet: Outlet | None = None

    async def recv(self) -> Any:
        """Give the next packet when it is due, encoded: aiortc then neither encodes nor measures levels."""
        if self.readyState != "live" or self.outlet is None:
            raise MediaStreamError
        timestamp, payload = await self.outlet.pull()
        packet: Any = av.Packet(payload)
        packet.pts, packet.time_base = timestamp, Fraction(1, SAMPLE_RATE)
        return packet
