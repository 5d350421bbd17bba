"""GStreamer's webrtcbin: Opus packets muxed into Ogg as they come, or decoded to 16 kHz for an appsink."""

from __future__ import annotations

import argparse
import asyncio
import threading
from typing import Any

import gi

for library in ("Gst", "GstWebRTC", "GstSdp"):
    gi.require_version(library, "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402  # only after their versions are named

RECORD = "rtpopusdepay ! opusparse ! oggmux ! filesink location={path}"
PCM = (
    "rtpopusdepay ! opusdec ! audioconvert ! audioresample ! "
    "audio/x-raw,format=S16LE,channels=1,rate=16000 ! appsink name=out emit-signals=true sync=false"
)


class Stream:
    """One pipeline."""

    def __init__(self, options: argparse.Namespace, number: int) -> None:
        self._record = options.job == "record"
        self.path = options.directory / f"{number}.{'ogg' if self._record else 'pcm'}"
        self._file = None if self._record else self.path.open("wb")
        self.samples = 0
        self.ended = threading.Event()
        self.pipeline = Gst.Pipeline.new(f"stream-{number}")
        self.bin = Gst.ElementFactory.make("webrtcbin", "peer")
        self.bin.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.pipeline.add(self.bin)
        self.bin.connect("pad-added", self._met)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::eos", lambda *_: self.ended.set())
        self.pipeline.set_state(Gst.State.PLAYING)

    def _met(self, element: Any, pad: Any) -> None:
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        branch = Gst.parse_bin_from_description(
            (RECORD if self._record else PCM).format(path=self.path), True
        )
        self.pipeline.add(branch)
        if not self._record:
            branch.get_by_name("out").connect("new-sample", self._heard)
        branch.sync_state_with_parent()
        pad.link(branch.get_static_pad("sink"))

    def _heard(self, sink: Any) -> Any:
        buffer = sink.emit("pull-sample").get_buffer()
        data = buffer.extract_dup(0, buffer.get_size())
        self.samples += len(data) // 2
        self._file.write(data)  # type: ignore[union-attr]
        return Gst.FlowReturn.OK

    def answer(self, offer: str) -> str:
        """Answer, complete with candidates; in a thread of its own."""
        self._wait("set-remote-description", _description(GstWebRTC.WebRTCSDPType.OFFER, offer))
        promise = self._wait("create-answer", None)
        reply = promise.get_reply()
        made = reply.get_value("answer")
        _kept.extend((promise, reply, made))  # what a reply holds ends with it
        text = made.sdp.as_text()
        # And it loses its text when it is handed on, so it is made anew.
        self._wait("set-local-description", _description(GstWebRTC.WebRTCSDPType.ANSWER, text))
        gathered = threading.Event()

        def look(*_: Any) -> None:
            if self.bin.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
                gathered.set()

        self.bin.connect("notify::ice-gathering-state", look)
        look()
        gathered.wait(5)
        return str(self.bin.get_property("local-description").sdp.as_text())

    def _wait(self, signal: str, argument: Any) -> Any:
        promise = Gst.Promise.new()
        self.bin.emit(signal, argument, promise)
        promise.wait()
        reply = promise.get_reply()
        if reply is not None and reply.has_field("error"):
            raise RuntimeError(f"{signal}: {reply.get_value('error')}")
        return promise

    def close(self) -> None:
        """End the file: what is in the pipeline is still written."""
        if self._record:
            for pad in self.bin.srcpads:
                peer = pad.get_peer()
                if peer is not None:
                    peer.send_event(Gst.Event.new_eos())
            self.ended.wait(1)
        self.pipeline.set_state(Gst.State.NULL)
        if self._file is not None:
            self._file.close()


_kept: list[Any] = []


def _description(kind: Any, text: str) -> Any:
    _, message = GstSdp.SDPMessage.new_from_text(text)
    made = GstWebRTC.WebRTCSessionDescription.new(kind, message)
    _kept.extend((message, made))  # both would free the same text
    return made


class Receiver:
    """See `bench.receiver.Receiver`."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._streams: list[Stream] = []

    async def start(self) -> None:
        Gst.init(None)
        self._loop = GLib.MainLoop()
        threading.Thread(target=self._loop.run, daemon=True).start()

    async def answer(self, number: int, offer: str) -> str:
        stream = Stream(self._options, number)
        self._streams.append(stream)
        return await asyncio.to_thread(stream.answer, offer)

    async def finish(self) -> dict[str, Any]:
        for stream in self._streams:
            await asyncio.to_thread(stream.close)
        received = [stream.samples // 320 if stream.samples else None for stream in self._streams]
        return {"received": received, "files": [str(stream.path) for stream in self._streams]}
