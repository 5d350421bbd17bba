"""The recognition process: `python -m voki_bots_transcriber.child FD`.

It is a process of its own because an assertion of Kaldi aborts it (SIGABRT). One thread reads, some
recognise. A recogniser is leased to a stream for one utterance: so all of them stay warm, which matters, for
the first speech of a cold one stalls for half a second.
"""

from __future__ import annotations

import ctypes
import json
import os
import queue
import socket
import sys
import threading
import traceback
from collections import deque
from pathlib import Path
from typing import Any

from voki_bots_transcriber.engine import RATE, Engine, Recogniser, Result, load
from voki_bots_transcriber.wire import Kind, Message, Reader

RECYCLE = 180 * RATE
"""Samples after which a recogniser is made anew: its caches grow without end."""

WARMING = RATE // 5 * 2
"""Bytes of speech that a cold recogniser is fed at once: 0.2 s."""

IDLE = 19
"""The niceness of warming."""

PIECE = 1 << 18


class Recognisers:
    """Recognisers that wait for their next utterance.

    Args:
        engine: Makes them.
        keep: How many are kept at most.
    """

    def __init__(self, engine: Engine, keep: int) -> None:
        self._engine = engine
        self._keep = keep
        self._lock = threading.Lock()
        self._waiting: list[Recogniser] = []

    def take(self) -> Recogniser:
        """Lease one, the warmest."""
        with self._lock:
            if self._waiting:
                return self._waiting.pop()
        return self._engine.recogniser()

    def shrink(self, count: int) -> bool:
        """Let go of all but so many, the coldest first; False if there were no more."""
        with self._lock:
            spent = self._waiting[: max(0, len(self._waiting) - count)]
            del self._waiting[: len(spent)]
        return bool(spent)

    def give(self, recogniser: Recogniser) -> bool:
        """Take one back whose utterance is over; False if it is spent, and should be let go of."""
        with self._lock:
            wanted = recogniser.fed < RECYCLE and len(self._waiting) < self._keep
            if wanted:
                self._waiting.append(recogniser)
        return wanted


class Stream:
    """One voice: its messages in order, one at a time, by whichever thread."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.messages: deque[Message] = deque()
        self.scheduled = False
        self.closed = False
        self.recogniser: Recogniser | None = None
        self.origin = 0
        self.position = 0
        self.shown = ""


class Recognition:
    """Everything that the process does."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire
        self._sending = threading.Lock()
        self._lock = threading.Lock()
        self._ready: queue.SimpleQueue[Stream | None] = queue.SimpleQueue()
        self._warming: threading.Thread | None = None
        self._over = False
        self._keep = 1
        self._streams: dict[int, Stream] = {}
        self._recognisers: Recognisers | None = None
        self._threads = 1

    def run(self) -> None:
        """Serve until the other end closes."""
        reader = Reader()
        threads: list[threading.Thread] = []
        try:
            while piece := self._wire.recv(PIECE):
                for message in reader.feed(piece):
                    if message.kind is Kind.CONFIGURE:
                        if not self._configure(json.loads(message.body)):
                            return
                        threads = [threading.Thread(target=self._work) for _ in range(self._threads)]
                        for thread in threads:
                            thread.start()
                    else:
                        self._take(message)
        except ConnectionError:
            pass  # the service is gone, and nobody waits for what we hear
        finally:
            self._over = True
            for _ in threads:
                self._ready.put(None)
            for thread in threads:
                thread.join()
            if self._warming is not None:
                self._warming.join()

    def _configure(self, wanted: dict[str, Any]) -> bool:
        phrases = wanted["phrases"]
        self._threads = wanted["threads"]
        self._keep = max(1, wanted["warm"])
        try:
            engine = load(
                wanted["engine"],
                Path(wanted["model"]),
                language=wanted["language"],
                phrases=phrases,
                threads=self._threads,
            )
            unknown = engine.unknown(phrases)
            self._recognisers = Recognisers(engine, wanted["keep"])
        except Exception as error:  # noqa: BLE001 - an engine may raise anything
            self._tell(Message(Kind.FAILED, body=f"{type(error).__name__}: {error}".encode()))
            return False
        self._tell(Message(Kind.READY, body=json.dumps({"unknown": unknown}).encode()))
        if not unknown and wanted["warm"]:
            self._warming = threading.Thread(target=self._warm, args=(engine, wanted["warm"]))
            self._warming.start()
        return True

    def _warm(self, engine: Engine, count: int) -> None:
        """Let recognisers hear speech before anybody speaks to them, in whatever time nobody else wants."""
        assert self._recognisers is not None
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), IDLE)  # of this thread alone (Linux)
        speech = _speech()
        for number in range(count):
            recogniser = engine.recogniser()
            for at in range(0, len(speech), WARMING):
                if self._over:
                    return
                recogniser.feed(speech[at : at + WARMING])
            recogniser.final()
            self._recognisers.give(recogniser)
            self._tell(Message(Kind.WARM, position=number + 1))

    # ------------------------------------------------------------ streams

    def _take(self, message: Message) -> None:
        with self._lock:
            stream = self._streams.get(message.stream)
            if stream is None:
                stream = self._streams[message.stream] = Stream(message.stream)
            stream.messages.append(message)
            if stream.scheduled:
                return
            stream.scheduled = True
        self._ready.put(stream)

    def _work(self) -> None:
        while (stream := self._ready.get()) is not None:
            try:
                self._act(stream, stream.messages.popleft())
            except OSError:
                return  # the service is gone
            except Exception:  # noqa: BLE001 - an engine may raise anything
                traceback.print_exc()
                os._exit(os.EX_SOFTWARE)  # the service starts another process, and says this again to it
            with self._lock:
                stream.scheduled = bool(stream.messages)
            if stream.scheduled:
                self._ready.put(stream)  # behind the others: everybody has a turn
            elif stream.closed:
                self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        """A voice is over; after the last of them memory is given back, but for what is to stay warm."""
        with self._lock:
            self._streams.pop(stream.number, None)
            last = not self._streams
        if last and self._recognisers is not None and self._recognisers.shrink(self._keep):
            _trim()

    def _act(self, stream: Stream, message: Message) -> None:
        match message.kind:
            case Kind.AUDIO | Kind.AUDIO_QUIETLY:
                self._hear(stream, message)
            case Kind.END:
                self._end(stream, message.position)
            case Kind.CLOSE:
                self._end(stream, stream.position)
                stream.closed = True
        position = message.position + len(message.body) // 2
        self._tell(Message(Kind.TAKEN, stream.number, position))

    def _hear(self, stream: Stream, message: Message) -> None:
        assert self._recognisers is not None
        if stream.recogniser is not None and message.position != stream.position:
            self._end(stream, stream.position)  # something was left out: what follows is another utterance
        if stream.recogniser is None:
            stream.recogniser = self._recognisers.take()
            stream.origin = message.position - stream.recogniser.fed
        said = stream.recogniser.feed(message.body)
        stream.position = message.position + len(message.body) // 2
        if said is not None:
            self._final(stream, said)
        elif message.kind is Kind.AUDIO and (text := stream.recogniser.result()) != stream.shown:
            stream.shown = text
            self._tell(Message(Kind.PARTIAL, stream.number, stream.position, text.encode()))

    def _end(self, stream: Stream, position: int) -> None:
        if stream.recogniser is None or self._recognisers is None:
            self._tell(Message(Kind.FINAL, stream.number, position, b"{}"))
            return
        recogniser, stream.recogniser = stream.recogniser, None
        self._final(stream, recogniser.final())
        kept = self._recognisers.give(recogniser)
        del recogniser
        if not kept:
            _trim()

    def _final(self, stream: Stream, said: Result) -> None:
        def at(seconds: float) -> int:
            return stream.origin + round(seconds * RATE)

        words = [[word.text, at(word.start), at(word.end), word.confidence] for word in said.words]
        body = json.dumps({"text": said.text, "words": words}, ensure_ascii=False).encode()
        stream.shown = ""
        self._tell(Message(Kind.FINAL, stream.number, stream.position, body))

    def _tell(self, message: Message) -> None:
        with self._sending:
            self._wire.sendall(message.encoded())


def _speech() -> bytes:
    """Half a minute of somebody speaking, as int16 at `RATE`."""
    import av

    resampler = av.AudioResampler("s16", "mono", RATE)
    with av.open(str(Path(__file__).parent / "warm.opus")) as file:
        frames = [made for frame in file.decode(audio=0) for made in resampler.resample(frame)]
    return b"".join(frame.to_ndarray().tobytes() for frame in frames)


def _trim() -> None:
    """Give memory back: without it the heap keeps what a recogniser took (1.2 GB after 20 of them)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as inherited:
        Recognition(inherited).run()
