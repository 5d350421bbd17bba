"""The second pass: calls that are over, recognised once more by a larger model, one at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from voki_bots import (
    Log,
    Redactor,
    SpeechModel,
    VokiError,
    attach,
    caption_files,
    read_transcript,
    recorded_voices,
    wait_until_sealed,
)
from voki_bots_transcriber.difference import difference
from voki_bots_transcriber.offline import transcribe_recording
from voki_bots_transcriber.recognition import Plan, Recognition

FOLDER = "second-pass"
"""Where its files are, in the folder of a call."""

DIFFERENCE = "difference.txt"

LINGER = 60.0
"""Seconds that a stop waits for the pass that runs; what is left is named in the log."""


class SecondPass:
    """Calls that wait for their second pass.

    Args:
        model: The larger model.
        language: In which calls are, or empty.
        redact: What is kept back.
        threads: Voices that are recognised at once.
    """

    def __init__(self, model: SpeechModel, language: str, redact: tuple[str, ...], threads: int) -> None:
        self._model = model
        self._language = language
        self._redact = redact
        self._threads = threads
        self._waiting: asyncio.Queue[tuple[Path, Log]] = asyncio.Queue()
        self._working = asyncio.create_task(self._work(), name="second pass")

    def soon(self, directory: Path, log: Log) -> None:
        """Take a call, once it is sealed."""
        self._waiting.put_nowait((directory, log))

    async def close(self) -> None:
        """Wait a while for what waits; say what is not done."""
        try:
            async with asyncio.timeout(LINGER):
                await self._waiting.join()
        except TimeoutError:
            pass
        self._working.cancel()
        await asyncio.gather(self._working, return_exceptions=True)
        while not self._waiting.empty():
            directory, log = self._waiting.get_nowait()
            log.warning("second_pass_left", directory=str(directory), then="voki-bots transcribe makes it")

    async def _work(self) -> None:
        while True:
            directory, log = await self._waiting.get()
            try:
                same = await self._pass(directory)
            except (VokiError, OSError, ValueError) as error:
                log.error("second_pass_failed", directory=str(directory), why=str(error))
            else:
                log.info("second_pass_made", directory=str(directory), same=round(same, 4))
            finally:
                self._waiting.task_done()

    async def _pass(self, directory: Path) -> float:
        await asyncio.to_thread(wait_until_sealed, directory)
        live = await asyncio.to_thread(read_transcript, directory)
        voices = await asyncio.to_thread(recorded_voices, directory)
        # It is loaded for as long as it is needed: a large model takes gigabytes.
        plan = Plan(self._model.engine, str(self._model.path), self._language, threads=self._threads, warm=0)
        recognition = Recognition(plan, memory=16 << 20, spool=0)
        await recognition.start()
        try:
            said, _ = await transcribe_recording(voices, recognition, language=self._language)
        finally:
            await recognition.close()
        if self._redact:
            redactor = Redactor(self._redact, self._language)
            said = [redactor.line(heard)[0] for heard in said]
        facts = {"engine": self._model.engine, "model": self._model.name, "language": self._language}
        found = difference(live.utterances if live else [], said)
        files = {
            name: content.encode("utf-8", "replace") for name, content in caption_files(said, facts).items()
        }
        files[DIFFERENCE] = str(found).encode("utf-8", "replace")
        told: dict[str, Any] = {**facts, "same": round(found.same, 4)}
        await asyncio.to_thread(lambda: attach(directory, FOLDER, files, event="second_pass", **told))
        return found.same
