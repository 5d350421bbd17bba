"""What a session is doing, shown."""

import asyncio
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from voki_bots import calls
from voki_bots.bots.bus import Bus
from voki_bots.cli import progress
from voki_bots.cli.progress import files_in, picture, told, watching

ANA = calls.Participant("u-1", "Ana\x1b[2J", calls.Role.CUSTOMER)
TRACK = calls.Track(0, "1", 7)


def snapshot(**changed: Any) -> Any:
    usual = {
        "call": calls.Call("acme", "5f3c"),
        "bot": "minutes",
        "now": 12.0,
        "segment": 0,
        "connected": True,
        "signalling": True,
        "participants": (("Ana\x1b[2J", "customer", True), ("Bo", "attendant", False)),
        "tracks": ((str(TRACK), "customer", -30.0),),
        "detached": {},
        "paused": False,
    }
    return SimpleNamespace(**usual | changed)


class Session:
    """The far end: what `watching` sees of a session."""

    def __init__(self, directory: Path) -> None:
        self.bus, self.directory, self.now = Bus(), directory, 3.0
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def snapshot(self) -> Any:
        return snapshot()

    async def ended(self) -> str:
        return await asyncio.shield(self.over)


def drawn(shown: Any) -> str:
    out = io.StringIO()
    Console(file=out, width=120).print(shown)
    return out.getvalue()


def plain() -> Console:
    return Console(file=io.StringIO(), width=120)


def said_to(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_picture_has_who_how_loud_and_what_is_written() -> None:
    """One glance: time, people, levels, files."""
    text = drawn(picture(snapshot(), [("tracks/a.opus", 34_500)], {str(TRACK): "Ana"}, {}))
    assert all(word in text for word in ("0:12", "customer", "-30 dBFS", "tracks/a.opus", "34.5 kB"))


def test_measured_levels_go_before_those_of_packets() -> None:
    """A meter knows better than a header extension."""
    assert "-6 dBFS" in drawn(picture(snapshot(), [], {}, {str(TRACK): -6.0}))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"connected": False}, "connecting media"),
        ({"signalling": False}, "signalling away"),
        ({"paused": True}, "paused"),
        ({"segment": 2}, "segment 2"),
        ({"detached": {"meter": "KeyError: 1"}}, "KeyError: 1"),
    ],
)
def test_what_is_not_as_it_should_be_is_shown(changed: dict[str, Any], said: str) -> None:
    """A fault is on the picture."""
    assert said in drawn(picture(snapshot(**changed), [], {}, {}))


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (calls.ParticipantJoined(ANA), r"Ana\x1b[2J (customer) joined"),
        (calls.MediaLost(0, "ice failed"), "media lost (segment 0): ice failed; dialling again"),
        (calls.CallEnded("completed"), "the call ended: completed"),
        (calls.GapFound(TRACK, 0.0, 1.0, calls.GapCause.LOST), None),
    ],
)
def test_events_become_lines(event: Any, said: str | None) -> None:
    """Facts worth a line get one; details none."""
    assert told(event) == said


async def test_without_a_terminal_events_are_lines(tmp_path: Path) -> None:
    """Each with its call time; and why the session ended is given back."""
    session, console = Session(tmp_path), plain()
    watch = asyncio.create_task(watching(session, None, console))  # type: ignore[arg-type]
    async with asyncio.timeout(5):
        while "is there" not in said_to(console):
            await asyncio.sleep(0)
        session.bus.publish(calls.CallEnded("completed"))
        while "completed" not in said_to(console):
            await asyncio.sleep(0)
        session.over.set_result("the call ended: completed")
        assert await watch == "the call ended: completed"


@pytest.mark.looptime
async def test_watching_ends_with_its_time(tmp_path: Path) -> None:
    """After the seconds that were asked for there is no reason to tell."""
    assert await watching(Session(tmp_path), 30.0, plain()) is None  # type: ignore[arg-type]


@pytest.mark.looptime
async def test_levels_and_files_are_told_now_and_then(tmp_path: Path) -> None:
    """Also without a terminal one sees that something is written."""
    (tmp_path / "a.opus").write_bytes(bytes(2000))
    console = plain()
    await watching(Session(tmp_path), progress.STATUS + 1, console)  # type: ignore[arg-type]
    assert "1 files, 2.0 kB; 0:1:7 -30 dBFS" in said_to(console)


@pytest.mark.looptime
async def test_a_terminal_gets_a_live_picture(tmp_path: Path) -> None:
    """The picture is drawn again and again."""
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    await watching(Session(tmp_path), 1.0, console)  # type: ignore[arg-type]
    assert said_to(console).count("minutes") > 2


def test_links_are_not_files_of_a_call(tmp_path: Path) -> None:
    """Only what was written there counts."""
    (tmp_path / "a").touch()
    (tmp_path / "b").symlink_to("/etc/hosts")
    assert files_in(tmp_path) == [("a", 0)]
