"""Supervision and recordings in a real browser: what a person does reaches the service, as sound."""

from __future__ import annotations

import asyncio
import json
import re
import wave
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.oracles.chromium.browser import Page, chromium
from tests.oracles.desk import TOKEN, VIEWER, Desk, Sat, Session, enter
from tests.oracles.places import needs
from tests.service.test_recordings import EVIL, LINE, record
from voki_bots.archive.finish import finish
from voki_bots.archive.options import FinishOptions
from voki_bots.archive.transcript import TRANSCRIPT
from voki_bots.bots.gate import Closing
from voki_bots.calls import CustomerQueued, PresenceChanged, Supervision
from voki_bots.testing.signals import tone

VOICE = 700
"""Hertz of the microphone."""

NO_WEBRTC = "window.RTCPeerConnection = class { constructor() { throw new Error('blocked'); } };"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Any:
    needs("chromium")
    folder = tmp_path_factory.mktemp("desk")
    with wave.open(str(folder / "mic.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(tone(VOICE, 10.0).tobytes())
    with chromium(folder / "profile", folder / "mic.wav", "--accept-lang=en") as running:
        yield running


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path / "calls")
    desk.sessions = [Session("first")]
    async with desk.serving():
        yield desk


def pitch(samples: np.ndarray) -> float:
    """The strongest frequency in the middle of what was said."""
    loud = samples[np.abs(samples) > 500]
    assert len(loud) > 4_800, "hardly anything was said"
    spectrum = np.abs(np.fft.rfft(samples.astype(float) * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * 48_000 / len(samples))


async def opened(connected: Any, desk: Desk, token: str = TOKEN, before: str = "") -> Page:
    page: Page = await connected.open(f"{desk.url}/calls/acme/first", "document.querySelector('.ask')")
    if before:
        await page.run(before)
    await enter(page, token)
    await page.true("document.getElementById('captions')")
    return page


async def until(condition: Any) -> Any:
    async with asyncio.timeout(15.0):
        while not (found := condition()):
            await asyncio.sleep(0.02)
    return found


async def sat(desk: Desk) -> Sat:
    chair: Sat = await until(lambda: desk.plugin.chairs[-1] if desk.plugin.chairs else None)
    return chair


KEY = "document.getElementById('talk').dispatchEvent(new KeyboardEvent('{}', {{key: ' ', bubbles: true}}))"
PRESS, RELEASE = KEY.format("keydown"), KEY.format("keyup")

SPY = (
    "const P = RTCPeerConnection; window.RTCPeerConnection = class extends P {"
    " constructor(...a) { super(...a); window.pc = this; } };"
)
ENERGY = (
    "(async () => [...(await pc.getStats()).values()]"
    ".find(each => each.type === 'inbound-rtp')?.totalAudioEnergy > 0.01)()"
)
TYPED = "document.querySelector('#search input').dispatchEvent(new Event('input', {bubbles: true}))"


@pytest.mark.parametrize("webrtc", [True, False])
async def test_a_supervisor_hears_and_is_heard(
    browser: Any, desk: Desk, tmp_path: Path, webrtc: bool
) -> None:
    """By WebRTC, and as PCM where that cannot be; the key says when, and the choice to whom."""
    async with browser.connected() as connected:
        page = await opened(connected, desk, before=SPY if webrtc else NO_WEBRTC)
        await page.true("!document.getElementById('desk').hidden")
        await page.run("document.querySelector('input[value=customer]').click()")
        chair = await sat(desk)
        await until(lambda: chair.sides == ["customer"])
        await page.true("document.getElementById('desk-state').textContent.includes('the customer')")
        if webrtc:
            await page.true("window.pc && pc.connectionState === 'connected'")
            await until_js(page, ENERGY)
        else:
            await page.true("Number(document.body.dataset.heard) > 8000")
        await page.run("document.getElementById('talk').focus()")
        await page.run(PRESS)
        await page.true("document.getElementById('desk-state').textContent.includes('The customer does not')")
        await page.true("document.getElementById('mic').value > -40")
        (tmp_path / f"talking-{webrtc}.png").write_bytes(await page.seen(width=1100, height=800))
        await page.run(RELEASE)
        mode, said = await until(lambda: chair.said[0] if chair.said else None)
        assert mode is Supervision.WHISPER
        assert pitch(said) == pytest.approx(VOICE, abs=15)
        await page.run("document.querySelector('input[value=barge]').click()")
        await page.run(PRESS)
        await page.true("document.getElementById('desk-state').textContent.includes('the customer too')")
        (tmp_path / f"barging-{webrtc}.png").write_bytes(await page.seen(width=390, height=900, dark=True))
        await page.run("window.dispatchEvent(new Event('blur'))")
        mode, _ = await until(lambda: chair.said[1] if len(chair.said) > 1 else None)
        assert mode is Supervision.BARGE
    await until(lambda: chair.over.is_set())


async def until_js(page: Page, expression: str) -> None:
    async with asyncio.timeout(15.0):
        while not await page.run(expression):
            await asyncio.sleep(0.1)


async def test_a_refusal_says_what_to_do_and_lets_go(browser: Any, desk: Desk) -> None:
    """In the reader's words; and a text is said or shown."""
    desk.plugin.refuse = Closing.NOT_THERE
    async with browser.connected() as connected:
        page = await opened(connected, desk, before=NO_WEBRTC)
        await page.true("!document.getElementById('desk').hidden")
        await page.run(PRESS)
        await page.true(
            "document.getElementById('desk-state').textContent.includes('Wait until one has joined')"
        )
        assert await page.run("document.getElementById('talk').getAttribute('aria-pressed')") == "false"
        chair = await sat(desk)
        await page.run("document.querySelector('#say input').value = 'bom dia'")
        await page.run("document.querySelector('#say button').click()")
        await until(lambda: chair.texts == [(Supervision.WHISPER, "bom dia")])
        await page.run(f"document.querySelector('#hint input').value = {json.dumps(EVIL)}")
        await page.run("document.querySelector('#hint button').click()")
        await page.true("document.getElementById('hints').innerText.includes('<img')")
        await page.run("document.querySelector('#pause input').value = 'card'")
        await page.run("document.querySelector('#pause button').click()")
        await page.true("document.getElementById('bots').innerText.includes('card')")
        await page.run("document.getElementById('resume').click()")
        await page.true("!document.getElementById('bots').innerText.includes('card')")


async def test_a_viewer_sees_and_does_nothing_else(browser: Any, desk: Desk) -> None:
    """No desk, no forms; the quality of lines, plugins and their failures are there."""
    desk.floor.take(CustomerQueued("support", "c-9", "Kim <b>"))
    desk.floor.take(PresenceChanged("support", "u-1", "online", "Ana", "available"))
    async with browser.connected() as connected:
        page = await opened(connected, desk, VIEWER)
        await page.true("document.getElementById('people').innerText.includes('good (4.2)')")
        assert await page.run("['desk', 'hint', 'pause'].every(id => document.getElementById(id).hidden)")
        assert "no model" in await page.run("document.getElementById('bots').innerText")
        assert "olga" in await page.run("document.getElementById('me').textContent")
        await page.run("document.querySelector('.brand').click()")
        await page.true("document.getElementById('departments')?.innerText.includes('Kim <b>')")
        await page.true("document.getElementById('departments').innerText.includes('available')")


async def test_a_recording_is_found_heard_and_read(browser: Any, desk: Desk, tmp_path: Path) -> None:
    """Search, waveform, player and transcript go together; each is text, whatever is in it."""
    folder = await record(desk.archive, "7c/2f 1")
    lines = [{"type": "transcript", "language": "pt"}, LINE]
    (folder / TRANSCRIPT).write_text("".join(json.dumps(line) + "\n" for line in lines))
    await asyncio.to_thread(finish, folder, FinishOptions())
    async with browser.connected() as connected:
        page = await connected.open(f"{desk.url}/recordings", "document.querySelector('.ask')")
        await enter(page)
        await page.true("document.querySelectorAll('#list a').length === 1")
        (tmp_path / "recordings.png").write_bytes(await page.seen(width=1100, height=500))
        await page.run("document.querySelector('#search input').value = 'nobody'")
        await page.run(
            "document.querySelector('#search input').dispatchEvent(new Event('input', {bubbles: true}))"
        )
        await page.true("document.getElementById('empty').textContent.includes('Nothing was found')")
        await page.run("document.querySelector('#search input').value = 'carlos'")
        await page.run(
            "document.querySelector('#search input').dispatchEvent(new Event('input', {bubbles: true}))"
        )
        await page.true("document.querySelector('#list a')")
        await page.run("document.querySelector('#list a').click()")
        await page.true("document.querySelector('#medium audio')?.duration > 2.5")
        await page.true("document.getElementById('drawing').innerText.includes('Attendant')")
        await page.true("document.querySelector('#transcript .said')")
        assert await page.run("document.querySelector('#transcript .said').textContent") == LINE["text"]
        assert await page.run("document.querySelectorAll('#transcript img').length") == 0
        await page.run("document.querySelector('#transcript .time').click()")
        await page.true("document.querySelector('#medium audio').currentTime > 1.05")
        await page.true("document.querySelector('#transcript .here')")
        await page.run("document.querySelector('#medium audio').pause()")
        await page.run(
            "document.getElementById('wave').dispatchEvent(new KeyboardEvent('keydown', {key: 'Home'}))"
        )
        await page.true("document.querySelector('#medium audio').currentTime < 0.1")
        for name, width, dark in (("wide", 1100, False), ("dark", 1100, True), ("phone", 390, True)):
            picture = await page.seen(width=width, height=900, dark=dark)
            (tmp_path / f"recording-{name}.png").write_bytes(picture)
        names = await page.run("[...document.querySelectorAll('#files a')].map(e => e.textContent)")
        assert {"mix.opus", "stereo.opus", "call.json"} <= set(names)
        fetched = await page.run("fetch(document.querySelector('#files a').href).then(a => a.status)")
        assert fetched == 200


def test_every_word_is_there_in_every_language() -> None:
    """No page is half English by mistake, and no word is asked for that is not there."""
    folder = files("voki_bots.service") / "console"
    words = (folder / "words.js").read_text()
    found = {}
    for language in ("en", "pt", "es"):
        block = words[words.index(f"  {language}: {{") :].partition("\n  },")[0]
        found[language] = set(re.findall(r'(\w+): "', block))
    assert found["en"] == found["pt"] == found["es"]
    asked = set(re.findall(r'data-word="(\w+)"', (folder / "page.html").read_text()))
    for script in ("base", "call", "calls", "console", "recording", "recordings", "supervise"):
        asked |= set(re.findall(r'word\("(\w+)"', (folder / f"{script}.js").read_text()))
    assert asked - found["en"] == set()
    assert {f"why_{each}" for each in Closing if each is not Closing.HEARD_BY_NOBODY} <= found["en"]
