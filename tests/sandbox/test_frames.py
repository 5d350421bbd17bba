"""A server's side of both serializers, against what the npm package writes and reads."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voki_bots.sandbox.frames import read, serializer_for, write
from voki_bots.signalling.wire import Message

VECTORS = Path(__file__).parents[1] / "oracles" / "phoenix" / "serializer-vectors.json"
CASES = json.loads(VECTORS.read_text())["cases"]
FROM_CLIENT = [case for case in CASES if case["kind"] in ("text", "binary_push")]
TO_CLIENT = [case for case in CASES if case["kind"] == "binary_in"]


@pytest.mark.parametrize("case", FROM_CLIENT, ids=range(len(FROM_CLIENT)))
def test_what_the_npm_client_writes_is_read(case):
    """Text and binary pushes have the same parts as they had there."""
    wire = case["wire"] if case["kind"] == "text" else bytes.fromhex(case["wire"])
    told = read(wire, "2.0.0")
    expected = {"payload": bytes.fromhex(case.get("data", "")), **case["msg"]}
    assert {name: getattr(told, name) for name in expected} == expected


@pytest.mark.parametrize("case", TO_CLIENT, ids=range(len(TO_CLIENT)))
def test_binaries_are_written_as_the_npm_client_reads_them(case):
    """Push, reply and broadcast come out byte for byte."""
    told, payload = case["msg"], bytes.fromhex(case["msg"]["data"])
    if told["status"] is not None:
        payload = {"status": told["status"], "response": payload}
    message = Message(told["join_ref"], told["ref"], told["topic"], told["event"], payload)
    assert write(message, "2.0.0") == bytes.fromhex(case["wire"])


@pytest.mark.parametrize(
    ("frame", "version"),
    [
        ("xx", "2.0.0"),
        ("[1,2]", "2.0.0"),
        ('{"topic":"t","event":"e","payload":{},"ref":"1"}', "2.0.0"),
        ('["1","2","t","e",NaN]', "2.0.0"),
        ("[" * 100_000, "2.0.0"),
        ('["1","2","t","e",{}]', "1.0.0"),
        ('{"topic":"t","event":"e","payload":{}}', "1.0.0"),
        (b"", "2.0.0"),
        (b"\x00\x01\x01", "2.0.0"),
        (b"\x00\x01\x01\x01\x05123e", "2.0.0"),
        (b"\x01\x01\x01\x01\x011234", "2.0.0"),
        (b"\x00\x00\x00\x01\x01\xff\xff", "2.0.0"),
    ],
)
def test_what_is_no_message_is_refused(frame, version):
    """Whatever the reason, it is a ValueError."""
    with pytest.raises(ValueError, match=".+"):
        read(frame, version)


@given(st.text() | st.binary(), st.sampled_from(["1.0.0", "2.0.0"]))
def test_hostile_frames_are_read_or_refused(frame, version):
    """Nothing but ValueError comes of anything."""
    with contextlib.suppress(ValueError):
        assert isinstance(read(frame, version), Message)


def test_the_first_serializer_reads_json_in_any_frame():
    """A binary frame is text to it, as to a real server's."""
    frame = b'{"topic":"t","event":"e","payload":{},"ref":7}'
    assert read(frame, "1.0.0") == Message(None, 7, "t", "e", {})


@pytest.mark.parametrize(
    ("message", "version"),
    [
        (Message("1", None, "t", "e", b"\x01"), "1.0.0"),
        (Message("1", None, "t" * 256, "e", b"\x01"), "2.0.0"),
        (Message("1", None, "t", "e", {"x": object()}), "2.0.0"),
        (Message("1", None, "t", "e", {"x": "\ud800"}), "2.0.0"),
    ],
)
def test_what_cannot_be_written_is_refused(message, version):
    """Whoever says it hears of it."""
    with pytest.raises(ValueError, match=".+"):
        write(message, version)


@pytest.mark.parametrize(
    ("vsn", "version"),
    [
        (None, "1.0.0"),
        ("1.0.7", "1.0.0"),
        ("2.0.9", "2.0.0"),
        ("2.1.0", None),
        ("9.0.0", None),
        ("junk", None),
        ("2.0.", None),
    ],
)
def test_the_version_chooses_the_serializer(vsn, version):
    """Patch releases are alike; anything else is refused."""
    assert serializer_for(vsn) == version
