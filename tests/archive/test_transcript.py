"""What was said in a call, for people to read."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import srt as subrip
from hypothesis import given
from hypothesis import strategies as st

from tests.archive.studio import ATTENDANT, CUSTOMER, made
from voki_bots.archive.finish import finish
from voki_bots.archive.options import FinishOptions
from voki_bots.archive.seal import verify
from voki_bots.archive.transcript import (
    CAPTIONS,
    TRANSCRIPT,
    as_json,
    attributed,
    caption_files,
    read_transcript,
    srt,
    text,
    transcript_line,
    webvtt,
)
from voki_bots.calls import Role, Track, UtteranceHeard, Word

PLAIN = FinishOptions(stereo=None, mix=None, participants=False, picture=False)
KIM = UtteranceHeard("u1", 3, True, "it does not work", Role.CUSTOMER, "c-id", 1.5, 2.75, name="Kim")


def said(id_: str, text: str, start: float, end: float, **more: Any) -> UtteranceHeard:
    return replace(KIM, id=id_, text=text, start=start, end=end, **more)


def write(directory: Path, *lines: object, torn: str = "") -> None:
    head = {"type": "transcript", "version": 1, "engine": "vosk", "model": "ko-small", "language": "ko"}
    body = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in (head, *lines))
    (directory / TRANSCRIPT).write_text(body + torn, "utf-8")


def test_webvtt_names_the_voice_and_escapes_what_it_says() -> None:
    """A cue has its id, its span and a voice; markup in names and words is no markup."""
    odd = said("u2", "a --> b & <c>", 3661.0, 3662.5, name="<b>Kim")
    assert webvtt([KIM, odd]) == (
        "WEBVTT\n\n"
        "u1\n00:00:01.500 --> 00:00:02.750\n<v Customer Kim>it does not work\n\n"
        "u2\n01:01:01.000 --> 01:01:02.500\n<v Customer &lt;b&gt;Kim>a --&gt; b &amp; &lt;c&gt;\n"
    )


def test_a_long_utterance_becomes_several_cues() -> None:
    """Nobody reads ten seconds at once; words say where it can be divided."""
    words = tuple(Word(f"word{n}", float(n), n + 0.5) for n in range(10))
    long = said("u1", " ".join(word.text for word in words), 0.0, 9.5, words=words)
    assert [line for line in webvtt([long]).splitlines() if "-->" in line] == [
        "00:00:00.000 --> 00:00:05.500",
        "00:00:06.000 --> 00:00:09.500",
    ]


def test_text_is_one_line_for_each_utterance() -> None:
    """A line break in a name or in words makes no second line."""
    assert text([said("u1", "yes\nno", 61.0, 62.0, name="K\nim")]) == "[00:01:01] Customer K im: yes no\n"


@given(st.lists(st.tuples(st.text(), st.text(), st.floats(0, 1e5), st.floats(0, 50)), max_size=5))
def test_subrip_of_anything_is_read_by_others(lines: list[tuple[str, str, float, float]]) -> None:
    """Whatever people are called and say, another's parser finds the same number of titles at their times."""
    heard = [said(f"u{n}", what, at, at + long, name=who) for n, (who, what, at, long) in enumerate(lines)]
    found = list(subrip.parse(srt(heard)))
    starts = [each.start.total_seconds() for each in found]
    assert starts == pytest.approx([h.start for h in heard], abs=0.0011)


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_webvtt_of_anything_keeps_its_blocks(lines: list[tuple[str, str]]) -> None:
    """Nothing that is said begins a cue of its own."""
    heard = [said(f"u{n}", what, n, n + 1.0, name=who) for n, (who, what) in enumerate(lines)]
    blocks = webvtt(heard).split("\n\n")[1:]
    assert [block.count("-->") for block in blocks] == [1] * len(heard)
    assert [len(block.strip("\n").split("\n")) for block in blocks] == [3] * len(heard)


def test_a_line_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Words, track and all the rest come back."""
    heard = replace(KIM, rev=0, words=(Word("it", 1.5, 1.7, 0.9),), track=Track(0, "1", 7), late=True)
    write(tmp_path, transcript_line(heard))
    found = read_transcript(tmp_path)
    assert found is not None
    assert (found.utterances, found.facts["model"]) == ([heard], "ko-small")


def test_what_is_torn_or_strange_is_passed_over(tmp_path: Path) -> None:
    """A kill cuts the last line; other lines may be anything; order is that of the call."""
    good = [transcript_line(said(name, "yes", at, at + 1)) for name, at in (("u2", 5.0), ("u1", 1.0))]
    strange = [{"type": "utterance", "text": "x", "start": "1", "end": 2}, {"type": "more"}, [], 7, None]
    write(tmp_path, *good, *strange, torn='{"type":"utterance","id":"u3","te')
    found = read_transcript(tmp_path)
    assert found is not None
    assert [heard.id for heard in found.utterances] == ["u1", "u2"]


def test_who_spoke_is_as_it_is_known_in_the_end() -> None:
    """A voice that was nobody's when it spoke has its name afterwards."""
    unknown = replace(KIM, role=Role.UNKNOWN, participant_id=None, name="", track=Track(0, "1", 7))
    sidecar = {
        "participants": [{"id": "a-id", "name": "Lee", "role": "attendant"}],
        "tracks": [{"id": "0:1:7", "participant": "a-id", "role": "attendant"}],
    }
    (found,) = attributed([unknown], sidecar)
    assert (found.role, found.name, found.participant_id) == (Role.ATTENDANT, "Lee", "a-id")


def test_json_has_everything() -> None:
    """The facts of the whole and the lines of all utterances."""
    found = json.loads(as_json([KIM], {"model": "ko-small"}))
    assert (found["version"], found["model"], found["utterances"][0]["text"]) == (1, "ko-small", KIM.text)


def test_finishing_makes_captions_of_a_transcript(desk: Any) -> None:
    """They are listed and sealed with the call, and say who speaks as the sidecar does."""
    directory = made(desk, [CUSTOMER, ATTENDANT])
    track = next(path for path in read_tracks(directory) if path["role"] == "customer")["id"]
    heard = replace(KIM, role=Role.UNKNOWN, participant_id=None, name="", track=Track.parse(track))
    write(directory, transcript_line(heard))
    sidecar = finish(directory, PLAIN)
    assert [o["path"] for o in sidecar["finish"]["outputs"]] == list(CAPTIONS)
    assert "<v Customer Customer>it does not work" in (directory / "captions.vtt").read_text("utf-8")
    assert verify(directory) == []


def read_tracks(directory: Path) -> list[dict[str, Any]]:
    tracks: list[dict[str, Any]] = json.loads((directory / "call.json").read_text())["tracks"]
    return tracks


@pytest.mark.parametrize("options", [PLAIN, replace(PLAIN, captions=False)])
def test_without_a_transcript_or_a_wish_there_are_no_captions(desk: Any, options: FinishOptions) -> None:
    """Nothing is made of nothing; and nothing is made that is not wanted."""
    directory = made(desk, [CUSTOMER])
    if not options.captions:
        write(directory, transcript_line(KIM))
    assert finish(directory, options)["finish"]["outputs"] == []


def test_every_file_is_made() -> None:
    """There is content for each name."""
    assert set(caption_files([KIM], {})) == set(CAPTIONS)
