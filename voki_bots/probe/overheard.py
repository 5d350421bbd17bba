"""What the channels of a party say, kept with the time: the evidence that a session itself needs not keep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field

from voki_bots.errors import NegotiationError
from voki_bots.media.sdp import Description, parse
from voki_bots.signalling.membership import ChannelEvent, Closed, Reply
from voki_bots.signalling.membership import Received as Arrived
from voki_bots.signalling.topic import Channel


@dataclass(frozen=True, slots=True)
class Word:
    """One thing that was said on a call's topic, or done with it.

    Attributes:
        at: Seconds of the event loop.
        what: ``join``, ``sent``, ``came`` or ``closed``.
        event: Its name, if it was sent or came.
        payload: What it held; of a join the reply.
    """

    at: float
    what: str
    event: str = ""
    payload: object = field(default=None, repr=False)

    @property
    def body(self) -> Mapping[str, object]:
        """The payload, if it is a map."""
        return self.payload if isinstance(self.payload, Mapping) else {}


class Log:
    """All that was said on the channels of one party.

    Args:
        clock: Seconds of the event loop.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.words: list[Word] = []
        self._clock = clock

    @property
    def now(self) -> float:
        """Seconds of the event loop."""
        return self._clock()

    def note(self, what: str, event: str = "", payload: object = None) -> None:
        """Keep a word."""
        self.words.append(Word(self._clock(), what, event, payload))

    def find(self, what: str, event: str = "", *, since: float = 0.0) -> list[Word]:
        """What of a kind there was since a time."""
        return [w for w in self.words if w.what == what and w.at >= since and event in ("", w.event)]

    def signals(self, what: str, kind: str, *, since: float = 0.0) -> list[Word]:
        """Descriptions of a kind that were sent or came."""
        return [w for w in self.find(what, "signal", since=since) if w.body.get("type") == kind]

    def descriptions(self, *, since: float = 0.0) -> Iterator[tuple[Word, Description]]:
        """The far end's descriptions that can be read."""
        for word in self.find("came", "signal", since=since):
            try:
                yield word, parse(str(word.body.get("sdp")), "description")
            except NegotiationError:
                continue

    async def wait(self, condition: Callable[[], object], limit: float) -> bool:
        """Wait until something is true of it; False if it is not in time."""
        deadline = self._clock() + limit
        while not condition():
            if self._clock() >= deadline:
                return False
            await asyncio.sleep(0.02)
        return True


class Overheard(Channel):
    """A channel of which everything is kept in a `Log`.

    Args:
        channel: The real one.
        log: Where it is kept.
    """

    def __init__(self, channel: Channel, log: Log) -> None:
        self._channel = channel
        self._log = log

    @property
    def topic(self) -> str:
        """See `Channel.topic`."""
        return self._channel.topic

    @property
    def ended(self) -> bool:
        """See `Channel.ended`."""
        return self._channel.ended

    @property
    def joined(self) -> bool:
        """See `Channel.joined`."""
        return self._channel.joined

    async def join(self) -> object:
        """See `Channel.join`."""
        response = await self._channel.join()
        self._log.note("join", payload=response)
        return response

    async def push(
        self,
        event: str,
        payload: Mapping[str, object],
        *,
        timeout: float | None = None,
        configured: bool = False,
    ) -> Reply:
        """See `Channel.push`."""
        self._log.note("sent", event, payload)
        return await self._channel.push(event, payload, timeout=timeout, configured=configured)

    def send(self, event: str, payload: Mapping[str, object]) -> None:
        """See `Channel.send`."""
        self._log.note("sent", event, payload)
        self._channel.send(event, payload)

    async def leave(self) -> None:
        """See `Channel.leave`."""
        await self._channel.leave()

    def __aiter__(self) -> AsyncIterator[ChannelEvent]:
        return self

    async def __anext__(self) -> ChannelEvent:
        happened = await anext(self._channel)
        if isinstance(happened, Arrived):
            self._log.note("came", happened.event, happened.payload)
        elif isinstance(happened, Closed):
            self._log.note("closed", payload=happened.reason)
        return happened
