"""What a session is doing, live on a terminal or as plain lines elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from voki_bots import calls
from voki_bots.cli.text import clock, shown, size
from voki_bots.units import SILENCE_DBFS

if TYPE_CHECKING:
    from voki_bots.bots.bus import Happening
    from voki_bots.bots.session import CallSession, Snapshot

REFRESH = 0.25
"""Seconds between two pictures on a terminal."""

STATUS = 10.0
"""Seconds between two lines about files and levels elsewhere."""

CAPTIONS = 4
"""Utterances that are shown on a terminal."""

_FLOOR = -60.0
_BAR = 20
_NAME = 40


async def watching(
    session: CallSession,
    seconds: float | None,
    console: Console,
    *,
    levels: Mapping[str, float] | None = None,
) -> str | None:
    """Show a session: who is there, how loud, since when, what is being written.

    Args:
        session: What is shown; it is left alone otherwise.
        seconds: How long, or None for as long as the session lasts.
        console: A terminal gets a live picture, anything else gets plain lines.
        levels: Measured levels in dBFS by track, beside those that the packets themselves tell.

    Returns:
        Why the session ended before the time was over, or None.
    """
    names: dict[str, str] = {}
    captions: dict[str, str] = {}
    levels = {} if levels is None else levels  # an empty one may fill later
    showing = [asyncio.create_task(_hear(session, console, names, captions))]
    if console.is_terminal:
        showing.append(asyncio.create_task(_draw(session, console, names, levels, captions)))
    else:
        showing.append(asyncio.create_task(_status(session, console, names, levels)))
    ended = asyncio.create_task(session.ended())
    try:
        done, _ = await asyncio.wait({ended, *showing}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {ended}:
            task.result()
        return ended.result() if ended in done else None
    finally:
        for task in (ended, *showing):
            task.cancel()
        await asyncio.gather(ended, *showing, return_exceptions=True)


def line(console: Console, at: float, text: str) -> None:
    """Print one plain line with its call time."""
    console.print(f"[{clock(at):>5}] {text}", markup=False, highlight=False, soft_wrap=True)


def files_in(directory: Path) -> list[tuple[str, int]]:
    """List the files of a call's folder with their sizes in bytes, sorted by name."""
    found = []
    for path in sorted(directory.rglob("*")):
        try:
            if path.is_file() and not path.is_symlink():
                found.append((path.relative_to(directory).as_posix(), path.stat().st_size))
        except OSError:  # it was renamed or removed meanwhile
            continue
    return found


def picture(
    snapshot: Snapshot,
    files: Sequence[tuple[str, int]],
    names: Mapping[str, str],
    levels: Mapping[str, float],
    captions: Sequence[str] = (),
) -> Group:
    """Draw what a session is doing.

    Args:
        snapshot: The session.
        files: What is being written, with sizes in bytes.
        names: Who is on a track, by track.
        levels: dBFS by track, beside those of the snapshot.
        captions: What was said last.
    """
    state = "media connected" if snapshot.connected else "connecting media"
    state += f" (segment {snapshot.segment})" if snapshot.segment else ""
    state += "" if snapshot.signalling else ", signalling away"
    state += ", paused" if snapshot.paused else ""
    head = Text.assemble(
        ("● ", "red" if snapshot.connected and not snapshot.paused else "yellow"),
        (clock(snapshot.now), "bold"),
        f"  {shown(snapshot.bot)} in {shown(snapshot.call, 60)}  {state}",
    )
    table = _grid()
    for name, role, present in snapshot.participants:
        style = "" if present else "dim"
        said = "" if present else "not seen yet"
        table.add_row(Text(shown(name, _NAME), style), Text(str(role), style), Text(said, "dim"))
    for track, level in _heard(snapshot, levels).items():
        who = names.get(track, "somebody unknown")
        table.add_row(Text(f"♪ {shown(who, _NAME)}"), Text(f"track {shown(track)}", "dim"), _bar(level))
    for plugin, why in snapshot.detached.items():
        table.add_row(Text(f"plugin {shown(plugin)}", "red"), Text("detached", "red"), Text(shown(why, 60)))
    written = _grid()
    for name, count in files:
        written.add_row(Text(shown(name, 60), "cyan"), Text(size(count)))
    return Group(head, table, *(Text(shown(each, 100), "italic") for each in captions), written)


def _grid() -> Table:
    return Table(box=None, padding=(0, 2, 0, 0), show_header=False)


def _heard(snapshot: Snapshot, levels: Mapping[str, float]) -> dict[str, float]:
    return {track: level for track, _, level in snapshot.tracks} | dict(levels)


def told(event: Happening) -> str | None:
    """Put an event into words, or None if it is a detail."""
    match event:
        case calls.ParticipantJoined(who):
            said = f"{_named(who)} joined"
        case calls.ParticipantLeft(who):
            said = f"{_named(who)} left"
        case calls.MediaConnected(segment):
            said = f"media connected (segment {segment})"
        case calls.MediaLost(segment, cause):
            said = f"media lost (segment {segment}): {cause}; dialling again"
        case calls.SignallingLost(reason):
            said = f"signalling lost: {reason}; media and files go on"
        case calls.SignallingRestored():
            said = "signalling restored"
        case calls.TrackStarted(track):
            said = f"{track.kind} track {track} began"
        case calls.TrackAttributed(track, attribution):
            name = _named(attribution.participant) if attribution.participant else "somebody unknown"
            said = f"track {track} is {name}, confidence {attribution.confidence:.1f} ({attribution.why})"
        case calls.PluginDetached(plugin, why):
            said = f"plugin {plugin} failed and was detached: {why}"
        case calls.PacketsDropped(plugin, track, count):
            said = f"plugin {plugin} did not keep up: {count} packets of track {track} dropped"
        case calls.DigitPressed(track):
            said = f"a key was pressed on track {track}"
        case calls.RecordingPaused(actor):
            said = f"paused by {actor}"
        case calls.RecordingResumed(actor):
            said = f"resumed by {actor}"
        case calls.CallEnded(reason):
            said = f"the call ended: {reason}"
        case calls.UtteranceHeard(final=True, text=str(text)) if text:
            said = f"{event.name or 'somebody'} ({event.role}): “{text}”"
        case calls.HintGiven(text, to, by):
            said = f"hint of {by} to {to}: {text}"
        case _:
            return None
    return shown(said, 300)


def _named(who: calls.Participant) -> str:
    return f"{who.name or who.id} ({who.role})"


def _bar(level: float) -> Text:
    share = min(1.0, max(0.0, (level - _FLOOR) / -_FLOOR))
    filled = round(share * _BAR)
    return Text.assemble(("█" * filled, "green"), ("·" * (_BAR - filled), "dim"), f" {_amount(level)}")


def _amount(level: float) -> str:
    return "silent" if level <= SILENCE_DBFS else f"{level:.0f} dBFS"


async def _draw(
    session: CallSession,
    console: Console,
    names: Mapping[str, str],
    levels: Mapping[str, float],
    captions: Mapping[str, str],
) -> None:
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            files = files_in(session.directory)
            said = list(captions.values())[-CAPTIONS:]
            live.update(picture(session.snapshot(), files, names, levels, said), refresh=True)
            await asyncio.sleep(REFRESH)


async def _hear(
    session: CallSession, console: Console, names: dict[str, str], captions: dict[str, str]
) -> None:
    events = session.bus.events("console")
    if not console.is_terminal:
        for name, role, present in session.snapshot().participants:
            said = "is there" if present else "is expected"
            line(console, session.now, f"{shown(name, _NAME)} ({role}) {said}")
    async for event in events:
        if isinstance(event, calls.TrackAttributed) and event.attribution.participant is not None:
            names[str(event.track)] = _named(event.attribution.participant)
        if isinstance(event, calls.UtteranceHeard):
            _caption(event, captions)
        if not console.is_terminal and (fact := told(event)) is not None:
            line(console, session.now, fact)
    await asyncio.Event().wait()  # the session is over; what ends the watching is `ended`


def _caption(event: calls.UtteranceHeard, captions: dict[str, str]) -> None:
    """Show the newest revision of what somebody says; nobody needs the first of an hour."""
    if event.text:
        captions[event.id] = f"{event.name or 'somebody'} ({event.role}): {event.text}"
    else:
        captions.pop(event.id, None)
    if event.final and len(captions) > 2 * CAPTIONS:
        del captions[next(iter(captions))]


async def _status(
    session: CallSession, console: Console, names: Mapping[str, str], levels: Mapping[str, float]
) -> None:
    while True:
        await asyncio.sleep(STATUS)
        files = files_in(session.directory)
        heard = [
            f"{shown(names.get(track, track), _NAME)} {_amount(level)}"
            for track, level in _heard(session.snapshot(), levels).items()
        ]
        written = f"{len(files)} files, {size(sum(count for _, count in files))}"
        line(console, session.now, "; ".join([written, *heard]))
