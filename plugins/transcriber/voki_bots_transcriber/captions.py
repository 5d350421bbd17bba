"""The captions of one call: a voice for each track, and what is made of what was recognised."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from typing import Any, Protocol

from voki_bots import (
    Attribution,
    AudioFrame,
    Found,
    Metrics,
    PluginEvent,
    Redactor,
    Track,
    UtteranceHeard,
    Word,
)
from voki_bots_transcriber.gate import Feed, SpeechGate, Step
from voki_bots_transcriber.places import Places
from voki_bots_transcriber.recognition import Recognition

LOOK = 0.2
"""Seconds between two looks for voices that fell silent: a muted track sends nothing at all."""

SILENT = 0.8
"""Seconds without a frame after which an utterance is over."""

LAST_WORDS = 20.0
"""Seconds that the last words of a call may take to be recognised."""


class Told(Protocol):
    """What captions need of a call; an `Attendance` is one."""

    @property
    def metrics(self) -> Metrics:
        """Counters and gauges."""

    def who(self, track: Track) -> Attribution:
        """Say who is on a track."""

    def publish(self, event: PluginEvent) -> None:
        """Tell everybody."""

    def journal(self, event: str, **facts: Any) -> None:
        """Note something for ever."""


class Keeps(Protocol):
    """What keeps what was said."""

    def next_id(self) -> str:
        """Name the next utterance."""

    def utterance(self, heard: UtteranceHeard, redacted: Sequence[Found]) -> None:
        """Keep a final utterance, and where something of it was kept back."""

    def gap(self, track: Track, start: float, end: float, cause: str) -> None:
        """Keep that something was not recognised."""


class Captions:
    """A sink that lets every track of one call be recognised, and publishes what was said.

    `write`, `flush` and `close` run in the transcriber's thread, everything else on the event loop.

    Args:
        call: The call.
        recognition: Recognises it.
        transcript: Keeps it.
        language: In which it is.
        partials: Whether utterances are published before they are over.
        hangover: Seconds of silence that end an utterance.
        redactor: Keeps back what must not be kept.
    """

    pace = 0.05

    def __init__(
        self,
        call: Told,
        recognition: Recognition,
        transcript: Keeps,
        *,
        language: str,
        partials: bool,
        hangover: float,
        redactor: Redactor | None = None,
    ) -> None:
        self.redactor = redactor
        self.call = call
        self.recognition = recognition
        self.transcript = transcript
        self.language = language
        self.partials = partials
        self.closed = asyncio.Event()
        self.lock = threading.Lock()
        self._hangover = hangover
        self._loop = asyncio.get_running_loop()
        self.clock = self._loop.time
        self._voices: dict[Track, Voice] = {}

    # ------------------------------------------------------------ in the transcriber's thread

    def write(self, frame: AudioFrame) -> None:
        """Take a frame of whichever track."""
        with self.lock:
            voice = self._voices.get(frame.track)
            if voice is None:
                voice = Voice(self, frame.track, SpeechGate(hangover=self._hangover))
                self._voices[frame.track] = voice
            voice.take(frame)

    def flush(self) -> None:
        """Nothing is kept back."""

    def close(self) -> None:
        """The call is over: nothing more will be said."""
        with self.lock:
            for voice in self._voices.values():
                voice.close()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self.closed.set)

    # ------------------------------------------------------------ on the event loop

    async def look(self) -> None:
        """End utterances of tracks that send nothing any more, until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK)
            with self.lock:
                for voice in self._voices.values():
                    if voice.gate.open and self._loop.time() - voice.heard > SILENT:
                        voice.end()
            self.call.metrics.gauge("lag", self.recognition.lag)

    async def finish(self, patience: float | None = LAST_WORDS) -> None:
        """Wait until everything that was said is recognised; what takes too long becomes a gap.

        The sink must have been closed, or be about to be.

        Args:
            patience: Seconds that it may take; None waits for ever.
        """
        try:
            async with asyncio.timeout(patience):
                await self.closed.wait()
                await asyncio.gather(*(asyncio.shield(each.stream.over) for each in self._voices.values()))
        except TimeoutError:
            with self.lock:
                voices = list(self._voices.values())
            for voice in voices:
                voice.give_up()


class Voice:
    """One track. It is told by the recognition, and it tells the call.

    Args:
        captions: Of the call.
        track: Its track.
        gate: Decides what of it is recognised.
    """

    def __init__(self, captions: Captions, track: Track, gate: SpeechGate) -> None:
        self.track = track
        self.gate = gate
        self.stream = captions.recognition.stream(self)
        self.heard = 0.0
        self._clock = captions.clock
        self._captions = captions
        self._places = Places()
        self._since = 0
        self._id: str | None = None
        self._rev = 0
        self._text = ""

    # ------------------------------------------------------------ in the transcriber's thread, with the lock

    def take(self, frame: AudioFrame) -> None:
        """Take a frame."""
        self.heard = self._clock()
        self._do(self.gate.take(frame.samples, frame.start))

    def end(self) -> None:
        """Nothing more comes for now."""
        self._do(self.gate.end())

    def close(self) -> None:
        """Nothing more comes."""
        self.end()
        self.stream.close(self._places.fed)

    def _do(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if isinstance(step, Feed):
                position = self._places.feed(len(step.samples), step.start)
                self.stream.feed(position, step.samples.tobytes())
            else:
                self.stream.end(self._places.fed)

    # ------------------------------------------------------------ told by the recognition, on the event loop

    def understood(self, text: str, position: int) -> None:
        """See `Listener.understood`."""
        if text and text != self._text and self._captions.partials:
            self._publish(text, (), self._since, position, final=False)
            self._text = text

    def said(self, text: str, words: Sequence[Sequence[Any]], position: int, *, late: bool) -> None:
        """See `Listener.said`."""
        since, self._since = self._since, position
        if text or self._id is not None:
            self._publish(text, words, since, position, final=True, late=late)
        self._id, self._rev, self._text = None, 0, ""

    def missed(self, start: int, end: int, cause: str) -> None:
        """See `Listener.missed`."""
        with self._captions.lock:
            span = self._places.at(start), self._places.at(end, end=True)
        self._captions.transcript.gap(self.track, *span, cause)
        self._captions.call.journal(
            "not_recognised",
            track=str(self.track),
            start=round(span[0], 3),
            end=round(span[1], 3),
            cause=cause,
        )
        self._captions.call.metrics.count(f"missed_{cause}")
        if self._id is not None:
            self.said("", (), end, late=False)
        self._since = max(self._since, end)

    def give_up(self) -> None:
        """What is not recognised by now never will be."""
        if not self.stream.over.done() and self._since < self._places.fed:
            self.missed(self._since, self._places.fed, "behind")

    def _publish(
        self,
        text: str,
        words: Sequence[Sequence[Any]],
        since: int,
        position: int,
        *,
        final: bool,
        late: bool = False,
    ) -> None:
        captions = self._captions
        if self._id is None:
            self._id = captions.transcript.next_id()
        who = captions.call.who(self.track)
        person = who.participant
        with captions.lock:
            at = self._places.at
            placed = [Word(str(w), at(a), at(b, end=True), c) for w, a, b, c in words]
            start = placed[0].start if placed else at(since)
            end = placed[-1].end if placed else at(position, end=True)
        heard = UtteranceHeard(
            id=self._id,
            rev=self._rev,
            final=final,
            text=text,
            role=who.role,
            participant_id=person.id if person else None,
            start=start,
            end=max(start, end),
            name=person.name if person else "",
            language=captions.language,
            words=tuple(placed),
            track=self.track,
            late=late,
        )
        self._rev += 1
        heard, kept_back = captions.redactor.line(heard) if captions.redactor else (heard, [])
        if final and text:
            captions.transcript.utterance(heard, kept_back)
            captions.call.metrics.count("utterances")
        captions.call.publish(heard)
