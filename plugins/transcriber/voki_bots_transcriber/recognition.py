"""One model in a process of its own, from the service's side: fed, heard, and started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import structlog

from voki_bots import ConfigurationError
from voki_bots_transcriber.waiting import Waiting
from voki_bots_transcriber.wire import Kind, Message, Reader

LOADING = 120.0
"""Seconds that a model may take to load."""

STALLED = 10.0
"""Seconds without a sign after which a process that has something to do is killed."""

QUIETLY = 1.0
"""Seconds of lag from which on no partials are asked for."""

LATE = 2.5
"""Seconds of lag from which on what is recognised is marked as late."""

WINDOW = 64
"""Messages that a process may have at once; the others wait here, where they are counted."""

AGAIN = (0.0, 0.5, 2.0, 5.0, 10.0)
"""Seconds before a process is started again, by how many before it have died before they were ready."""

PIECE = 1 << 18

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a recognition process loads.

    Attributes:
        engine: ``vosk`` or ``faster-whisper``.
        model: The folder of the model.
        language: ISO 639-1, or empty.
        phrases: Nothing else is recognised, if there are any.
        threads: How many voices it recognises at once.
        warm: How many recognisers have heard speech before they are needed.
        keep: How many are kept for the next utterance.
    """

    engine: str
    model: str
    language: str = ""
    phrases: tuple[str, ...] = ()
    threads: int = 2
    warm: int = 2
    keep: int = 12


class Listener(Protocol):
    """Is told what becomes of a stream, on the event loop."""

    def understood(self, text: str, position: int) -> None:
        """So far the utterance that is going on is this."""

    def said(self, text: str, words: Sequence[Sequence[object]], position: int, *, late: bool) -> None:
        """An utterance ended at or before a position; it may be empty."""

    def missed(self, start: int, end: int, cause: str) -> None:
        """These samples were not recognised."""


class Stream:
    """One voice. `feed`, `end` and `close` may be called from any one thread."""

    def __init__(self, recognition: Recognition, number: int, listener: Listener) -> None:
        self.number = number
        self.listener = listener
        self.sent: deque[tuple[Message, float]] = deque()
        """What would have to be said again if the process died now."""
        self.in_flight: deque[tuple[Message, float]] = deque()
        self.suspect: int | None = None
        self.over: asyncio.Future[None] = recognition.future()
        self._recognition = recognition

    def feed(self, position: int, pcm: bytes) -> None:
        """Say int16 samples at 16 kHz, the first of which is the `position`-th of this stream."""
        self._recognition.put(self, Message(Kind.AUDIO, self.number, position, pcm))

    def end(self, position: int) -> None:
        """End the utterance."""
        self._recognition.put(self, Message(Kind.END, self.number, position))

    def close(self, position: int) -> None:
        """Say that nothing more will come; `over` is done when everything is recognised."""
        self._recognition.put(self, Message(Kind.CLOSE, self.number, position))


class Recognition:
    """A recognition process, and the next one when it dies.

    Args:
        plan: What it loads.
        memory: Bytes of audio that may wait for it in memory.
        spool: Bytes that may wait on disk beyond that.

    Attributes:
        restarts: How many processes have died.
        pid: Of the process that runs now; None between two of them.
        warmed: How many of its recognisers have heard speech beforehand.
    """

    def __init__(self, plan: Plan, *, memory: int, spool: int) -> None:
        self.plan = plan
        self.restarts = 0
        self.pid: int | None = None
        self._waiting = Waiting(memory, spool)
        self._loop = asyncio.get_running_loop()
        self._streams: dict[int, Stream] = {}
        self._numbers = itertools.count(1)
        self._in_flight = 0
        self._heard_of = 0.0
        self._wake = asyncio.Event()
        self._woken = False
        self.warmed = 0
        self._serving: asyncio.Task[None] | None = None

    # ------------------------------------------------------------ what streams and plugins ask

    async def start(self) -> None:
        """Load the model.

        Raises:
            ConfigurationError: If it cannot be loaded, or does not know words of the vocabulary.
        """
        ready = self._loop.create_future()
        self._serving = asyncio.create_task(self._serve(ready), name=f"recognition {self.plan.language}")
        try:
            await ready
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the process; what waits is forgotten."""
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
            self._serving = None
        self._waiting.close()

    def future(self) -> asyncio.Future[None]:
        """Make a future of the event loop."""
        return self._loop.create_future()

    def stream(self, listener: Listener) -> Stream:
        """Begin a voice; from any thread."""
        stream = Stream(self, next(self._numbers), listener)
        self._streams[stream.number] = stream
        return stream

    @property
    def lag(self) -> float:
        """Seconds since the oldest of what is not recognised yet came."""
        flying = [each.in_flight[0][1] for each in tuple(self._streams.values()) if each.in_flight]
        oldest = [self._waiting.since, *flying]
        return max((self._loop.time() - at for at in oldest if at is not None), default=0.0)

    @property
    def waiting(self) -> int:
        """How many messages have not been recognised yet."""
        return len(self._waiting) + self._in_flight

    def put(self, stream: Stream, message: Message) -> None:
        """Let a message of a stream wait for the process; from any thread."""
        if not self._waiting.put(message, self._loop.time()):
            end = message.position + len(message.body) // 2
            self._call(lambda: stream.listener.missed(message.position, end, "overflow"))
        elif not self._woken:
            self._woken = True
            self._call(self._wake.set)

    def _call(self, function: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(function)

    # ------------------------------------------------------------ processes, one after another

    async def _serve(self, ready: asyncio.Future[None]) -> None:
        failures = 0
        while True:
            began = self._loop.time()
            why = await self._live(ready)
            if not ready.done():
                ready.set_exception(ConfigurationError(why, path="model"))
                return
            failures = 0 if self._loop.time() - began > STALLED else failures + 1
            self.restarts += 1
            _log.error("recognition_died", model=self.plan.model, why=why, restarts=self.restarts)
            self._replay()
            await asyncio.sleep(AGAIN[min(failures, len(AGAIN) - 1)])

    async def _live(self, ready: asyncio.Future[None]) -> str:
        """Run one process until it ends; give why it did."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # nothing is imported from whatever folder we happen to be in
                "-m",
                "voki_bots_transcriber.child",
                str(theirs.fileno()),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
        reader, writer = await asyncio.open_connection(sock=ours, limit=PIECE)
        self.pid = process.pid
        complaints: deque[str] = deque(maxlen=3)
        complaining = asyncio.create_task(_keep(process, complaints))
        why = ""
        try:
            await self._configure(reader, writer, ready)
            async with asyncio.TaskGroup() as group:
                pumping = group.create_task(self._pump(writer))
                watching = group.create_task(self._watch())
                await self._listen(reader)
                pumping.cancel()
                watching.cancel()
        except* (_Failed, ConnectionError, TimeoutError, ValueError) as errors:
            why = str(errors.exceptions[0]) or type(errors.exceptions[0]).__name__
        finally:
            self.pid = None
            await self._end(process, writer, complaining)
        ended = f"the process ended with {process.returncode}: {' / '.join(complaints) or 'it said nothing'}"
        return f"{self.plan.model}: {why or ended}"

    async def _end(
        self,
        process: asyncio.subprocess.Process,
        writer: asyncio.StreamWriter,
        complaining: asyncio.Task[None],
    ) -> None:
        writer.close()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await complaining
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def _configure(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ready: asyncio.Future[None]
    ) -> None:
        writer.write(Message(Kind.CONFIGURE, body=json.dumps(asdict(self.plan)).encode()).encoded())
        messages, answer = Reader(), None
        async with asyncio.timeout(LOADING):
            while answer is None:
                piece = await reader.read(PIECE)
                if not piece:
                    raise _Failed("the process ended while it loaded the model")
                answer = next(messages.feed(piece), None)
        if answer.kind is Kind.FAILED:
            raise _Failed(answer.body.decode(errors="replace"))
        if unknown := json.loads(answer.body)["unknown"]:
            raise _Failed(f"the model does not know these words of the vocabulary: {', '.join(unknown)}")
        if not ready.done():
            ready.set_result(None)

    # ------------------------------------------------------------ one process

    async def _pump(self, writer: asyncio.StreamWriter) -> None:
        while True:
            self._wake.clear()
            self._woken = False
            while self._in_flight < WINDOW and (entry := self._waiting.take()) is not None:
                self._send(writer, *entry)
            await writer.drain()
            await self._wake.wait()

    def _send(self, writer: asyncio.StreamWriter, message: Message, at: float) -> None:
        stream = self._streams.get(message.stream)
        if stream is None:
            return
        now = self._loop.time()
        kind = message.kind
        if kind is Kind.AUDIO and now - at > QUIETLY:
            kind = Kind.AUDIO_QUIETLY
        if not self._in_flight:
            self._heard_of = now
        self._in_flight += 1
        entry = message, at
        stream.in_flight.append(entry)
        stream.sent.append(entry)
        writer.write(Message(kind, message.stream, message.position, message.body).encoded())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(STALLED / 10)
            if self._in_flight and self._loop.time() - self._heard_of > STALLED:
                raise _Failed(f"the process gave no sign for {STALLED:g} s")

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        messages = Reader()
        while piece := await reader.read(PIECE):
            self._heard_of = self._loop.time()
            for message in messages.feed(piece):
                if message.kind is Kind.WARM:
                    self.warmed = message.position
                if (stream := self._streams.get(message.stream)) is not None:
                    self._told(stream, message)

    def _told(self, stream: Stream, message: Message) -> None:
        match message.kind:
            case Kind.PARTIAL:
                stream.listener.understood(message.body.decode(), message.position)
            case Kind.FINAL:
                found = json.loads(message.body)
                while (
                    stream.sent
                    and _end(stream.sent[0][0]) <= message.position
                    and stream.sent[0][0].kind != Kind.CLOSE
                ):
                    stream.sent.popleft()
                late = bool(stream.in_flight) and self._loop.time() - stream.in_flight[0][1] > LATE
                if found:
                    stream.listener.said(found["text"], found["words"], message.position, late=late)
            case Kind.TAKEN:
                taken, _ = stream.in_flight.popleft()
                self._in_flight -= 1
                if taken.kind is Kind.CLOSE:
                    self._over(stream)
                self._wake.set()

    def _over(self, stream: Stream) -> None:
        del self._streams[stream.number]
        if not stream.over.done():
            stream.over.set_result(None)

    def _replay(self) -> None:
        """Let everything that was sent and not answered be said again, before what waits, with its age."""
        self._in_flight = 0
        again: list[tuple[Message, float]] = []
        for stream in tuple(self._streams.values()):
            flying, stream.in_flight = bool(stream.in_flight), deque()
            sent, stream.sent = stream.sent, deque()
            first = sent[0][0].position if sent else None
            if flying and first is not None and stream.suspect == first:
                # Twice it died over this utterance: it is left out, for the others' sake.
                stream.listener.missed(first, _end(sent[-1][0]), "recogniser_died")
                sent = deque(each for each in sent if not each[0].body)
            stream.suspect = first if flying else None
            again += sent
        self._waiting.put_back(again)


class _Failed(Exception):
    """Why a process is of no use."""


def _end(message: Message) -> int:
    return message.position + len(message.body) // 2


async def _keep(process: asyncio.subprocess.Process, complaints: deque[str]) -> None:
    """Keep the last lines that a process wrote to its standard error."""
    assert process.stderr is not None
    async for line in process.stderr:
        complaints.append(line.decode(errors="replace").strip()[:200])
