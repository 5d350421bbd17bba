"""From what was said on the channels to findings."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from voki_bots.calls import Supervision
from voki_bots.media.sdp import Description, Section
from voki_bots.probe import findings
from voki_bots.probe.overheard import Log, Word


def log(*words: tuple[str, str, object]) -> Log:
    """A log whose words are a second apart."""
    made = Log(lambda: 1_000.0)
    made.words = [Word(float(at), what, event, payload) for at, (what, event, payload) in enumerate(words)]
    return made


def signal(what: str, kind: str, sdp: str = "") -> tuple[str, str, object]:
    """A description that was sent or came."""
    return what, "signal", {"type": kind, "sdp": sdp}


def described(*lines: tuple[str, str, int] | None) -> Description:
    """A description of lines of audio: mid, direction, source; None is a line that is rejected."""
    sections = []
    for line in lines:
        mid, direction, source = line or ("", "inactive", 0)
        made = Section("audio", 9 if line else 0, "", (), mid, direction)
        made.sources = {source: {}} if source else {}
        sections.append(made)
    return Description(sections)


OURS, THEIRS = signal("sent", "offer"), signal("came", "offer")
ANSWER = signal("came", "answer")


@pytest.mark.parametrize(
    ("words", "who"),
    [((OURS, ANSWER), "client"), ((THEIRS, OURS), "server"), ((THEIRS,), "server"), ((ANSWER,), None)],
)
def test_who_offers_first(words: Iterable[tuple[str, str, object]], who: str | None) -> None:
    """Whose description comes before any of the other."""
    assert findings.first_offer(log(*words)) == who


@pytest.mark.parametrize(
    ("words", "crossed"),
    [
        ((OURS, ANSWER, THEIRS), False),
        ((OURS, THEIRS, ANSWER), True),
        ((OURS, THEIRS), True),
        ((THEIRS, ANSWER), None),
    ],
)
def test_offers_that_cross(words: Iterable[tuple[str, str, object]], crossed: bool | None) -> None:
    """Theirs came before the answer to ours."""
    assert findings.glare(log(*words)) is crossed


@pytest.mark.parametrize(
    ("words", "missed"),
    [
        ((OURS, ANSWER), False),
        ((OURS, THEIRS), False),
        ((OURS, OURS, ANSWER), True),
        ((OURS,), True),
        ((THEIRS, OURS), None),
        ((), None),
    ],
)
def test_an_offer_that_is_not_answered(words: Iterable[tuple[str, str, object]], missed: bool | None) -> None:
    """Until another one is made."""
    assert findings.unanswered(log(*words)) is missed


@pytest.mark.parametrize(
    ("words", "heard", "way"),
    [
        ((THEIRS,), True, "server_offers"),
        ((OURS,), True, "client_offers"),
        ((OURS, THEIRS), True, "server_offers"),
        ((), True, "own_lines"),
        ((THEIRS,), False, "not_heard"),
    ],
)
def test_how_a_newcomer_comes_to_be_heard(
    words: Iterable[tuple[str, str, object]], heard: bool, way: str
) -> None:
    """By an offer of theirs, by one of ours, or on what is there."""
    assert findings.late_join(log(*words), 0.0, heard) == way


FIRST = described(("0", "sendonly", 1))
GONE = described(("0", "inactive", 0))


@pytest.mark.parametrize(
    ("last", "reuse"),
    [
        (described(("0", "sendonly", 1)), "same_source"),
        (described(("0", "sendonly", 2)), "new_source"),
        (described(("9", "sendonly", 2)), "new_mid"),
        (described(("0", "inactive", 0), ("1", "sendonly", 2)), "new_lines"),
        (described(None, ("1", "sendonly", 2)), "new_lines"),
        (described(("0", "sendonly", 0)), None),
        (GONE, None),
    ],
)
def test_what_the_next_voice_gets(last: Description, reuse: str | None) -> None:
    """After one has gone."""
    assert findings.line_reuse([FIRST, GONE, last]) == reuse


def test_a_second_voice_beside_the_first_is_no_reuse() -> None:
    """Nobody had gone."""
    assert findings.line_reuse([FIRST, described(("0", "sendonly", 1), ("1", "sendonly", 2))]) is None


def test_a_description_that_cannot_be_read_is_left_out() -> None:
    """It is theirs to be strange."""
    assert list(log(signal("came", "offer", "rubbish")).descriptions()) == []


VIDEO = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n"


@pytest.mark.parametrize(
    ("words", "video"),
    [
        ((OURS, ANSWER, signal("came", "offer", VIDEO)), True),
        ((signal("sent", "offer", VIDEO), signal("came", "offer", VIDEO)), None),
        ((signal("came", "offer", VIDEO.partition("m=video")[0]),), False),
        ((signal("came", "answer", VIDEO),), None),
    ],
)
def test_video_that_nobody_asked_for(words: Iterable[tuple[str, str, object]], video: bool | None) -> None:
    """Lines of it in their offers, unless ours had one before."""
    assert findings.media([log(*words)], [])["video"] is video


def test_whom_a_start_event_names() -> None:
    """Of the mode that is asked about, since a time."""
    said = log(
        ("came", "whisper_start", {"supervisor_id": "early"}),
        ("came", "barge_start", {"supervisor_id": "other"}),
        ("came", "whisper_start", {"supervisor_id": "us"}),
        ("came", "whisper_stop", {"supervisor_id": "us"}),
    )
    assert findings.started(said, Supervision.WHISPER, 1.0) == [(2.0, "us")]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ((("join", "", {"participants": []}),), (True, False, None)),
        ((("join", "", None),), (False, False, None)),
        ((), (None, None, None)),
        (
            (("join", "", {}), ("came", "participant_joined", {"user_id": "me", "role": "supervisor"})),
            (False, True, None),
        ),
        (
            (("join", "", {}), ("came", "participant_joined", {"user_id": None, "role": "customer"})),
            (False, False, False),
        ),
        (
            (("join", "", {}), ("came", "participant_joined", {"user_id": "c1", "role": "customer"})),
            (False, False, True),
        ),
        ((("join", "", "text"), ("came", "participant_joined", ["no map"])), (False, False, None)),
    ],
)
def test_who_is_announced_to_whom(
    words: Iterable[tuple[str, str, object]], found: tuple[bool | None, ...]
) -> None:
    """The reply to a join, one's own joining, and customers."""
    said = findings.signalling([log(*words)], ["me"])
    assert tuple(said[name] for name in ("snapshot", "announces_self", "names_customers")) == found
