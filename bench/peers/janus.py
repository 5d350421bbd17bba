"""Janus, an SFU in C: each stream is a publisher of a VideoRoom that records its packets as they come."""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
import urllib.request
from pathlib import Path
from typing import Any

ROOM = 1
PORT = 18_088
MAIN = """general: {{
  configs_folder = "{directory}"
  plugins_folder = "{libraries}/plugins"
  transports_folder = "{libraries}/transports"
  events_folder = "{directory}"
  loggers_folder = "{directory}"
  debug_level = 1
  session_timeout = 0
}}
nat: {{ ice_enforce_list = "{address}" }}
plugins: {{ disable = "{plugins}" }}
transports: {{ disable = "{transports}" }}
"""
HTTP = """general: {{
  base_path = "/janus"
  http = true
  port = {port}
  ip = "{address}"
}}
"""


class Receiver:
    """See `bench.receiver.Receiver`; what is measured is Janus, not this process that speaks to it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._url = f"http://{options.address}:{PORT}/janus"
        self._handles: dict[int, int] = {}

    async def start(self) -> int:
        """Write its configuration and hold it back in a shell; give the process to be measured."""
        directory = self._options.directory
        libraries = _libraries()
        unwanted = {
            kind: ",".join(
                p.name for p in (libraries / kind).glob("*.so") if p.name != f"libjanus_{wanted}.so"
            )
            for kind, wanted in (("plugins", "videoroom"), ("transports", "http"))
        }
        given = {"directory": directory, "libraries": libraries, "address": self._options.address}
        (directory / "janus.jcfg").write_text(MAIN.format(**given, **unwanted))
        (directory / "janus.transport.http.jcfg").write_text(
            HTTP.format(port=PORT, address=self._options.address)
        )
        (directory / "janus.plugin.videoroom.jcfg").write_text("")
        command = f"read go; exec janus -F {directory} -C {directory}/janus.jcfg -o"
        self._server = await asyncio.create_subprocess_exec(
            "sh",
            "-c",
            command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        return self._server.pid

    async def attached(self) -> None:
        """Let it run, and make the room."""
        assert self._server.stdin is not None
        self._server.stdin.write(b"go\n")
        async with asyncio.timeout(10):
            while True:
                try:
                    self._session = (await self._ask("", {"janus": "create"}))["data"]["id"]
                    break
                except OSError:
                    await asyncio.sleep(0.1)
        handle = await self._attach()
        room = {"request": "create", "room": ROOM, "publishers": 1000, "audiocodec": "opus"}
        await self._message(handle, room)

    async def answer(self, number: int, offer: str) -> str:
        handle = self._handles[number] = await self._attach()
        await self._message(handle, {"request": "join", "room": ROOM, "ptype": "publisher"})
        await self._event(handle)
        name = str(self._options.directory / f"{number}")
        body = {"request": "publish", "record": True, "filename": name}
        await self._message(handle, body, {"type": "offer", "sdp": offer})
        answer: str = (await self._event(handle, "jsep"))["jsep"]["sdp"]
        return answer

    async def finish(self) -> dict[str, Any]:
        for handle in self._handles.values():
            await self._message(handle, {"request": "unpublish"})
        await asyncio.sleep(1.0)
        self._server.terminate()
        await self._server.wait()
        files, counts = [], []
        for number in self._handles:
            (recorded,) = self._options.directory.glob(f"{number}-audio*.mjr")
            packets = read_mjr(recorded)
            path = self._options.directory / f"{number}.packets"
            path.write_text(json.dumps([p.hex() for p in packets]))
            files.append(str(path))
            counts.append(len(packets))
        return {"received": counts, "files": files}

    async def _attach(self) -> int:
        asked = {"janus": "attach", "plugin": "janus.plugin.videoroom"}
        return int((await self._ask(f"/{self._session}", asked))["data"]["id"])

    async def _message(self, handle: int, body: dict[str, Any], jsep: dict[str, str] | None = None) -> Any:
        asked = {"janus": "message", "body": body, **({"jsep": jsep} if jsep else {})}
        return await self._ask(f"/{self._session}/{handle}", asked)

    async def _event(self, handle: int, key: str = "plugindata") -> Any:
        """Wait for the next event of a handle that has a key."""
        async with asyncio.timeout(10):
            while True:
                found = await asyncio.to_thread(_fetch, f"{self._url}/{self._session}?maxev=1")
                if found.get("sender") == handle and key in found:
                    return found

    async def _ask(self, path: str, asked: dict[str, Any]) -> Any:
        return await asyncio.to_thread(_fetch, self._url + path, {**asked, "transaction": "t"})


def _libraries() -> Path:
    return next(Path("/usr/lib").glob("*/janus"))


def _fetch(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=15) as answer:
        return json.load(answer)


def read_mjr(path: Path) -> list[bytes]:
    """Read the Opus packets of a Janus recording: framed RTP, in the order of its timestamps."""
    data, at, found = path.read_bytes(), 0, []
    while at + 8 < len(data):
        (size,) = struct.unpack_from("!H", data, at + 8)
        packet, header = data[at + 10 : at + 10 + size], data[at : at + 3] == b"MJR"
        at += 10 + size
        if not header:
            start = 12 + (4 + 4 * int.from_bytes(packet[14:16], "big") if packet[0] & 16 else 0)
            found.append((int.from_bytes(packet[4:8], "big"), packet[start:]))
    first = found[0][0] if found else 0
    return [payload for _, payload in sorted(found, key=lambda p: (p[0] - first + 2**31) % 2**32)]
