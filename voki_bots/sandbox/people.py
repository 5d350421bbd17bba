"""Scripted people: real aiortc peers of the SFU, who speak packets encoded beforehand and leave."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog
from aiortc import RTCSessionDescription
from aiortc.rtp import RtpPacket

from ..units import FRAME_SAMPLES, SAMPLE_RATE
from . import keys
from .accounts import User
from .connections import new_connection, only, take_packets
from .ogg import write_packets
from .paths import close_connection, gather_on
from .pictures import CLOCK_RATE, RATE, Camera
from .script import PersonScript
from .sfu import Say
from .streams import OutgoingStream
from .tasks import Tasks

_log = structlog.get_logger(__name__)

CONNECT_TIMEOUT = 15.0
_FRAME_SECONDS = FRAME_SAMPLES / SAMPLE_RATE
_JUMP = 10 * SAMPLE_RATE  # ticks that no silence of one source makes


class Door(Protocol):
    """How a person gets into a call; bots use the same room through their channels."""

    @property
    def server_offers(self) -> bool:
        """Whether the SFU offers first."""
        ...

    def enter(self, user: User, say: Say, token: object, *, bot: bool = False) -> None:
        """Come in; events are told to `say`."""
        ...

    def leave(self, user_id: str, token: object) -> None:
        """Go."""
        ...

    async def signal(self, user_id: str, payload: dict[str, Any]) -> None:
        """Send an offer or an answer."""
        ...


@dataclass(slots=True)
class Heard:
    """What a person received on one line from one synchronisation source."""

    mid: str
    ssrc: int
    packets: int = 0
    first_at: float = 0.0
    kept: list[tuple[int, bytes]] = field(default_factory=list)
    arrived: list[float] = field(default_factory=list)


class Person:
    """One scripted participant.

    Attributes:
        sent: (RTP timestamp relative to the first packet, payload) of every packet that was sent.
        first_packet_at: Unix seconds of the first packet, and the same moment on the monotonic clock.
        colour: What the picture of this person's camera is filled with.
        key_requests: How often somebody asked for a key frame of it.
        heard: By (mid, ssrc), what arrived.
    """

    def __init__(
        self,
        script: PersonScript,
        user: User,
        door: Door,
        *,
        speaker: int,
        addresses: Sequence[str],
        wall: Callable[[], float],
        tasks: Tasks,
        choose: random.Random,
    ) -> None:
        self.script = script
        self.user = user
        self.sent: list[tuple[int, bytes]] = []
        self.first_packet_at: tuple[float, float] | None = None
        self.joined_at: float | None = None
        self.left_at: float | None = None
        self.heard: dict[tuple[str, int], Heard] = {}
        self.muted = False
        self._keys: deque[Iterator[tuple[int, bytes]]] = deque()
        self.connected = asyncio.Event()
        self.leaving = asyncio.Event()
        self._door = door
        self._packets = script.packets(speaker)
        self.colour = script.colour(speaker)
        self._addresses = addresses
        self._wall = wall
        self._tasks = tasks
        self._choose = choose
        self._events: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
        self._pc = new_connection(addresses)
        self._stream: OutgoingStream | None = None
        self._film_stream: OutgoingStream | None = None
        self._key_wanted = True
        self.key_requests = 0
        self._hooked: set[int] = set()
        self._errands: list[asyncio.Task[Any]] = []

    @property
    def id(self) -> str:
        """The person's id in the control API; it is the user id."""
        return self.user.user_id

    async def join(self) -> None:
        """Enter the call and wait until media is up.

        Raises:
            TimeoutError: It did not come up in `CONNECT_TIMEOUT` seconds.
        """
        self.joined_at = self._wall()
        transceiver = self._pc.addTransceiver("audio", direction="sendrecv")
        self._stream = OutgoingStream(
            transceiver.sender, wall=self._wall, tasks=self._tasks, choose=self._choose
        )
        if (codec := self.script.camera) is not None:
            line = self._pc.addTransceiver("video", direction="sendonly")
            line.setCodecPreferences(only(codec))
            self._film_stream = OutgoingStream(
                line.sender, wall=self._wall, tasks=self._tasks, choose=self._choose, codec=codec
            )
            self._film_stream.on_key_request = self._asked_for_key
        self._door.enter(self.user, self._hear, self)
        self._errands.append(self._tasks.start(self._negotiate(), f"signalling of {self.user.name}"))
        if not self._door.server_offers:
            gather_on(self._pc, self._addresses)
            await self._pc.setLocalDescription(await self._pc.createOffer())
            self._hook()
            description = {"type": "offer", "sdp": self._pc.localDescription.sdp}
            await self._door.signal(self.user.user_id, description)
        await asyncio.wait_for(self._stream.started.wait(), CONNECT_TIMEOUT)
        self.connected.set()
        self._errands.append(self._tasks.start(self._speak(), f"voice of {self.user.name}"))
        if self._film_stream is not None:
            filming = self._film(self._film_stream, str(self.script.camera))
            self._errands.append(self._tasks.start(filming, f"camera of {self.user.name}"))

    async def attend(self) -> None:
        """Stay until told or scripted to leave, then leave."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.leaving.wait(), self.script.leaves)
        await self.leave()

    async def leave(self) -> None:
        """Leave the call: the channel first, then the connection."""
        if self.left_at is not None:
            return
        self.leaving.set()
        self.left_at = self._wall()
        if self.joined_at is not None:
            self._door.leave(self.user.user_id, self)
        for stream in (self._stream, self._film_stream):
            if stream is not None:
                stream.close()
        for errand in self._errands:
            errand.cancel()
        await close_connection(self._pc)

    def press(self, digits: str, seconds: float) -> None:
        """Press keys one after another, each for so many seconds; nothing is said meanwhile."""
        for digit in digits:
            self._keys.append(keys.press(digit, seconds))

    # ------------------------------------------------------------ signalling

    def _hear(self, event: str, payload: dict[str, Any]) -> None:
        self._events.put_nowait((event, payload))

    async def _negotiate(self) -> None:
        while self.left_at is None:
            event, payload = await self._events.get()
            if event == "call_ended":
                self.leaving.set()
            elif event == "signal":
                await self._pc.setRemoteDescription(RTCSessionDescription(payload["sdp"], payload["type"]))
                self._hook()
                if payload["type"] == "offer":
                    gather_on(self._pc, self._addresses)
                    await self._pc.setLocalDescription(await self._pc.createAnswer())
                    answer = {"type": "answer", "sdp": self._pc.localDescription.sdp}
                    await self._door.signal(self.user.user_id, answer)

    # ------------------------------------------------------------ media

    def _hook(self) -> None:
        for transceiver in self._pc.getTransceivers():
            if id(transceiver) not in self._hooked:
                self._hooked.add(id(transceiver))
                take_packets(transceiver.receiver, self._taker(transceiver))

    def _taker(self, transceiver: Any) -> Callable[[RtpPacket], Any]:
        async def take(packet: RtpPacket) -> None:
            key = (str(transceiver.mid), packet.ssrc)
            heard = self.heard.get(key)
            if heard is None:
                heard = self.heard[key] = Heard(*key, first_at=self._wall())
            heard.packets += 1
            if self.script.listens and packet.payload:
                heard.kept.append((packet.timestamp, packet.payload))
                heard.arrived.append(self._wall())

        return take

    async def _speak(self) -> None:
        """Send 50 packets a second, each at its own deadline, so that one late packet delays no other."""
        assert self._stream is not None
        loop = asyncio.get_running_loop()
        origin = self._choose.randrange(1 << 31)
        sequence = self._choose.randrange(1 << 15)
        start, offset = loop.time(), 0
        for index, payload in enumerate(self._packets):
            await asyncio.sleep(max(0.0, start + index * _FRAME_SECONDS - loop.time()))
            if self.left_at is not None:
                return
            timestamp = index * FRAME_SAMPLES
            if (event := self._key()) is not None:
                began = origin + timestamp - event[0]
                if await self._stream.write(sequence & 0xFFFF, began, event[1], number=keys.TYPE):
                    sequence += 1
                continue
            if self.muted:
                continue
            now = (self._wall(), loop.time())
            if await self._stream.write(sequence & 0xFFFF, origin + timestamp, payload, marker=0):
                sequence += 1
                if self.first_packet_at is None:
                    self.first_packet_at = now
                    offset = timestamp
                self.sent.append((timestamp - offset, payload))

    def _asked_for_key(self) -> None:
        self._key_wanted = True
        self.key_requests += 1

    async def _film(self, stream: OutgoingStream, codec: str) -> None:
        """Send frame after frame, a key frame only at the beginning and when it is asked for."""
        await stream.started.wait()
        camera = Camera(codec, self.colour)
        loop = asyncio.get_running_loop()
        origin = self._choose.randrange(1 << 31)
        sequence = self._choose.randrange(1 << 15)
        start = loop.time()
        while self.left_at is None:
            await asyncio.sleep(max(0.0, start + camera.number / RATE - loop.time()))
            timestamp = origin + camera.number * CLOCK_RATE // RATE
            key, self._key_wanted = self._key_wanted, False
            payloads = camera.shoot(key=key)
            for index, payload in enumerate(payloads):
                last = index == len(payloads) - 1
                if await stream.write(sequence & 0xFFFF, timestamp, payload, marker=int(last)):
                    sequence += 1

    def _key(self) -> tuple[int, bytes] | None:
        """Give the next packet of the key that is being pressed, if one is."""
        while self._keys:
            if (event := next(self._keys[0], None)) is not None:
                return event
            self._keys.popleft()
        return None

    def sent_file(self) -> bytes:
        """Return everything this person sent, as Ogg/Opus; its first sample is the first one sent."""
        return write_packets(list(self.sent))

    def heard_file(self, heard: Heard) -> bytes:
        """Return what was kept of one line, as Ogg/Opus with each packet at its own time."""
        if not heard.kept:
            return write_packets([])
        placed: dict[int, bytes] = {}
        at, end, last = 0, 0, heard.kept[0][0]
        for timestamp, payload in heard.kept:
            step = (timestamp - last + 2**31) % 2**32 - 2**31
            # Whoever publishes anew has another clock.
            at, last = (at + step if abs(step) < _JUMP else end), timestamp
            placed[at] = payload
            end = max(end, at + FRAME_SAMPLES)
        return write_packets([(at, payload) for at, payload in sorted(placed.items()) if at >= 0])
