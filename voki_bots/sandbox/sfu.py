"""The SFU: one server-side RTCPeerConnection per participant, and packets forwarded between them.

Nothing is decoded. A publisher's packets are taken at its receiver and written anew for each listener:
own SSRC, own sequence numbers with the publisher's holes, the publisher's timestamps, the MID of the line.
It resembles a measured Elixir SFU where Voki's documents are silent.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.rtp import RtcpSrPacket, RtpPacket
from aiortc.sdp import candidate_from_sdp

from . import keys
from .connections import kind_of, new_connection, new_offer, offered, only, take_packets
from .options import Switches
from .paths import close_connection, fall_silent, gather_on
from .sdp import (
    Manner,
    Stream,
    candidates,
    rejected,
    renamed,
    spoken,
    ufrag_of,
    unrejected,
    without_candidates,
)
from .streams import Forward, OutgoingStream, Publisher
from .tasks import Tasks

_log = structlog.get_logger(__name__)

_PATIENCE = 10.0  # seconds that an ex_webrtc offerer waits for the end of candidates before it nominates

Say = Callable[[str, dict[str, object]], None]


class Leg:
    """One participant's connection to the SFU.

    At most one offer is outstanding. While ours is, one of the client's is glare and is ignored.

    Args:
        name: For logs.
        say: Sends an event to the participant's signalling.
        audible: Whom this participant shall hear now, in order of their coming.
        published: Called when this leg began to publish, or stopped.
        forward: Coroutine function that takes each packet this participant sent, with its kind and the
            (NTP, RTP) mapping of its latest sender report, if any.
    """

    def __init__(
        self,
        *,
        name: str,
        say: Say,
        audible: Callable[[], list[Publisher]],
        published: Callable[[], None],
        forward: Callable[[RtpPacket, str, tuple[int, int] | None], Any],
        connected: Callable[[], None],
        switches: Switches,
        addresses: Sequence[str],
        wall: Callable[[], float],
        tasks: Tasks,
        choose: random.Random,
        bot: bool = False,
    ) -> None:
        self.name = name
        self.bot = bot
        self.deafened = False
        self.crossing = False
        self.switches = switches
        self.forwards: dict[str, Forward] = {}
        self.publishing = False
        self.showing: str | None = None
        self.dead = False
        self.frozen = False
        self.lose = switches.lose
        self.received = 0
        self.totals: dict[str, int] = {}
        self.offers_sent = self.offers_received = self.glares = self.connections = 0
        self._say = say
        self._audible = audible
        self._published = published
        self._forward = forward
        self._connected = connected
        self._addresses = tuple(addresses)
        self._wall = wall
        self._tasks = tasks
        self._choose = choose
        self._pc: RTCPeerConnection | None = None
        self._ufrag: str | None = None
        self._over = False
        self._outstanding = False
        self._early: list[Any] = []
        self._hooked: set[int] = set()
        self._idle: list[tuple[Any, OutgoingStream, int]] = []
        self._rejecting: dict[str, tuple[Any, OutgoingStream]] = {}
        self._free: list[tuple[Any, OutgoingStream]] = []
        self._aliases: dict[str, str] = {}
        self._held: list[str] | None = None
        self._crossed = False
        self._anchors: dict[str, tuple[int, int]] = {}
        self._seen: int | None = None
        self._events: int | None = None
        self._lock = asyncio.Lock()

    @property
    def connected(self) -> bool:
        """Whether ICE and DTLS are up, as far as this end knows."""
        return self._pc is not None and not self.dead and self._pc.connectionState == "connected"

    # ------------------------------------------------------------ negotiation

    async def start(self) -> None:
        """Offer first, on a new connection, with one line for what the client sends.

        This is the switch ``server_offers``; and, once more, what an ICE restart looks like to a client.
        """
        async with self._lock:
            if self._over:
                return
            pc = self._renew()
            pc.addTransceiver("audio", direction="recvonly").setCodecPreferences(only("opus"))
            await self._offer_changes(force=True)

    async def offer(self, sdp: str) -> None:
        """Answer a client's offer; on a new connection if its ICE credentials are new.

        Raises:
            ValueError: The description is not one that can be answered.
        """
        async with self._lock:
            if self._over or self.deafened:
                return
            if self._outstanding and not self.dead:
                self.glares += 1
                return
            self.offers_received += 1
            if not self._takes(sdp):
                return
            if self.crossing and self.connected:
                self.crossing = False
                self.glares += 1
                self._tasks.start(self.reoffer(), f"crossing offer to {self.name}")
                return
            if self.switches.glare and self.bot and not self._crossed:
                self._crossed = True
                self.glares += 1
                self._tasks.start(self.start(), f"crossing offer to {self.name}")
                return
            if self._pc is None or self.dead or ufrag_of(sdp) != self._ufrag or self._closed():
                self._renew()
                self._ufrag = ufrag_of(sdp)
            pc = self._pc
            assert pc is not None
            self._events = keys.event_type(sdp)
            await pc.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
            self._place()
            gather_on(pc, self._addresses)
            await pc.setLocalDescription(await pc.createAnswer())
            await self._add_early()
            self._speak("answer")
            self._note_publishing()
        self.sync()

    async def answer(self, sdp: str) -> None:
        """Apply the client's answer to our offer; one without an offer is ignored."""
        async with self._lock:
            if not self._outstanding or self._pc is None or self.dead:
                return
            if self.bot and self.switches.waits_for_end and self._ufrag is None:
                sdp, self._held = without_candidates(sdp)
                asyncio.get_running_loop().call_later(_PATIENCE, self._end_of_candidates, self._pc)
            self._events = keys.event_type(sdp)
            sdp = renamed(sdp, {alias: mid for mid, alias in self._aliases.items()})
            sdp, gone = unrejected(sdp, self._pc.localDescription.sdp)
            await self._pc.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
            self._free += [self._rejecting.pop(mid) for mid in gone if mid in self._rejecting]
            self._outstanding = False
            self._ufrag = ufrag_of(sdp)
            self._hook()
            await self._add_early()
            self._note_publishing()
        self.sync()

    async def candidate(self, payload: dict[str, Any]) -> None:
        """Add a candidate of the client's, whenever it comes.

        Raises:
            KeyError: One of ``candidate``, ``sdpMid`` and ``sdpMLineIndex`` is missing, which crashes an
                Elixir SFU.
        """
        text, mid, line = payload["candidate"], payload["sdpMid"], payload["sdpMLineIndex"]
        if text == "":  # null is no end of candidates
            self._end_of_candidates(self._pc)
        if not text:
            return
        if self._held is not None:
            self._held.append(str(text))
            return
        self._early.append((str(text), mid, line))
        async with self._lock:
            if self._pc is not None and self._pc.remoteDescription is not None and not self.dead:
                await self._add_early()

    def _end_of_candidates(self, pc: RTCPeerConnection | None) -> None:
        if self._held is None or pc is not self._pc:
            return
        self._early += [(text, None, None) for text in self._held]
        self._held = None
        self._tasks.start(self._add_early(), f"candidates of {self.name}")

    def _takes(self, sdp: str) -> bool:
        return not (self.bot and self.switches.insists_on_video and "m=video" not in sdp)

    async def _add_early(self) -> None:
        waiting, self._early = self._early, []
        for text, _, _ in waiting:
            try:
                found = candidate_from_sdp(text.removeprefix("a=").removeprefix("candidate:"))
            except (ValueError, IndexError, AssertionError):
                continue
            found.sdpMLineIndex = 0  # all lines are bundled on the first
            if self._pc is not None and found.protocol.lower() == "udp" and not found.ip.endswith(".local"):
                await self._pc.addIceCandidate(found)

    def sync(self) -> None:
        """Let the lines follow who can be heard now; soon, and by one offer at a time."""
        self._tasks.start(self._sync(), f"sync of {self.name}")

    async def _sync(self) -> None:
        async with self._lock:
            pc = self._pc
            if self.switches.client_offers and self.bot:
                self._drop_gone()
                return
            if (
                pc is None
                or self.dead
                or self._outstanding
                or self.crossing
                or pc.signalingState != "stable"
                or self._closed()
            ):
                return
            await self._offer_changes(force=False)

    async def _offer_changes(self, *, force: bool) -> None:
        pc = self._pc
        assert pc is not None
        wanted, gone = self._audible(), self._drop_gone()
        if self.switches.video and not any(t.kind == "video" for t in pc.getTransceivers()):
            pc.addTransceiver("video", direction="sendonly")
        new = [p for p in wanted if p.key not in self.forwards]
        for publisher in new:
            self._add_line(publisher)
        if not (gone or new or force):
            return
        self._outstanding = True
        self.offers_sent += 1
        gather_on(pc, self._addresses)
        await pc.setLocalDescription(await new_offer(pc))
        self._speak("offer")

    async def reoffer(self) -> None:
        """Offer anew though nothing has changed, as an SFU may at any time."""
        async with self._lock:
            if self._pc is not None and not self._outstanding and not self.dead and not self._closed():
                await self._offer_changes(force=True)

    def _drop_gone(self) -> list[str]:
        keep = {p.key for p in self._audible()}
        gone = [key for key in self.forwards if key not in keep]
        for key in gone:
            self._silence(self.forwards.pop(key))
        return gone

    def _silence(self, forward: Forward) -> None:
        keeps = forward.transceiver.direction in ("sendrecv", "recvonly")
        forward.transceiver.direction = "recvonly" if keeps else "inactive"
        if self.switches.reject_lines and not (keeps or self.switches.reuse_lines):
            self._rejecting[str(forward.transceiver.mid)] = (forward.transceiver, forward.stream)
            return
        self._idle.append((forward.transceiver, forward.stream, forward.last))

    def _add_line(self, publisher: Publisher) -> None:
        assert self._pc is not None
        kind = kind_of(publisher.codec)
        if free := [pair for pair in self._free if pair[0].kind == kind]:
            transceiver, stream = free[0]
            self._free.remove(free[0])
            transceiver.direction = "sendonly"
            # The line keeps its place and gets a new name: one that no line of this connection ever had.
            alias = self._aliases[str(transceiver.mid)] = str(100 + len(self._aliases) + self.offers_sent)
            stream.renew(self._choose.randrange(1 << 32), alias)
            self._assign(publisher, transceiver, stream, self._choose.randrange(0x4000))
            return
        if self.switches.reuse_lines and (idle := [each for each in self._idle if each[0].kind == kind]):
            transceiver, stream, last = idle[0]
            self._idle.remove(idle[0])
            transceiver.direction = "sendrecv" if transceiver.direction == "recvonly" else "sendonly"
            if self.switches.new_ssrc:
                stream.renew(self._choose.randrange(1 << 32))
            self._assign(publisher, transceiver, stream, last)
            return
        transceiver = self._pc.addTransceiver(kind, direction="sendonly")
        transceiver.setCodecPreferences(offered(kind))
        self._assign(publisher, transceiver, None, self._choose.randrange(0x4000))

    def _assign(
        self, publisher: Publisher, transceiver: Any, stream: OutgoingStream | None, last: int
    ) -> None:
        if stream is None:
            stream = OutgoingStream(
                transceiver.sender,
                wall=self._wall,
                tasks=self._tasks,
                choose=self._choose,
                codec=publisher.codec,
            )
        stream.on_key_request = publisher.wants_key
        # Voice and picture of somebody are one stream (RFC 8830).
        beside = next((f for f in self.forwards.values() if f.source.user_id == publisher.user_id), None)
        name = publisher.user_id if self.switches.msid_user_ids else self._random_name()
        label = Stream(beside.label.stream if beside else name, self._random_name())
        self.forwards[publisher.key] = Forward(publisher, transceiver, stream, label, last=last)

    def _random_name(self) -> str:
        return "".join(self._choose.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", k=32))

    def _place(self) -> None:
        """Decide what each line of the client's offer carries, before it is answered."""
        assert self._pc is not None
        self._hook()
        used = {id(f.transceiver) for f in self.forwards.values()}
        waiting = [p for p in self._audible() if p.key not in self.forwards]
        own_line = self.switches.own_line and not self.forwards
        for transceiver in self._pc.getTransceivers():
            if id(transceiver) in used or transceiver._offerDirection is None:
                continue
            takes = transceiver._offerDirection in ("recvonly", "sendrecv")
            gives = transceiver._offerDirection in ("sendonly", "sendrecv")
            if transceiver.kind == "video":
                self._place_picture(transceiver, takes, gives, waiting)
                continue
            transceiver.setCodecPreferences(only("opus"))
            if gives and self.bot and self.switches.insists_on_sending and not takes:
                transceiver.direction = "inactive"
                continue
            own_line = own_line or self.switches.client_offers
            voice = next((p for p in waiting if p.codec == "opus"), None)
            if gives and own_line and voice is not None:
                own_line = False
                transceiver.direction = "sendrecv" if takes else "sendonly"
                waiting.remove(voice)
                self._assign(voice, transceiver, None, self._choose.randrange(0x4000))
            else:
                transceiver.direction = "recvonly" if takes else "inactive"

    def _place_picture(self, transceiver: Any, takes: bool, gives: bool, waiting: list[Publisher]) -> None:
        picture = next((p for p in waiting if p.codec != "opus"), None)
        if takes or not gives or picture is None:
            transceiver.direction = "recvonly" if takes and not self.bot else "inactive"
            return
        waiting.remove(picture)
        transceiver.direction = "sendonly"
        transceiver.setCodecPreferences(only(picture.codec))
        self._assign(picture, transceiver, None, self._choose.randrange(0x4000))

    def _hook(self) -> None:
        assert self._pc is not None
        for transceiver in self._pc.getTransceivers():
            if id(transceiver) not in self._hooked:
                self._hooked.add(id(transceiver))
                take_packets(transceiver.receiver, self._taker(transceiver.kind))
                if transceiver.kind == "audio":
                    # aiortc's router knows no telephone events.
                    types = transceiver.receiver.transport._rtp_router.payload_type_table
                    for number in {keys.TYPE, self._events or keys.TYPE}:
                        types.setdefault(number, set()).add(transceiver.receiver)
                self._listen_to_reports(transceiver.receiver, transceiver.kind)

    def _listen_to_reports(self, receiver: Any, kind: str) -> None:
        original = receiver._handle_rtcp_packet

        async def handle(packet: Any) -> None:
            if isinstance(packet, RtcpSrPacket):
                self._anchors[kind] = (packet.sender_info.ntp_timestamp, packet.sender_info.rtp_timestamp)
            await original(packet)

        receiver._handle_rtcp_packet = handle

    def _speak(self, kind: str) -> None:
        assert self._pc is not None
        ours = self._pc.localDescription.sdp
        labels = {str(f.transceiver.mid): f.label for f in self.forwards.values()}
        switches = self.switches
        manner = Manner(switches.audio_level, not switches.no_ssrc, not switches.no_msid)
        text = renamed(rejected(spoken(ours, labels, manner), self._rejecting), self._aliases)
        text = keys.with_events(text, self._events or (keys.TYPE if kind == "offer" else None))
        self._say("signal", {"type": kind, "sdp": text})
        for candidate in candidates(ours):
            self._say("ice_candidate", candidate)

    def _note_publishing(self) -> None:
        assert self._pc is not None
        taking = any(
            t.kind == "audio" and t.currentDirection in ("recvonly", "sendrecv")
            for t in self._pc.getTransceivers()
        )
        shown = [t for t in self._pc.getTransceivers() if t.kind == "video" and t._codecs]
        mimes = [t._codecs[0].mimeType.lower() for t in shown if t.currentDirection == "recvonly"]
        showing = mimes[0].removeprefix("video/") if mimes else None
        if (taking, showing) != (self.publishing, self.showing):
            self.publishing, self.showing = taking, showing
            self._published()

    # ------------------------------------------------------------ media

    def _taker(self, kind: str) -> Callable[[RtpPacket], Any]:
        async def take(packet: RtpPacket) -> None:
            if self.dead:
                return
            if kind == "audio":
                self.received += 1
                if packet.payload_type == self._events:
                    packet.payload_type = keys.TYPE
            else:
                self._seen = packet.ssrc
            await self._forward(packet, kind, self._anchors.get(kind))

        return take

    def ask_for_key_frame(self) -> None:
        """Pass a listener's request on to this publisher."""
        for transceiver in self._pc.getTransceivers() if self._pc is not None and not self.dead else ():
            if transceiver.kind == "video" and self._seen is not None:
                asking = transceiver.receiver._send_rtcp_pli(self._seen)
                self._tasks.start(asking, f"key request to {self.name}")

    async def write(self, source: str, packet: RtpPacket, anchor: tuple[int, int] | None) -> None:
        """Forward a packet of `source` (a publisher's key) to this participant, if there is a line for it."""
        forward = self.forwards.get(source)
        if forward is None or self.dead or self.frozen:
            return
        lost = self.lose > 0 and self._choose.random() < self.lose
        number = None
        if packet.payload_type == keys.TYPE:
            lost, number = lost or self._events is None, self._events
        level = self.switches.audio_level
        if await forward.write(packet, anchor, lost=lost, level=level, number=number):
            self.totals[source] = self.totals.get(source, 0) + 1
        if self.switches.padding and self._choose.random() < self.switches.padding:
            await forward.pad(packet.timestamp)

    # ------------------------------------------------------------ life

    def _closed(self) -> bool:
        return self._pc is not None and self._pc.connectionState in ("closed", "failed")

    def _renew(self) -> RTCPeerConnection:
        if (old := self._drop()) is not None:
            fall_silent(old, close=False)  # nobody is told that the old path is no more
            self._tasks.start(close_connection(old), f"closing of {self.name}")
        pc = self._pc = new_connection(self._addresses, rsa=self.switches.rsa_certificate)
        self.dead = False
        self._outstanding = False
        self.connections += 1

        def changed() -> None:
            if pc is self._pc and pc.connectionState == "connected":
                self._connected()

        pc.on("connectionstatechange", changed)
        return pc

    def _drop(self) -> RTCPeerConnection | None:
        pc, self._pc = self._pc, None
        for forward in self.forwards.values():
            forward.stream.close()
        for _, stream, _ in self._idle:
            stream.close()
        self.forwards.clear()
        for _, stream in (*self._free, *self._rejecting.values()):
            stream.close()
        for kept in (self._idle, self._free, self._rejecting, self._aliases):
            kept.clear()
        self._held = None
        self._ufrag = None
        self._hooked.clear()
        self._anchors.clear()
        self._seen = None
        return pc

    def kill(self, *, close: bool = False) -> None:
        """Let this end of the path fall silent, or close its sockets too; nobody is told."""
        self.dead = True
        if self._pc is not None:
            fall_silent(self._pc, close=close)

    async def hang_up(self) -> None:
        """Close the connection properly (DTLS close_notify) and take no part in it any more."""
        self.dead = True
        if self._pc is not None:
            await close_connection(self._pc)

    async def close(self) -> None:
        """End this leg."""
        self.dead = self._over = True
        async with self._lock:  # a negotiation in progress ends on the connection it began with
            pc = self._drop()
        if self.publishing:
            self.publishing = False
            self._published()
        if pc is not None:
            await close_connection(pc)
