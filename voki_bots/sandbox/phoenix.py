"""Phoenix channels as a real server frames them (1.8): sockets, channels, broadcasts.

What topics mean is elsewhere (`topics`); here are the rules that hold for every Phoenix application: the
order of frames, which refs they carry, what a crash, a leave and a second join look like.
"""

from __future__ import annotations

import asyncio
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog
from aiohttp import WSMsgType, web

from ..signalling.wire import V1, V2, Message, encode
from .tasks import Tasks

_log = structlog.get_logger(__name__)

MAX_CHANNELS = 100
"""Channels of one socket (Phoenix >= 1.8.9)."""

MAX_FRAME = 8 * 1024 * 1024

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


class Behaviour(ABC, Generic[UserT]):
    """What one joined topic of one socket does. An exception of `handle` crashes the channel."""

    channel: Channel[UserT]

    @abstractmethod
    async def join(self, params: object) -> object:
        """Return the join reply's response, or raise `Refusal`. The whole socket waits for it."""

    async def joined(self) -> None:
        """Follow the join reply; the place for the first pushes."""

    async def handle(self, event: str, payload: object) -> Reply | Stop | None:
        """Take one push."""
        raise LookupError(f"no clause for {event!r}")

    def ended(self, why: str) -> None:
        """Hear that the channel is gone: ``left``, ``stopped``, ``crashed``, ``replaced`` or ``lost``."""


class Hub(Generic[UserT]):
    """All sockets of one endpoint, and who subscribed to which topic.

    Args:
        route: Returns the behaviour for a topic, or None if there is no such topic.
        tasks: What channels run in.
    """

    def __init__(self, route: Callable[[str, UserT], Behaviour[UserT] | None], tasks: Tasks) -> None:
        self.route = route
        self.tasks = tasks
        self.sockets: set[Socket[UserT]] = set()
        self.subscribers: dict[str, list[Channel[UserT]]] = {}

    def broadcast(
        self, topic: str, event: str, payload: object, *, without: Channel[UserT] | None = None
    ) -> None:
        """Send an event to every subscriber, with null refs."""
        for channel in list(self.subscribers.get(topic, ())):
            if channel is not without:
                channel.socket.send(Message(None, None, topic, event, payload))


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
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[Any] | None = None
        self._why = ""
        behaviour.channel = self

    def start(self) -> None:
        """Subscribe and begin to take pushes; call it after the join reply was sent."""
        self.socket.hub.subscribers.setdefault(self.topic, []).append(self)
        self._task = self.socket.hub.tasks.start(self._run(), f"channel {self.topic}")
        self._task.add_done_callback(self._done)

    def push(self, event: str, payload: object) -> None:
        """Push an event to this subscriber alone."""
        self.socket.send(Message(self.join_ref, None, self.topic, event, payload))

    def take(self, message: Message) -> None:
        """Queue what the client sent."""
        self._inbox.put_nowait(message)

    async def _run(self) -> None:
        await self.behaviour.joined()
        while True:
            message = await self._inbox.get()
            if message.event == "phx_leave":
                self._reply(message.ref, Reply("ok", {}))
                self._why = "left"
                return
            answer = await self.behaviour.handle(message.event, message.payload)
            reply = answer.reply if isinstance(answer, Stop) else answer
            if reply is not None:
                self._reply(message.ref, reply)
            if isinstance(answer, Stop):
                self._why = "stopped"
                return

    def _reply(self, ref: Any, reply: Reply) -> None:
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
        payload = {"reason": "channel_crash"}
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

    def __init__(self, hub: Hub[UserT], user: UserT, version: str, idle_timeout: float) -> None:
        self.hub = hub
        self.user = user
        self.version = version
        self.channels: dict[str, Channel[UserT]] = {}
        self.opened = False
        self._idle_timeout = idle_timeout
        self._out: asyncio.Queue[Message | int] = asyncio.Queue()
        self._ws: web.WebSocketResponse | None = None
        self._transport: asyncio.BaseTransport | None = None

    def send(self, message: Message) -> None:
        """Queue a message for the client."""
        self._out.put_nowait(message)

    def close(self, code: int) -> None:
        """Close with `code` once everything queued is written."""
        self._out.put_nowait(code)

    def abort(self) -> None:
        """Cut the connection without a close frame (the client sees 1006)."""
        if isinstance(self._transport, asyncio.Transport):
            self._transport.abort()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Upgrade `request` and live until the socket ends."""
        ws = self._ws = web.WebSocketResponse(compress=False, max_msg_size=MAX_FRAME, timeout=1.0)
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
            if self.version == V1:
                item = Message(None, item.ref, item.topic, item.event, item.payload)
            try:
                text = encode(item, self.version)
                await (ws.send_bytes(text) if isinstance(text, bytes) else ws.send_str(text))
            except ConnectionError:
                return

    async def _read(self, ws: web.WebSocketResponse) -> None:
        while True:
            try:
                frame = await ws.receive(timeout=self._idle_timeout)
            except TimeoutError:
                await ws.close(code=1002)
                return
            if frame.type is WSMsgType.TEXT:
                try:
                    message = read_text(frame.data, self.version)
                except ValueError:
                    await ws.close(code=1011)
                    return
                await self._take(message)
            elif frame.type is WSMsgType.BINARY:
                await ws.close(code=1011)  # Voki pushes no binary messages
                return
            else:
                return

    async def _take(self, message: Message) -> None:
        if message.topic == "phoenix":
            known = message.event == "heartbeat"
            self._answer(message, Reply("ok", {}) if known else Reply("error", _UNMATCHED), join_ref=False)
        elif message.event == "phx_join":
            await self._join(message)
        elif (channel := self.channels.get(message.topic)) is None:
            if message.event == "phx_leave":
                self._answer(message, Reply("ok", {}))
            else:
                self._answer(message, Reply("error", _UNMATCHED), join_ref=False)
        elif message.join_ref is None or message.join_ref == channel.join_ref:
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
        await asyncio.wait({joining})
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


def read_text(text: str, version: str) -> Message:
    """Read what a client sent. Refs stay as they came, numbers too: they are echoed.

    Raises:
        ValueError: It is no message of this version.
    """
    body = json.loads(text)
    if version == V1 and isinstance(body, dict):
        parts = [body.get(name) for name in ("join_ref", "ref", "topic", "event", "payload")]
    elif version == V2 and isinstance(body, list) and len(body) >= 5:
        parts = body[:5]
    else:
        raise ValueError("not a message")
    join_ref, ref, topic, event, payload = parts
    if not isinstance(topic, str) or not isinstance(event, str):
        raise ValueError("topic and event must be text")  # noqa: TRY004 - of the wire, not of a caller
    return Message(join_ref, ref, topic, event, payload)


def serializer_for(vsn: str | None) -> str | None:
    """Choose the serializer for the query parameter ``vsn``; None refuses the connection."""
    if vsn is None:
        return V1
    for version in (V1, V2):
        prefix = re.escape(version[:4])
        if re.fullmatch(prefix + r"\d+", vsn):
            return version
    return None
