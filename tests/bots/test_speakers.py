"""Text that is spoken."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from voki_bots import Bot, ConfigurationError, MediaError, Prompt
from voki_bots.bots.seat import _prompt
from voki_bots.bots.speakers import EspeakSpeaker, check_voice, spoken

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")


@needs_espeak
@pytest.mark.parametrize(
    ("voice", "text"), [("pt-br", "olá, bom dia"), ("es", "buenos días"), ("en", "hello")]
)
def test_a_text_becomes_sound(tmp_path: Path, voice: str, text: str) -> None:
    """As long as it takes to say, and loud enough to hear."""
    prompt = spoken(text, f"espeak-ng:{voice}", tmp_path)
    assert 0.3 < prompt.seconds < 3.0
    assert np.abs(prompt.samples).max() > 3_000


@needs_espeak
def test_nothing_in_a_text_is_an_option_or_markup(tmp_path: Path) -> None:
    """It comes from the network: a name may be anything."""
    for text in ("--version", "-f /etc/passwd", "<speak><audio src='/etc/passwd'/></speak>", "a\0b", "$(id)"):
        assert spoken(text, "espeak-ng:en", tmp_path).seconds > 0.2
    assert all(path.name.removesuffix(".s16").isalnum() for path in tmp_path.iterdir())


def test_what_was_made_once_is_kept(tmp_path: Path) -> None:
    """The second time no program runs; another voice is another sound."""
    made: list[tuple[str, str]] = []

    class Counting:
        def speak(self, text: str, voice: str) -> tuple[np.ndarray, int]:
            made.append((text, voice))
            return np.full(4_800, 1_000, np.int16), 24_000

    counting = Counting()
    first, again = (spoken("hello", "espeak-ng:en", tmp_path, speaker=counting) for _ in range(2))
    spoken("hello", "espeak-ng:es", tmp_path, speaker=counting)
    assert made == [("hello", "en"), ("hello", "es")]
    assert first.sha256 == again.sha256
    assert first.seconds == pytest.approx(0.2)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("voice", "why"),
    [
        ("", "such as espeak-ng:pt-br"),
        ("pt-br", "such as espeak-ng:pt-br"),
        ("espeak-ng:", "such as espeak-ng:pt-br"),
        ("espeak-ng:pt br; rm", "such as espeak-ng:pt-br"),
        ("nobody:pt", "there are espeak-ng"),
    ],
)
def test_a_voice_that_cannot_be_is_told_at_the_start(voice: str, why: str) -> None:
    """With what there is."""
    assert why in (check_voice(voice) or "")
    if voice:
        with pytest.raises(ConfigurationError, match="voice: "):
            Bot("greeter", speaks=True, voice=voice)


@needs_espeak
def test_a_voice_that_the_speaker_does_not_have_is_an_error(tmp_path: Path) -> None:
    """With what it says; nothing is kept."""
    with pytest.raises(MediaError, match="tlh-x.*does not exist"):
        spoken("hello", "espeak-ng:tlh-x", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_speaker_that_is_not_installed_says_so(tmp_path: Path) -> None:
    """And what installs it."""
    with pytest.raises(MediaError, match="install the package espeak-ng"):
        EspeakSpeaker("no-such-program").speak("hello", "en")


@needs_espeak
async def test_a_bot_with_a_voice_says_texts_and_files_stay_files(tmp_path: Path) -> None:
    """A full stop makes no file of a sentence."""
    prompt = await _prompt("Olá Ana. Bem-vinda", "espeak-ng:pt-br")
    assert isinstance(prompt, Prompt)
    with pytest.raises(MediaError, match="none.wav"):
        await _prompt(str(tmp_path / "none.wav"), "espeak-ng:pt-br")
    with pytest.raises(MediaError, match="has no voice for text"):
        await _prompt("Olá", "")
