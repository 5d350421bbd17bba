"""What is made of what was recognised."""

from types import SimpleNamespace
from typing import Any

from voki_bots_transcriber.captions import Captions, Voice
from voki_bots_transcriber.gate import SpeechGate

from voki_bots import Found, Redactor, Role, Track, UtteranceHeard
from voki_bots.testing import FakeAttendance


class Kept:
    """The far end of captions: a transcript in memory, and a recognition that recognises nothing."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, list[str]]] = []
        self.gaps: list[tuple[float, float, str]] = []
        self.lag = 0.0

    def next_id(self) -> str:
        return f"u{len(self.lines) + 1}"

    def utterance(self, heard: UtteranceHeard, redacted: Any) -> None:
        self.lines.append((heard.text, [each.kind for each in redacted if isinstance(each, Found)]))

    def gap(self, track: Track, start: float, end: float, cause: str) -> None:
        self.gaps.append((start, end, cause))

    def stream(self, _: object) -> Any:
        return SimpleNamespace(feed=lambda *_: None, end=lambda *_: None, close=lambda *_: None)


def voice_in(call: FakeAttendance, kept: Kept, track: Track, **more: Any) -> Voice:
    """A voice of which two seconds were fed, from second 10 of the call on."""
    settings: dict[str, Any] = {"language": "pt", "partials": True, "hangover": 0.6, **more}
    captions = Captions(call, kept, kept, **settings)  # type: ignore[arg-type]  # the far end
    voice = Voice(captions, track, SpeechGate())
    voice._places.feed(32_000, 10.0)
    return voice


def heard(call: FakeAttendance) -> list[tuple[str, int, bool, str]]:
    events = [each for each in call.published if isinstance(each, UtteranceHeard)]
    return [(each.id, each.rev, each.final, each.text) for each in events]


async def test_revisions_replace_each_other_and_the_final_comes_once() -> None:
    """One id, rising numbers; what says nothing new is not said again."""
    async with FakeAttendance() as call:
        kept = Kept()
        voice = voice_in(call, kept, call.track())
        voice.understood("it", 1_600)
        voice.understood("it", 3_200)
        voice.understood("it does", 4_800)
        voice.said("it does not", [["it", 800, 1_600, 0.9]], 16_000, late=False)
        voice.said("", [], 32_000, late=False)
    assert heard(call) == [
        ("u1", 0, False, "it"),
        ("u1", 1, False, "it does"),
        ("u1", 2, True, "it does not"),
    ]
    assert kept.lines == [("it does not", [])]


async def test_what_comes_to_nothing_is_taken_back() -> None:
    """A partial that was shown must not stay on screens for ever; the transcript never had it."""
    async with FakeAttendance() as call:
        kept = Kept()
        voice = voice_in(call, kept, call.track())
        voice.understood("uh", 1_600)
        voice.said("", [], 16_000, late=False)
    assert heard(call) == [("u1", 0, False, "uh"), ("u1", 1, True, "")]
    assert kept.lines == []


async def test_nobody_reads_what_must_not_be_kept() -> None:
    """Neither in a partial nor in the final nor on disk."""
    async with FakeAttendance() as call:
        kept = Kept()
        voice = voice_in(call, kept, call.track(), redactor=Redactor(("card",), "pt"))
        voice.understood("cartão 4111 1111 1111", 8_000)
        voice.said("cartão 4111 1111 1111 1111 sim", [], 16_000, late=False)
    assert [text for *_, text in heard(call)] == ["cartão [number]", "cartão [card] sim"]
    assert kept.lines == [("cartão [card] sim", ["card"])]


async def test_what_was_missed_is_a_gap_at_its_place() -> None:
    """In the transcript and in the journal; what was shown of it is taken back."""
    async with FakeAttendance() as call:
        kept = Kept()
        voice = voice_in(call, kept, call.track())
        voice.understood("it", 1_600)
        voice.missed(0, 16_000, "overflow")
    assert kept.gaps == [(10.0, 11.0, "overflow")]
    assert [line["type"] for line in call.journalled] == ["not_recognised"]
    assert heard(call)[-1] == ("u1", 1, True, "")


async def test_a_voice_has_the_name_that_is_known_when_it_speaks() -> None:
    """Nobody is guessed: unknown first, and by name as soon as it is known."""
    async with FakeAttendance() as call:
        track = call.track()
        voice = voice_in(call, Kept(), track)
        voice.said("one", [], 16_000, late=False)
        call.attribute(track, call.join("Ana", role="attendant"))
        voice.said("two", [], 32_000, late=False)
    events = [each for each in call.published if isinstance(each, UtteranceHeard)]
    assert [(each.role, each.name) for each in events] == [(Role.UNKNOWN, ""), (Role.ATTENDANT, "Ana")]
    assert [(each.start, each.end) for each in events] == [(10.0, 11.0), (11.0, 12.0)]
