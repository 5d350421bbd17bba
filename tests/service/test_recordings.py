"""Finished calls over HTTP: found by tenant and id, heard in ranges, and never a file that is not theirs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyrage
import pytest
from voki_bots_recorder import Recorder, RecorderSettings

from tests.archive.recorded import Recorded
from tests.service.served import made
from voki_bots.archive.finish import finish
from voki_bots.archive.layout import call_directory
from voki_bots.archive.options import FinishOptions
from voki_bots.archive.shelf import Shelf
from voki_bots.archive.transcript import TRANSCRIPT
from voki_bots.service.access import Access, Grant, Principal, Rank
from voki_bots.service.recordings import TICKET, Recordings
from voki_bots.testing.signals import silence, tone

ANA = Grant(Principal("ana", Rank.VIEWER, frozenset({"acme"})), "a-token-of-ana-here")
KIM = Grant(Principal("kim", Rank.VIEWER, frozenset({"other"})), "a-token-of-kim-here")
EVIL = "<img src=x onerror=alert(1)>"
LINE = {
    "type": "utterance",
    "id": "u1",
    "track": None,
    "role": "customer",
    "participant_id": None,
    "name": "Carlos",
    "start": 1.0,
    "end": 2.0,
    "text": f"meu cartão {EVIL}",
    "language": "pt",
    "words": [],
    "late": False,
}
DAY = datetime(2026, 3, 1, tzinfo=UTC)


async def record(root: Path, name: str, wall: datetime = DAY, **settings: Any) -> Path:
    """A call of 3 s: the attendant speaks in the first second, the customer in the third."""
    recorder = Recorder(RecorderSettings(**settings))  # not entered, so that it finishes nothing
    async with Recorded(root, name, wall) as call, recorder.attend(call):
        ana, carlos = call.join("Ana", role="attendant"), call.join("Carlos")
        await call.speak(ana, np.concatenate([tone(300, 1.0), silence(2.0)]))
        call._now = 0.0
        await call.speak(carlos, np.concatenate([silence(2.0), tone(500, 1.0)]))
    call.folder.seal()
    call.folder.close()
    return call.folder.directory


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("archive")
    folder = asyncio.run(record(root, "7c/2f 1"))
    lines = [{"type": "transcript", "language": "pt"}, LINE]
    (folder / TRANSCRIPT).write_text("".join(json.dumps(line) + "\n" for line in lines))
    finish(folder, FinishOptions())
    asyncio.run(record(root, "plain", DAY + timedelta(days=1)))
    return root


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
async def http(archive: Path, now: list[float]) -> AsyncIterator[httpx.AsyncClient]:
    access = Access(None, (ANA, KIM))
    app = made(access, routers=[Recordings([archive], access, clock=lambda: now[0]).routes()])
    transport = httpx.ASGITransport(app)
    headers = {"Authorization": f"Bearer {ANA.token}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
        yield client


REC = "/api/v1/recordings/acme/7c%2F2f%201"


async def test_they_are_listed_the_newest_first(http: httpx.AsyncClient) -> None:
    """With who took part, how long it was and what there is of it; page by page."""
    said = (await http.get("/api/v1/recordings")).json()
    assert [each["call"] for each in said["recordings"]] == ["plain", "7c/2f 1"]
    last = said["recordings"][1]
    assert last["seconds"] == pytest.approx(3.0, abs=0.05)
    assert [each["role"] for each in last["participants"]] == ["attendant", "customer"]
    assert (last["transcript"], last["sealed"], last["finished"], last["encrypted"]) == (
        True,
        True,
        True,
        False,
    )
    assert said["tenants"] == ["acme"]
    first = (await http.get("/api/v1/recordings?limit=1")).json()
    rest = (await http.get("/api/v1/recordings", params={"cursor": first["cursor"]})).json()
    assert [each["call"] for each in (*first["recordings"], *rest["recordings"])] == ["plain", "7c/2f 1"]
    assert rest["cursor"] is None
    assert (await http.get("/api/v1/recordings?cursor=zzz")).status_code == 422


@pytest.mark.parametrize(("words", "count"), [("carlos", 2), ("2F CARLOS", 1), ("nobody", 0), ("", 2)])
async def test_they_are_searched(http: httpx.AsyncClient, words: str, count: int) -> None:
    """In ids and names, whatever their case."""
    assert len((await http.get("/api/v1/recordings", params={"q": words})).json()["recordings"]) == count


async def test_one_is_opened(http: httpx.AsyncClient) -> None:
    """Its files, which to play, its sidecar and its words."""
    said = (await http.get(f"{REC}/summary")).json()
    kinds = {each["name"]: each["kind"] for each in said["files"]}
    assert said["player"] == "mix.opus"
    assert (kinds["mix.opus"], kinds["stereo.opus"], kinds["call.json"]) == ("mix", "stereo", "sidecar")
    assert sum(kind == "track" for kind in kinds.values()) == 2
    assert (await http.get(f"{REC}/sidecar")).json()["call"] == "7c/2f 1"
    words = (await http.get(f"{REC}/transcript")).json()
    assert (words["language"], [each["text"] for each in words["utterances"]]) == ("pt", [LINE["text"]])
    assert (await http.get("/api/v1/recordings/acme/plain/transcript")).status_code == 404


async def test_the_waveform_shows_who_was_loud_when(http: httpx.AsyncClient) -> None:
    """The attendant in the first second, the customer in the third."""
    drawn = (await http.get(f"{REC}/waveform?points=30")).json()
    assert drawn["seconds"] == pytest.approx(3.0, abs=0.1)
    loud = {
        side: {int(n * drawn["step"] + 0.01) for n, peak in enumerate(peaks) if peak > 0.3}
        for side, peaks in drawn["sides"].items()
    }
    assert loud["attendant"] - {1} == {0}
    assert loud["customer"] - {3} == {2}


async def test_files_come_in_ranges(http: httpx.AsyncClient, archive: Path) -> None:
    """Exactly these bytes, with what they are; audio is shown, the rest is saved."""
    whole = (call_directory(archive, "acme", "7c/2f 1") / "mix.opus").read_bytes()
    answer = await http.get(f"{REC}/file?name=mix.opus", headers={"Range": "bytes=100-199"})
    assert (answer.status_code, answer.content) == (206, whole[100:200])
    assert answer.headers["content-type"] == "audio/ogg"
    assert answer.headers["content-disposition"].startswith("inline")
    assert (await http.get(f"{REC}/file?name=mix.opus")).content == whole
    head = await http.head(f"{REC}/file?name=mix.opus")
    assert (int(head.headers["content-length"]), head.content) == (len(whole), b"")
    beyond = await http.get(f"{REC}/file?name=mix.opus", headers={"Range": f"bytes={len(whole)}-"})
    assert beyond.status_code == 416
    saved = await http.get(f"{REC}/file?name=call.json")
    assert saved.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    "name",
    ["../plain/call.json", "/etc/passwd", "tracks", "link.opus", "", "no-such", "call.json/..", "\x00"],
)
async def test_no_other_file_is_given(http: httpx.AsyncClient, archive: Path, name: str) -> None:
    """Nor one that a link leads to, though the list names it."""
    folder = call_directory(archive, "acme", "7c/2f 1")
    link = folder / "link.opus"
    if not link.is_symlink():
        link.symlink_to("/etc/hostname")
    assert (await http.get(f"{REC}/file", params={"name": name})).status_code == 404
    link.unlink()


@pytest.mark.parametrize("what", ["summary", "sidecar", "waveform", "transcript", "file?name=mix.opus"])
async def test_other_tenants_and_strangers_see_nothing(http: httpx.AsyncClient, what: str) -> None:
    """Whether there is such a recording is not said."""
    for token, status in ((KIM.token, 404), ("no-token-of-anybody", 401)):
        answer = await http.get(f"{REC}/{what}", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status
    assert (await http.get(f"/api/v1/recordings/acme/no-such/{what}")).status_code == 404
    listed = await http.get("/api/v1/recordings", headers={"Authorization": f"Bearer {KIM.token}"})
    assert listed.json()["recordings"] == []


async def test_a_ticket_opens_one_recording_for_a_while(http: httpx.AsyncClient, now: list[float]) -> None:
    """An element of a page has no header; its ticket is of no use elsewhere, or later."""
    made_ = (await http.post(f"{REC}/ticket")).json()
    bare = {"Authorization": ""}
    path = f"{REC}/file?name=mix.opus&ticket={made_['ticket']}"
    assert (await http.get(path, headers=bare)).status_code == 200
    other = path.replace("7c%2F2f%201", "plain").replace("mix.opus", "call.json")
    assert (await http.get(other, headers=bare)).status_code == 404
    assert (await http.get(path + "x", headers=bare)).status_code == 401
    now[0] = TICKET + 1
    assert (await http.get(path, headers=bare)).status_code == 401


async def test_what_is_encrypted_or_broken_is_shown_as_it_is(tmp_path: Path) -> None:
    """With what to do; nothing of it is an error of ours."""
    key = pyrage.x25519.Identity.generate()
    folder = await record(tmp_path, "secret", recipients=(str(key.to_public()),))
    broken = call_directory(tmp_path, "acme", "broken")
    broken.mkdir()
    (broken / "call.json").write_text(
        '{"tenant": "acme", "call": "broken", "tracks": [{"file": 5}], "holds": 7}'
    )
    access = Access(None, (ANA,))
    app = made(access, routers=[Recordings([tmp_path], access, clock=lambda: 0.0).routes()])
    headers = {"Authorization": f"Bearer {ANA.token}"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://localhost", headers=headers
    ) as http:
        listed = {each["call"]: each for each in (await http.get("/api/v1/recordings")).json()["recordings"]}
        assert listed["secret"]["encrypted"] is True
        assert listed["broken"]["problems"]
        refused = await http.get("/api/v1/recordings/acme/secret/waveform")
        assert (refused.status_code, "decrypt" in refused.json()["detail"]) == (409, True)
        for what in ("summary", "sidecar", "waveform", "transcript"):
            assert (await http.get(f"/api/v1/recordings/acme/broken/{what}")).status_code < 500
    assert folder.is_dir()


def test_thousands_are_looked_through_once(tmp_path: Path, many: Callable[[Path, int], None]) -> None:
    """Whoever looks again reads only what has changed."""
    many(tmp_path, 50)
    shelf = Shelf([tmp_path])
    first = shelf.all()
    assert len(first) == 50
    again = shelf.all()
    assert [a is b for a, b in zip(first, again, strict=True)] == [True] * 50
    path = first[0].directory / "call.json"
    path.write_text(path.read_text().replace('"bot": "minutes"', '"bot": "others"'))
    changed = shelf.all()
    assert sum(a is not b for a, b in zip(first, changed, strict=True)) == 1


@pytest.fixture
def many() -> Callable[[Path, int], None]:
    """Make folders that look like recordings."""

    def make(root: Path, count: int) -> None:
        for n in range(count):
            folder = root / "acme" / f"c{n}"
            folder.mkdir(parents=True)
            sidecar = {
                "tenant": "acme",
                "call": f"c{n}",
                "bot": "minutes",
                "started": f"2026-03-01T00:{n // 60:02}:{n % 60:02}Z",
                "tracks": [{"id": "0:1:1", "file": "tracks/a.opus", "kind": "audio"}],
            }
            (folder / "call.json").write_text(json.dumps(sidecar))

    return make
