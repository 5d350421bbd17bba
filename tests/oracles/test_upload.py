"""Copies of calls in a real S3 server."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import S3Store
from voki_bots_recorder import Recorder, RecorderSettings
from voki_bots_recorder.uploading import Uploads

from tests.archive.recorded import Recorded
from tests.archive.test_matrix import KEY, KEYS, readable, speak
from tests.oracles.stores import Store, installed
from voki_bots import Archive, StorageTarget
from voki_bots.archive.finish import finish
from voki_bots.archive.seal import verify
from voki_bots.archive.upload import upload, uploaded
from voki_bots.errors import ConfigurationError, StorageConflictError, StorageError
from voki_bots.testing import assert_tone, decode, tone

SECRET = "a-secret-that-nobody-may-see"
AT_ONCE: dict[str, Any] = {"retry_config": {"max_retries": 0}}


@pytest.fixture(scope="module")
def server() -> Iterator[Store]:
    store = Store(installed())
    store.start()
    yield store
    store.stop()


@pytest.fixture
def target(server: Store, tmp_path: Path) -> StorageTarget:
    """A prefix of its own for each test."""
    file = tmp_path / "credentials"
    file.write_text(f"[default]\naws_access_key_id = a\naws_secret_access_key = {SECRET}\n")
    return StorageTarget(url=f"s3://calls/{tmp_path.name}", endpoint=server.url, credentials_file=file)


def opened(target: StorageTarget) -> Any:
    options: Any = {"client_options": {"allow_http": True}, **target.credentials()}
    return S3Store(target.bucket, endpoint=target.endpoint, region=target.region, **options)


def held(target: StorageTarget) -> dict[str, bytes]:
    """Everything in a store below a target's prefix."""
    store = opened(target)
    found = [each["path"] for page in obstore.list(store, target.prefix) for each in page]
    return {path.removeprefix(f"{target.prefix}/"): bytes(obstore.get(store, path).bytes()) for path in found}


async def recorded(tmp_path: Path, name: str = "c-1", seconds: float = 1.0) -> Path:
    call = Recorded(tmp_path / "calls", name)
    async with call, Recorder(RecorderSettings()).attend(call):
        await call.speak(call.join("Ana", role="customer"), tone(440, seconds))
    call.folder.seal()
    call.folder.close()
    return call.directory


async def test_a_call_is_copied_whole_and_once(tmp_path: Path, target: StorageTarget) -> None:
    """Every file is there, bit by bit; a second time there is nothing to do."""
    folder = await recorded(tmp_path)
    assert upload(folder, target) == 3 and upload(folder, target) == 0 and uploaded(folder, [target])
    there = held(target)
    assert set(there) == {
        "acme/c-1/minutes/" + n
        for n in ("claim.json", "call.json", "events.jsonl", "tracks/customer-1.0.opus")
    }
    for name in ("call.json", "events.jsonl", "tracks/customer-1.0.opus"):
        assert there[f"acme/c-1/minutes/{name}"] == (folder / name).read_bytes()
    assert verify(folder) == []


async def test_what_is_finished_later_is_copied_then(tmp_path: Path, target: StorageTarget) -> None:
    """A call that was sealed anew goes again, as far as it changed."""
    folder = await recorded(tmp_path)
    upload(folder, target)
    Archive(tmp_path / "calls").hold(folder, by="ana", reason="case 7")
    assert not uploaded(folder, [target]) and upload(folder, target) == 2
    assert held(target)["acme/c-1/minutes/call.json"] == (folder / "call.json").read_bytes()


async def test_a_second_writer_overwrites_nothing(tmp_path: Path, target: StorageTarget) -> None:
    """Whoever put the claim has the call; the other is told, and what is there stays."""
    upload(await recorded(tmp_path / "one"), target)
    before = held(target)
    other = await recorded(tmp_path / "two", seconds=2.0)
    with pytest.raises(StorageConflictError, match="another writer"):
        upload(other, target)
    assert held(target) == before


async def test_a_large_file_goes_in_parts(tmp_path: Path, target: StorageTarget) -> None:
    """More than one part, and the same bytes."""
    folder = tmp_path / "calls/acme/c-1"
    call = Recorded(tmp_path / "calls")
    (folder / "film.mkv").write_bytes(bytes(range(256)) * 50_000)
    call.folder.seal()
    call.folder.close()
    upload(folder, target)
    assert held(target)["acme/c-1/minutes/film.mkv"] == (folder / "film.mkv").read_bytes()


async def test_a_copy_that_is_not_the_same_does_not_count(tmp_path: Path, target: StorageTarget) -> None:
    """What comes back is compared with what was sealed, not with what was read to be sent."""
    folder = await recorded(tmp_path)
    track = folder / "tracks/customer-1.0.opus"
    track.write_bytes(track.read_bytes()[:-1] + b"x")
    with pytest.raises(StorageError, match="gave back tracks/customer-1.0.opus"):
        upload(folder, target)
    assert not uploaded(folder, [target]) and "acme/c-1/minutes/call.json" not in held(target)


async def test_a_store_that_does_not_answer_is_one_sentence(tmp_path: Path, target: StorageTarget) -> None:
    """No secret, no page of a library's own words; and the next try goes on."""
    folder = await recorded(tmp_path)
    away = target.model_copy(update={"endpoint": "http://127.0.0.1:1"})
    with pytest.raises(StorageError, match=r"was not copied to s3://calls/") as caught:
        upload(folder, away, **AT_ONCE)
    assert "\n" not in str(caught.value) and SECRET not in str(caught.value)
    assert upload(folder, target) == 3


async def test_the_local_copy_goes_once_every_store_has_the_call(
    tmp_path: Path, target: StorageTarget
) -> None:
    """The backup, too; the audit says where it went."""
    spare = target.model_copy(update={"url": f"s3://spare/{tmp_path.name}"})
    folder, archive = await recorded(tmp_path), Archive(tmp_path / "calls")
    archive.upload(folder, [target])
    with pytest.raises(StorageError, match="is not in every store"):
        archive.forget(folder, [target, spare])
    archive.upload(folder, [target, spare])
    archive.forget(folder, [target, spare])
    assert not folder.exists() and held(spare) and not list(folder.parent.glob(".c-1*"))
    audit = [json.loads(line) for line in (tmp_path / "calls/audit.jsonl").read_text().splitlines()]
    assert audit[-1]["type"] == "call_erased" and target.url in audit[-1]["reason"]


async def test_a_store_that_comes_back_gets_what_it_missed(
    tmp_path: Path, server: Store, target: StorageTarget
) -> None:
    """The recorder goes on trying; a restart takes up what was left."""
    folder = await recorded(tmp_path)
    away = target.model_copy(update={"endpoint": "http://127.0.0.1:1"})
    archive, log = Archive(tmp_path / "calls"), Recorded(tmp_path / "other").log
    uploads = Uploads([away], forget=False, pauses=(0.05,))
    uploads.soon(folder, archive, log)
    async with asyncio.timeout(60):
        while not any(event == "upload_failed" for _, event, _ in log.lines):
            await asyncio.sleep(0.02)
    await uploads.close()
    again = Uploads([target], forget=False)
    await again.left(archive, log)
    async with asyncio.timeout(30):
        while not uploaded(folder, [target]):
            await asyncio.sleep(0.02)
    await again.close()
    assert held(target)


async def test_a_recorder_copies_what_it_finished(tmp_path: Path, target: StorageTarget) -> None:
    """Stereo and all, without a word from anybody."""
    call = Recorded(tmp_path / "calls")
    async with Recorder(RecorderSettings(upload=(target,))) as recorder:
        async with call, recorder.attend(call):
            await call.speak(call.join("Ana", role="customer"), tone(440, 1.0))
        await asyncio.to_thread(call.folder.seal)
    call.folder.close()
    assert "acme/c-1/minutes/stereo.opus" in held(target)


def test_bad_credentials_are_told_before_anything_connects(tmp_path: Path) -> None:
    """What is missing is named; what is there is not shown."""
    file = tmp_path / "credentials"
    file.write_text(f"[default]\naws_secret_access_key = {SECRET}\n")
    target = StorageTarget(url="s3://calls", credentials_file=file)
    (said,) = Recorder(RecorderSettings(upload=(target,))).check()
    assert (
        said == f"upload.0: s3://calls: credentials_file: {file} cannot be used: it lacks aws_access_key_id"
    )
    with pytest.raises(ConfigurationError):
        target.credentials()


@pytest.mark.parametrize("crashed", [False, True], ids=["ended", "crashed"])
@pytest.mark.parametrize("filmed", [False, True], ids=["heard", "filmed"])
@pytest.mark.parametrize("encrypted", [False, True], ids=["readable", "encrypted"])
async def test_what_comes_back_from_the_store_is_proved_and_played(
    tmp_path: Path, target: StorageTarget, crashed: bool, filmed: bool, encrypted: bool
) -> None:
    """A paused call of any kind, fetched from the store, verifies as it is, and holds what was said."""
    recipients = (str(KEY.to_public()),) if encrypted else ()
    settings = RecorderSettings(video=filmed, recipients=recipients)
    call, folder = Recorded(tmp_path / "calls"), tmp_path / "calls/acme/c-1"
    async with call, Recorder(settings).attend(call):
        await speak(call, call.join("Carl", role="customer"), paused=True, filmed=filmed)
        if crashed:
            folder = tmp_path / "crash/acme/c-1"
            shutil.copytree(call.directory, folder)
    if not crashed:
        call.folder.seal()
    call.folder.close()
    finish(folder, settings.finish, keys=KEYS if encrypted else None)
    upload(folder, target)
    fetched = tmp_path / "fetched"
    for name, data in held(target).items():
        if (path := fetched / name.removeprefix("acme/c-1/minutes/")).name != "claim.json":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    assert verify(fetched, KEYS if encrypted else None) == []
    right = decode(readable(fetched, tmp_path / "made") / "stereo.opus", channel=1)
    assert_tone(440, right, at=0.3, seconds=0.4)
