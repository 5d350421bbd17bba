"""One Phoenix message ↔ text or bytes, in the serializer versions 1 and 2. Pure.

Version 2 is a JSON array ``[join_ref, ref, topic, event, payload]``, version 1 a JSON object with the keys
``topic``, ``event``, ``payload``, ``ref`` and ``join_ref``. Version 2 also knows binary messages: a kind
byte, one length byte per name (UTF-8 bytes, at most 255), the names, then the payload as it is.

Encoding is the client's side and decoding reads what a server sends; in text both sides look the same. A
server that speaks version 1 sends no ``join_ref``: give it a `Message` without one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from voki_bots.errors import ProtocolError

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"

REPLY = "phx_reply"
JOIN = "phx_join"
LEAVE = "phx_leave"
ERROR = "phx_error"
CLOSE = "phx_close"
HEARTBEAT = "heartbeat"
HEARTBEAT_TOPIC = "phoenix"

V1 = "1.0.0"
V2 = "2.0.0"

_PUSH, _REPLY, _BROADCAST = 0, 1, 2
_MAX_NAME = 255
_EXCERPT = 60  # long enough to recognise a message, too short to reach the secrets of a session description


@dataclass(frozen=True, slots=True)
class Message:
    """One Phoenix message, whatever its encoding.

    Attributes:
        join_ref: The ref of the join this belongs to; None in broadcasts and for the heartbeat.
        ref: Ties a reply to its push; None where no reply is meant.
        topic: For example ``call:42``.
        event: For example ``signal``, or one of the reserved ``phx_…`` names.
        payload: Any JSON, or bytes in a binary message. A reply's is ``{"status": str, "response": …}``.
    """

    join_ref: str | None
    ref: str | None
    topic: str
    event: str
    payload: object = field(repr=False)


def encode(message: Message, version: str = V2) -> str | bytes:
    """Turn a message into what goes over the wire.

    Args:
        message: A payload of type bytes makes a binary push, which only version 2 has.
        version: ``1.0.0`` or ``2.0.0``.

    Raises:
        ProtocolError: The payload is not JSON, or a name of a binary push is longer than 255 UTF-8 bytes.
    """
    if version not in (V1, V2):
        raise ProtocolError(f"expected serializer version {V1} or {V2}, got {version!r}")
    if isinstance(message.payload, bytes):
        return _encode_binary(message, version)
    body: object
    if version == V2:
        body = [message.join_ref, message.ref, message.topic, message.event, message.payload]
    else:
        body = {
            "topic": message.topic,
            "event": message.event,
            "payload": message.payload,
            "ref": message.ref,
        }
        if message.join_ref is not None:
            body["join_ref"] = message.join_ref
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()  # a lone surrogate is a str, but no text a websocket can carry
    except (TypeError, ValueError, RecursionError):
        problem = f"the payload of {message.event!r} to {message.topic!r} cannot be written as JSON"
    else:
        return text
    raise ProtocolError(problem)  # outside the except block: its exception may quote the payload


def _encode_binary(message: Message, version: str) -> bytes:
    if version != V2:
        raise ProtocolError(f"a binary push of {message.event!r} needs serializer version {V2}")
    head, names = bytearray([_PUSH]), bytearray()
    for name in (message.join_ref or "", message.ref or "", message.topic, message.event):
        encoded = name.encode(errors="replace")
        if len(encoded) > _MAX_NAME:
            raise ProtocolError(
                f"a binary message holds names of at most {_MAX_NAME} bytes, got {len(encoded)}",
                excerpt=name[:_EXCERPT],
            )
        head.append(len(encoded))
        names += encoded
    assert isinstance(message.payload, bytes)
    return bytes(head + names) + message.payload


def decode(data: str | bytes) -> Message:
    """Read what a server sent; the version is told by its shape.

    Refs may be numbers on the wire (a server echoes what it got); they become strings.

    Raises:
        ProtocolError: It is no Phoenix message.
    """
    if isinstance(data, bytes):
        return _decode_binary(data)
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        body = None
    if isinstance(body, dict):
        return _message(
            [
                body.get("join_ref"),
                body.get("ref"),
                body.get("topic"),
                body.get("event"),
                body.get("payload"),
            ],
            data,
        )
    if isinstance(body, list) and len(body) >= 5:
        return _message(body, data)
    raise ProtocolError("expected a Phoenix message of version 1 or 2", excerpt=data[:_EXCERPT])


def version_of(data: str | bytes) -> str:
    """Say which serializer version a received message is written in."""
    return V1 if isinstance(data, str) and data.lstrip().startswith("{") else V2


def _message(parts: list[object], data: str) -> Message:
    join_ref, ref, topic, event, payload = parts[:5]
    if not isinstance(topic, str) or not isinstance(event, str):
        raise ProtocolError("expected a topic and an event that are strings", excerpt=data[:_EXCERPT])
    return Message(_ref(join_ref, data), _ref(ref, data), topic, event, payload)


def _ref(value: object, data: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ProtocolError("expected a ref that is a string, a number or null", excerpt=data[:_EXCERPT])


def _decode_binary(data: bytes) -> Message:
    kind = data[0] if data else None
    if kind == _PUSH:
        (join_ref, topic, event), payload = _names(data, 3)
        return Message(join_ref, None, topic, event, payload)
    if kind == _REPLY:
        (join_ref, ref, topic, status), payload = _names(data, 4)
        return Message(join_ref, ref, topic, REPLY, {"status": status, "response": payload})
    if kind == _BROADCAST:
        (topic, event), payload = _names(data, 2)
        return Message(None, None, topic, event, payload)
    raise ProtocolError(f"expected a binary message of kind 0, 1 or 2, got {kind}")


def _names(data: bytes, count: int) -> tuple[list[str], bytes]:
    sizes, at = data[1 : 1 + count], 1 + count
    if len(sizes) < count or at + sum(sizes) > len(data):
        raise ProtocolError(f"a binary message of {len(data)} bytes is cut off")
    names = []
    for size in sizes:
        try:
            names.append(data[at : at + size].decode())
        except UnicodeDecodeError:
            raise ProtocolError("a name in a binary message is not UTF-8") from None
        at += size
    return names, data[at:]
