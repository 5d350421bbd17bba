"""Recordings, recognised on the same path as calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from voki_bots import Attribution, AudioFrame, Found, PluginEvent, RecordedVoice, Track, UtteranceHeard
from voki_bots_transcriber.captions import Captions
from voki_bots_transcriber.recognition import Recognition

AHEAD = 200
"""Messages that may wait: what is read of a file is bounded by what is recognised of it."""

_LOOK = 0.02


class _NoMetrics:
    def count(self, name: str, amount: float = 1.0) -> None:
        pass

    def gauge(self, name: str, value: float) -> None:
        pass


class _Recording:
    """What a call is to captions, and what a transcript is, for something that is over."""

    def __init__(self, voices: Sequence[RecordedVoice]) -> None:
        self.metrics = _NoMetrics()
        self.tracks = {Track(0, str(number), number): voice for number, voice in enumerate(voices, 1)}
        self.said: list[UtteranceHeard] = []
        self.missed: list[tuple[float, float, str]] = []

    def who(self, track: Track) -> Attribution:
        return Attribution(self.tracks[track].who, 1.0, "recorded")

    def publish(self, event: PluginEvent) -> None:
        pass

    def journal(self, event: str, **facts: Any) -> None:
        pass

    def next_id(self) -> str:
        return f"u{len(self.said) + 1}"

    def utterance(self, heard: UtteranceHeard, redacted: Sequence[Found]) -> None:
        # Nobody waits for it, so nothing of it is late.
        self.said.append(replace(heard, id=self.next_id(), late=False, track=None))

    def gap(self, track: Track, start: float, end: float, cause: str) -> None:
        self.missed.append((start, end, cause))


async def transcribe_recording(
    voices: Sequence[RecordedVoice],
    recognition: Recognition,
    *,
    language: str,
    hangover: float = 0.6,
    progress: Callable[[float], None] = lambda _: None,
) -> tuple[list[UtteranceHeard], list[tuple[float, float, str]]]:
    """Recognise a recording.

    Args:
        voices: Whose voices there are.
        recognition: Recognises them; it was started.
        language: In which they speak.
        hangover: Seconds of silence that end an utterance.
        progress: Told how many seconds of the recording are done.

    Returns:
        What was said, in order of time, and spans (start, end, cause) that were not recognised.
    """
    recording = _Recording(voices)
    captions = Captions(
        recording, recognition, recording, language=language, partials=False, hangover=hangover
    )
    waiting = {track: voice.blocks for track, voice in recording.tracks.items()}
    while waiting:
        for track, blocks in tuple(waiting.items()):
            block = await asyncio.to_thread(next, blocks, None)
            if block is None:
                del waiting[track]
                continue
            captions.write(AudioFrame(track, block[1], recording.tracks[track].rate, block[0]))
            progress(block[0])
        while recognition.waiting > AHEAD:  # noqa: ASYNC110 - it is counted in another process
            await asyncio.sleep(_LOOK)
    captions.close()
    await captions.finish(patience=None)
    said = sorted(recording.said, key=lambda heard: (heard.start, heard.end))
    return [replace(heard, id=f"u{number}") for number, heard in enumerate(said, 1)], recording.missed
