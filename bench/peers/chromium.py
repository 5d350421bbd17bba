"""Headless Chromium: a page with a connection for each stream, as the browsers of people do it.

Recording is its MediaRecorder, which decodes and encodes anew; PCM is an AudioContext at 16 kHz whose samples
are kept. It is driven by its DevTools protocol.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import aiohttp

FLAGS = (
    "--headless=new",
    "--no-first-run",
    "--disable-gpu",
    "--disable-quic",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--autoplay-policy=no-user-gesture-required",
    "--mute-audio",
    "--remote-debugging-port=0",
)

PAGE = """
globalThis.streams = [];
globalThis.context = null;
globalThis.answer = async (job, sdp) => {
  const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  const one = { pc, parts: [], done: null };
  streams.push(one);
  pc.ontrack = ({ track }) => {
    const stream = new MediaStream([track]);
    one.player = new Audio(); // without a consumer nothing flows
    one.player.srcObject = stream;
    one.player.play();
    if (job === "record") {
      one.recorder = new MediaRecorder(stream, { mimeType: "audio/webm;codecs=opus" });
      one.recorder.ondataavailable = ({ data }) => one.parts.push(data);
      one.recorder.start(1000);
    } else {
      context ??= new AudioContext({ sampleRate: 16000 });
      const source = context.createMediaStreamSource(stream);
      const taker = context.createScriptProcessor(4096, 1, 1);
      taker.onaudioprocess = ({ inputBuffer }) => one.parts.push(
        Int16Array.from(inputBuffer.getChannelData(0), (each) => Math.max(-1, Math.min(1, each)) * 32767));
      source.connect(taker);
      taker.connect(context.destination);
    }
  };
  await pc.setRemoteDescription({ type: "offer", sdp });
  await pc.setLocalDescription();
  await new Promise((done) => {
    if (pc.iceGatheringState === "complete") done();
    pc.onicegatheringstatechange = () => pc.iceGatheringState === "complete" && done();
  });
  return pc.localDescription.sdp;
};
globalThis.finish = async (n) => {
  const { pc, recorder, parts } = streams[n];
  let received = 0;
  for (const each of (await pc.getStats()).values()) {
    if (each.type === "inbound-rtp") received += each.packetsReceived;
  }
  if (recorder) await new Promise((done) => { recorder.onstop = done; recorder.stop(); });
  const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
  pc.close();
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) {
    text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  }
  return JSON.stringify({ received, content: btoa(text) });
};
"""


class Receiver:
    """See `bench.receiver.Receiver`."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._count = 0

    async def start(self) -> None:
        profile = tempfile.mkdtemp(dir=self._options.directory)
        command = ["chromium", *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        if os.geteuid() == 0:
            command.append("--no-sandbox")
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(*command, stdout=nothing, stderr=pipe)
        assert self._process.stderr is not None
        async with asyncio.timeout(30):
            while b"DevTools listening on " not in (line := await self._process.stderr.readline()):
                if not line:
                    raise RuntimeError("chromium does not start here")
        self._draining = asyncio.create_task(self._process.stderr.read())
        url = line.split()[-1].decode()
        self._http = aiohttp.ClientSession()
        host = url.split("/")[2]
        async with self._http.get(f"http://{host}/json") as listed:
            page = next(each for each in await listed.json() if each["type"] == "page")
        address = page["webSocketDebuggerUrl"]
        self._socket = await self._http.ws_connect(address, max_msg_size=0, autoping=False)
        self._reading = asyncio.create_task(self._read())
        await self._run(PAGE)

    async def _read(self) -> None:
        async for message in self._socket:
            said = json.loads(message.data)
            if (waiting := self._answers.pop(said.get("id", 0), None)) is not None:
                waiting.set_result(said)

    async def _run(self, expression: str) -> Any:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        wanted = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        await self._socket.send_json({"id": number, "method": "Runtime.evaluate", "params": wanted})
        async with asyncio.timeout(60):
            said = (await answer)["result"]
        if "exceptionDetails" in said:
            raise RuntimeError(str(said["exceptionDetails"])[:300])
        return said["result"].get("value")

    async def answer(self, number: int, offer: str) -> str:
        self._count = max(self._count, number + 1)
        sdp = await self._run(f"answer({json.dumps(self._options.job)}, {json.dumps(offer)})")
        return str(sdp)

    async def finish(self) -> dict[str, Any]:
        received, files = [], []
        for number in range(self._count):
            said = json.loads(await self._run(f"finish({number})"))
            received.append(said["received"])
            ending = "webm" if self._options.job == "record" else "pcm"
            path: Path = self._options.directory / f"{number}.{ending}"
            await asyncio.to_thread(path.write_bytes, base64.b64decode(said["content"]))
            files.append(str(path))
        await self._http.close()
        self._process.terminate()
        await self._process.wait()
        return {"received": received, "files": files, "remark": "all its processes"}
