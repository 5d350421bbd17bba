"""What the SFU does to its descriptions before it speaks them, and reads in others'. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
_SENDING = ("a=sendonly", "a=sendrecv")
_UNSAID = ("a=msid:", "a=ssrc-group:", "a=end-of-candidates")
_SSRC = re.compile(r"a=ssrc:(\d+) ")
_MID = re.compile(r"^a=mid:(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Stream:
    """What is said of one sending line.

    Attributes:
        stream: The stream id of ``a=msid`` (RFC 8830).
        track: Its track id.
    """

    stream: str
    track: str


def ufrag_of(sdp: str) -> str | None:
    """Return the ICE user fragment of the first line that has one (RFC 8839 section 5.4)."""
    found = re.search(r"^a=ice-ufrag:(\S+)\s*$", sdp, re.MULTILINE)
    return found.group(1) if found else None


def spoken(sdp: str, streams: Mapping[str, Stream], *, audio_level: bool) -> str:
    """Write our description as an SFU of the ex_webrtc family does.

    Lines that send carry ``a=msid`` and ``a=ssrc`` with an msid and no cname; other lines carry neither.
    Candidates stay; their end is not announced, for more are trickled.

    Args:
        sdp: What aiortc made.
        streams: By mid, what each sending line carries.
        audio_level: Whether the audio-level header extension is negotiated.
    """
    head, *sections = re.split(r"\r\n(?=m=)", sdp.rstrip("\r\n"))
    written = [f"{head}\r\na=ice-options:trickle"]
    for section in sections:
        found = _MID.search(section.replace("\r", ""))
        written.append(
            _section(section.split("\r\n"), streams.get(found.group(1) if found else ""), audio_level)
        )
    return "\r\n".join(written) + "\r\n"


def _section(lines: list[str], stream: Stream | None, audio_level: bool) -> str:
    sending = any(line in _SENDING for line in lines)
    kept: list[str] = []
    ssrcs: list[str] = []
    for line in lines:
        if found := _SSRC.match(line):
            if found.group(1) not in ssrcs:
                ssrcs.append(found.group(1))
        elif not line.startswith(_UNSAID) and (audio_level or _LEVEL not in line):
            kept.append(line)
    if sending and stream is not None:
        kept.append(f"a=msid:{stream.stream} {stream.track}")
        kept += [f"a=ssrc:{ssrc} msid:{stream.stream} {stream.track}" for ssrc in ssrcs]
    return "\r\n".join(kept)


def candidates(sdp: str) -> list[dict[str, object]]:
    """Return the candidates of the first line, as the ``ice_candidate`` event carries them."""
    first = re.split(r"\r\n(?=m=)", sdp)[1:2]
    found = _MID.search(first[0].replace("\r", "")) if first else None
    return [
        {
            "candidate": line.removeprefix("a="),
            "sdpMid": found.group(1) if found else "0",
            "sdpMLineIndex": 0,
            "usernameFragment": None,
        }
        for line in (first[0].split("\r\n") if first else [])
        if line.startswith("a=candidate:")
    ]
