"""How long calls are kept, and how they go."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.archive.conftest import BEGAN, CALL
from voki_bots.archive.journal import read_journal
from voki_bots.archive.layout import numbered
from voki_bots.archive.retention import Archive, seconds_of
from voki_bots.archive.seal import read_call, verify
from voki_bots.calls import CallLeft
from voki_bots.errors import ConfigurationError, FileWriteError

DAY = 86_400.0


def kept(desk: Any, keep: float | None = None, call: Any = CALL, bot: str = "minutes") -> Path:
    folder = desk.open(bot, call)
    folder.record("finish_planned", options={}, keep=keep)
    folder.record(CallLeft("over"))
    folder.seal()
    directory: Path = folder.directory
    return directory


def after(desk: Any, days: float) -> Archive:
    return Archive(desk.root, wall=lambda: BEGAN + timedelta(days=days))


@pytest.mark.parametrize(
    ("period", "seconds"), [("12h", 43_200), ("90d", 90 * DAY), ("2w", 14 * DAY), ("1y", 365 * DAY)]
)
def test_periods_are_read(period: str, seconds: float) -> None:
    """Hours, days, weeks and years."""
    assert seconds_of(period) == seconds


@pytest.mark.parametrize("period", ["", "90", "0d", "d", "-1d", "90 d", "1.5d", "90d\n", "forever"])
def test_other_periods_are_refused(period: str) -> None:
    """The error says how a period looks."""
    with pytest.raises(ValueError, match="must look like"):
        seconds_of(period)


@pytest.mark.parametrize(("keep", "days", "gone"), [(DAY, 0.9, 0), (DAY, 1.1, 1), (None, 9_999, 0)])
def test_a_call_expires_when_its_time_is_over(desk: Any, keep: float | None, days: float, gone: int) -> None:
    """Each call has the time with which it was recorded; without one it is kept."""
    kept(desk, keep)
    assert len(after(desk, days).expired()) == gone


def test_the_sidecar_says_until_when(desk: Any) -> None:
    """Until is the end of the call and the time it is kept."""
    found = read_call(kept(desk, DAY))
    assert found and found.sidecar["retention"] == {"keep": DAY, "until": "2026-03-02T12:00:00.000Z"}


def test_an_age_can_be_asked_for(desk: Any) -> None:
    """Calls older than an age expire whatever they were recorded with."""
    kept(desk)
    assert len(after(desk, 8).expired(7 * DAY)) == 1


def test_what_is_on_hold_does_not_expire_until_it_is_released(desk: Any) -> None:
    """A hold is in the sealed journal, with who and why, and ends when it is released."""
    directory, archive = kept(desk, DAY), after(desk, 2)
    archive.hold(directory, by="legal", reason="case 7")
    assert archive.expired() == [] and verify(directory) == []
    archive.release(directory, by="legal")
    assert len(archive.expired()) == 1 and verify(directory) == []


def test_what_is_on_hold_is_not_erased(desk: Any) -> None:
    """The refusal names who holds it and why, and nothing is gone."""
    directory, archive = kept(desk), after(desk, 1)
    archive.hold(directory, by="legal", reason="case 7")
    (call,) = archive.of("acme", "c-1")
    with pytest.raises(ConfigurationError, match="on hold: by legal .*: case 7"):
        archive.erase(call, by="ana", reason="asked")
    assert verify(directory) == []


def test_a_hold_counts_even_if_the_sidecar_denies_it(desk: Any) -> None:
    """The journal decides, not a sidecar that somebody edited."""
    directory, archive = kept(desk), after(desk, 1)
    archive.hold(directory, by="legal", reason="case 7")
    (call,) = archive.of("acme", "c-1")
    with pytest.raises(ConfigurationError, match="on hold"):
        archive.erase(replace(call, sidecar=call.sidecar | {"holds": []}), by="ana", reason="asked")


def test_an_erased_call_leaves_nothing_but_audit_lines(desk: Any) -> None:
    """Folder, the tenant's empty folder and anything beside it are gone; who and why is on record."""
    directory, archive = kept(desk), after(desk, 1)
    directory.with_name(f".{directory.name}.finishing").mkdir()
    (call,) = archive.of("acme", "c-1")
    archive.erase(call, by="ana", reason="asked by the customer")
    assert [path.name for path in desk.root.rglob("*")] == ["audit.jsonl"]
    lines = read_journal(desk.root / "audit.jsonl")
    assert [line["type"] for line in lines] == ["erasure_begun", "call_erased"]
    assert (lines[1]["by"], lines[1]["reason"], lines[1]["folder"]) == (
        "ana",
        "asked by the customer",
        "acme/c-1",
    )
    assert archive.audit_problems() == []


def test_every_bots_folder_of_a_call_is_found(desk: Any) -> None:
    """Two bots in one call are two folders of it; another call is none."""
    first, second = kept(desk), kept(desk, bot="other")
    kept(desk, call=replace(CALL, call_id="c-2"))
    assert second == numbered(first, 2)
    assert [call.directory for call in after(desk, 1).of("acme", "c-1")] == [first, second]


def test_a_running_call_is_neither_expired_nor_erased(desk: Any) -> None:
    """While a bot attends, nothing can be taken from under it."""
    kept(desk, DAY)
    desk.open()
    archive = after(desk, 9)
    assert archive.expired() == []
    (call,) = archive.of("acme", "c-1")
    with pytest.raises(FileWriteError, match="is being written"):
        archive.erase(call, by="ana", reason="asked")


def test_an_erasure_that_was_cut_off_is_swept_up(desk: Any) -> None:
    """What a crash left of an erased call is removed, and is no call meanwhile."""
    directory = kept(desk)
    directory.rename(directory.with_name(f".{directory.name}.erased"))
    archive = after(desk, 1)
    assert archive.of("acme", "c-1") == []
    archive.sweep()
    assert list((desk.root / "acme").iterdir()) == []


def test_a_changed_audit_line_is_told(desk: Any) -> None:
    """The audit journal is a chain, too."""
    archive = after(desk, 1)
    archive.audit("something_done", by="ana")
    path = desk.root / "audit.jsonl"
    path.write_text(path.read_text().replace("ana", "eva"))
    assert archive.audit_problems() == ["audit.jsonl: line 1 of the journal was changed"]


def test_calls_that_a_crash_left_are_found(desk: Any) -> None:
    """Unsealed calls of nobody's, and sealed ones of which nothing was made, but no running one."""
    killed = desk.open()
    killed.close()
    planned = kept(desk, call=replace(CALL, call_id="c-2"))
    desk.open(call=replace(CALL, call_id="c-3"))
    done = desk.open(call=replace(CALL, call_id="c-4"))
    done.seal()
    assert after(desk, 1).unfinished() == [killed.directory, planned]
