"""Vosk: partials and finals with word times, in any language that there is a model of."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from voki_bots_transcriber.engine import RATE, Result, Spoken

_FILLER = re.compile(r"\[\d+\]")
"""Tokens that some models write for noise; they are no words."""

_UNKNOWN = "[unk]"
"""What stands for all other words in a grammar; the model must know it, and not every one does."""


class VoskEngine:
    """One model, shared by all recognisers: it takes hundreds of MB and is safe to share (vosk_api.h).

    Args:
        path: The model's folder; a name would make the library download it, and exit if it is not found.
        phrases: The grammar; empty recognises everything.
    """

    def __init__(self, path: Path, phrases: Sequence[str] = ()) -> None:
        import vosk

        vosk.SetLogLevel(-1)
        self._vosk: Any = vosk
        self._model = vosk.Model(str(path))
        self._grammar = _grammar(phrases, known=not self.unknown([_UNKNOWN]))

    def recogniser(self) -> VoskRecogniser:
        """Make a recogniser; it takes 50 to 120 ms."""
        return VoskRecogniser(self._vosk, self._model, self._grammar)

    def unknown(self, phrases: Sequence[str]) -> list[str]:
        """Give the words that are not in the model's vocabulary, each once."""
        words = dict.fromkeys(word for phrase in phrases for word in phrase.split())
        return [word for word in words if self._model.vosk_model_find_word(word) < 0]


class VoskRecogniser:
    """A `KaldiRecognizer`: two threads on one of them abort the process."""

    def __init__(self, vosk: Any, model: Any, grammar: str | None) -> None:
        more = () if grammar is None else (grammar,)
        self._kaldi = vosk.KaldiRecognizer(model, RATE, *more)
        self._kaldi.SetWords(True)
        self._heard = ""
        self.fed = 0

    def feed(self, pcm: bytes) -> Result | None:
        """See `Recogniser.feed`."""
        self.fed += len(pcm) // 2
        return self._parsed(self._kaldi.Result()) if self._kaldi.AcceptWaveform(pcm) else None

    def result(self) -> str:
        """See `Recogniser.result`; each is the whole of what is understood now, and may take words back."""
        heard = _plain(json.loads(self._kaldi.PartialResult()).get("partial", ""))
        self._heard = heard or self._heard
        return heard

    def final(self) -> Result:
        """See `Recogniser.final`. It also forgets the speaker, and lets go of features (memory)."""
        return self._parsed(self._kaldi.FinalResult())

    def reset(self) -> None:
        """See `Recogniser.reset`."""
        self._heard = ""
        self._kaldi.FinalResult()

    def _parsed(self, said: str) -> Result:
        found = json.loads(said)
        words = [
            Spoken(text, float(each["start"]), float(each["end"]), float(each.get("conf", 1.0)))
            for each in found.get("result", ())
            if (text := _plain(each["word"]))
        ]
        # A final may come out empty after good partials (vosk-asterisk #56): what was shown then stays.
        text, self._heard = _plain(found.get("text", "")) or self._heard, ""
        return Result(text, tuple(words))


def _plain(text: str) -> str:
    return " ".join(word for word in _FILLER.sub(" ", text).split() if word != _UNKNOWN)


def _grammar(phrases: Sequence[str], *, known: bool) -> str | None:
    if not phrases:
        return None
    return json.dumps([*phrases, *([_UNKNOWN] if known else [])], ensure_ascii=False)
