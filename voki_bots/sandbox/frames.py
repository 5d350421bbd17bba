"""Phoenix messages as a server reads and writes them, in both serializers. Pure.

`signalling.wire` is the client's side; the two differ in binary messages, and a server echoes refs as they
came. Nothing here is lenient: what real Phoenix fails on fails here, and ends the socket.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from ..signalling.wire import REPLY, V1, V2, Message

_PUSH, _REPLY, _BROADCAST = 0, 1, 2
_MAX_NAME = 255


def serializer_for(vsn: str | None) -> str | None:
    """Choose the serializer for the query parameter ``vsn``; None refuses the connection."""
    if vsn is None:
        return V1
    for version in (V1, V2):
        prefix = re.escape(version[:4])
        if re.fullmatch(prefix + r"\d+", vsn, re.ASCII):
            return version
    return None


# ---------------------------------------------------------------- in


def read(frame: str | bytes, version: str) -> Message:
    """Read what a client sent. Refs stay as they came, numbers too: they are echoed.

    The first serializer does not ask which kind of frame it got: it is JSON either way.

    Raises:
        ValueError: It is no message of this version.
    """
    if version == V2 and isinstance(frame, bytes):
        return _read_binary(frame)
    try:
        body = json.loads(frame, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if version == V1 and isinstance(body, dict) and {"topic", "event", "payload", "ref"} <= set(body):
        parts = [body.get(name) for name in ("join_ref", "ref", "topic", "event", "payload")]
    elif version == V2 and isinstance(body, list) and len(body) >= 5:
        parts = body[:5]
    else:
        raise ValueError("not a message")
    join_ref, ref, topic, event, payload = parts
    if not isinstance(topic, str) or not isinstance(event, str):
        raise ValueError("topic and event must be text")  # noqa: TRY004 - of the wire, not of a caller
    return Message(join_ref, ref, topic, event, payload)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _read_binary(frame: bytes) -> Message:
    if frame[:1] != bytes([_PUSH]):
        raise ValueError("a client sends binary pushes only")
    sizes, at = frame[1:5], 5
    if len(sizes) < 4 or at + sum(sizes) > len(frame):
        raise ValueError("a binary message is cut off")
    names = []
    for size in sizes:
        names.append(frame[at : at + size].decode())
        at += size
    join_ref, ref, topic, event = names
    return Message(join_ref, ref, topic, event, frame[at:])


# ---------------------------------------------------------------- out


def write(message: Message, version: str) -> str | bytes:
    """Write what a server says: a push, a broadcast (without a join_ref) or a reply.

    Raises:
        ValueError: The payload is not JSON, or it is bytes and cannot be written as such.
    """
    payload: Any = message.payload
    if isinstance(payload, bytes):
        return _write_binary(message, payload, version)
    if message.event == REPLY and isinstance(payload["response"], bytes):
        return _write_binary(message, payload["response"], version)
    body: object
    if version == V2:
        body = [message.join_ref, message.ref, message.topic, message.event, payload]
    else:
        body = {"topic": message.topic, "event": message.event, "payload": payload, "ref": message.ref}
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, RecursionError) as failure:
        raise ValueError(f"the payload of {message.event!r} is not JSON") from failure
    text.encode()  # a lone surrogate is a str, but no text a websocket can carry
    return text


def _write_binary(message: Message, data: bytes, version: str) -> bytes:
    if version != V2:
        raise ValueError("the first serializer has no binary messages")
    names: list[object]
    if message.event == REPLY:
        assert isinstance(message.payload, dict)
        kind, names = _REPLY, [message.join_ref, message.ref, message.topic, message.payload["status"]]
    elif message.join_ref is None:
        kind, names = _BROADCAST, [message.topic, message.event]
    else:
        kind, names = _PUSH, [message.join_ref, message.topic, message.event]
    encoded = [b"" if name is None else str(name).encode() for name in names]
    if any(len(name) > _MAX_NAME for name in encoded):
        raise ValueError(f"a binary message holds names of at most {_MAX_NAME} bytes")
    return bytes([kind, *map(len, encoded)]) + b"".join(encoded) + data
