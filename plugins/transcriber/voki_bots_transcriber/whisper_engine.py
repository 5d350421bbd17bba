"""faster-whisper: finals only, for languages of which no Vosk model is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voki_bots_transcriber.engine import RATE, Result, Spoken


class WhisperEngine:
    """One model; a partial would cost as much as a final, so there are none.

    Args:
        path: A folder in CTranslate2's format (``model.bin``).
        language: ISO 639-1; empty lets the model guess, anew for each utterance.
        phrases: Words that are more likely; nothing is ruled out.
        threads: How many recognisers are used at once.
    """

    def __init__(self, path: Path, language: str, phrases: Sequence[str] = (), threads: int = 1) -> None:
        from faster_whisper import WhisperModel

        self._model = WhisperModel(
            str(path),
            device="cpu",
            compute_type="int8",
            cpu_threads=1,
            num_workers=threads,
            local_files_only=True,
        )
        self._language = language or None
        self._hotwords = " ".join(phrases) or None

    def recogniser(self) -> WhisperRecogniser:
        """Make a recogniser; it costs nothing."""
        return WhisperRecogniser(self._model, self._language, self._hotwords)

    def unknown(self, phrases: Sequence[str]) -> list[str]:
        """Its vocabulary is open."""
        return []


class WhisperRecogniser:
    """Keeps an utterance until it ends, and recognises it as a whole."""

    def __init__(self, model: Any, language: str | None, hotwords: str | None) -> None:
        self._model = model
        self._options = {"language": language, "hotwords": hotwords}
        self._kept: list[bytes] = []
        self.fed = 0
        self._began = 0

    def feed(self, pcm: bytes) -> Result | None:
        """See `Recogniser.feed`; there is never a result before the end."""
        if not self._kept:
            self._began = self.fed
        self.fed += len(pcm) // 2
        self._kept.append(pcm)
        return None

    def result(self) -> str:
        """See `Recogniser.result`."""
        return ""

    def final(self) -> Result:
        """See `Recogniser.final`."""
        samples = np.frombuffer(b"".join(self._kept), np.int16).astype(np.float32) / 32_768.0
        self._kept.clear()
        if not len(samples):
            return Result("")
        segments, _ = self._model.transcribe(
            samples,
            beam_size=1,
            word_timestamps=True,
            # Without it ten seconds of nothing become the same sentence again and again.
            vad_filter=True,
            condition_on_previous_text=False,
            **self._options,
        )
        since = self._began / RATE
        words = [
            Spoken(each.word.strip(), since + each.start, since + each.end, float(each.probability))
            for segment in segments
            for each in segment.words or ()
        ]
        return Result(" ".join(word.text for word in words), tuple(words))

    def reset(self) -> None:
        """See `Recogniser.reset`."""
        self._kept.clear()
