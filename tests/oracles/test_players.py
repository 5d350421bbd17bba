"""What others play: ffprobe decodes every file that is made, and Chromium plays the finished ones."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.archive.conftest import Desk
from tests.archive.studio import ATTENDANT, CUSTOMER, made
from tests.archive.test_composite import filmed
from tests.media.filming import assembled, film, written
from tests.oracles.chromium.browser import chromium
from tests.oracles.chromium.conftest import write_wav
from tests.oracles.places import needs
from voki_bots.archive.finish import finish
from voki_bots.archive.options import FORMATS, FinishOptions
from voki_bots.media.video import CODECS
from voki_bots.sandbox.pictures import COLOURS
from voki_bots.testing import tone

SECONDS = 4.0

PAGE = """<!doctype html><script>
function state() { return {} }
function share(samples, hertz, rate) {  // of the energy of a second, that near a frequency
  let [real, imaginary, energy] = [0, 0, 0];
  for (let n = 0; n < rate; n++) {
    const [value, angle] = [samples[n + 2 * rate], 2 * Math.PI * hertz * n / rate];
    real += value * Math.cos(angle); imaginary += value * Math.sin(angle); energy += value * value;
  }
  return 2 * (real * real + imaginary * imaginary) / rate / energy;
}
async function decoded(url, tones) {
  const bytes = await (await fetch(url)).arrayBuffer();
  const heard = await new OfflineAudioContext(2, 1, 48000).decodeAudioData(bytes);
  const channels = [...Array(heard.numberOfChannels).keys()].map(n => heard.getChannelData(n));
  return {seconds: heard.duration, shares: channels.map(each => tones.map(hz => share(each, hz, 48000)))};
}
async function played(url) {
  const audio = new Audio(url);
  audio.playbackRate = 4;
  await audio.play();
  await new Promise(ended => audio.onended = ended);
  return audio.currentTime;
}
async function watched(url) {
  const [video, canvas] = [document.createElement("video"), document.createElement("canvas")];
  [video.src, video.muted, video.playbackRate] = [url, true, 2];
  const ended = new Promise(done => video.onended = done);
  await video.play();
  while (video.currentTime < 1.5) await new Promise(done => video.requestVideoFrameCallback(done));
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const pen = canvas.getContext("2d");
  pen.drawImage(video, 0, 0);
  const seen = [[160, 180], [480, 180]].map(at => [...pen.getImageData(...at, 1, 1).data].slice(0, 3));
  await ended;
  return {seconds: video.currentTime, size: [canvas.width, canvas.height], seen};
}
</script>"""


@pytest.fixture
def call(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A call of four seconds, an attendant's tone and a customer's, finished in the format of the test."""
    directory = made(Desk(tmp_path / "archive"), [ATTENDANT, CUSTOMER])
    finish(directory, FinishOptions(format=request.param))
    return directory


def probed(path: Path) -> list[dict[str, Any]]:
    """Let ffprobe decode all of a file; it has nothing to complain of."""
    command = ["ffprobe", "-v", "warning", "-count_frames", "-show_streams", "-of", "json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), path
    streams: list[dict[str, Any]] = json.loads(done.stdout)["streams"]
    return streams


@pytest.mark.parametrize("call", FORMATS, indirect=True)
def test_ffprobe_decodes_every_file_of_a_call(call: Path) -> None:
    """One stream of sound each, of two channels in the stereo file; a finished one is as long as the call."""
    needs("ffprobe")
    files = [path for path in call.rglob("*.*") if path.suffix[1:] in FORMATS]
    assert len(files) == 6
    for path in files:
        (stream,) = probed(path)
        assert stream["channels"] == (2 if path.stem == "stereo" else 1)
        assert int(stream["nb_read_frames"]) > 0
        if path.parent.name != "tracks":
            assert float(stream["duration"]) == pytest.approx(SECONDS, abs=0.021)


@pytest.mark.parametrize("codec", CODECS)
def test_ffprobe_decodes_every_picture_of_a_track(codec: str, tmp_path: Path) -> None:
    """Each frame that was written, in the size in which it was shot."""
    needs("ffprobe")
    written(tmp_path / "a.mkv", assembled(film(codec, 40))).close()
    (stream,) = probed(tmp_path / "a.mkv")
    assert (stream["codec_name"], int(stream["nb_read_frames"])) == (codec.lower(), 40)


@pytest.mark.parametrize("call", FORMATS, indirect=True)
async def test_chromium_plays_the_finished_files(call: Path, tmp_path: Path) -> None:
    """To their end; the attendant is on the left and the customer on the right, and the mix has both."""
    needs("chromium")
    wav = write_wav(tmp_path / "mute.wav", tone(440, 0.1))
    (kind,) = (path.suffix for path in call.glob("stereo.*"))
    with chromium(tmp_path / "profile", wav) as running:
        async with _served(call) as url, running.connected() as browser:
            page = await browser.open(f"{url}/page.html")
            stereo = await page.call("decoded", f"{url}/stereo{kind}", [440, 700])
            mix = await page.call("decoded", f"{url}/mix{kind}", [440, 700])
            ends = [await page.call("played", f"{url}/{name}{kind}") for name in ("stereo", "mix")]
    assert [stereo["seconds"], mix["seconds"], *ends] == pytest.approx([SECONDS] * 4, abs=0.05)
    (left, right), (both,) = stereo["shares"], mix["shares"]
    assert left[0] > 0.95 > 0.05 > left[1] and right[1] > 0.95 > 0.05 > right[0]
    assert min(both) > 0.3


async def test_the_film_of_a_call_is_played_by_anybody(tmp_path: Path) -> None:
    """Chromium shows each person in their tile to the end; ffprobe finds every frame and the mix."""
    needs("chromium", "ffprobe")
    directory = await filmed(tmp_path / "call", "red", "green")
    finish(directory)
    video, audio = probed(directory / "composite.webm")
    assert (video["codec_name"], int(video["nb_read_frames"]), audio["codec_name"]) == ("vp8", 90, "opus")
    (small,) = probed(directory / "thumbnail.jpg")
    assert small["codec_name"] == "mjpeg"
    wav = write_wav(tmp_path / "mute.wav", tone(440, 0.1))
    with chromium(tmp_path / "profile", wav) as running:
        async with _served(directory) as url, running.connected() as browser:
            page = await browser.open(f"{url}/page.html")
            shown = await page.call("watched", f"{url}/composite.webm")
    assert shown["seconds"] == pytest.approx(3.0, abs=0.1) and shown["size"] == [640, 360]
    for pixel, colour in zip(shown["seen"], ("red", "green"), strict=True):
        assert max(abs(a - b) for a, b in zip(pixel, COLOURS[colour], strict=True)) < 40


@asynccontextmanager
async def _served(directory: Path) -> AsyncIterator[str]:
    """Serve a folder and the page on loopback."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    app = web.Application()
    app.add_routes([web.get("/page.html", page), web.static("/", directory)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
