"""Webhooks that we send arrive: once the receiver is there, in order, and signed."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from voki_bots.calls import HintGiven, Role, UtteranceHeard
from voki_bots.service.feeds import Feed
from voki_bots.service.outbox import ID, SIGNATURE, TIMESTAMP, Outbox, Receiver, opened
from voki_bots.signalling.posting import Poster

AT = datetime(2030, 1, 1, tzinfo=UTC)
SECRET = b"a-secret-of-the-tests"


class Hook:
    """A receiver on loopback, which answers as it is told."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.asked: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.answers: list[int] = []
        self.url = ""

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.asked.append(request)
        self.bodies.append(body)
        status = self.answers.pop(0) if self.answers else 204
        if status < 300:
            self.taken.append((request.headers[ID], await request.json()))
        return web.Response(status=status, headers={"Location": "http://127.0.0.1:1/"})

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_post("/hook", self._take)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        assert runner.addresses
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        try:
            yield
        finally:
            await runner.cleanup()

    async def until(self, count: int, timeout: float = 15.0) -> None:
        async with asyncio.timeout(timeout):
            while len(self.taken) < count:
                await asyncio.sleep(0.01)


async def settled(office: Office, **counts: int) -> None:
    """Wait until so much is known to have become of deliveries: an answer is taken after it was given."""
    async with asyncio.timeout(15.0):
        while office.counts != counts:
            await asyncio.sleep(0.01)


class Office:
    """An outbox in a folder, with time that tests turn."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self.wall = 1_900_000_000.0
        self.feed = Feed("acme", "1")

    @asynccontextmanager
    async def open(self, *urls: str, kinds: str = "HintGiven") -> AsyncIterator[Outbox]:
        receivers = [Receiver(url, frozenset({kinds}), SECRET) for url in urls]
        async with Poster() as poster:
            more: dict[str, Any] = {"post": poster.post, "rng": random.Random(1), "wall": lambda: self.wall}
            counted = lambda outcome: self.counts.update([outcome])  # noqa: E731
            async with opened(self.path / ".webhooks.sqlite", receivers, counted=counted, **more) as outbox:
                yield outbox

    def say(self, outbox: Outbox, *texts: str) -> None:
        for text in texts:
            entry = self.feed.put("minutes", HintGiven(text, Role.ATTENDANT, "t"), at=AT, now=1.0)
            assert entry is not None
            outbox.put(self.feed, entry)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    hook = Hook()
    async with hook.serving():
        yield hook


def texts(hook: Hook) -> list[str]:
    return [body["event"]["text"] for _, body in hook.taken]


async def test_what_happens_is_sent_in_order_and_signed(office: Office, hook: Hook) -> None:
    """The signature is what anybody can compute of the time, the body and the secret."""
    async with office.open(hook.url) as outbox:
        office.say(outbox, "a", "b", "c")
        await hook.until(3)
        await settled(office, sent=3)
    assert texts(hook) == ["a", "b", "c"]
    for request, body in zip(hook.asked, hook.bodies, strict=True):
        said = request.headers[TIMESTAMP].encode() + b"." + body
        assert request.headers[SIGNATURE] == "sha256=" + hmac.new(SECRET, said, hashlib.sha256).hexdigest()


async def test_a_receiver_that_is_away_gets_everything_later(office: Office, hook: Hook) -> None:
    """It is tried again, with the same id, and what is behind keeps its place."""
    hook.answers = [503, 429]
    async with office.open(hook.url) as outbox:
        office.say(outbox, "a", "b")
        await hook.until(2)
        await settled(office, retried=2, sent=2)
    assert texts(hook) == ["a", "b"]
    assert len({request.headers[ID] for request in hook.asked[:3]}) == 1


async def test_what_was_not_sent_before_a_stop_is_sent_after_it(office: Office) -> None:
    """It is on the disk, readable by us alone; nobody but the receiver gets it."""
    hook = Hook()
    async with hook.serving():
        url = hook.url
    async with office.open(url) as outbox:
        office.say(outbox, "a", "b")
        await outbox.settled()
    assert (office.path / ".webhooks.sqlite").stat().st_mode & 0o777 == 0o600
    async with hook.serving(port=int(url.split(":")[2].split("/")[0])), office.open(url):
        await hook.until(2)
    assert texts(hook) == ["a", "b"]


@pytest.mark.parametrize("status", [301, 400, 401, 404, 410])
async def test_what_is_refused_for_good_does_not_hold_up_the_rest(
    office: Office, hook: Hook, status: int
) -> None:
    """It becomes a dead letter; a redirect is followed nowhere."""
    hook.answers = [status]
    async with office.open(hook.url) as outbox:
        office.say(outbox, "a", "b")
        await settled(office, dead=1, sent=1)
        assert [why for _, _, why in await outbox.dead()] == [f"HTTP {status}"]
    assert texts(hook) == ["b"]


async def test_nothing_is_tried_for_ever(office: Office, hook: Hook) -> None:
    """After a day of trying it is set aside."""
    hook.answers = [500]
    async with office.open(hook.url) as outbox:
        office.wall -= 25 * 3600
        office.say(outbox, "a")
        await outbox.settled()
        office.wall += 25 * 3600
        office.say(outbox, "b")
        await hook.until(1)
    assert texts(hook) == ["b"]


async def test_each_receiver_has_a_queue_of_its_own(office: Office, hook: Hook) -> None:
    """One that is away delays nobody else."""
    async with office.open("http://127.0.0.1:9/hook", hook.url) as outbox:
        office.say(outbox, "a", "b")
        await hook.until(2)
    assert texts(hook) == ["a", "b"]


async def test_partial_captions_are_not_sent(office: Office, hook: Hook) -> None:
    """Only what will not be taken back."""
    async with office.open(hook.url, kinds="UtteranceHeard") as outbox:
        for rev, final in ((0, False), (1, True)):
            said = UtteranceHeard("u1", rev, final, "yes", Role.CUSTOMER, None, 0.0, 1.0)
            entry = office.feed.put("minutes", said, at=AT, now=1.0)
            assert entry is not None
            outbox.put(office.feed, entry)
        await hook.until(1)
    assert [body["event"]["rev"] for _, body in hook.taken] == [1]
