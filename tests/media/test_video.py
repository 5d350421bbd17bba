"""Whole frames from packets, and requests for key frames."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.media.filming import TRACK, assembled, film
from voki_bots.media import h264
from voki_bots.media.frames import VideoPacket
from voki_bots.media.video import CODECS, KeyRequests, starts_key, vp8_payload

both = pytest.mark.parametrize("codec", CODECS)


@both
def test_every_frame_is_put_together(codec: str) -> None:
    """What the camera shot comes out frame by frame, at its time."""
    frames = assembled(film(codec, 20))
    assert [round(frame.start * 15) for frame in frames] == list(range(20))


@both
def test_a_key_frame_says_its_size(codec: str) -> None:
    """Width and height are read from the stream, without decoding it."""
    assert [frame.size for frame in assembled(film(codec, 3))] == [(160, 96), None, None]


@both
def test_after_a_hole_nothing_is_given_until_a_key_frame(codec: str) -> None:
    """A picture that refers to one that never came is left out."""
    packets = list(film(codec, 20, keys=(0, 12)))
    lost = next(p for p in packets if p.timestamp == 5 * 6000)
    frames = assembled(p for p in packets if p is not lost)
    assert [round(frame.start * 15) for frame in frames] == [*range(5), *range(12, 20)]


@both
def test_an_empty_packet_is_no_hole(codec: str) -> None:
    """Padding counts in the sequence, and is no part of a picture."""
    packets = [replace(p, sequence=2 * p.sequence) for p in film(codec, 10)]
    padded = [each for p in packets for each in (p, replace(p, payload=b"", sequence=p.sequence + 1))]
    assert len(assembled(padded)) == 10


@both
def test_a_frame_without_marker_ends_with_the_next(codec: str) -> None:
    """A sender that never sets the marker bit loses no frame but the last."""
    assert len(assembled(replace(p, marker=False) for p in film(codec, 10))) == 9


@both
def test_only_key_frames_start_one(codec: str) -> None:
    """The first packet of a key frame is recognised, and no other."""
    found = {p.timestamp // 6000 for p in film(codec, 10, keys=(0, 4)) if starts_key(codec, p.payload)}
    assert found == {0, 4}


@given(codec=st.sampled_from(CODECS), payloads=st.lists(st.binary(max_size=40), max_size=12))
@settings(max_examples=150, deadline=None)
def test_hostile_payloads_raise_nothing(codec: str, payloads: list[bytes]) -> None:
    """Whatever comes is a frame or none."""
    packets = [VideoPacket(TRACK, p, n // 3, n, 0.0, 0, 0.0, None, codec) for n, p in enumerate(payloads)]
    assert len(assembled(packets)) <= len(payloads)
    assert all(isinstance(starts_key(codec, payload), bool) for payload in payloads)


def test_the_descriptor_of_vp8_is_taken_off_at_its_full_length() -> None:
    """Picture id of 15 bits, TL0PICIDX, TID and KEYIDX (RFC 7741 section 4.2)."""
    assert vp8_payload(bytes([0x90, 0xF0, 0x81, 0x02, 0x03, 0x04]) + b"rest") == (True, b"rest")


def test_a_fragmented_unit_is_put_together() -> None:
    """FU-A fragments carry their unit's header in two halves (RFC 6184 section 5.8)."""
    begin, end = h264.units(b"\x7c\x85ab"), h264.units(b"\x7c\x45cd")
    assert (begin, end) == ([(b"\x65ab", True, False)], [(b"cd", False, True)])


def test_a_key_frame_is_asked_for_until_it_comes() -> None:
    """At once, then after 0.5, 1, 2 and at most 4 seconds; no more once it is there."""
    requests = KeyRequests()
    asked = [now / 10 for now in range(130) if requests.due(now / 10)]
    assert asked == [0.0, 0.5, 1.5, 3.5, 7.5, 11.5]
    requests.take(next(film("vp8", 1)))
    assert not requests.due(100.0)


def test_holes_one_after_another_ask_twice_a_second_at_most() -> None:
    """A path that loses something all the time is not flooded with requests."""
    requests, asked = KeyRequests(), 0
    key = next(film("vp8", 1))
    for now in range(100):
        requests.take(replace(key, sequence=2 * now))
        requests.lost()
        asked += requests.due(now / 10)
    assert asked == 20
