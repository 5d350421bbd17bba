"""What the channels' words show: from logs to findings. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal

from voki_bots.calls import Supervision, SupervisionStarted
from voki_bots.media.sdp import Description, Section
from voki_bots.probe.overheard import Log
from voki_bots.signalling import payloads

_SENDS = ("sendrecv", "sendonly")
_LEVEL = "ssrc-audio-level"

Reuse = Literal["new_lines", "same_source", "new_source", "new_mid"]


def first_offer(log: Log) -> Literal["client", "server"] | None:
    """Who offered first on a party's connection."""
    ours, theirs = log.signals("sent", "offer"), log.signals("came", "offer")
    if not ours and not theirs:
        return None
    return "server" if theirs and (not ours or theirs[0].at < ours[0].at) else "client"


def glare(log: Log, since: float = 0.0) -> bool | None:
    """Whether the SFU offered while our first offer was open."""
    if not (ours := log.signals("sent", "offer", since=since)):
        return None
    answers = log.signals("came", "answer", since=ours[0].at)
    until = answers[0].at if answers else log.now
    return any(word.at <= until for word in log.signals("came", "offer", since=ours[0].at))


def unanswered(log: Log) -> bool | None:
    """Whether nothing came back for our first offer until we offered otherwise."""
    ours = log.signals("sent", "offer")
    if first_offer(log) != "client":
        return None
    until = ours[1].at if len(ours) > 1 else log.now
    return not any(word.at <= until for word in log.find("came", "signal", since=ours[0].at))


def first_answer(log: Log, since: float = 0.0) -> Description | None:
    """The SFU's first answer to us."""
    found = (d for word, d in log.descriptions(since=since) if word.body.get("type") == "answer")
    return next(found, None)


def carries(description: Description | None) -> bool | None:
    """Whether any line of audio of a description brings something; None without a description."""
    return None if description is None else any(map(_brings, _audio(description)))


def media(logs: Collection[Log], user_ids: Collection[str]) -> dict[str, object]:
    """Fields of `profile.MediaFindings` that all descriptions together show."""
    described = [(word, d) for log in logs for word, d in log.descriptions()]
    offers = [d for log in logs for d in _unasked(log)]
    bringing = [s for _, d in described for s in _audio(d) if _brings(s)]
    sections = [s for _, d in described for s in d.sections]
    reuses = [found for log in logs if (found := line_reuse([d for _, d in log.descriptions()]))]
    return {
        "msid": _msid(bringing, user_ids) if bringing else None,
        "ssrcs": any(s.sources for s in bringing) if bringing else None,
        "video": any(s.kind == "video" and not s.rejected for d in offers for s in d.sections)
        if offers
        else None,
        "audio_level": any(_LEVEL in uri for s in sections for uri in s.extensions.values())
        if sections
        else None,
        "line_reuse": next((each for each in reuses if each != "new_lines"), reuses[0] if reuses else None),
    }


def _unasked(log: Log) -> list[Description]:
    """The SFU's offers, up to where we offer a line of video ourselves."""
    ours = [word for word in log.signals("sent", "offer") if "m=video" in str(word.body.get("sdp"))]
    until = ours[0].at if ours else log.now
    return [d for w, d in log.descriptions() if w.body.get("type") == "offer" and w.at <= until]


def _msid(bringing: Iterable[Section], user_ids: Collection[str]) -> Literal["user_id", "other", "none"]:
    named = [section.msid for section in bringing]
    if any(user_id and user_id in name for names in named for name in names for user_id in user_ids):
        return "user_id"
    # A single name is that of a track, with "-" for no stream (RFC 8830 section 2).
    return "other" if any(len(names) > 1 for names in named) else "none"


def line_reuse(descriptions: Iterable[Description]) -> Reuse | None:
    """What the next voice got after one had gone; None if none went, or none came after it."""
    active: dict[int, tuple[str, frozenset[int]]] = {}
    idle: dict[int, tuple[str, frozenset[int]]] = {}
    appended = False
    for description in descriptions:
        for index, section in enumerate(description.sections):
            if section.kind != "audio":
                continue
            was, now = active.get(index), (section.mid, frozenset(section.sources))
            if not _brings(section):
                if was is not None:
                    idle[index] = active.pop(index)
                continue
            if was is None and index in idle:
                mid, sources = idle[index]
                if mid != section.mid:
                    return "new_mid"
                if sources and now[1]:
                    return "same_source" if sources & now[1] else "new_source"
            appended = appended or (was is None and bool(idle) and index not in idle)
            active[index] = now
    return "new_lines" if appended else None


def signalling(logs: Iterable[Log], own: Collection[str]) -> dict[str, object]:
    """Fields of `profile.SignallingFindings` that the events show.

    Args:
        logs: Of every party.
        own: Their user ids, in the same order.
    """
    snapshot: bool | None = None
    announces: bool | None = None
    customers: list[bool] = []
    for log, user_id in zip(logs, own, strict=True):
        for word in log.find("join"):
            snapshot = bool(snapshot) or isinstance(word.body.get("participants"), list)
            announces = bool(announces)
        joined = [word.body for word in log.find("came", "participant_joined")]
        announces = any(user_id and body.get("user_id") == user_id for body in joined) or announces
        customers += [body.get("user_id") is not None for body in joined if body.get("role") == "customer"]
    return {
        "snapshot": snapshot,
        "announces_self": announces,
        "names_customers": all(customers) if customers else None,
    }


def started(log: Log, mode: Supervision, since: float) -> list[tuple[float, str]]:
    """When, and of whom, a party was told that he supervises in a mode."""
    found = []
    for word in log.find("came", since=since):
        event = payloads.call_event(word.event, word.payload)
        if isinstance(event, SupervisionStarted) and event.mode is mode:
            found.append((word.at, event.supervisor_id))
    return found


def late_join(log: Log, since: float, heard: bool) -> str:
    """How a party came to hear who joined since a time."""
    if not heard:
        return "not_heard"
    if log.signals("came", "offer", since=since):
        return "server_offers"
    return "client_offers" if log.signals("sent", "offer", since=since) else "own_lines"


def _audio(description: Description) -> list[Section]:
    return [section for section in description.sections if section.kind == "audio"]


def _brings(section: Section) -> bool:
    return section.direction in _SENDS and not section.rejected
