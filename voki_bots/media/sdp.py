"""What we do to session descriptions before aiortc sees them, and after. Pure.

aiortc never sees the far end's text: it is read here, leniently, into a `Description`, and written anew in
the form that aiortc accepts (RFC 8829, RFC 8859). What cannot be used becomes an inactive line that our
answer then rejects. Whatever text comes, the only error is `NegotiationError`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from voki_bots.errors import NegotiationError
from voki_bots.media.digits import offered, with_events

MAX_TEXT = 256 * 1024
MAX_SECTIONS = 256
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
AUDIO_CODECS = frozenset({"opus"})
VIDEO_CODECS = frozenset({"vp8", "h264", "rtx"})
OPUS_FORMAT = "minptime=10;useinbandfec=1"

_MEDIA = re.compile(r"([a-z][a-z0-9-]*) (\d{1,5})(?:/\d+)? ([A-Za-z0-9/.-]+)((?: \S+)*)\Z")
_RTPMAP = re.compile(r"(\d{1,3}) ([A-Za-z0-9._-]+)/(\d{1,6})(?:/(\d))?\Z")
_TOKEN = re.compile(r"[!#-'*+.0-9A-Z^-~-]{1,256}\Z")
_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}\Z")
_PASSWORD = re.compile(r"[A-Za-z0-9+/]{22,256}\Z")
_FINGERPRINT = re.compile(r"(sha-(?:256|384|512)) ((?:[0-9A-Fa-f]{2}:)+[0-9A-Fa-f]{2})\Z", re.IGNORECASE)
_EXTENSION = re.compile(r"(\d{1,3})(?:/[a-z]+)? (\S{1,256})(?: .*)?\Z")
_H264 = re.compile(r"(?=.*packetization-mode=1)(?=.*profile-level-id=42[0-9a-f]0[0-9a-f]{2})", re.IGNORECASE)
_PARAMETERS = re.compile(r"[!-~ ]{1,1024}\Z")


@dataclass(frozen=True, slots=True)
class Line:
    """One m-line of the far end's current description.

    Attributes:
        mid: Its identification.
        kind: ``audio``, ``video`` or what else the far end named.
        direction: As the far end sees it: ``sendonly`` means that it sends to us.
        msid: Stream id and track id, as far as given; without the ``-`` that stands for no stream.
        label: A label or cname, if there is one.
        ssrcs: The sources that are announced, those of retransmissions left out.
        rejected: The line is not in use (port 0).
    """

    mid: str
    kind: str
    direction: str
    msid: tuple[str, ...]
    label: str | None
    ssrcs: tuple[int, ...]
    rejected: bool


@dataclass(frozen=True, slots=True)
class Codec:
    """One payload type of a line; `fmtp` are its parameters as they came."""

    payload_type: int
    name: str
    clock_rate: int
    channels: int | None = None
    fmtp: str = ""
    feedback: tuple[str, ...] = ()

    @property
    def apt(self) -> int | None:
        """For ``rtx``: the payload type that it repairs (RFC 4588 section 8.1)."""
        found = re.search(r"(?:\A|[; ])apt=(\d{1,3})", self.fmtp)
        return int(found.group(1)) if found else None


@dataclass(slots=True)
class Section:
    """One media section, with the session's defaults filled in."""

    kind: str
    port: int
    profile: str
    formats: tuple[str, ...]
    mid: str = ""
    direction: str = "sendrecv"
    bundle_only: bool = False
    codecs: dict[int, Codec] = field(default_factory=dict)
    extensions: dict[int, str] = field(default_factory=dict)
    msid: tuple[str, ...] = ()
    label: str | None = None
    sources: dict[int, dict[str, str]] = field(default_factory=dict)
    repairs: dict[int, int] = field(default_factory=dict)
    events: dict[int, int] = field(default_factory=dict)
    ufrag: str | None = None
    password: str | None = field(default=None, repr=False)
    fingerprints: list[tuple[str, str]] = field(default_factory=list)
    setup: str | None = None
    candidates: list[str] = field(default_factory=list)

    @property
    def rejected(self) -> bool:
        """Port 0, unless it is only meant for the bundle (RFC 9143 section 6)."""
        return self.port == 0 and not self.bundle_only

    @property
    def usable(self) -> bool:
        """Whether we have a codec for it."""
        return self.kind in ("audio", "video") and bool(usable_codecs(self))

    def line(self) -> Line:
        """Say of it what the roster wants to know."""
        ssrcs = tuple(s for s in self.sources if s not in self.repairs)
        return Line(self.mid, self.kind, self.direction, self.msid, self.label, ssrcs, self.rejected)


@dataclass(slots=True)
class Description:
    """A whole session description."""

    sections: list[Section]
    bundle: tuple[str, ...] = ()
    ice_lite: bool = False


def usable_codecs(section: Section) -> list[Codec]:
    """Choose what we take of a section's codecs: Opus, or VP8 and H.264 with their retransmissions."""
    wanted = AUDIO_CODECS if section.kind == "audio" else VIDEO_CODECS
    kept = [c for c in section.codecs.values() if c.name.lower() in wanted]
    if section.kind == "audio":
        kept = [c for c in kept if c.clock_rate == 48_000]
    else:
        kept = [
            c for c in kept if c.clock_rate == 90_000 and (c.name.lower() != "h264" or _H264.search(c.fmtp))
        ]
    return kept if any(c.name.lower() != "rtx" for c in kept) else []


def events_of(section: Section) -> dict[int, int]:
    """Give the ticks per second of each payload type of telephone events (RFC 4733 section 7.1.1)."""
    codecs = section.codecs.values() if section.kind == "audio" else ()
    return {c.payload_type: c.clock_rate for c in codecs if c.name.lower() == "telephone-event"}


def parse(text: str, step: str) -> Description:
    """Read a session description; NegotiationError(step) if it is none."""
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise NegotiationError(f"the far end's {step} is no session description", step=step)
    session = Section("session", 9, "", ())
    description, current = Description([]), session
    for raw in text.replace("\r\n", "\n").split("\n"):
        kind, _, value = raw.strip(" \t").partition("=")
        if kind == "m":
            found = _MEDIA.match(value)
            if found is None or len(description.sections) >= MAX_SECTIONS:
                raise NegotiationError(f"the far end's {step} has an m-line that cannot be read", step=step)
            current = _begin(session, found)
            description.sections.append(current)
        elif kind == "a":
            name, _, rest = value.partition(":")
            if current is session and name == "group" and rest.startswith("BUNDLE"):
                description.bundle = tuple(rest.split()[1:])
            elif current is session and name == "ice-lite":
                description.ice_lite = True
            else:
                _attribute(current, name, rest.strip())
    if not description.sections:
        raise NegotiationError(f"the far end's {step} has no m-line", step=step)
    _identify(description.sections)
    return description


def _begin(session: Section, found: re.Match[str]) -> Section:
    kind, port, profile, formats = found.groups()
    section = Section(kind, int(port), profile, tuple(formats.split()))
    section.direction, section.setup = session.direction, session.setup
    section.ufrag, section.password = session.ufrag, session.password
    section.fingerprints = list(session.fingerprints)
    return section


def _attribute(section: Section, name: str, value: str) -> None:
    if name in DIRECTIONS and not value:
        section.direction = name
    elif name == "mid" and _TOKEN.match(value):
        section.mid = value
    elif name == "bundle-only":
        section.bundle_only = True
    elif name == "ice-ufrag" and _UFRAG.match(value):
        section.ufrag = value
    elif name == "ice-pwd" and _PASSWORD.match(value):
        section.password = value
    elif name == "fingerprint" and (found := _FINGERPRINT.match(value)):
        section.fingerprints.append((found.group(1).lower(), found.group(2).upper()))
    elif name == "setup" and value in ("actpass", "active", "passive"):
        section.setup = value
    elif name == "candidate":
        section.candidates.append(value)
    elif name == "extmap" and (found := _EXTENSION.match(value)):
        section.extensions[int(found.group(1))] = found.group(2)
    elif name == "label":
        section.label = value[:256] or section.label
    elif name == "msid":
        section.msid = tuple(part[:256] for part in value.split()[:2] if part != "-")
    elif name in ("rtpmap", "fmtp", "rtcp-fb"):
        _codec(section, name, value)
    elif name in ("ssrc", "ssrc-group"):
        _source(section, name, value)


def _codec(section: Section, name: str, value: str) -> None:
    if name == "rtpmap":
        if found := _RTPMAP.match(value):
            number, codec, rate, channels = found.groups()
            # Types that collide with RTCP under rtcp-mux are no payload types (RFC 5761 section 4).
            if int(number) < 128 and not 64 <= int(number) <= 95 and number in section.formats:
                known = Codec(int(number), codec, int(rate), int(channels) if channels else None)
                section.codecs[int(number)] = known
        return
    number, _, rest = value.partition(" ")
    if not _PARAMETERS.match(rest):
        return
    for payload_type, codec_ in section.codecs.items():
        if number == str(payload_type) and name == "fmtp":
            section.codecs[payload_type] = replace(codec_, fmtp=rest)
        elif number in ("*", str(payload_type)) and name == "rtcp-fb" and len(codec_.feedback) < 16:
            section.codecs[payload_type] = replace(codec_, feedback=(*codec_.feedback, rest))


def _source(section: Section, name: str, value: str) -> None:
    first, *rest = value.split(" ", 1)
    if name == "ssrc-group":
        numbers = rest[0].split() if rest else []
        if first == "FID" and len(numbers) == 2 and all(_ssrc(n) is not None for n in numbers):
            section.repairs[int(numbers[1])] = int(numbers[0])
        return
    ssrc = _ssrc(first)
    if ssrc is None or len(section.sources) >= 64:
        return
    facts = section.sources.setdefault(ssrc, {})
    key, _, content = (rest[0] if rest else "").partition(":")
    if key in ("cname", "msid", "label") and content:
        facts[key] = content[:512]
        if key == "msid" and not section.msid:
            section.msid = tuple(part[:256] for part in content.split()[:2] if part != "-")
        elif key != "msid" and section.label is None:
            section.label = content[:256]


def _ssrc(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) < 2**32 else None


def _identify(sections: Sequence[Section]) -> None:
    """Give every section a mid of its own; a far end without mids is one of before RFC 8843."""
    taken: set[str] = set()
    for index, section in enumerate(sections):
        mid = section.mid
        if not mid or mid in taken:
            mid = next(m for m in (str(n) for n in range(index, 10_000)) if m not in taken)
        section.mid = mid
        taken.add(mid)


def ufrag_of(text: str) -> str | None:
    """Read the ICE user fragment: if it differs from the last one, the far end restarts ICE (RFC 8839)."""
    found = re.search(r"^a=ice-ufrag:([A-Za-z0-9+/]{4,256})\s*$", text[:MAX_TEXT], re.MULTILINE)
    return found.group(1) if found else None


def acceptable_offer(offer: Description) -> Description:
    """Make of the far end's offer one that aiortc takes, with the same lines in the same order.

    Raises:
        NegotiationError: If it has no transport to answer to.
    """
    return Description(_repaired(offer.sections, "offer", "actpass"), ice_lite=offer.ice_lite)


def acceptable_answer(answer: Description, offer: Description) -> Description:
    """Make of the far end's answer one that matches our offer line by line (RFC 3264 section 6).

    Lines that the answer leaves out become rejected copies of ours; lines that it adds are dropped.
    """
    by_mid = {s.mid: s for s in answer.sections}
    sections = []
    for index, ours in enumerate(offer.sections):
        theirs = answer.sections[index] if index < len(answer.sections) else None
        if theirs is None or theirs.kind != ours.kind or theirs.mid != ours.mid:
            theirs = by_mid.get(ours.mid)
        if theirs is None or theirs.kind != ours.kind:
            theirs = Section(ours.kind, 0, ours.profile, ours.formats, direction="inactive")
        sections.append(replace(theirs, mid=ours.mid))
    return Description(_repaired(sections, "answer", "active"), ice_lite=answer.ice_lite)


def _repaired(sections: Sequence[Section], step: str, setup: str) -> list[Section]:
    tagged = next((s for s in sections if not s.rejected and s.ufrag and s.password and s.fingerprints), None)
    tagged = tagged or next((s for s in sections if s.ufrag and s.password and s.fingerprints), None)
    if tagged is None or tagged.ufrag is None:
        raise NegotiationError(f"the far end's {step} names no ICE credentials and fingerprint", step=step)
    used = {c for s in sections for c in s.codecs}
    spare = next((n for n in range(127, 95, -1) if n not in used), 127)
    role = tagged.setup if tagged.setup in ("active", "passive") or setup == "actpass" else None
    return [_repair(section, tagged, role or setup, spare) for section in sections]


def _repair(section: Section, tagged: Section, setup: str, spare: int) -> Section:
    """Fill in what may be left out in a bundle (RFC 9143 section 7.1.3), and mask what we cannot use."""
    codecs = {c.payload_type: c for c in usable_codecs(section)} if section.kind in ("audio", "video") else {}
    idle = section.rejected or not codecs
    kind = section.kind if section.kind in ("audio", "video") else "audio"
    if not codecs:
        codec = Codec(spare, "opus", 48_000, 2) if kind == "audio" else Codec(spare, "VP8", 90_000)
        codecs = {spare: codec}
    return replace(
        section,
        kind=kind,
        port=9,
        codecs=codecs,
        direction="inactive" if idle else section.direction,
        sources={} if idle else section.sources,
        repairs={} if idle else section.repairs,
        events={} if idle else events_of(section),
        ufrag=tagged.ufrag,
        password=tagged.password,
        fingerprints=tagged.fingerprints,
        setup=setup,
    )


def write(description: Description) -> str:
    """Write a description in the narrow form that aiortc reads; candidates are left out (add them apart)."""
    out = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0"]
    if description.ice_lite:
        out.append("a=ice-lite")
    # All in one bundle, its first line first: aiortc stops the transport it uses if the order differs.
    out.append("a=group:BUNDLE " + " ".join(s.mid for s in description.sections))
    out.append("a=msid-semantic:WMS *")
    for section in description.sections:
        out += _written(section)
    return "\r\n".join(out) + "\r\n"


def _written(section: Section) -> list[str]:
    numbers = " ".join(str(n) for n in section.codecs)
    out = [
        f"m={section.kind} 9 UDP/TLS/RTP/SAVPF {numbers}",
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 0.0.0.0",
        f"a=mid:{section.mid}",
        f"a={section.direction}",
        "a=rtcp-mux",
        f"a=ice-ufrag:{section.ufrag}",
        f"a=ice-pwd:{section.password}",
        f"a=setup:{section.setup}",
    ]
    out += [f"a=fingerprint:{algorithm} {value}" for algorithm, value in section.fingerprints]
    out += [f"a=extmap:{n} {uri}" for n, uri in section.extensions.items() if 1 <= n <= 255]
    for n, codec in section.codecs.items():
        channels = f"/{codec.channels}" if codec.channels else ""
        out.append(f"a=rtpmap:{n} {codec.name}/{codec.clock_rate}{channels}")
        out += [f"a=rtcp-fb:{n} {feedback}" for feedback in codec.feedback]
        if codec.name.lower() == "rtx" and codec.apt is not None:
            out.append(f"a=fmtp:{n} apt={codec.apt}")
        elif codec.name.lower() == "h264":
            out.append(f"a=fmtp:{n} {codec.fmtp}")
    out += [f"a=ssrc-group:FID {main} {repair}" for repair, main in section.repairs.items()]
    out += [f"a=ssrc:{ssrc} cname:-" for ssrc in section.sources]
    return out


def presentable(
    text: str,
    offer: Description | None = None,
    rejected: Collection[str] = (),
    events: Mapping[int, int] = MappingProxyType({}),
) -> str:
    """Make of aiortc's description the one that we send.

    It says that we trickle (RFC 8840), asks for Opus with in-band redundancy (RFC 7587 section 6.1) and takes
    telephone events, all of which aiortc leaves out: in an offer those in `events`, by payload type and ticks
    per second, in an answer what the far end has. In an answer, the lines in `rejected` get port 0, leave the
    bundle (RFC 9143 section 7.3.3) and are written as the far end wrote them in `offer`.
    """
    theirs = {s.mid: s for s in offer.sections} if offer else {}
    head, *sections = re.split(r"(?m)^(?=m=)", text)
    lines = [line for line in head.split("\r\n") if line]
    for n, line in enumerate(lines):
        if line.startswith("a=group:BUNDLE"):
            kept = [mid for mid in line.split()[1:] if mid not in rejected]
            lines[n] = " ".join(["a=group:BUNDLE", *kept])
    lines.append("a=ice-options:trickle")
    for section in sections:
        found = re.search(r"(?m)^a=mid:(\S+)", section)
        mid = found.group(1) if found else ""
        if mid in rejected and mid in theirs:
            old = theirs[mid]
            lines.append(f"m={old.kind} 0 {old.profile} {' '.join(old.formats) or '0'}")
            lines += ["c=IN IP4 0.0.0.0", "a=inactive", f"a=mid:{mid}"]
            continue
        written = _with_format([line for line in section.split("\r\n") if line])
        lines += with_events(written, events_of(theirs[mid]) if mid in theirs else events)
    return "\r\n".join(lines) + "\r\n"


def event_types(remote: Description | None) -> dict[int, int]:
    """Choose the types of telephone events for an offer of ours."""
    sections = remote.sections if remote is not None else []
    known = {number: rate for s in sections for number, rate in events_of(s).items()}
    return offered(known, {number for s in sections for number in s.codecs})


def _with_format(lines: list[str]) -> list[str]:
    out = []
    for line in lines:
        out.append(line)
        found = re.match(r"a=rtpmap:(\d+) opus/", line)
        if found and not any(other.startswith(f"a=fmtp:{found.group(1)} ") for other in lines):
            out.append(f"a=fmtp:{found.group(1)} {OPUS_FORMAT}")
    return out
