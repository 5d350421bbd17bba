"""Phoenix channels as a real server frames them: sockets, channels, broadcasts.

What topics mean is elsewhere (`topics`); here are the rules that hold for every Phoenix application: the
order of frames, which refs they carry, what a crash, a leave and a second join look like.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog
from aiohttp import WSMsgType, web

from ..signalling.wire import JOIN, LEAVE, V1, Message
from .frames import read, write
from .options import Dialect
from .tasks import Tasks

_log = structlog.get_logger(__name__)

MAX_CHANNELS = 100
"""Channels of one socket (Phoenix >= 1.8.9)."""

_UNMATCHED = {"reason": "unmatched topic"}

UserT = TypeVar("UserT")


class Refusal(Exception):
    """A join is refused; `response` is the body of the error reply."""

    def __init__(self, **response: object) -> None:
        super().__init__(str(response))
        self.response = response


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply to one push. A channel that returns None does not reply."""

    status: str
    response: object


@dataclass(frozen=True, slots=True)
class Stop:
    """End the channel normally, after `reply` if there is one."""

    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class Intercepted:
    """A broadcast on its way through a channel."""

    event: str
    payload: object


class Behaviour(ABC, Generic[UserT]):
    """What one joined topic of one socket does. An exception of `handle` crashes the channel.

    Attributes:
        intercepts: Events whose broadcasts come to `intercept` and not to the client.
    """

    channel: Channel[UserT]
    intercepts: frozenset[str] = frozenset()

    @abstractmethod
    async def join(self, params: object) -> object:
        """Return the join reply's response, or raise `Refusal`. The whole socket waits for it."""

    async def joined(self) -> None:
        """Follow the join reply; the place for the first pushes."""

    async def handle(self, event: str, payload: object) -> Reply | Stop | None:
        """Take one push."""
        raise LookupError(f"no clause for {event!r}")

    async def intercept(self, event: str, payload: object) -> None:
        """Take a broadcast of an event in `intercepts`, in its turn among the pushes."""

    def ended(self, why: str) -> None:
        """Hear that the channel is gone: ``left``, ``stopped``, ``crashed``, ``replaced`` or ``lost``."""


class Hub(Generic[UserT]):
    """All sockets of one endpoint, and who subscribed to which topic.

    Args:
        route: Returns the behaviour for a topic, or None if there is no such topic.
        tasks: What channels run in.
        dialect: Which release they speak like.
        idle_timeout: Seconds without a frame after which a socket is closed.
    """

    def __init__(
        self,
        route: Callable[[str, UserT], Behaviour[UserT] | None],
        tasks: Tasks,
        dialect: Dialect,
        idle_timeout: float = 60.0,
    ) -> None:
        self.route = route
        self.tasks = tasks
        self.dialect = dialect
        self.idle_timeout = idle_timeout
        self.sockets: set[Socket[UserT]] = set()
        self.subscribers: dict[str, list[Channel[UserT]]] = {}

    def broadcast(
        self, topic: str, event: str, payload: object, *, without: Channel[UserT] | None = None
    ) -> None:
        """Send an event to every subscriber, with null refs."""
        message, written = Message(None, None, topic, event, payload), dict[str, str | bytes]()
        for channel in list(self.subscribers.get(topic, ())):
            version = channel.socket.version
            if channel is without:
                continue
            if event in channel.behaviour.intercepts:
                channel.take(Intercepted(event, payload))
                continue
            if version not in written:
                written[version] = write(message, version)
            channel.socket.write(written[version])


class Channel(Generic[UserT]):
    """One joined topic of one socket: the stand-in for Phoenix's channel process."""

    def __init__(
        self, socket: Socket[UserT], topic: str, join_ref: Any, ref: Any, behaviour: Behaviour[UserT]
    ) -> None:
        self.socket = socket
        self.topic = topic
        self.behaviour = behaviour
        self.join_ref = join_ref if join_ref is not None else ref
        self._asked_ref = join_ref  # phx_close and phx_error carry the join_ref as it was sent
        self._inbox: asyncio.Queue[Message | Intercepted] = asyncio.Queue()
        self._task: asyncio.Task[Any] | None = None
        self._why = ""
        self.ref: Any = None  # of the push that is being handled, for whoever replies later
        behaviour.channel = self

    def start(self) -> None:
        """Subscribe and begin to take pushes; call it after the join reply was sent."""
        self.socket.hub.subscribers.setdefault(self.topic, []).append(self)
        self._task = self.socket.hub.tasks.start(self._run(), f"channel {self.topic}")
        self._task.add_done_callback(self._done)

    def push(self, event: str, payload: object) -> None:
        """Push an event to this subscriber alone."""
        self.socket.send(Message(self.join_ref, None, self.topic, event, payload))

    def take(self, message: Message | Intercepted) -> None:
        """Queue what the client sent, or what is broadcast to it."""
        self._inbox.put_nowait(message)

    def means(self, message: Message) -> bool:
        """Whether a client's message belongs to this join of the topic.

        A channel that was joined without a join_ref takes any. A leave must name the join_ref; other messages
        may also name none, and with Phoenix 1.7 an old one.
        """
        if self._asked_ref is None or message.join_ref == self._asked_ref:
            return True
        if message.event == LEAVE:
            return False
        return message.join_ref is None or self.socket.hub.dialect.takes_stale

    async def _run(self) -> None:
        await self.behaviour.joined()
        while True:
            message = await self._inbox.get()
            if isinstance(message, Intercepted):
                await self.behaviour.intercept(message.event, message.payload)
                continue
            if message.event == LEAVE:
                self.reply(message.ref, Reply("ok", {}))
                self._why = "left"
                return
            self.ref = message.ref
            answer = await self.behaviour.handle(message.event, message.payload)
            reply = answer.reply if isinstance(answer, Stop) else answer
            if reply is not None:
                self.reply(message.ref, reply)
            if isinstance(answer, Stop):
                self._why = "stopped"
                return

    def reply(self, ref: Any, reply: Reply) -> None:
        """Reply to a push, in its turn or long after."""
        body = {"status": reply.status, "response": reply.response}
        self.socket.send(Message(self.join_ref, ref, self.topic, "phx_reply", body))

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._gone()
        if task.cancelled():
            return  # whoever cancelled says what there is to say
        if task.exception() is not None:
            self._say_crashed()
        else:
            self.say_closed()
            self.behaviour.ended(self._why)

    def _say_crashed(self) -> None:
        payload = dict(self.socket.hub.dialect.crash_payload)
        self.socket.send(Message(self._asked_ref, self._asked_ref, self.topic, "phx_error", payload))
        self.behaviour.ended("crashed")

    def say_closed(self) -> None:
        """Tell the client that this channel is gone."""
        self.socket.send(Message(self._asked_ref, self._asked_ref, self.topic, "phx_close", {}))

    def _gone(self) -> None:
        if self.socket.channels.get(self.topic) is self:
            del self.socket.channels[self.topic]
        listening = self.socket.hub.subscribers.get(self.topic, [])
        if self in listening:
            listening.remove(self)
            if not listening:
                del self.socket.hub.subscribers[self.topic]

    def shut(self, why: str) -> None:
        """End without a frame: the socket is gone, or a second join takes over."""
        self._gone()
        if self._task is not None:
            self._task.cancel()
        self.behaviour.ended(why)

    def crash(self) -> None:
        """Crash: what is queued is never answered."""
        self._gone()
        if self._task is not None:
            self._task.cancel()
        self._say_crashed()

    def stop(self) -> None:
        """End from the server's side, with ``phx_close``."""
        self._gone()
        if self._task is not None:
            self._task.cancel()
        self.say_closed()
        self.behaviour.ended("stopped")


class Socket(Generic[UserT]):
    """One websocket: reads frames one after another, and writes what channels say in their order."""

    def __init__(self, hub: Hub[UserT], user: UserT, version: str) -> None:
        self.hub = hub
        self.user = user
        self.version = version
        self.channels: dict[str, Channel[UserT]] = {}
        self.opened = False
        self._out: asyncio.Queue[str | bytes | int] = asyncio.Queue()
        self._transport: asyncio.BaseTransport | None = None

    def send(self, message: Message) -> None:
        """Queue a message for the client.

        Raises:
            ValueError: It cannot be written in this socket's version; the fault of whoever sends it.
        """
        if self.version == V1:
            message = Message(None, message.ref, message.topic, message.event, message.payload)
        self.write(write(message, self.version))

    def write(self, frame: str | bytes) -> None:
        """Queue a frame for the client."""
        self._out.put_nowait(frame)

    def close(self, code: int) -> None:
        """Close with `code` once everything queued is written."""
        self._out.put_nowait(code)

    def abort(self) -> None:
        """Cut the connection without a close frame (the client sees 1006)."""
        if isinstance(self._transport, asyncio.Transport):
            self._transport.abort()

    async def serve(self, request: web.Request, protocols: Sequence[str] = ()) -> web.StreamResponse:
        """Upgrade `request` and live until the socket ends.

        Args:
            request: What asks for the socket.
            protocols: Subprotocols to agree to.
        """
        # Read whole and refused here: refused while it still arrives, its reset would outrun the close frame.
        limit = 8 * self.hub.dialect.max_frame
        ws = web.WebSocketResponse(compress=False, max_msg_size=limit, timeout=1.0, protocols=protocols)
        await ws.prepare(request)
        self._transport = request.transport
        self.hub.sockets.add(self)
        self.opened = True
        writing = self.hub.tasks.start(self._write(ws), "socket writer")
        try:
            await self._read(ws)
        finally:
            self.hub.sockets.discard(self)
            for channel in list(self.channels.values()):
                channel.shut("lost")
            writing.cancel()
        return ws

    async def _write(self, ws: web.WebSocketResponse) -> None:
        while True:
            item = await self._out.get()
            if isinstance(item, int):
                await ws.close(code=item)
                return
            try:
                await (ws.send_bytes(item) if isinstance(item, bytes) else ws.send_str(item))
            except ConnectionError:
                return

    async def _read(self, ws: web.WebSocketResponse) -> None:
        while True:
            try:
                frame = await ws.receive(timeout=self.hub.idle_timeout)
            except TimeoutError:
                await ws.close(code=self.hub.dialect.idle_code)
                return
            if frame.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return
            if _size(frame.data) > self.hub.dialect.max_frame:
                await ws.close(code=1009)
                return
            try:
                await self._take(read(frame.data, self.version))
            except ValueError:  # real Phoenix' socket process crashes on what it cannot read, or answer
                await ws.close(code=1011)
                return

    async def _take(self, message: Message) -> None:
        if message.topic == "phoenix":
            known = message.event == "heartbeat"
            self._answer(message, Reply("ok", {}) if known else Reply("error", _UNMATCHED), join_ref=False)
        elif message.event == JOIN:
            await self._join(message)
        elif (channel := self.channels.get(message.topic)) is None:
            if message.event == LEAVE:
                self._answer(message, Reply("ok", {}))
            else:
                self._answer(message, Reply("error", _UNMATCHED), join_ref=False)
        elif channel.means(message):
            channel.take(message)

    def _answer(self, message: Message, reply: Reply, *, join_ref: bool = True) -> None:
        body = {"status": reply.status, "response": reply.response}
        mine = message.join_ref if join_ref else None
        self.send(Message(mine, message.ref, message.topic, "phx_reply", body))

    async def _join(self, message: Message) -> None:
        old = self.channels.pop(message.topic, None)
        if old is None and len(self.channels) >= MAX_CHANNELS:
            self._answer(message, Reply("error", {"reason": "too many channels joined"}))
            return
        behaviour = self.hub.route(message.topic, self.user)
        if behaviour is None:
            self._answer(message, Reply("error", _UNMATCHED), join_ref=False)
            return
        channel = Channel(self, message.topic, message.join_ref, message.ref, behaviour)
        if old is not None:
            old.shut("replaced")
        joining = asyncio.ensure_future(behaviour.join(message.payload))
        try:
            await asyncio.wait({joining})
        finally:
            joining.cancel()
        failure = joining.exception()
        if failure is None:
            self._answer(message, Reply("ok", joining.result()))
            self.channels[message.topic] = channel
        elif isinstance(failure, Refusal):
            self._answer(message, Reply("error", failure.response))
        else:
            _log.warning("a join crashed", topic=message.topic, error=repr(failure))
            self._answer(message, Reply("error", {"reason": "join crashed"}))
        if old is not None:
            old.say_closed()
        if failure is None:
            channel.start()


def _size(frame: str | bytes) -> int:
    """How many bytes a frame has."""
    return len(frame) if isinstance(frame, bytes) else len(frame.encode())
