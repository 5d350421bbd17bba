"""What the SFU does to its descriptions before it speaks them, and reads in others'. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
_SENDING = ("a=sendonly", "a=sendrecv")
_TRANSPORT = "ice-|fingerprint|setup|candidate|end-of|sendonly|recvonly|sendrecv|inactive|ssrc|msid"
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


@dataclass(frozen=True, slots=True)
class Manner:
    """How an SFU writes its descriptions.

    Attributes:
        audio_level: The audio-level header extension is negotiated.
        ssrc: Sending lines name their SSRC.
        msid: Sending lines name their stream.
    """

    audio_level: bool = False
    ssrc: bool = True
    msid: bool = True


def renamed(sdp: str, names: Mapping[str, str]) -> str:
    """Give lines other mids, in the lines themselves and in the bundle."""

    def rename(mid: str) -> str:
        return names.get(mid, mid)

    sdp = re.sub(r"(?m)^a=mid:(\S+)", lambda m: f"a=mid:{rename(m[1])}", sdp)
    return re.sub(
        r"(?m)^a=group:BUNDLE(.*?)(\r?)$",
        lambda m: " ".join(["a=group:BUNDLE", *map(rename, m[1].split())]) + m[2],
        sdp,
    )


def rejected(sdp: str, mids: Collection[str]) -> str:
    """Reject lines as JSEP has it for stopped ones: port 0, out of the bundle, credentials still there."""
    head, *sections = re.split(r"\r\n(?=m=)", sdp.rstrip("\r\n"))
    head = re.sub(
        r"(?m)^a=group:BUNDLE(.*?)(\r?)$",
        lambda m: " ".join(["a=group:BUNDLE", *(x for x in m[1].split() if x not in mids)]) + m[2],
        head,
    )
    written = [head]
    for section in sections:
        found = _MID.search(section.replace("\r", ""))
        if found and found.group(1) in mids:
            section = re.sub(r"\Am=(\w+) \d+", r"m=\1 0", section)
            section = re.sub(r"\r\na=(candidate|end-of-candidates)[^\r]*", "", section)
        written.append(section)
    return "\r\n".join(written) + "\r\n"


def unrejected(answer: str, offer: str) -> tuple[str, set[str]]:
    """Make of an answer with rejected lines one that aiortc takes; say which lines were rejected.

    A rejected line becomes an inactive one, as in our offer, with the transport of the answer's first line.
    """
    head, *sections = re.split(r"\r\n(?=m=)", answer.rstrip("\r\n"))
    ours = {_mid(s): s for s in re.split(r"\r\n(?=m=)", offer.rstrip("\r\n"))[1:]}
    alive = next((s for s in sections if not re.match(r"m=\w+ 0 ", s)), "")
    wanted = re.findall(r"\r\n(a=(?:ice-ufrag|ice-pwd|fingerprint|setup):[^\r]*)", alive)
    mids, written = set(), [head]
    for section in sections:
        mid = _mid(section)
        if re.match(r"m=\w+ 0 ", section) and mid in ours:
            mids.add(mid)
            kept = re.sub(rf"\r\na=(?:{_TRANSPORT})[^\r]*", "", ours[mid])
            section = "\r\n".join([kept, "a=inactive", *wanted])
        written.append(section)
    return "\r\n".join(written) + "\r\n", mids


def _mid(section: str) -> str:
    found = _MID.search(section.replace("\r", ""))
    return found.group(1) if found else ""


def without_candidates(sdp: str) -> tuple[str, list[str]]:
    """Take the candidates out of a description."""
    found = re.findall(r"(?m)^a=candidate:([^\r\n]*)", sdp)
    return re.sub(r"(?m)^a=(?:candidate:|end-of-candidates)[^\r\n]*\r?\n", "", sdp), list(
        dict.fromkeys(found)
    )


def spoken(sdp: str, streams: Mapping[str, Stream], manner: Manner) -> str:
    """Write our description as an SFU of the ex_webrtc family does.

    Lines that send carry ``a=msid`` and ``a=ssrc`` with an msid and no cname; other lines carry neither.
    Candidates stay; their end is not announced, for more are trickled.

    Args:
        sdp: What aiortc made.
        streams: By mid, what each sending line carries.
        manner: What is said and what is left out.
    """
    head, *sections = re.split(r"\r\n(?=m=)", sdp.rstrip("\r\n"))
    written = [f"{head}\r\na=ice-options:trickle"]
    for section in sections:
        found = _MID.search(section.replace("\r", ""))
        written.append(_section(section.split("\r\n"), streams.get(found.group(1) if found else ""), manner))
    return "\r\n".join(written) + "\r\n"


def _section(lines: list[str], stream: Stream | None, manner: Manner) -> str:
    sending = any(line in _SENDING for line in lines)
    kept: list[str] = []
    ssrcs: list[str] = []
    for line in lines:
        if found := _SSRC.match(line):
            if found.group(1) not in ssrcs:
                ssrcs.append(found.group(1))
        elif not line.startswith(_UNSAID) and (manner.audio_level or _LEVEL not in line):
            kept.append(line)
    if sending and stream is not None:
        said = f"{stream.stream} {stream.track}" if manner.msid else f"- {stream.track}"
        kept.append(f"a=msid:{said}")
        if manner.ssrc:
            kept += [f"a=ssrc:{ssrc} msid:{said}" for ssrc in ssrcs]
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
