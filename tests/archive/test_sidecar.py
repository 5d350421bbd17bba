"""The sidecar is a fold of the journal."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voki_bots.archive.sidecar import Fold, fold, snake

ANA = {"id": "u1", "name": "Ana", "role": "customer", "present": True}
TRACK = "0:1:77"


def line(at: float, type_: str, **facts: Any) -> dict[str, Any]:
    return {"at": at, "utc": "2026-03-01T12:00:00.000Z", "type": type_, **facts}


def track(start: float, end: float, audio: float, *gaps: tuple[float, float]) -> list[dict[str, Any]]:
    return [
        line(start, "track_started", track=TRACK, kind="audio"),
        *(line(end, "gap_found", track=TRACK, start=a, end=b, cause="lost") for a, b in gaps),
        line(end, "track_ended", track=TRACK, audio=audio),
    ]


def test_the_type_of_an_event_is_its_name() -> None:
    """Class names become snake_case."""
    assert snake("TrackStarted") == "track_started"


def test_a_participant_has_the_intervals_of_presence() -> None:
    """Coming, going and coming again are two intervals; the end of the call ends the last."""
    sidecar = fold(
        [
            line(1, "participant_joined", participant=ANA),
            line(2, "participant_joined", participant=ANA),
            line(5, "participant_left", participant=ANA),
            line(7, "participant_joined", participant=ANA),
            line(9, "call_left", reason="call ended"),
        ]
    )
    assert sidecar["participants"] == [
        {"id": "u1", "name": "Ana", "role": "customer", "intervals": [[1, 5], [7, 9]]}
    ]


def test_an_id_that_becomes_known_late_is_no_second_person() -> None:
    """Who was known by role and name alone keeps their interval when the platform gives their id."""
    expected = {"id": "customer:Ana", "name": "Ana", "role": "customer"}
    said = {"participant": ANA, "confidence": 1.0, "why": "activation"}
    sidecar = fold(
        [
            line(1, "participant_joined", participant=expected),
            line(2, "track_attributed", track=TRACK, attribution=said),
            line(5, "participant_left", participant=ANA),
        ]
    )
    assert [(each["id"], each["intervals"]) for each in sidecar["participants"]] == [("u1", [[1, 5]])]


def test_somebody_expected_but_never_seen_has_no_interval() -> None:
    """A participant known only from the call's details is listed as never present."""
    sidecar = fold([line(1, "participant_joined", participant=ANA | {"present": False})])
    assert sidecar["participants"][0]["intervals"] == []


def test_a_track_tells_who_is_on_it_and_where_it_is() -> None:
    """The last attribution and the last file of a track are the ones that hold."""
    said = {"participant": ANA, "confidence": 0.7, "why": "elimination"}
    (found,) = fold(
        [
            *track(0.5, 10, 9.5, (0, 0.5)),
            line(11, "track_file", track=TRACK, path="tracks/unknown-1.0.opus", codec="opus", start=0.5),
            line(12, "track_attributed", track=TRACK, attribution=said),
            line(13, "track_file", track=TRACK, path="tracks/customer-1.0.opus", codec="opus"),
        ]
    )["tracks"]
    assert (found["participant"], found["role"], found["confidence"]) == ("u1", "customer", 0.7)
    assert (found["file"], found["file_start"], found["audio"]) == ("tracks/customer-1.0.opus", 0.5, 9.5)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (track(0.5, 10, 9.5, (0, 0.5)), None),
        (track(0.5, 10, 9.489, (0, 0.5)), None),
        (track(0.5, 10, 9.0, (0, 0.5)), "lasted 10.000 s, but holds 9.000 s of audio and 0.500 s of gaps"),
        (track(0.5, 10, 8.0, (0, 0.5), (3, 4), (3.5, 4)), "gaps that overlap at 3.500 s"),
        ([*track(0.5, 10, 9.5, (0, 0.5))[:-1], line(10, "call_left", reason="stopped")], "was cut off"),
        (track(0.5, 10, 9.5, (0, 0.5))[:-1], None),
        (
            [
                *track(0.5, 10, 9.5, (0, 0.5)),
                line(15, "gap_found", track=TRACK, start=10, end=15, cause="redial"),
            ],
            None,
        ),
    ],
)
def test_audio_and_gaps_must_make_up_the_duration(lines: list[dict[str, Any]], problem: str | None) -> None:
    """A track whose audio and gaps miss its duration by more than a packet is reported."""
    invariant = fold(lines)["invariant"]
    assert invariant["ok"] == (problem is None)
    assert problem is None or problem in "\n".join(invariant["violations"])


def test_pauses_are_masks() -> None:
    """Each pause is a span with who paused and who resumed."""
    sidecar = fold(
        [
            line(3, "recording_paused", actor="api", reason="card", until=9.0),
            line(4, "recording_paused", actor="pci"),
            line(5, "recording_resumed", actor="bot", paused_by="api"),
        ],
    )
    assert sidecar["masks"] == [
        {"start": 3, "end": 5, "actor": "api", "reason": "card", "until": 9.0, "resumed_by": "bot"},
        {"start": 4, "end": None, "actor": "pci", "reason": "", "until": None},
    ]


def test_a_pause_outlives_an_attendance() -> None:
    """The span ends with the attendance, but whoever comes back learns who had paused and until when."""
    lines = [
        line(3, "recording_paused", actor="api", reason="card", until=90.0),
        line(7, "attendance_opened", call="c", tenant="t", bot="b"),
    ]
    folding = Fold()
    for each in lines:
        folding.take(each)
    assert folding.paused == [{"actor": "api", "reason": "card", "until": 90.0}]
    assert [mask["end"] for mask in folding.result()["masks"]] == [7]


def test_segments_tell_when_media_was_up() -> None:
    """A re-dial shows as two segments, the first with the cause of its loss."""
    sidecar = fold(
        [
            line(1, "media_connected", segment=0),
            line(4, "media_lost", segment=0, cause="ice failed"),
            line(6, "media_connected", segment=1),
        ]
    )
    assert [(each["connected"], each["cause"]) for each in sidecar["segments"]] == [
        (1, "ice failed"),
        (6, None),
    ]


def test_dropped_packets_add_up() -> None:
    """Drops of one plugin on one track are one sum."""
    drop = line(1, "packets_dropped", plugin="recorder", track=TRACK, count=3)
    assert fold([drop, drop])["dropped"] == [{"plugin": "recorder", "track": TRACK, "count": 6}]


_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_NAMES = ["at", "utc", "track", "participant", "attribution", "start", "end", "audio", "segment", "call"]


@given(
    st.sampled_from(["track_started", "gap_found", "track_ended", "participant_joined", "media_lost", "x"]),
    st.dictionaries(st.sampled_from(_NAMES), _json),
)
def test_a_mistyped_line_changes_nothing_else(type_: str, facts: dict[str, Any]) -> None:
    """Whatever a line holds, the sidecar is made, and what other lines say stands."""
    sidecar = fold([line(1, "participant_joined", participant=ANA), line(1, type_) | facts])
    assert sidecar["participants"][0]["id"] == "u1"


@pytest.mark.parametrize(("writer", "audio", "gaps"), [("recorder", 3.0, 1), ("other", 4.0, 0)])
def test_what_the_writer_did_not_keep_up_with_is_a_gap_of_its_file(
    writer: str, audio: float, gaps: int
) -> None:
    """A hole of the recorder's tap is a gap `stalled`, and no audio; another plugin's is none."""
    facts = {"track": TRACK, "start": 2.0, "end": 3.0, "cause": "stalled", "plugin": "recorder"}
    sidecar = fold(
        [
            *track(1.0, 5.0, 4.0),
            line(3, "gap_found", **facts),
            line(1, "track_file", track=TRACK, path="a", codec="opus", start=1.0, plugin=writer),
            line(5, "call_left", reason="over"),
        ]
    )
    (one,) = sidecar["tracks"]
    assert (one["audio"], len(one["gaps"]), sidecar["invariant"]["ok"]) == (audio, gaps, True)


def test_whose_clock_was_heard_outlives_an_attendance() -> None:
    """Also one in which nobody was heard; whoever left is not expected to be heard again."""
    person = {"id": "u-1", "name": "Ana", "role": "customer", "present": True}
    folding = Fold()
    for each in (
        line(1, "participant_joined", participant=person),
        line(
            1,
            "track_attributed",
            track="0:1:7",
            attribution={"participant": person, "confidence": 0.6, "why": "x"},
        ),
        line(2, "track_heard", track="0:1:7", timestamp=96_000),
        line(9, "attendance_opened", call="c", tenant="t", bot="b"),
        line(12, "attendance_opened", call="c", tenant="t", bot="b"),
    ):
        folding.take(each)
    (heard,) = folding.heard
    assert (heard["track"], heard["person"].id, heard["timestamp"], heard["at"]) == (
        "0:1:7",
        "u-1",
        96_000,
        2,
    )
    folding.take(line(13, "participant_left", participant=person))
    assert folding.heard == []
