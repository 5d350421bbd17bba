"""What happens to calls after they are over."""

import asyncio
import json
import resource
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from voki_bots_recorder import Recorder, RecorderSettings
from voki_bots_recorder.finishing import Finishing

from tests.archive.recorded import Recorded
from voki_bots import Archive
from voki_bots.testing import assert_tone, decode, tone
from voki_bots.testing.attendance import FakeLog

SETTINGS = RecorderSettings(format="wav", rate=16_000, mix=False, participants=False, picture=False)


def sidecar(directory: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((directory / "call.json").read_bytes())
    return loaded


async def record(recorder: Recorder, call: Recorded) -> None:
    async with call, recorder.attend(call):
        await call.speak(call.join("Ana", role="customer"), tone(440, 1.0))


async def test_a_call_is_finished_once_its_session_has_sealed_it(tmp_path: Path) -> None:
    """Leaving the recorder waits for what is planned; the files are there, and the log says so."""
    call = Recorded(tmp_path)
    async with Recorder(SETTINGS) as recorder:
        await record(recorder, call)
        await asyncio.to_thread(call.folder.seal)
    assert_tone(440, decode(call.directory / "stereo.wav", channel=1), at=0.2)
    assert sidecar(call.directory)["sealed"]
    assert "call_finished" in [event for _, event, _ in call.log.lines]


async def test_what_does_not_add_up_is_told(tmp_path: Path) -> None:
    """A track that nobody ended before the seal is an error in the log and a metric."""
    call = Recorded(tmp_path)
    async with Recorder(SETTINGS) as recorder:
        await record(recorder, call)
        path = call.directory / "tracks/customer-1.0.opus"
        path.unlink()
        await asyncio.to_thread(call.folder.seal)
    assert call.metrics.counts["unsound"] == 1
    assert [event for level, event, _ in call.log.lines if level == "error"] == ["recording_unsound"]


async def test_what_takes_too_long_is_left_for_the_next_start(tmp_path: Path) -> None:
    """A session that never seals is given up; nothing hangs, and the call is found later."""
    call = Recorded(tmp_path)
    finishing = Finishing(1)
    async with call:
        finishing.soon(call, SETTINGS.finish)
        await finishing.close(linger=0.1)
    call.folder.close()
    assert Archive(tmp_path).unfinished() == [call.directory]


async def test_the_next_start_finishes_what_a_crash_left(tmp_path: Path) -> None:
    """A call that nobody sealed is sealed and finished as was planned; then old calls are purged."""
    killed = Recorded(tmp_path)
    await record(Recorder(SETTINGS), killed)
    killed.folder.close()
    old = Recorded(tmp_path, "c-0", datetime(2020, 1, 1, tzinfo=UTC))
    old.journal("finish_planned", options=SETTINGS.finish.as_json(), keep=3600.0)
    old.folder.seal()
    log = FakeLog()
    looking = asyncio.create_task(Finishing(1).recover(tmp_path, log, after=0.0))
    await killed.until(lambda: "call_purged" in [event for _, event, _ in log.lines], timeout=30.0)
    looking.cancel()
    await asyncio.wait([looking])
    assert sidecar(killed.directory)["sealed"] and (killed.directory / "stereo.wav").exists()
    assert not old.directory.exists()


async def test_what_a_full_disk_left_is_finished_when_there_is_room(tmp_path: Path) -> None:
    """Without a restart; the tracks are whole meanwhile."""
    call = Recorded(tmp_path)
    await record(Recorder(SETTINGS), call)
    await asyncio.to_thread(call.folder.seal)
    log, finishing = FakeLog(), Finishing(1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # no file may be longer
    try:
        looking = asyncio.create_task(finishing.recover(tmp_path, log, after=0.0, retry=0.1))
        await call.until(lambda: "finish_failed" in [event for _, event, _ in log.lines], timeout=30.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await call.until(lambda: "call_finished" in [event for _, event, _ in log.lines], timeout=30.0)
    looking.cancel()
    await asyncio.wait([looking])
    assert_tone(440, decode(call.directory / "stereo.wav", channel=1), at=0.2)


@pytest.mark.parametrize("entered", [True, False])
async def test_a_recorder_that_makes_nothing_starts_no_process(tmp_path: Path, entered: bool) -> None:
    """Without anything to make, or without a service around it, tracks are all there is."""
    nothing = RecorderSettings(stereo=False, mix=False, participants=False, picture=False, captions=False)
    recorder, call = Recorder(nothing if entered else SETTINGS), Recorded(tmp_path)
    if entered:
        async with recorder:
            await record(recorder, call)
    else:
        await record(recorder, call)
    await asyncio.to_thread(call.folder.seal)
    assert sorted(path.name for path in call.directory.iterdir()) == ["call.json", "events.jsonl", "tracks"]
