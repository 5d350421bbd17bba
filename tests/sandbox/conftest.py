"""A sandbox in this process, and a bot made of nothing but aiohttp and aiortc."""

import asyncio
import contextlib
import itertools
from types import SimpleNamespace

import aiohttp
import av
import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcconfiguration import RTCBundlePolicy

from voki_bots.sandbox.ogg import write_packets
from voki_bots.sandbox.options import SandboxOptions
from voki_bots.sandbox.paths import close_connection, gather_on
from voki_bots.sandbox.server import Sandbox


async def until(condition, timeout=10.0):
    """Wait until a condition holds."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.01)


def decode(packets):
    """Decode (timestamp, payload) packets to mono samples at 48 kHz, starting at the first."""
    first = packets[0][0]
    container = write_packets([(timestamp - first, payload) for timestamp, payload in packets])
    return decode_file(container)


def decode_file(container):
    """Decode an Ogg/Opus file to mono samples at 48 kHz."""
    import io

    with av.open(io.BytesIO(container)) as opened:
        frames = [frame.to_ndarray()[0] for frame in opened.decode(audio=0)]
    return np.concatenate(frames).astype(np.float64)


def correlation(a, b):
    """The highest normalised correlation of two signals over all shifts."""
    size = 1 << (len(a) + len(b)).bit_length()
    spectrum = np.fft.rfft(a, size) * np.conj(np.fft.rfft(b, size))
    return float(np.max(np.abs(np.fft.irfft(spectrum, size))) / (np.linalg.norm(a) * np.linalg.norm(b)))


class Client:
    """One websocket that speaks V2 by hand."""

    def __init__(self, http, socket_url):
        self.http, self.socket_url = http, socket_url
        self.frames, self.binaries, self.refs, self.code = [], [], itertools.count(1), None

    async def connect(self, token, **query):
        params = {"token": token, "vsn": "2.0.0", **query}
        self.ws = await self.http.ws_connect(self.socket_url, params=params)
        self.reading = asyncio.create_task(self._read())

    async def _read(self):
        async for message in self.ws:
            if message.type is aiohttp.WSMsgType.BINARY:
                self.binaries.append(message.data)
            else:
                self.frames.append(message.json())
        self.code = self.ws.close_code

    async def send(self, *frame):
        await self.ws.send_json(list(frame))

    async def push(self, topic, event, payload, join_ref):
        ref = str(next(self.refs))
        await self.ws.send_json([join_ref, ref, topic, event, payload])
        return ref

    async def binary(self, topic, event, data, join_ref):
        ref = str(next(self.refs))
        names = [name.encode() for name in (join_ref, ref, topic, event)]
        await self.ws.send_bytes(bytes([0, *map(len, names)]) + b"".join(names) + data)
        return ref

    async def beat(self):
        """Wait until everything sent so far was read and answered."""
        for _ in range(2):
            ref = f"beat{next(self.refs)}"
            await self.send(None, ref, "phoenix", "heartbeat", {})
            await self.reply(ref)

    async def join(self, topic, params=None):
        ref = str(next(self.refs))
        await self.ws.send_json([ref, ref, topic, "phx_join", params or {}])
        return ref, await self.reply(ref)

    async def reply(self, ref):
        await until(lambda: self._reply(ref))
        return self._reply(ref)[4]

    def _reply(self, ref):
        return next((f for f in self.frames if f[1] == ref and f[3] == "phx_reply"), None)

    def events(self, name):
        return [f[4] for f in self.frames if f[3] == name]

    async def event(self, name, count=1):
        await until(lambda: len(self.events(name)) >= count)
        return self.events(name)[count - 1]

    async def close(self):
        await self.ws.close()
        await self.reading


class Bot:
    """A bot in one call: offers one recvonly line, answers every offer, keeps what it receives."""

    def __init__(self, client, call_id):
        self.client, self.topic = client, f"call:{call_id}"
        self.heard, self.offers, self.sdp, self._following = {}, [], "", None
        self.pc = None

    async def join(self):
        self.join_ref, reply = await self.client.join(self.topic)
        return reply

    def _new(self):
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))

    def _hook(self):
        for transceiver in self.pc.getTransceivers():

            async def take(packet, arrival_time_ms, transceiver=transceiver):
                self.heard.setdefault(transceiver.mid, []).append(packet)

            transceiver.receiver._handle_rtp_packet = take

    async def offer(self, direction="recvonly", extra=(), trickle=False):
        old, self._known = self.pc, len(self.client.events("signal"))
        self._new()
        if self._following is not None:
            self._following.cancel()
        for kind in ("audio", *extra):
            self.pc.addTransceiver(kind, direction=direction)
        gather_on(self.pc, ["127.0.0.1"])
        await self.pc.setLocalDescription(await self.pc.createOffer())
        self._hook()
        await self._signal(trickle=trickle)
        self._following = asyncio.create_task(self._follow())
        if old is not None:
            await close_connection(old)

    async def listen(self, known=0):
        """Wait for the server's next offer, with a new connection."""
        self._known = known
        self._new()
        self._following = asyncio.create_task(self._follow())

    async def _signal(self, trickle=False):
        local = self.pc.localDescription
        lines = local.sdp.split("\r\n")
        candidates = [line[2:] for line in lines if trickle and line.startswith("a=candidate:")]
        unsaid = ("a=candidate", "a=end-of-candidates") if trickle else ("a=none",)
        sdp = "\r\n".join(line for line in lines if not line.startswith(unsaid))
        for candidate in candidates:
            payload = {"candidate": candidate, "sdpMid": "0", "sdpMLineIndex": 0}
            await self.client.push(self.topic, "ice_candidate", payload, self.join_ref)
        await self.client.push(self.topic, "signal", {"type": local.type, "sdp": sdp}, self.join_ref)

    async def reoffer(self):
        self.pc.addTransceiver("audio", direction="recvonly")
        await self.pc.setLocalDescription(await self.pc.createOffer())
        await self._signal()

    async def _follow(self):
        while True:
            await until(lambda: len(self.client.events("signal")) > self._known, timeout=600)
            payload = self.client.events("signal")[self._known]
            self._known += 1
            self.sdp = payload["sdp"]
            await self.pc.setRemoteDescription(RTCSessionDescription(payload["sdp"], payload["type"]))
            self._hook()
            if payload["type"] == "offer":
                self.offers.append(payload["sdp"])
                gather_on(self.pc, ["127.0.0.1"])
                await self.pc.setLocalDescription(await self.pc.createAnswer())
                await self._signal()

    async def hears(self, packets, lines=1):
        await until(lambda: sum(len(p) >= packets for p in self.heard.values()) >= lines, timeout=20)

    async def close(self):
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
        if self.pc is not None:
            await close_connection(self.pc)


@pytest.fixture
async def world():
    """A sandbox with a signed-in client, and shortcuts to its control API."""
    async with contextlib.AsyncExitStack() as stack:
        made = SimpleNamespace()

        async def start(**options):
            settings = {"default_call": False, "join_spacing": 0.05, "seed": 1, **options}
            made.sandbox = await stack.enter_async_context(Sandbox(SandboxOptions(**settings)))
            made.http = await stack.enter_async_context(aiohttp.ClientSession(made.sandbox.url))
            made.ready = made.sandbox.ready()
            made.token = made.ready["tokens"]["supervisor"]
            return made

        async def control(method, path, **body):
            async with made.http.request(method, f"/sandbox{path}", json=body or None) as response:
                assert response.status == 200, await response.text()
                return await (response.json() if response.content_type.endswith("json") else response.read())

        async def api(method, path, token=None, headers=None, **body):
            sent = {
                "Authorization": f"Bearer {token or made.token}",
                "X-Tenant": "sandbox",
                **(headers or {}),
            }
            async with made.http.request(method, path, json=body or None, headers=sent) as response:
                made.status = response.status
                return await response.json() if response.content_type.endswith("json") else None

        async def client(token=None, **query):
            connected = Client(made.http, made.sandbox.socket_url)
            await connected.connect(token or made.token, **query)
            stack.push_async_callback(connected.close)
            return connected

        async def call(*people, **rest):
            made.call = await control("POST", "/calls", people=list(people), **rest)
            return made.call

        async def up():
            people = made.sandbox.platform.rooms[made.call["call_id"]].people.values()
            await until(lambda: all(person.connected.is_set() for person in people))

        async def bot(call_id=None):
            attending = Bot(await client(), call_id or made.call["call_id"])
            stack.push_async_callback(attending.close)
            attending.joined = await attending.join()
            return attending

        vars(made).update(start=start, control=control, api=api, client=client, make=call, bot=bot, up=up)
        made.until, made.decode, made.decode_file, made.correlation = until, decode, decode_file, correlation
        yield made
