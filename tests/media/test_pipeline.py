"""One call's fan-out, with a clock that stands where it is put."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voki_bots.calls import (
    CallEvent,
    GapCause,
    GapFound,
    PacketsDropped,
    Track,
    TrackEnded,
    TrackStarted,
)
from voki_bots.media.containers import OggOpusWriter, decode_file
from voki_bots.media.dsp import Gain, level
from voki_bots.media.frames import AudioFrame, Packet
from voki_bots.media.opus import Encoder
from voki_bots.media.pipeline import Pipeline
from voki_bots.media.rtp import Received
from voki_bots.media.tap import Lane, Tap

ALL = lambda track: True  # noqa: E731


class Shelf:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.items: list[Any] = []

    def write(self, item: Any) -> None:
        self.items.append(item)

    def flush(self) -> None: ...

    def close(self) -> None: ...


class Call:
    """A pipeline whose time is moved by hand."""

    def __init__(self) -> None:
        self.time = 1_000.0
        self.events: list[CallEvent] = []
        self.pipeline = Pipeline(clock=lambda: self.time, zero=1_000.0, report=self.events.append)

    def send(
        self,
        n: int,
        payload: bytes,
        *,
        at: float,
        mid: str = "0",
        ssrc: int = 7,
        segment: int = 0,
        **more: Any,
    ) -> None:
        self.time = max(self.time, 1_000.0 + at)
        self.pipeline.push(
            segment,
            Received(
                mid, ssrc, more.get("kind", "audio"), 111, n & 0xFFFF, n * 960 & 0xFFFFFFFF, False, payload,
                more.get("level"), 1_000.0 + at, 48_000,
            ),
        )  # fmt: skip
        self.pipeline.tick()

    def end(self, at: float) -> None:
        self.time = 1_000.0 + at
        self.pipeline.close()

    def gaps(self, *causes: GapCause) -> list[tuple[float, float]]:
        found = [e for e in self.events if isinstance(e, GapFound) and (not causes or e.cause in causes)]
        return [(round(e.start, 4), round(e.end, 4)) for e in found]

    def account(self) -> dict[Track, float]:
        total: dict[Track, float] = defaultdict(float)
        for event in self.events:
            if isinstance(event, GapFound):
                total[event.track] += event.end - event.start
            elif isinstance(event, TrackEnded):
                total[event.track] += event.audio
        return total


def speech(seconds: float, hertz: float = 440.0) -> list[bytes]:
    t = np.arange(int(seconds * 48_000)) / 48_000
    samples = (8_000 * np.sin(2 * np.pi * hertz * t)).astype(np.int16)
    encoder = Encoder(fec=True)
    return [encoder.encode(samples[n : n + 960]) for n in range(0, len(samples), 960)]


async def finish(*taps: Tap) -> None:
    for tap in taps:
        tap.close()
        await tap.drain()
        await tap.lane.join()


PAYLOAD = b"\xf8\xff\xfe"


def test_a_track_begins_with_its_first_packet_and_the_time_before_is_a_gap() -> None:
    """Nobody has to announce a track."""
    call = Call()
    call.send(5, PAYLOAD, at=2.0)
    call.end(2.02)
    track = Track(0, "0", 7)
    assert call.events == [
        TrackStarted(track, 2.0),
        GapFound(track, 0.0, 2.0, GapCause.LATE_JOIN),
        TrackEnded(track, 2.02, 0.02),
    ]


def test_padding_makes_no_track() -> None:
    """A probe of the far end's bandwidth estimator is nobody."""
    call = Call()
    call.send(5, b"", at=2.0)
    assert call.events == []


def test_padding_between_packets_is_no_loss() -> None:
    """A padding-only packet counts in the sequence and leaves no gap."""
    call = Call()
    call.send(0, PAYLOAD, at=0.0)
    call.pipeline.push(0, Received("0", 7, "audio", 111, 1, 0, False, b"", None, 1_000.01, 48_000))
    call.pipeline.push(0, Received("0", 7, "audio", 111, 2, 960, False, PAYLOAD, None, 1_000.02, 48_000))
    call.end(0.04)
    assert call.gaps() == []


async def test_packets_reach_the_tap_as_they_came_and_in_order() -> None:
    """Payloads are untouched; two that overtook each other are put right."""
    call, shelf = Call(), Shelf()
    tap = Tap(Lane("t"), shelf)
    call.pipeline.packets(tap, ALL)
    for n in (0, 2, 1, 3):
        call.send(n, b"\xf8" + bytes([n]), at=0.02 * n)
    call.end(0.08)
    await finish(tap)
    packets: list[Packet] = shelf.items
    assert [(p.payload[1], p.sequence, p.timestamp, round(p.start, 3)) for p in packets] == [
        (n, n, n * 960, round(n * 0.02, 3)) for n in range(4)
    ]


async def test_a_recording_of_a_lossy_stream_accounts_for_every_tick(tmp_path: Path) -> None:
    """File and gaps make up the call, and the file decodes to exactly the audio."""
    call, payloads, rng = Call(), speech(4), random.Random(5)
    writer = OggOpusWriter(tmp_path / "a.opus")

    class Recorder:
        def write(self, packet: Packet) -> None:
            writer.write(packet.payload, round(packet.start * 48_000), packet.duration)

        def flush(self) -> None:
            writer.flush()

        def close(self) -> None:
            writer.close()

    tap = Tap(Lane("recorder"), Recorder())
    call.pipeline.packets(tap, ALL)
    for n, payload in enumerate(payloads):
        if n == 0 or rng.random() > 0.1:
            call.send(n, payload, at=1.5 + n * 0.02 + rng.uniform(0, 0.05) * (n > 0))
    call.end(6.0)
    await finish(tap)
    (total,) = call.account().values()
    (ended,) = [e for e in call.events if isinstance(e, TrackEnded)]
    assert abs(total - 6.0) < 1 / 48_000
    assert len(decode_file(tmp_path / "a.opus", fill=False)) == round(ended.audio * 48_000)


async def test_listening_gives_the_sound_at_the_wanted_rate_about_100_ms_at_a_time() -> None:
    """A tone of 440 Hz is heard as one, without a jump in time."""
    call, shelf = Call(), Shelf()
    tap = Tap(Lane("ear"), shelf)
    call.pipeline.listen(tap, ALL, 16_000)
    for n, payload in enumerate(speech(2)):
        call.send(n, payload, at=1 + n * 0.02)
    await finish(tap)
    frames: list[AudioFrame] = shelf.items
    assert {len(f.samples) for f in frames} == {1_600}
    assert [round(f.start, 3) for f in frames] == [round(1 + n * 0.1, 3) for n in range(20)]
    heard = np.concatenate([f.samples for f in frames])[8_000:24_000]
    assert int(np.abs(np.fft.rfft(heard)).argmax()) == 440


async def test_a_lost_packet_is_concealed_and_marked() -> None:
    """Where a packet is missing there is a frame of its length that says so, and it is not silent."""
    call, shelf = Call(), Shelf()
    tap = Tap(Lane("ear"), shelf)
    call.pipeline.listen(tap, ALL, 16_000)
    for n, payload in enumerate(speech(1)):
        if n != 25:
            call.send(n, payload, at=n * 0.02)
    await finish(tap)
    (made,) = [f for f in shelf.items if f.concealed]
    assert (round(made.start, 3), len(made.samples)) == (0.5, 320)
    assert level(made.samples) > -30


async def test_filters_change_frames_and_are_made_for_each_track() -> None:
    """A filter chain of one track never sees another's frames."""
    call, shelf, made = Call(), Shelf(), []
    tap = Tap(Lane("ear"), shelf)

    def filters() -> list[Gain]:
        made.append(1)
        return [Gain(-20.0)]

    call.pipeline.listen(tap, ALL, 16_000, filters)
    for n, payload in enumerate(speech(1)):
        call.send(n, payload, at=n * 0.02)
        call.send(n, payload, at=n * 0.02, mid="1", ssrc=8)
    call.end(1.0)
    await finish(tap)
    assert len(made) == 2
    assert abs(level(np.concatenate([f.samples for f in shelf.items])) - (-35.3)) < 1.5


async def test_only_what_is_selected_is_given_and_selection_may_change() -> None:
    """A subscription by role begins when the role becomes known."""
    call, shelf, known = Call(), Shelf(), set()
    tap = Tap(Lane("t"), shelf)
    call.pipeline.packets(tap, lambda track: track.mid in known)
    for n in range(20):
        if n == 10:
            known.add("0")
            call.pipeline.reselect()
        call.send(n, PAYLOAD, at=n * 0.02)
        call.send(n, PAYLOAD, at=n * 0.02, mid="1", ssrc=8)
    await finish(tap)
    assert [(p.track.mid, p.sequence) for p in shelf.items] == [("0", n) for n in range(10, 20)]


async def test_a_pause_reaches_no_tap_and_is_a_masked_gap() -> None:
    """From pause to resume nothing is handed over, and the account still closes."""
    call, shelf = Call(), Shelf()
    tap = Tap(Lane("t"), shelf)
    call.pipeline.packets(tap, ALL)
    for n in range(100):
        if n == 30:
            call.pipeline.hold(GapCause.MASKED)
        if n == 60:
            call.pipeline.release()
        call.send(n, PAYLOAD, at=n * 0.02)
    call.end(2.0)
    await finish(tap)
    sequences = [p.sequence for p in shelf.items]
    assert not set(sequences) & set(range(31, 59))
    assert abs(sum(e - s for s, e in call.gaps(GapCause.MASKED)) - 0.6) < 0.05
    assert abs(next(iter(call.account().values())) - 2.0) < 1 / 48_000


async def test_what_waits_behind_a_hole_when_a_pause_ends_came_in_the_pause() -> None:
    """A packet that came while held and waits for its predecessor is gone, also of video."""
    call, shelf = Call(), Shelf()
    tap = Tap(Lane("t"), shelf)
    call.pipeline.packets(tap, ALL, "all")
    for n in range(40):
        call.send(n, PAYLOAD, at=n * 0.02, kind="video")
    call.pipeline.hold(GapCause.MASKED)
    call.send(41, PAYLOAD, at=0.82, kind="video")
    call.pipeline.release()
    call.send(42, PAYLOAD, at=0.84, kind="video")
    call.end(2.0)
    await finish(tap)
    assert [p.sequence for p in shelf.items] == [*range(40), 42]


@pytest.mark.parametrize("kind", ["audio", "video"])
async def test_what_comes_in_a_pause_before_anything_found_its_place_is_gone(kind: str) -> None:
    """A track that begins in a pause gives nothing of it, though its first packets wait to be judged."""
    call, shelf = Call(), Shelf()
    tap = Tap(Lane("t"), shelf)
    call.pipeline.packets(tap, ALL, "all")
    call.pipeline.hold(GapCause.MASKED)
    for n in (0, 1, 2):
        call.send(n, PAYLOAD, at=n * 0.02, kind=kind)
    call.pipeline.release()
    for n in range(3, 40):
        call.send(n, PAYLOAD, at=n * 0.02, kind=kind)
    call.end(2.0)
    await finish(tap)
    assert [p.sequence for p in shelf.items] == list(range(3, 40))


def test_a_redial_leaves_one_gap_on_the_line_and_the_account_closes() -> None:
    """The next segment's track takes up where the last one ended."""
    call = Call()
    for n in range(50):
        call.send(n, PAYLOAD, at=n * 0.02)
    call.time = 1_002.0
    call.pipeline.end_segment(0)
    for n in range(50):
        call.send(n, PAYLOAD, at=4.0 + n * 0.02, segment=1, ssrc=99)
    call.end(5.0)
    assert call.gaps(GapCause.REDIAL) == [(1.0, 4.0)]
    assert abs(sum(call.account().values()) - 5.0) < 1 / 48_000


async def test_a_redial_in_a_pause_stays_paused() -> None:
    """The next segment's tracks give nothing before the pause is over, and the account closes."""
    call, shelf = Call(), Shelf()
    tap = Tap(Lane("t"), shelf)
    call.pipeline.packets(tap, ALL)
    for n in range(50):
        call.send(n, PAYLOAD, at=n * 0.02)
    call.pipeline.hold(GapCause.MASKED)
    call.pipeline.end_segment(0)
    for n in range(100):
        if n == 50:
            call.pipeline.release()
        call.send(n, PAYLOAD, at=2.0 + n * 0.02, segment=1, ssrc=99)
    call.end(4.0)
    await finish(tap)
    assert [p.sequence for p in shelf.items if p.track.segment == 1] == list(range(50, 100))
    assert abs(sum(call.account().values()) - 4.0) < 1 / 48_000


async def test_what_closes_a_call_may_change_while_it_is_closed() -> None:
    """Nothing comes out in between, and each cause has its own gap."""
    call, shelf = Call(), Shelf()
    tap = Tap(Lane("t"), shelf)
    call.pipeline.packets(tap, ALL)
    call.pipeline.hold(GapCause.NO_CONSENT)
    for n in range(100):
        if n == 50:
            call.pipeline.hold(GapCause.MASKED)
        call.send(n, PAYLOAD, at=n * 0.02)
    call.end(2.0)
    await finish(tap)
    assert shelf.items == []
    assert call.gaps(GapCause.MASKED) == [(0.98, 2.0)]
    assert abs(sum(call.account().values()) - 2.0) < 1 / 48_000


def test_the_time_that_it_takes_to_notice_a_death_is_no_silence_of_anybodys() -> None:
    """The far end vanished in the middle of speech, and that was known four seconds later."""
    call = Call()
    for n in range(50):
        call.send(n, PAYLOAD, at=n * 0.02)
    call.time = 1_005.0
    call.pipeline.end_segment(0, heard=1_001.0)
    call.end(6.0)
    assert (call.gaps(GapCause.REDIAL), call.gaps(GapCause.MUTED)) == ([(1.0, 6.0)], [])


def test_who_was_muted_before_the_death_was_muted_until_then() -> None:
    """The far end was alive, though nobody spoke; what follows its death is a gap of ours."""
    call = Call()
    for n in range(50):
        call.send(n, PAYLOAD, at=n * 0.02)
    call.time = 1_035.0
    call.pipeline.end_segment(0, heard=1_031.0)
    call.end(40.0)
    assert (call.gaps(GapCause.MUTED), call.gaps(GapCause.REDIAL)) == ([(1.0, 31.0)], [(31.0, 40.0)])


def test_a_call_that_ends_while_redialling_says_so() -> None:
    """The open gap is closed with the call."""
    call = Call()
    call.send(0, PAYLOAD, at=0.0)
    call.pipeline.end_segment(0)
    call.end(3.0)
    assert call.gaps(GapCause.REDIAL) == [(0.02, 3.0)]


def test_a_new_source_on_a_line_goes_on_where_the_old_one_ended() -> None:
    """An SFU that switches the SSRC makes a new track, and the line's account stays whole."""
    call = Call()
    for n in range(50):
        call.send(n, PAYLOAD, at=n * 0.02)
    for n in range(200):
        call.send(n, PAYLOAD, at=1.0 + n * 0.02, ssrc=8)
    call.end(5.0)
    assert len([e for e in call.events if isinstance(e, TrackEnded)]) == 2
    assert abs(sum(call.account().values()) - 5.0) < 0.001


def test_silence_and_levels_are_known_without_decoding() -> None:
    """The watchdog and the display read what packets carry."""
    call = Call()
    call.send(0, PAYLOAD, at=0.0, level=-30)
    call.time += 0.25
    assert call.pipeline.levels() == {Track(0, "0", 7): -30.0}
    assert call.pipeline.silent_for(1) is None
    assert round(call.pipeline.silent_for(0) or 0.0, 6) == 0.25


async def test_what_a_tap_drops_is_reported_for_its_track() -> None:
    """A plugin that does not keep up is known by name."""
    call, shelf = Call(), Shelf()
    tap = Tap(Lane("sleepy"), shelf, limit=5)
    call.pipeline.packets(tap, ALL)
    tap.lane.wake = lambda: None  # type: ignore[method-assign]
    for n in range(20):
        call.send(n, PAYLOAD, at=n * 0.02)
    del tap.lane.wake
    call.pipeline.tick()
    assert sum(e.count for e in call.events if isinstance(e, PacketsDropped) and e.plugin == "sleepy") == 15
    await finish(tap)


async def test_what_a_tap_drops_is_one_hole_for_its_plugin() -> None:
    """However long a sink stands still, its hole is told when it is over, once, as `stalled`."""
    call, shelf = Call(), Shelf()
    tap = Tap(Lane("sleepy"), shelf, limit=5)
    call.pipeline.packets(tap, ALL)
    tap.lane.wake = lambda: None  # type: ignore[method-assign]
    for n in range(100):
        call.send(n, PAYLOAD, at=n * 0.02)
    assert call.gaps(GapCause.STALLED) == []
    del tap.lane.wake
    call.pipeline.tick()
    await finish(tap)
    (gap,) = [e for e in call.events if isinstance(e, GapFound) and e.cause is GapCause.STALLED]
    lasted = sum(p.duration for p in shelf.items) / 48_000
    assert (gap.plugin, round(gap.end - gap.start + lasted, 6)) == ("sleepy", 2.0)


async def test_a_broken_listener_does_not_disturb_the_recorder() -> None:
    """A filter that raises loses its own tap alone."""
    call, good, bad = Call(), Shelf(), Shelf()
    told: list[BaseException] = []

    class Broken:
        def process(self, frame: AudioFrame) -> list[AudioFrame]:
            raise KeyError("no")

        def flush(self) -> list[AudioFrame]:
            return []

    recorder, listener = Tap(Lane("r"), good), Tap(Lane("l"), bad, on_failure=told.append)
    call.pipeline.packets(recorder, ALL)
    call.pipeline.listen(listener, ALL, 16_000, lambda: [Broken()])
    for n, payload in enumerate(speech(0.5)):
        call.send(n, payload, at=n * 0.02)
    await listener.drain()
    await finish(recorder)
    await listener.lane.join()
    assert (len(good.items), bad.items, [type(e) for e in told]) == (25, [], [KeyError])


def test_a_line_that_was_handed_on_carries_another_track() -> None:
    """The same source on the same line, after it was taken from somebody: a track of its own."""
    call = Call()
    call.send(0, PAYLOAD, at=1.0)
    call.send(1, PAYLOAD, at=1.02)
    call.time = 1_001.2
    call.pipeline.tick()
    call.pipeline.hand_on(0, "0")
    call.send(100, PAYLOAD, at=3.0)
    started = [e.track for e in call.events if isinstance(e, TrackStarted)]
    ended = [e.track for e in call.events if isinstance(e, TrackEnded)]
    assert (len(started), started[0].use, started[1].use, ended) == (2, 0, 1, started[:1])


def test_the_last_packets_of_whoever_was_on_the_line_are_no_track() -> None:
    """What was under way when the line was taken away does not become a track of somebody else."""
    call = Call()
    call.send(0, PAYLOAD, at=1.0)
    call.pipeline.hand_on(0, "0")
    call.send(1, PAYLOAD, at=1.1)
    assert len([e for e in call.events if isinstance(e, TrackStarted)]) == 1


def test_what_the_bot_says_is_a_track_of_its_own() -> None:
    """A local track, beside what others send on the same line, and no sign that they are there."""
    call = Call()
    call.time = 1_001.0
    sent = Received("0", 9, "audio", 0, 0, 0, False, PAYLOAD, None, 1_001.0, 48_000)
    call.pipeline.push_local(0, sent)
    (track,) = [e.track for e in call.events if isinstance(e, TrackStarted)]
    assert (track.local, call.pipeline.silent_for()) == (True, None)
