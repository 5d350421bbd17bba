"""How late a supervisor hears a call and is heard in it, and many of them at once.

`python -m bench supervision --json`

The service, the sandbox and the browsers' ends are three processes. late: of each half second of speech, the
time from the packet that carried it out of the speaker to the one that carried it to the listener: from a
customer to a browser's leg (monitor), and from a browser to the attendant's leg (whisper). many: so many
supervisors, each listening to a call of his own by WebRTC; what reaches each of them, and what it costs.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from voki_bots import Prompt
from voki_bots.media.opus import Decoder
from voki_bots.media.peer import Peer
from voki_bots.media.prompts import Mixer
from voki_bots.media.rtp import Received
from voki_bots.testing.signals import decode
from voki_bots.testing.sim import SandboxProcess, Sim, SimCall

TOKEN = "a-token-of-the-measurement"
RATE = 16_000
WINDOW = RATE // 2
REACH = RATE
MONITOR, WHISPER = 0.200, 0.150
SPEECH = files("voki_bots.sandbox") / "speech" / "pt"

Heard = list[tuple[float, int, bytes]]
"""Arrival in unix seconds, RTP timestamp at 48 kHz, payload."""


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 if a bound is broken."""
    parser = argparse.ArgumentParser(prog="python -m bench supervision", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=["late", "many"], help="of late, many")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long each part lasts")
    parser.add_argument("--calls", type=int, default=20, help="calls and supervisors of the part many")
    parser.add_argument(
        "--told-by", choices=("platform", "hint"), default="hint", help="how attendants of the part many hear"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(arguments)
    result: dict[str, Any] = {}
    if "late" in given.parts:
        result["late"] = asyncio.run(late(given.seconds))
    if "many" in given.parts:
        result["many"] = asyncio.run(many(given.calls, given.seconds, given.told_by))
    bounds = list(_bounds(result))
    result["bounds"] = [{"what": what, "is": is_, "allowed": allowed} for what, is_, allowed in bounds]
    print(json.dumps(result) if given.json else _table(result))
    return int(any(is_ > allowed for _, is_, allowed in bounds))


def _bounds(result: dict[str, Any]) -> Iterator[tuple[str, float, float]]:
    if found := result.get("late"):
        yield "monitor, s p95", found["monitor"]["p95"], MONITOR
        yield "whisper, s p95", found["whisper"]["p95"], WHISPER
    if found := result.get("many"):
        yield "monitor of many, s p95", found["monitor"]["p95"], MONITOR
        yield "packets missing to whoever lacks most", found["missing"]["most"], 0.02


def _table(result: dict[str, Any]) -> str:
    lines = ["| what | p50 | p95 | most |", "|---|---|---|---|"]
    for part in ("late", "many"):
        for name, row in result.get(part, {}).items():
            if isinstance(row, dict) and "p50" in row:
                lines.append(f"| {part}: {name} | {row['p50']} | {row['p95']} | {row['most']} |")
    more = {key: value for key, value in result.get("many", {}).items() if not isinstance(value, dict)}
    lines += ["", json.dumps(more)] if more else []
    for bound in result["bounds"]:
        state = "ok" if bound["is"] <= bound["allowed"] else "BROKEN"
        lines.append(f"{state}  {bound['what']}: {bound['is']} of {bound['allowed']}")
    return "\n".join(lines)


# ---------------------------------------------------------------- the parts


async def late(seconds: float) -> dict[str, Any]:
    """One supervisor in one call."""
    async with staged(1) as (sim, calls, url, _), desk(url, calls[0]) as person:
        call = calls[0]
        customer = next(each for each in call.people if each.role == "customer")
        attendant = next(each for each in call.people if each.role == "attendant")
        await person.listen("customer")
        await asyncio.sleep(seconds)
        monitor = await heard_of(sim, call, customer, person.heard)
        prompt = await asyncio.to_thread(speech, seconds)
        await person.talk(prompt)
        base = f"/calls/{call.id}/people/{attendant.id}/heard"
        lines = (await sim.control("GET", base))["tracks"]
        others = {each.user_id for each in call.people}
        mids = {line["mid"] for line in lines if line["from"] not in others}
        came: Heard = []
        for mid in mids:
            said = await sim.control("GET", f"{base}/{mid}/packets")
            came += [(at, stamp, base64.b64decode(payload)) for at, stamp, payload in said["packets"]]
        signal = prompt.samples[::3].astype(np.float32)
        # Before the first word there is a little silence, on a new connection.
        whisper = delays(signal, person.sent_at[-prompt.frames :], came)
    return {"monitor": summary(monitor), "whisper": summary(whisper), "windows": len(monitor) + len(whisper)}


async def many(count: int, seconds: float, told_by: str) -> dict[str, Any]:
    """A supervisor for each of many calls."""
    async with AsyncExitStack() as stack:
        sim, calls, url, pid = await stack.enter_async_context(staged(count, told_by))
        people = []
        for call in calls:
            person = await stack.enter_async_context(desk(url, call))
            await person.listen("customer")
            people.append(person)
        for person in people:
            person.heard.clear()
        before = cpu_of(pid)
        since = time.monotonic()
        await asyncio.sleep(seconds)
        took = time.monotonic() - since
        cost = cpu_of(pid) - before
        counts = [len(person.heard) for person in people]
        found: list[float] = []
        for call, person in zip(calls[:5], people, strict=False):
            customer = next(each for each in call.people if each.role == "customer")
            found += await heard_of(sim, call, customer, person.heard)
    missing = sorted(max(0.0, 1 - each / (took * 50)) for each in counts)
    return {
        "calls": count,
        "monitor": summary(found),
        "missing": summary(missing),
        "service_cpu": round(cost / took, 3),
    }


# ---------------------------------------------------------------- the stage


@asynccontextmanager
async def staged(count: int, told_by: str = "platform") -> AsyncIterator[tuple[Sim, list[SimCall], str, int]]:
    """A sandbox with calls, and the service that attends them: its address and its process id."""
    with tempfile.TemporaryDirectory() as name, SandboxProcess() as sandbox:
        folder = Path(name)
        async with Sim(sandbox, folder) as sim:
            bot, *own = [await sim.user(f"Bot {n}") for n in range(2)]
            for n, each in enumerate([bot, *own]):
                (folder / f"secret{n}").write_text(each.password())
            calls = []
            department = (await sim.control("POST", "/departments", {}))["department_id"]
            for _ in range(count):
                people = [{"role": role, "listens": count == 1} for role in ("attendant", "customer")]
                switches = {"supervise_by_rest": True}
                calls.append(await sim.call(*people, switches=switches, department_id=department))
            port = free_port()
            config = folder / "bots.toml"
            config.write_text(
                f'[voki]\nurl = "{sim.url}"\ntenant = "{sim.tenant}"\nemail = "{bot.email}"\n'
                f'password_file = "{folder}/secret0"\n[service]\nport = {port}\npoll = 0.5\nrate = 1000\n'
                f'[archive]\ndirectory = "{folder}/calls"\n[[bots]]\nname = "minutes"\n'
                f'join = {{ departments = ["{department}"] }}\nplugins = ["supervisor"]\n[bots.supervisor]\n'
                f'told_by = "{told_by}"\n[bots.supervisor.login]\nemail = "{own[0].email}"\n'
                f'password_file = "{folder}/secret1"\n[bots.supervisor.strategy]\nby = "rest"\n'
                'path = "/api/v1/calls/{call}/supervise"\n'
            )
            command = [sys.executable, "-m", "voki_bots", "run", str(config)]
            quiet = asyncio.subprocess.DEVNULL
            env = {**os.environ, "VOKI_CONTROL_TOKEN": TOKEN}
            service = await asyncio.create_subprocess_exec(*command, env=env, stdout=quiet, stderr=quiet)
            try:
                for call in calls:
                    await call.heard_by_bots(25, timeout=90.0)
                yield sim, calls, f"http://127.0.0.1:{port}", service.pid
            finally:
                service.terminate()
                await service.wait()


class Person:
    """A browser's end of a desk: by WebRTC, with our own Peer in the browser's place."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.heard: Heard = []
        self.sent_at: list[float] = []
        self._socket = socket
        loop = asyncio.get_running_loop()
        self._offset = time.time() - loop.time()
        self.voice = Mixer(loop.time)
        self.peer = Peer(
            0, voice=self.voice, on_packet=self._came, on_sent=self._went, loopback=True, clock=loop.time
        )
        self._said: list[dict[str, Any]] = []
        self._more = asyncio.Event()

    def _came(self, packet: Received) -> None:
        self.heard.append((packet.arrival + self._offset, packet.timestamp, packet.payload))

    def _went(self, packet: Received) -> None:
        self.sent_at.append(packet.arrival + self._offset)

    async def read(self) -> None:
        """Take what the desk says."""
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                self._said.append(json.loads(message.data))
                self._more.set()

    async def until(self, kind: str, **facts: Any) -> dict[str, Any]:
        """Wait for a message; it is taken."""
        async with asyncio.timeout(30.0):
            while True:
                for said in self._said:
                    if said["type"] == kind and all(said.get(key) == value for key, value in facts.items()):
                        self._said.remove(said)
                        return said
                self._more.clear()
                await self._more.wait()

    async def connect(self) -> None:
        """Let audio go by WebRTC."""
        await self.until("hello")
        await self._socket.send_json({"offer": await self.peer.offer()})
        await self.peer.accept((await self.until("answer"))["sdp"])
        await self.peer.connected()

    async def listen(self, side: str) -> None:
        """Hear a side."""
        await self._socket.send_json({"listen": side})
        await self.until("listening", side=side)
        await asyncio.sleep(1.0)
        self.heard.clear()

    async def talk(self, prompt: Prompt) -> None:
        """Whisper, as if it came from a microphone: from when the gate is open until it was said."""
        await self._socket.send_json({"talk": "whisper"})
        await self.until("state", state="open", talking=True)
        self.sent_at.clear()
        await self.voice.say(prompt)
        await self._socket.send_json({"talk": None})
        await self.until("state", talking=False)
        await asyncio.sleep(0.5)


@asynccontextmanager
async def desk(url: str, call: SimCall) -> AsyncIterator[Person]:
    """Sit down at a call."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        address = f"{url}/api/v1/calls/{call.call.tenant}/{call.id}/supervise"
        shown = {"Authorization": f"Bearer {TOKEN}"}
        person = Person(await stack.enter_async_context(http.ws_connect(address, headers=shown)))
        reading = asyncio.create_task(person.read())
        stack.callback(reading.cancel)
        await stack.enter_async_context(person.peer)
        await person.connect()
        yield person


# ---------------------------------------------------------------- arithmetic


def speech(seconds: float) -> Prompt:
    """Sentences of the sandbox, one after another."""
    parts, have = [], 0
    for path in sorted(str(each) for each in SPEECH.iterdir() if str(each).endswith(".opus")):
        parts.append(decode(path, 48_000))
        have += len(parts[-1])
        if have >= seconds * 48_000:
            break
    return Prompt.from_pcm(np.concatenate(parts)[: int(seconds * 48_000)])


async def heard_of(sim: Sim, call: SimCall, person: Any, heard: Heard) -> list[float]:
    """How late somebody's speech came."""
    state = await sim.control("GET", f"/calls/{call.id}")
    first = next(each["first_packet_at"] for each in state["people"] if each["id"] == person.id)
    with tempfile.TemporaryDirectory() as name:
        path = await call.sent(person, Path(name) / "sent.opus")
        signal = decode(path, RATE).astype(np.float32)
    at = [first + n * 0.02 for n in range(len(signal) // (RATE // 50) + 1)]
    return delays(signal, at, heard)


def delays(signal: np.ndarray, sent_at: Sequence[float], heard: Heard) -> list[float]:
    """For each half second that was heard: the time from the packet that was sent to the one that came.

    Args:
        signal: What was sent, at `RATE`, shape (n,).
        sent_at: When each 20 ms of it went out, in unix seconds.
        heard: What came.
    """
    decoder, size, found = Decoder(RATE), RATE // 50, []
    heard = sorted(heard, key=lambda each: each[1])
    samples = np.concatenate([decoder.decode(payload) for _, _, payload in heard]).astype(np.float32)
    for start in range(0, len(samples) - WINDOW, WINDOW):
        piece = samples[start : start + WINDOW]
        came = heard[start // size][0]
        # Not sent before a second ago, nor later than it came.
        last = int(np.searchsorted(np.asarray(sent_at), came)) * size
        begin = max(0, last - REACH)
        stretch = signal[begin : last + WINDOW]
        if len(stretch) < 2 * WINDOW or np.abs(piece).mean() < 200:
            continue
        likeness = np.correlate(stretch, piece, "valid")
        sums = np.concatenate([[0.0], np.cumsum(stretch.astype(np.float64) ** 2)])
        norm = np.sqrt(sums[WINDOW:] - sums[:-WINDOW]) * float(np.linalg.norm(piece)) + 1.0
        best = int(np.argmax(likeness / norm))
        if (likeness / norm)[best] < 0.6:
            continue
        position = begin + best
        found.append(came - sent_at[min(position // size, len(sent_at) - 1)])
    return found


def summary(found: Sequence[float]) -> dict[str, float]:
    """Median, 95th percentile and most, in seconds."""
    if not found:
        return {"p50": float("inf"), "p95": float("inf"), "most": float("inf")}
    p50, p95, most = np.percentile(found, [50, 95, 100])
    return {"p50": round(float(p50), 4), "p95": round(float(p95), 4), "most": round(float(most), 4)}


def cpu_of(pid: int) -> float:
    """CPU seconds that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port that nobody listens on."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
