"""The console in a real browser: who has the token sees calls, and captions as they are said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.oracles.chromium.browser import chromium
from tests.oracles.desk import ANA, EVIL, KIM, Desk, Session, enter
from tests.oracles.places import needs
from voki_bots.calls import CallLeft, HintGiven, Role


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Any:
    needs("chromium")
    folder = tmp_path_factory.mktemp("console")
    with chromium(folder / "profile", folder / "none.wav", "--accept-lang=pt-BR") as running:
        yield running


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    desk.sessions = [Session("7c/2f 1"), Session("second")]
    async with desk.serving():
        yield desk


async def test_calls_are_listed_for_who_has_the_token(browser: Any, desk: Desk, tmp_path: Path) -> None:
    """Nobody else sees anything; names are text, whatever is in them; an ended call goes by itself."""
    async with browser.connected() as connected:
        page = await connected.open(desk.url, "document.querySelector('.ask')")
        await enter(page, "not-the-token-at-all")
        await page.true("document.querySelector('.wrong')?.textContent")
        assert not await page.run("document.querySelector('.calls')")
        await enter(page)
        await page.true("document.querySelectorAll('.calls a').length === 2")
        text = await page.run("document.querySelector('.calls').innerText")
        assert "Ana Souza" in text
        assert EVIL in text
        assert await page.run("document.title") == "voki-bots"
        assert await page.run("document.documentElement.lang") == "pt-BR"
        assert "Gravações" in await page.run("document.querySelector('nav').innerText")
        for name, size in {"wide": (1100, 600), "phone": (390, 700)}.items():
            (tmp_path / f"calls-{name}.png").write_bytes(
                await page.seen(width=size[0], height=size[1], dark=name == "phone")
            )
        desk.sessions.pop()
        await page.true("document.querySelectorAll('.calls a').length === 1")
        desk.sessions.clear()
        await page.true("!document.getElementById('empty').hidden")


async def test_captions_come_as_they_are_said(browser: Any, desk: Desk, tmp_path: Path) -> None:
    """A partial is replaced by the next and by the final; each stands under its name, at its time."""
    session = desk.sessions[0]
    async with browser.connected() as connected:
        page = await connected.open(desk.url, "document.querySelector('.ask')")
        await enter(page)
        await page.true("document.querySelector('.calls a')")
        await page.run("document.querySelector('.calls a').click()")
        await page.true("document.getElementById('captions')")
        session.bus.publish(ANA)
        session.bus.publish(KIM)
        await page.true("document.querySelectorAll('.captions .partial').length === 2")
        session.bus.publish(replace(KIM, rev=1, text="meu cartão foi recusado"))
        await page.true("document.querySelector('.captions').innerText.includes('recusado')")
        session.bus.publish(replace(KIM, rev=2, final=True, text=f"meu cartão foi recusado {EVIL}"))
        session.bus.publish(HintGiven("Oferta de retenção: 20 %", Role.ATTENDANT, "x"))
        await page.true("document.querySelectorAll('.captions .final').length === 1")
        await page.true("document.getElementById('hints').innerText.includes('20 %')")
        items = await page.run("[...document.querySelectorAll('.captions li')].map(e => e.innerText)")
        assert len(items) == 2
        assert "Carlos Lima" in items[0]
        assert EVIL in items[0]
        assert await page.run("document.querySelectorAll('img').length") == 0
        for name, width, dark in (("wide", 1100, False), ("dark", 1100, True), ("phone", 390, True)):
            (tmp_path / f"call-{name}.png").write_bytes(await page.seen(width=width, height=750, dark=dark))
        session.bus.publish(CallLeft("over"))
        session.bus.close()
        await page.true("document.querySelector('.over')")


async def test_a_page_catches_up_after_its_connection_broke(browser: Any, desk: Desk) -> None:
    """What was said meanwhile is there once, in its place."""
    session = desk.sessions[1]
    async with browser.connected() as connected:
        page = await connected.open(f"{desk.url}/calls/acme/second", "document.querySelector('.ask')")
        await page.run(
            "window.sockets = []; window.WebSocket = class extends WebSocket {"
            " constructor(...a) { super(...a); window.sockets.push(this); } }"
        )
        await enter(page)
        session.bus.publish(replace(KIM, final=True, text="antes"))
        await page.true("document.querySelector('.captions')?.innerText.includes('antes')")
        await page.run("window.sockets.at(-1).close()")
        session.bus.publish(replace(KIM, id="u5", final=True, text="durante", start=8.0))
        await page.true("document.querySelector('.captions').innerText.includes('durante')")
        assert await page.run("document.querySelectorAll('.captions li').length") == 2
        assert await page.run("window.sockets.length") >= 2
