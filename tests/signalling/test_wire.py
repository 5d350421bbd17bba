"""Phoenix messages on the wire, against vectors made by the vendor's own JavaScript client."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voki_bots.errors import ProtocolError
from voki_bots.signalling.wire import V1, V2, Message, decode, encode, version_of

ORACLES = Path(__file__).parents[1] / "oracles" / "phoenix"
VECTORS = json.loads((ORACLES / "serializer-vectors.json").read_text())["cases"]


def vectors(kind: str) -> list[Any]:
    return [v for v in VECTORS if v["kind"] == kind]


def message(vector: dict[str, Any], payload: object) -> Message:
    m = vector["msg"]
    return Message(m["join_ref"], m["ref"], m["topic"], m["event"], payload)


@pytest.mark.parametrize("vector", vectors("text"))
def test_73_text_is_written_as_the_javascript_client_writes_it(vector: dict[str, Any]) -> None:
    """A version 2 push is byte for byte what phoenix.js sends."""
    assert encode(message(vector, vector["msg"]["payload"])) == vector["wire"]


@pytest.mark.parametrize("vector", vectors("text"))
def test_73_text_is_read_back(vector: dict[str, Any]) -> None:
    """A version 2 message is read from an array."""
    assert decode(vector["wire"]) == message(vector, vector["msg"]["payload"])


@pytest.mark.parametrize("vector", vectors("binary_push"))
def test_73_binary_pushes_count_utf8_bytes(vector: dict[str, Any]) -> None:
    """A binary push is byte for byte what phoenix.js sends."""
    wire = encode(message(vector, bytes.fromhex(vector["data"])))
    assert isinstance(wire, bytes) and wire.hex() == vector["wire"]


@pytest.mark.parametrize("vector", vectors("binary_in"))
def test_74_binary_messages_are_read(vector: dict[str, Any]) -> None:
    """Push, reply and broadcast have layouts of their own; a reply becomes status and bytes."""
    payload: object = bytes.fromhex(vector["msg"]["data"])
    if vector["msg"]["status"] is not None:
        payload = {"status": vector["msg"]["status"], "response": payload}
    assert decode(bytes.fromhex(vector["wire"])) == message(vector, payload)


def test_73_a_name_of_more_than_255_bytes_is_refused_before_sending() -> None:
    """Lengths are one byte, counted in UTF-8."""
    with pytest.raises(ProtocolError, match="255 bytes, got 256"):
        encode(Message("1", "2", "é" * 128, "e", b"\0"))


@pytest.mark.parametrize(
    "data", [b"", b"\x07abc", b"\x00", b"\x01\x01\x01", b"\x02\x05\x01ab", b"\x02\x01\x00\xff"]
)
def test_75_truncated_or_unknown_binary_is_a_clean_error(data: bytes) -> None:
    """Binary that is cut off, of an unknown kind or not UTF-8 gives a ProtocolError."""
    with pytest.raises(ProtocolError):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [
        "",
        "xx",
        "null",
        "7",
        "[1,2]",
        '{"topic":"t"}',
        '[null,null,7,"e",{}]',
        '[true,null,"t","e",{}]',
        "[" * 100_000,
    ],
)
def test_40_text_that_is_no_message_is_a_clean_error(data: str) -> None:
    """Text that is no Phoenix message gives a ProtocolError, whatever it is."""
    with pytest.raises(ProtocolError):
        decode(data)


def test_numeric_refs_become_strings() -> None:
    """A server echoes refs as it got them, so numbers are accepted."""
    assert decode('[7,8,"t","e",{}]') == Message("7", "8", "t", "e", {})


def test_extra_elements_are_ignored() -> None:
    """A longer array is read by its first five elements."""
    assert decode('["1","2","t","e",{},"more"]') == Message("1", "2", "t", "e", {})


def test_version_1_is_read_by_its_shape() -> None:
    """An object is a version 1 message, without a join_ref as servers send it."""
    assert decode('{"topic":"t","event":"e","payload":{"a":1},"ref":"2"}') == Message(
        None, "2", "t", "e", {"a": 1}
    )


def test_version_1_is_written_with_the_join_ref() -> None:
    """Servers of version 1 accept a join_ref and need it to drop stale pushes."""
    text = encode(Message("1", "2", "t", "e", {}), V1)
    assert json.loads(text) == {"topic": "t", "event": "e", "payload": {}, "ref": "2", "join_ref": "1"}


@pytest.mark.parametrize("payload", [{"x": float("nan")}, {"x": object()}, {"x": "\ud800"}])
def test_a_payload_that_is_no_json_is_refused_without_quoting_it(payload: object) -> None:
    """What cannot be written is refused before sending, and the error has no cause that quotes it."""
    with pytest.raises(ProtocolError) as caught:
        encode(Message("1", "2", "t", "e", payload))
    assert caught.value.__context__ is None


@pytest.mark.parametrize(("data", "version"), [(' {"a":1}', V1), ("[1]", V2), (b"\0", V2)])
def test_the_version_is_told_by_the_shape(data: str | bytes, version: str) -> None:
    """Object means version 1; array and bytes mean version 2."""
    assert version_of(data) == version


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
REFS = st.none() | st.text("0123456789", min_size=1, max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@given(REFS, REFS, NAMES, NAMES, JSON, st.sampled_from([V1, V2]))
def test_text_survives_the_round_trip(
    join_ref: str | None, ref: str | None, topic: str, event: str, payload: object, version: str
) -> None:
    """Whatever is encoded as text is decoded to the same message, in both versions."""
    sent = Message(join_ref, ref, topic, event, payload)
    assert decode(encode(sent, version)) == sent


@given(st.binary(max_size=40))
def test_any_bytes_give_a_message_or_a_protocol_error(data: bytes) -> None:
    """No binary input raises anything but ProtocolError."""
    with contextlib.suppress(ProtocolError):
        decode(data)
