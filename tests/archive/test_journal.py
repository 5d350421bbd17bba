"""What is appended stays, and what is altered shows."""

import errno
import json
import os
import resource
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voki_bots.archive.journal import Journal, check_chain, parse_journal, read_journal
from voki_bots.errors import FileWriteError


def journal_at(path: Path, now: float = 1.5) -> Journal:
    return Journal(path, clock=lambda: now, wall=lambda: datetime(2026, 3, 1, 12, tzinfo=UTC))


def written(path: Path, *types: str) -> Path:
    journal = journal_at(path / "events.jsonl")
    for each in types:
        journal.append(each)
    journal.close()
    return journal.path


def test_a_line_says_when_and_what(tmp_path: Path) -> None:
    """A line holds its number, both times, its type and the facts, in this order."""
    line = journal_at(tmp_path / "j").append("gap_found", cause="lost")
    assert list(line) == ["seq", "at", "utc", "type", "cause", "prev", "hash"]
    assert (line["seq"], line["at"], line["utc"]) == (1, 1.5, "2026-03-01T12:00:00.000Z")


def test_a_line_is_with_the_system_at_once(tmp_path: Path) -> None:
    """Without any flush or close, another reader sees the line."""
    journal = journal_at(tmp_path / "j")
    line = journal.append("call_joined", call={"tenant": "acme"})
    assert read_journal(tmp_path / "j") == [line]


def test_a_whole_journal_has_no_problems(tmp_path: Path) -> None:
    """The chain of untouched lines holds."""
    assert check_chain(read_journal(written(tmp_path, "a", "b", "c"))) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"type":"b"', '"type":"x"', "line 2 of the journal was changed"),
        ('"seq":2', '"seq":7', "line 2 of the journal calls itself 7"),
        ('"type":"b"', '"type":b', "line 2 of the journal cannot be read"),
        ('"hash"', '"hush"', "line 1 of the journal was changed"),
    ],
)
def test_an_altered_line_is_named(tmp_path: Path, old: str, new: str, problem: str) -> None:
    """Changing anything in a line is told with the line's number."""
    path = written(tmp_path, "a", "b", "c")
    path.write_text(path.read_text().replace(old, new, 1))
    assert problem in check_chain(read_journal(path))


def test_a_removed_line_is_noticed(tmp_path: Path) -> None:
    """The line after a removed one does not follow the one before it."""
    lines = read_journal(written(tmp_path, "a", "b", "c"))
    assert "line 2 of the journal does not follow the line before it" in check_chain([lines[0], lines[2]])


@pytest.mark.parametrize("torn", [b'{"seq":3,"at', b"\0\0\0\0", b'{"seq":3}\n', b"\n\n"])
def test_a_torn_end_is_cut_and_noted(tmp_path: Path, torn: bytes) -> None:
    """After a crash the journal goes on behind its last whole line and says what it cut."""
    path = written(tmp_path, "a", "b")
    path.write_bytes(path.read_bytes() + torn)
    journal_at(path).append("c")
    lines = read_journal(path)
    assert [line["type"] for line in lines] == ["a", "b", "journal_repaired", "c"]
    assert (lines[2]["cut_bytes"], check_chain(lines)) == (len(torn), [])


def test_facts_cannot_break_the_chain(tmp_path: Path) -> None:
    """Facts with names of the line's own, odd values and hostile texts are kept beside them."""
    journal = journal_at(tmp_path / "j")
    journal.append(
        "odd", hash="x", seq=9, type="y", nan=float("nan"), path=Path("/x"), text="\ud800\u2028\n\0"
    )
    (line,) = read_journal(tmp_path / "j")
    assert (line["hash_"], line["seq_"], line["type_"], line["nan"]) == ("x", 9, "y", "nan")
    assert check_chain([line]) == []


def test_a_fact_may_tell_when_it_happened(tmp_path: Path) -> None:
    """A fact `at` in the past is the line's time; one far ahead is only a fact."""
    journal = journal_at(tmp_path / "j", now=5.0)
    assert journal.append("track_started", at=4.5)["at"] == 4.5
    assert journal.append("odd", at=1e9)["at"] == 5.0


def test_two_writers_cannot_share_a_file(tmp_path: Path) -> None:
    """A journal that somebody writes is refused, with its path."""
    first = journal_at(tmp_path / "j")
    with pytest.raises(FileWriteError, match="is being written already"):
        journal_at(tmp_path / "j")
    first.close()


def test_threads_may_append_at_once(tmp_path: Path) -> None:
    """Lines from several threads form one chain."""
    journal = journal_at(tmp_path / "j")
    threads = [threading.Thread(target=lambda: [journal.append("x") for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(read_journal(journal.path)), check_chain(read_journal(journal.path))) == (200, [])


def test_a_full_disk_is_an_error_and_leaves_no_half_line(tmp_path: Path) -> None:
    """When the disk takes no more, the error names the file, which still ends with a whole line."""
    journal = journal_at(tmp_path / "j")
    journal.append("a")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (journal.path.stat().st_size + 20, limits[1]))
        with pytest.raises(FileWriteError, match=os.strerror(errno.EFBIG)) as caught:
            journal.append("b", text="x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert caught.value.path == str(journal.path)
    assert [line["type"] for line in read_journal(journal.path)] == ["a"]


@given(st.binary(max_size=200))
def test_any_bytes_can_be_read(content: bytes) -> None:
    """A damaged journal is read and judged, never an exception."""
    assert isinstance(check_chain(parse_journal(content)), list)


def test_the_hash_can_be_computed_by_anyone(tmp_path: Path) -> None:
    """The hash is SHA-256 over the sorted, spaceless JSON of the other keys, as the documents say."""
    import hashlib

    line = journal_at(tmp_path / "j").append("a", name="Ana")
    rest = {key: value for key, value in line.items() if key != "hash"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    assert line["hash"] == hashlib.sha256(canonical.encode()).hexdigest()
