"""The second engine, on Portuguese and English."""

import json
from importlib.resources import files
from pathlib import Path

import jiwer
import numpy as np
import pytest
from voki_bots_transcriber.offline import transcribe_recording
from voki_bots_transcriber.recognition import Plan, Recognition

from voki_bots import recorded_voices
from voki_bots.cli.fetching import fetch
from voki_bots.speech_models import catalogue

pytest.importorskip("faster_whisper", reason="faster-whisper is not installed")

SPEECH = files("voki_bots.sandbox") / "speech"
PLAIN = jiwer.Compose(
    [
        jiwer.ToLowerCase(),
        jiwer.RemovePunctuation(),
        jiwer.RemoveMultipleSpaces(),
        jiwer.Strip(),
        jiwer.ReduceToListOfListOfWords(),
    ]
)


@pytest.fixture(scope="session")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whisper base, put together of its packages and verified by its hash."""
    listed = catalogue()["whisper-base"]
    if listed.pieces() is None:
        pytest.skip(f"the packages of whisper-base are not installed: {', '.join(listed.packages)}")
    return fetch(listed, tmp_path_factory.mktemp("models"), lambda *_: None)


@pytest.mark.parametrize(("language", "bound"), [("pt", 0.35), ("en", 0.15)])
async def test_speech_of_other_languages_is_understood(whisper: Path, language: str, bound: float) -> None:
    """Four sentences each: word error rates were measured of 0.11 to 0.19 and of 0.00 to 0.05."""
    index = json.loads((SPEECH / language / "index.json").read_text("utf-8"))
    names = sorted(index)[:4]
    recognition = Recognition(Plan("faster-whisper", str(whisper), language), memory=1 << 24, spool=0)
    await recognition.start()
    try:
        heard = []
        for name in names:
            voices = recorded_voices(Path(str(SPEECH / language / name)))
            said, missed = await transcribe_recording(voices, recognition, language=language)
            assert missed == []
            assert all(each.words for each in said)
            heard.append(" ".join(each.text for each in said))
    finally:
        await recognition.close()
    known = [str(index[name]["text"]) for name in names]
    assert jiwer.wer(known, heard, reference_transform=PLAIN, hypothesis_transform=PLAIN) <= bound


class Heard:
    """Keeps what is said of a stream."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def understood(self, text: str, position: int) -> None:
        """There are no partials."""
        raise AssertionError(text)

    def said(self, text: str, words: object, position: int, *, late: bool) -> None:
        self.texts.append(text)

    def missed(self, start: int, end: int, cause: str) -> None:
        raise AssertionError(cause)


async def test_ten_seconds_of_noise_stay_nothing(whisper: Path) -> None:
    """Whisper invents sentences where nobody speaks, if it is let; here no gate is before it."""
    recognition = Recognition(Plan("faster-whisper", str(whisper), "pt"), memory=1 << 24, spool=0)
    await recognition.start()
    try:
        heard = Heard()
        stream = recognition.stream(heard)
        stream.feed(0, np.random.default_rng(1).normal(0, 40, 160_000).astype(np.int16).tobytes())
        stream.end(160_000)
        stream.close(160_000)
        await stream.over
    finally:
        await recognition.close()
    assert set(heard.texts) == {""}
