"""The far end for the socket's tests: a websockets server that plays Phoenix, behind a wire that can fail."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response


class FarEnd:
    """Answers heartbeats, joins, leaves and pushes with ok, unless told otherwise; remembers everything.

    Attributes:
        statuses: HTTP statuses for the next upgrades, instead of 101.
        accepts: Further condition for an upgrade, by its path with the query; False means 403.
        answer: Gives the reply to a message as (status, response), or None for silence.
        requests: Paths with queries of all upgrades asked for.
        messages: All messages of all connections, as arrays.
    """

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.accepts: Callable[[str], bool] = lambda path: True
        self.answer: Callable[[list[Any]], tuple[str, object] | None] = lambda message: ("ok", {})
        self.requests: list[str] = []
        self.messages: list[list[Any]] = []
        self.sockets: list[ServerConnection] = []
        self.members: dict[str, list[ServerConnection]] = {}
        self.closes: list[int | None] = []
        self.port = 0
        self._server: Server | None = None

    async def start(self) -> None:
        self._server = await serve(
            self._attend,
            "127.0.0.1",
            self.port,
            process_request=self._upgrade,
            close_timeout=0.2,
            logger=logging.Logger("far end", level=logging.CRITICAL),  # a server may well log addresses
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            for socket in self.sockets:
                socket.transport.abort()
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/socket"

    @property
    def open(self) -> list[ServerConnection]:
        return [socket for socket in self.sockets if socket.close_code is None]

    def sent(self, event: str) -> list[list[Any]]:
        return [message for message in self.messages if message[3] == event]

    async def say(self, topic: str, event: str, payload: object, join_ref: str | None = None) -> None:
        await self.sockets[-1].send(json.dumps([join_ref, None, topic, event, payload]))

    async def broadcast(self, topic: str, event: str, payload: object) -> None:
        """To every connection that has joined the topic, as Phoenix does: without refs."""
        for socket in list(self.members.get(topic, ())):
            await socket.send(json.dumps([None, None, topic, event, payload]))

    def _upgrade(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request.path)
        status = self.statuses.pop(0) if self.statuses else 101
        if status == 101 and not self.accepts(request.path):
            status = 403
        return None if status == 101 else connection.respond(status, "")

    async def _attend(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        async for data in socket:
            message = json.loads(data)
            if isinstance(message, dict):
                message = [message.get("join_ref"), message["ref"], message["topic"], message["event"], {}]
            self.messages.append(message)
            if (answer := self.answer(message)) is not None:
                status, response = answer
                self._follow(socket, message, status)
                body = {"status": status, "response": response}
                await socket.send(json.dumps([message[0], message[1], message[2], "phx_reply", body]))
        for members in self.members.values():
            if socket in members:
                members.remove(socket)
        self.closes.append(socket.close_code)

    def _follow(self, socket: ServerConnection, message: list[Any], status: str) -> None:
        members = self.members.setdefault(message[2], [])
        if message[3] == "phx_join" and status == "ok":
            members.append(socket)
        elif message[3] == "phx_leave" and socket in members:
            members.remove(socket)


class Wire:
    """A TCP relay to the far end that can be cut, or freeze with both ends believing in it."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def cut(self) -> None:
        """Reset every connection: no close frame, as when a network goes away."""
        for writer in self._writers:
            writer.transport.abort()

    def freeze(self) -> None:
        self._flows.clear()

    def thaw(self) -> None:
        self._flows.set()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, far_writer]
        self._tasks += [
            asyncio.create_task(self._carry(reader, far_writer)),
            asyncio.create_task(self._carry(far_reader, writer)),
        ]

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self._flows.wait()
                writer.write(data)
        except OSError:
            pass
        finally:
            writer.transport.abort()


@pytest.fixture
async def far() -> AsyncIterator[FarEnd]:
    """A far end that is up."""
    end = FarEnd()
    await end.start()
    yield end
    await end.stop()


@pytest.fixture
async def wire(far: FarEnd) -> AsyncIterator[Wire]:
    """A wire to that far end."""
    relay = Wire(far.port)
    await relay.start()
    yield relay
    await relay.stop()


@pytest.fixture(autouse=True)
async def nothing_left(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Fails a test that leaves a task of ours behind."""
    yield
    mine = asyncio.current_task()
    names = [str(task.get_coro()) for task in asyncio.all_tasks() if task is not mine]
    assert not [name for name in names if "Socket" in name or "Channel" in name]
