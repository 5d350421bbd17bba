"""Calls are finished in processes of their own."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from tests.archive.studio import ATTENDANT, CUSTOMER, made
from tests.archive.test_finish import QUICK
from voki_bots.archive.pool import FinishPool
from voki_bots.archive.seal import verify
from voki_bots.errors import FileWriteError, MediaError


async def test_a_call_is_finished_in_another_process_with_progress(desk: Any) -> None:
    """The files are made and sealed, the last progress is all of it."""
    directory = made(desk, [ATTENDANT, CUSTOMER])
    shares: list[float] = []
    said = await FinishPool(1).finish(directory, QUICK, progress=shares.append)
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert [each["path"] for each in said["finish"]["outputs"]] == ["stereo.wav"]
    assert verify(directory) == []


async def test_a_refusal_is_told_with_its_path(desk: Any) -> None:
    """What the process cannot do is an error here, in its own words."""
    folder = desk.open()
    with pytest.raises(FileWriteError, match="being written already") as caught:
        await FinishPool(1).finish(folder.directory)
    assert caught.value.path.startswith(str(folder.directory))


async def test_it_waits_for_a_session_that_ends(desk: Any) -> None:
    """With patience, a folder that is sealed a moment later is finished."""
    folder = desk.open()
    begun = asyncio.Event()
    pool = FinishPool(1, runs=lambda _: begun.set())
    job = asyncio.create_task(pool.finish(folder.directory, QUICK, patience=20.0))
    await begun.wait()
    await asyncio.to_thread(folder.seal)
    assert (await job)["finish"]["at"]


async def test_no_more_than_so_many_run_at_once(desk: Any) -> None:
    """The second call waits for the first."""
    running: list[Path] = []
    pool = FinishPool(1, runs=running.append)
    first = made(desk, [ATTENDANT])
    jobs = [asyncio.create_task(pool.finish(each, QUICK)) for each in (first, first)]
    await jobs[0]
    assert len(running) == 1
    await jobs[1]


async def test_a_cancelled_finish_leaves_no_process_and_no_trace(desk: Any) -> None:
    """The folder is as it was sealed; it is finished another time."""
    directory = made(desk, [ATTENDANT])
    begun = asyncio.Event()
    job = asyncio.create_task(FinishPool(1, runs=lambda _: begun.set()).finish(directory))
    await begun.wait()
    job.cancel()
    await asyncio.wait([job])
    assert job.cancelled() and verify(directory) == []


async def test_a_process_that_dies_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it cannot even start, the last line of what it said is in the error."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "sitecustomize.py").write_text("import os; os.write(2, b'no luck today'); os._exit(3)")
    with pytest.raises(MediaError, match="was not finished: no luck today"):
        await FinishPool(1).finish(tmp_path)
    assert os.environ["PYTHONPATH"] == str(tmp_path)
