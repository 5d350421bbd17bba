"""The plugin itself: a recognition process for each language, and the captions of each call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Self

from voki_bots import Attendance, ConfigurationError, Listening, Plugin, Redactor, SpeechModel, find_model
from voki_bots_transcriber.again import SecondPass
from voki_bots_transcriber.captions import Captions
from voki_bots_transcriber.recognition import Plan, Recognition
from voki_bots_transcriber.settings import TranscriberSettings
from voki_bots_transcriber.transcript import Transcript

ADMITTED = 5.0
"""Seconds of lag of a recognition from which on it takes no call more, until it has caught up."""

LOOK = 0.5


class Transcriber(Plugin[TranscriberSettings]):
    """Caption everybody live, by role, and keep the transcript."""

    def __init__(self, settings: TranscriberSettings, *, name: str = "") -> None:
        super().__init__(settings, name=name or "transcriber")
        self._models: dict[str, SpeechModel] = {}
        self.recognitions: dict[str, Recognition] = {}
        self._calls: dict[Attendance, _Attending] = {}
        self._larger: SpeechModel | None = None
        self._again: SecondPass | None = None
        self._stack = AsyncExitStack()

    def check(self) -> list[str]:
        """Say which models are missing, and how they are fetched."""
        found: list[str] = []
        self._find(found)
        return found

    async def __aenter__(self) -> Self:
        """Load the models.

        Raises:
            ConfigurationError: If one is missing or cannot be loaded, or lacks a word of the vocabulary.
        """
        found: list[str] = []
        self._find(found)
        if found:
            raise ConfigurationError("\n".join(f"{self.name}.{each}" for each in found), path=self.name)
        async with AsyncExitStack() as stack:
            self._writing = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="transcripts"))
            settings = self.settings
            for language, model in self._models.items():
                plan = Plan(
                    engine=model.engine,
                    model=str(model.path),
                    language=language,
                    phrases=settings.vocabulary,
                    threads=settings.threads,
                    warm=settings.warm if model.engine == "vosk" and not settings.vocabulary else 0,
                )
                recognition = Recognition(plan, memory=settings.memory, spool=settings.spool)
                stack.push_async_callback(recognition.close)
                self.recognitions[language] = recognition
            await asyncio.gather(*(each.start() for each in self.recognitions.values()))
            if self._larger is not None:
                self._again = SecondPass(self._larger, settings.language, settings.redact, settings.threads)
                stack.push_async_callback(self._again.close)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """End the recognition processes."""
        await self._stack.aclose()
        self.recognitions.clear()

    def _find(self, found: list[str]) -> None:
        """Find every model that is wanted; say what is missing."""
        settings = self.settings
        if settings.second_pass:
            try:
                self._larger = find_model(settings.second_pass, directory=settings.directory)
            except ConfigurationError as error:
                found.append(f"second_pass: {error}")
        wanted = {settings.language: settings.model, **settings.models}
        for language, name in wanted.items():
            try:
                model = find_model(name or None, language=language or None, directory=settings.directory)
            except ConfigurationError as error:
                found.append(f"{'model' if language == settings.language else f'models.{language}'}: {error}")
            else:
                self._models[language] = model

    @asynccontextmanager
    async def attend(self, call: Attendance) -> AsyncIterator[None]:
        """Caption a call until it ends."""
        language = self.settings.language_of(call.call)
        recognition, model = self.recognitions[language], self._models[language]
        spoken = language or (model.languages[0] if len(model.languages) == 1 else "")
        facts = {"engine": model.engine, "model": model.name, "language": spoken}
        transcript = Transcript(call, self._writing, recipients=self.settings.recipients, **facts)
        captions = Captions(
            call,
            recognition,
            transcript,
            language=spoken,
            partials=self.settings.partials,
            hangover=self.settings.hangover,
            redactor=Redactor(self.settings.redact, spoken) if self.settings.redact else None,
        )
        call.journal("transcribing", **facts)
        call.start_soon(captions.look())
        self._calls[call] = attending = _Attending(captions)
        if recognition.lag > ADMITTED:
            call.start_soon(self._later(call, recognition, transcript, attending, call.now))
        else:
            self._listen(call, attending)
        try:
            yield
        finally:
            await self.conclude(call)
            del self._calls[call]
            await asyncio.to_thread(transcript.close)
            if self._again is not None:
                self._again.soon(call.directory, call.log)

    def _listen(self, call: Attendance, attending: _Attending) -> None:
        listening = call.listen(attending.captions, of=self.settings.of or "all", rate=16_000)
        attending.listening = listening

    async def _later(
        self,
        call: Attendance,
        recognition: Recognition,
        transcript: Transcript,
        attending: _Attending,
        since: float,
    ) -> None:
        """Listen once recognition keeps up again: one call more would make all of them later."""
        call.log.warning("transcription_waits", lag=round(recognition.lag, 1))
        call.metrics.count("waits")
        while recognition.lag > ADMITTED / 2:  # noqa: ASYNC110 - it is measured, not told
            await asyncio.sleep(LOOK)
        if not attending.over:
            transcript.gap(None, since, call.now, "overload")
            span = {"start": round(since, 3), "end": round(call.now, 3)}
            call.journal("not_recognised", track=None, cause="overload", **span)
            self._listen(call, attending)

    async def conclude(self, call: Attendance) -> None:
        """Recognise the last words, while the others can still hear of them."""
        attending = self._calls[call]
        attending.over = True
        if attending.listening is not None:
            attending.listening.close()
            await attending.captions.finish()


@dataclass(slots=True)
class _Attending:
    """One call: its captions, and the subscription once there is one."""

    captions: Captions
    listening: Listening | None = None
    over: bool = False
