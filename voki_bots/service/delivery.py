"""What happens in calls, told while it happens: as server-sent events and over a websocket.

Both give the same JSON, resume after the last id that was read, and never hold up a call: see `Feed`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import structlog
from fastapi import APIRouter, Depends, Header, HTTPException, Query, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse

from voki_bots.bots.session import CallSession
from voki_bots.calls import UtteranceHeard
from voki_bots.service.access import Access, Principal, Rank
from voki_bots.service.feeds import Entry, Feed, Feeds, Reading

CALL = "/api/v1/calls/{tenant}/{call:path}"
"""A call's address; its id is opaque, and may hold a slash."""

BEAT = 15.0
"""Seconds of silence after which something is sent, so that nobody between takes the connection for dead."""

LONGEST = 4096
"""Characters of a message to us."""

TOPICS = 100
"""Topics of one websocket."""

CAPTIONS = frozenset({UtteranceHeard.__name__})

_log = structlog.get_logger(__name__)


class Delivery:
    """The feeds of calls, and the routes that read them.

    Args:
        access: Who may read.
        told: Called with every entry of every call, for whoever passes it on.
        clock: Seconds.
        wall: The time in UTC.
    """

    def __init__(
        self,
        access: Access,
        *,
        clock: Callable[[], float],
        told: Callable[[Feed, Entry], None] = lambda *_: None,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.feeds = Feeds(clock)
        self._access = access
        self._told = told
        self._wall = wall
        self._stopped = asyncio.Event()

    async def follow(self, session: CallSession) -> None:
        """Put what happens in a session into its call's feed, until its events end."""
        feed = self.feeds.open(*session.call.key)
        try:
            async for event in session.bus.events("delivery"):
                if (entry := feed.put(session.bot, event, at=self._wall(), now=session.now)) is not None:
                    self._told(feed, entry)
        finally:
            self.feeds.close(feed)

    def stop(self) -> None:
        """End every stream: the service stops."""
        self._stopped.set()
        for feed in self.feeds.all():
            feed.wake()

    # ------------------------------------------------------------ server-sent events

    def routes(self) -> APIRouter:
        """Make the routes."""
        router = APIRouter(tags=["delivery"])
        allowed = [Depends(self._access.viewer)]

        @router.get(CALL + "/events", dependencies=allowed)
        async def events(
            tenant: str,
            call: str,
            kinds: str = Query(default="", description="names of events, with commas; all if empty"),
            last_event_id: str = Header(default=""),
        ) -> StreamingResponse:
            """Everything that happens in a call, as server-sent events; ids are numbers."""
            wanted = frozenset(each for each in kinds.split(",") if each)
            return self._stream(tenant, call, wanted, last_event_id, lambda entry: str(entry.number))

        @router.get(CALL + "/captions", dependencies=allowed)
        async def captions(
            tenant: str, call: str, last_event_id: str = Header(default="")
        ) -> StreamingResponse:
            """The captions of a call, as server-sent events; ids are ``<utterance>.<rev>``."""
            return self._stream(tenant, call, CAPTIONS, last_event_id, lambda entry: entry.caption)

        @router.websocket("/api/v1/live")
        async def live(socket: WebSocket) -> None:
            """Any number of calls over one websocket: see docs/delivery.md."""
            await self._serve(socket)

        return router

    def _stream(
        self,
        tenant: str,
        call: str,
        kinds: frozenset[str],
        last: str,
        id_of: Callable[[Entry], str],
    ) -> StreamingResponse:
        if (feed := self.feeds.get(tenant, call)) is None:
            raise HTTPException(404, "no bot attends this call, or has lately")
        reading = Reading(feed.place_of(last) if last else 0, kinds)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(
            self._events(feed, reading, id_of), media_type="text/event-stream", headers=headers
        )

    async def _events(
        self, feed: Feed, reading: Reading, id_of: Callable[[Entry], str]
    ) -> AsyncIterator[str]:
        wake = asyncio.Event()
        feed.listen(wake)
        try:
            yield ": hello\n\n"
            while True:
                wake.clear()
                found = feed.read(reading)
                if reading.missed:
                    yield f"event: missed\ndata: {reading.missed}\n\n"
                    reading.missed = 0
                for entry in found:
                    yield f"id: {id_of(entry)}\nevent: {entry.kind}\ndata: {entry.body}\n\n"
                if feed.waiting(reading):
                    continue
                if feed.over or self._stopped.is_set():
                    yield "event: end\ndata: {}\n\n"
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(BEAT):
                        await wake.wait()
                        continue
                yield ": still here\n\n"
        finally:
            feed.leave(wake)

    # ------------------------------------------------------------ websocket

    async def _serve(self, socket: WebSocket) -> None:
        who = await self._access.of_socket(socket, None, Rank.VIEWER)
        if who is not None:
            with suppress(WebSocketDisconnect):
                await _Connection(self.feeds, socket, self._stopped, who).run()


class _Connection:
    """One websocket, its subscriptions, and what is sent over it."""

    def __init__(self, feeds: Feeds, socket: WebSocket, stopped: asyncio.Event, who: Principal) -> None:
        self._who = who
        self._feeds = feeds
        self._socket = socket
        self._stopped = stopped
        self._wake = asyncio.Event()
        self._reading: dict[str, tuple[Feed, Reading]] = {}
        self._errors: list[str] = []
        self._gone = False

    async def run(self) -> None:
        """Serve until the other end, or the service, goes."""
        hearing = asyncio.create_task(self._hear())
        try:
            await self._send()
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)
            for feed, _ in self._reading.values():
                feed.leave(self._wake)

    async def _send(self) -> None:
        """The only one that sends: what is slow to be taken waits in the feed, not here."""
        await self._socket.send_json({"type": "hello"})
        while not (self._gone or self._stopped.is_set()):
            self._wake.clear()
            errors, self._errors = self._errors, []
            for why in errors:
                await self._socket.send_json({"type": "error", "why": why})
            for topic, (feed, reading) in list(self._reading.items()):
                await self._send_topic(topic, feed, reading)
            if any(feed.waiting(reading) for feed, reading in self._reading.values()):
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT):
                    await self._wake.wait()
                    continue
            await self._socket.send_json({"type": "beat"})
        with suppress(RuntimeError):
            await self._socket.close(1001)

    async def _send_topic(self, topic: str, feed: Feed, reading: Reading) -> None:
        for entry in feed.read(reading):
            await self._socket.send_text(f'{{"topic":{json.dumps(topic)},"entry":{entry.body}}}')
        if reading.missed:
            await self._socket.send_json({"type": "missed", "topic": topic, "count": reading.missed})
            reading.missed = 0
        if feed.over and not feed.waiting(reading):
            self._drop(topic)
            await self._socket.send_json({"type": "end", "topic": topic})

    async def _hear(self) -> None:
        try:
            while True:
                try:
                    self._take(message_of(await self._socket.receive_text()))
                except (ValueError, KeyError) as error:  # Starlette has no text of a binary message
                    error = error if isinstance(error, ValueError) else ValueError("expected text")
                    self._errors = [*self._errors[-TOPICS:], str(error)]
                    self._wake.set()
        except (WebSocketDisconnect, RuntimeError):
            self._gone = True
            self._wake.set()

    def _take(self, said: Mapping[str, Any]) -> None:
        match said:
            case {"subscribe": str(topic)}:
                self._subscribe(topic, said)
            case {"unsubscribe": str(topic)}:
                self._drop(topic)
            case {"token": str()}:
                pass  # it was shown in the header already
            case _:
                raise ValueError("expected {subscribe: tenant/call} or {unsubscribe: tenant/call}")
        self._wake.set()

    def _subscribe(self, topic: str, said: Mapping[str, Any]) -> None:
        tenant, _, call = topic.partition("/")
        kinds, last = said.get("kinds", []), said.get("last", "")
        if not isinstance(kinds, list) or not isinstance(last, str | int):
            wrong = "kinds: expected a list of names of events; last: expected an id"
            raise ValueError(wrong)  # noqa: TRY004 - it is what came that is wrong
        feed = self._feeds.get(tenant, call) if self._who.sees(tenant) else None
        if feed is None:
            raise ValueError("no bot attends this call, or has lately")
        if len(self._reading) >= TOPICS and topic not in self._reading:
            raise ValueError(f"at most {TOPICS} topics are allowed on one websocket")
        self._drop(topic)
        place = feed.place_of(str(last)) if last != "" else 0
        self._reading[topic] = feed, Reading(place, frozenset(map(str, kinds)))
        feed.listen(self._wake)

    def _drop(self, topic: str) -> None:
        feed, _ = self._reading.pop(topic, (None, None))
        if feed is not None and not any(feed is each for each, _ in self._reading.values()):
            feed.leave(self._wake)


def message_of(text: str, longest: int = LONGEST) -> Mapping[str, Any]:
    """Read a message; ValueError if it is none of ours."""
    if len(text) > longest:
        raise ValueError(f"a message of {len(text)} characters; at most {longest} are allowed")
    try:
        said = json.loads(text)
    except RecursionError:
        said = None
    if not isinstance(said, Mapping):
        raise ValueError("expected a JSON object")  # noqa: TRY004 - of what came
    return said
