"""How packets go out: one tick of 20 ms sends the next packet of everybody who speaks.

A call that plays a prompt costs a header, an encryption and a system call for each packet: no task, no timer
and no object of its own. aiortc's sender keeps RTCP (sender reports, RFC 3550 section 6.4.1), and what is
asked for again is sent again. Where these versions or this connection do not fit, aiortc's sender pulls from
the same source, and that is said once for each reason.
"""

from __future__ import annotations

import asyncio
import math
import random
import struct
import time
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import structlog

from voki_bots.media import quirks, shortcuts
from voki_bots.media.rtp import Received, extension_block, received
from voki_bots.units import FRAME_SAMPLES, SAMPLE_RATE

_log = structlog.get_logger(__name__)

PERIOD_SECONDS = 0.02
"""From one tick to the next: the length of a packet."""

HISTORY = 128
"""Packets of a sender that can be sent again (RFC 4585 section 6.2.1): two and a half seconds."""

_MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
_HEADER = struct.Struct("!BBHII").pack_into
_HEADER_SIZE = 12
_MARKER = 0x80
_NTP_EPOCH = 2_208_988_800
"""Seconds from 1900 to 1970 (RFC 5905 section 6)."""

_warned: set[str] = set()


class Source(Protocol):
    """What a sender says."""

    @property
    def speaking(self) -> bool:
        """Whether there is something to be sent, now or at the next ticks."""

    def connect(self, wake: Callable[[], None] | None = None) -> None:
        """A new sender takes from now on; `wake` is called whenever `speaking` becomes true."""

    def due(self, now: float) -> tuple[int, bytes] | None:
        """Give the next packet if it is due, with its timestamp in samples at 48 kHz."""

    async def pull(self) -> tuple[int, bytes]:
        """Wait until the next packet is due, and give it in the same way."""


class PlayOut:
    """Sends for all who speak on one event loop, every 20 ms.

    There is no task: a timer runs while somebody speaks. Deadlines are absolute, on a grid that all loops'
    clocks share, so that the receive tick and this one come at the same moment and wake the process once.

    Args:
        loop: Whose time it is.
        wall: Seconds since 1970, for sender reports.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, wall: Callable[[], float] = time.time) -> None:
        self._loop = loop
        self._wall = wall
        self._speakers: dict[Outlet, None] = {}
        self._turns = 0
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def of_loop(cls) -> PlayOut:
        """Give the one of the running loop."""
        loop = asyncio.get_running_loop()
        if loop not in _playouts:
            _playouts[loop] = cls(loop)
        return _playouts[loop]

    def add(self, outlet: Outlet) -> None:
        """Ask an outlet for packets from the next tick on, until it has none."""
        self._speakers[outlet] = None
        if self._timer is None:
            self._turns = math.floor(self._loop.time() / PERIOD_SECONDS)
            self._arm()

    def remove(self, outlet: Outlet) -> None:
        """Ask it no more."""
        self._speakers.pop(outlet, None)
        if not self._speakers and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._turns += 1
        self._timer = self._loop.call_at(self._turns * PERIOD_SECONDS, self._turn)

    def _turn(self) -> None:
        # A turn that comes late makes no other one late; what it missed is its own to make up for.
        self._turns = max(self._turns, math.floor(self._loop.time() / PERIOD_SECONDS))
        now = self._turns * PERIOD_SECONDS
        ntp = int((self._wall() + _NTP_EPOCH) * 2**32)
        turns, self._speakers, self._timer = iter(self._speakers), {}, None
        try:
            for outlet in turns:
                if outlet.turn(now, ntp):
                    self._speakers[outlet] = None
        finally:
            # One that raised is out; who is behind it has a turn at the next tick.
            self._speakers.update(dict.fromkeys(turns))
            if self._speakers and self._timer is None:
                self._arm()


_playouts: WeakKeyDictionary[asyncio.AbstractEventLoop, PlayOut] = WeakKeyDictionary()


class Outlet:
    """The way out of one of aiortc's senders; what it is is known when the connection is up.

    Args:
        sender: aiortc's, which was not started yet.
        source: What it says.
        clock: Seconds of the event loop.
        on_sent: Takes every packet that was sent.
        own: Whether to send by ourselves, if that fits.
        on_fallback: Told ``send_path`` if it does not.

    Attributes:
        own: Whether packets are sent by us, and not by aiortc, as long as the connection is up.
        refused: Packets that could not be encrypted.
    """

    def __init__(
        self,
        sender: Any,
        source: Source,
        *,
        clock: Callable[[], float],
        on_sent: Callable[[Received], None] | None = None,
        own: bool = True,
        on_fallback: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.own = self._taken = False
        self.refused = 0
        self._sender = sender
        self._source = source
        self._clock = clock
        self._on_sent = on_sent
        self._wanted = own
        self._on_fallback = on_fallback
        self._mid = ""
        self._ssrc = quirks.source_of(sender)
        self._count = 0
        self._turn: Callable[[float, int], None] = lambda now, ntp: None
        self._start, sender.send = sender.send, self._started

    async def _started(self, parameters: Any) -> None:
        """Take the parameters with which aiortc starts a sender; it does so again at each negotiation."""
        if not self._mid:
            self._mid = parameters.muxId
            why = shortcuts.send_misfit(self._sender) if self._wanted else None
            if why is not None:
                self._fall_back(why)
            self.own = self._taken = self._wanted and why is None
            if self.own:
                self._take_over(parameters)
            self._source.connect(self._wake if self.own else None)
        await self._start(parameters)

    def _fall_back(self, why: str) -> None:
        if why not in _warned:
            _warned.add(why)
            _log.warning("send_path_unavailable", why=why)
        self._on_fallback("send_path")

    async def pull(self) -> tuple[int, bytes]:
        """Give aiortc the next packet when it is due; for ever nothing if we send."""
        if self._taken:
            await asyncio.get_running_loop().create_future()
        timestamp, payload = await self._source.pull()
        self._tell(0, self._count & 0xFFFF, timestamp & 0xFFFFFFFF, False, payload)
        self._count += 1
        return timestamp, payload

    def turn(self, now: float, ntp: int) -> bool:
        """Send what is due; say whether there is more to come.

        Args:
            now: Seconds of the event loop's clock, on the grid of ticks.
            ntp: The same moment since 1900, in 2**-32 s.
        """
        self._turn(now, ntp)
        return self.own and self._source.speaking

    def _wake(self) -> None:
        PlayOut.of_loop().add(self)

    def _take_over(self, parameters: Any) -> None:
        wire, playout = shortcuts.Wire(self._sender), PlayOut.of_loop()

        def closed() -> None:
            self.own = False
            self._turn = lambda now, ntp: None
            playout.remove(self)

        mids = {h.id: self._mid.encode() for h in parameters.headerExtensions if h.uri == _MID}
        self._turn = self._sending(wire, parameters.codecs[0].payloadType, extension_block(mids))
        wire.on_closed(closed)

    def _sending(self, wire: shortcuts.Wire, number: int, block: bytes) -> Callable[[float, int], None]:
        """Make the function that sends what is due: the hot path."""
        due, encrypt, put, account = self._source.due, wire.encryption(), wire.put, wire.account
        buffer, ssrc, first = wire.room.buffer, self._ssrc, 0x90 if block else 0x80
        start = _HEADER_SIZE + len(block)
        # An extension is authenticated but not encrypted (RFC 3711 section 3.1), so it stays as it is.
        buffer[_HEADER_SIZE:start] = block
        history = [b""] * HISTORY
        # In the lower half: a wrap at the very first packets might be missed (RFC 3711 section 3.3.1).
        sequence, origin, expected = random.getrandbits(15), random.getrandbits(32), -1

        def turn(now: float, ntp: int) -> None:
            nonlocal sequence, expected
            while (made := due(now)) is not None:
                timestamp, payload = made[0] + origin & 0xFFFFFFFF, made[1]
                if not wire.open:
                    continue
                # The first packet after a silence begins a talkspurt (RFC 3551 section 4.1).
                begins = timestamp != expected
                expected = timestamp + FRAME_SAMPLES & 0xFFFFFFFF
                end = start + len(payload)
                _HEADER(buffer, 0, first, number | _MARKER if begins else number, sequence, timestamp, ssrc)
                buffer[start:end] = payload
                if (packet := encrypt(end)) is None:
                    self.refused += 1
                    continue
                put(packet)
                history[sequence % HISTORY] = packet
                account(ntp, timestamp, len(payload))
                self._tell(number, sequence, timestamp, begins, payload)
                sequence = sequence + 1 & 0xFFFF

        def again(sequence: int) -> None:
            packet = history[sequence % HISTORY]
            # The header is not encrypted, so it says which packet this is.
            if packet[2:4] == sequence.to_bytes(2, "big"):
                put(packet)

        wire.on_missing(again)
        return turn

    def _tell(self, number: int, sequence: int, timestamp: int, marker: bool, payload: bytes) -> None:
        """Show what we send to whoever records it, as what others send."""
        if self._on_sent is not None:
            sent = (self._mid, self._ssrc, "audio", number, sequence, timestamp, marker, payload, None)
            self._on_sent(received((*sent, self._clock(), SAMPLE_RATE)))
