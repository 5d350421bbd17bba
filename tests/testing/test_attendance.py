"""A fake call behaves to a plugin as a real one does."""

import threading
from typing import Any

import numpy as np
import pytest

from voki_bots import (
    Attendance,
    AudioFrame,
    DigitPressed,
    Packet,
    ParticipantJoined,
    RecordingPaused,
    RecordingResumed,
    Role,
    SupervisionError,
)
from voki_bots.testing import FakeAttendance, assert_tone, packets, silence, tone, with_holes


async def test_it_is_an_attendance() -> None:
    """The type checker accepts it wherever a plugin wants an `Attendance`."""
    async with FakeAttendance() as fake:
        call: Attendance = fake
        assert call.call.topic == "call:call-1"


async def test_what_somebody_says_arrives_as_packets() -> None:
    """A second of speech is 50 packets on the speaker's track, in call time."""
    heard: list[Packet] = []
    async with FakeAttendance() as call:
        call.packets(heard.append)
        call.advance(3.0)
        track = await call.speak(call.join("Ana"), tone(440, 1.0))
    assert [(each.track, round(each.start, 2)) for each in heard][::49] == [(track, 3.0), (track, 3.98)]
    assert call.now == 4.0


async def test_what_somebody_says_arrives_as_frames() -> None:
    """A listener gets PCM at its rate, 100 ms at a time, that sounds like what was said."""
    heard: list[AudioFrame] = []
    async with FakeAttendance() as call:
        call.listen(heard.append, rate=16_000)
        await call.speak(call.join("Ana"), tone(440, 1.0))
    assert [round(frame.start, 1) for frame in heard] == [n / 10 for n in range(10)]
    assert_tone(440, np.concatenate([frame.samples for frame in heard]), at=0.2, rate=16_000)


async def test_frames_lie_where_packets_lie() -> None:
    """Missing packets become concealed silence, so that time goes on."""
    heard: list[AudioFrame] = []
    async with FakeAttendance() as call:
        call.listen(heard.append)
        await call.feed(with_holes(packets(tone(440, 1.0), call.track()), [(0.4, 0.6)]))
    assert [round(each.start, 1) for each in heard if each.concealed] == [0.4, 0.5]
    assert sum(each.seconds for each in heard) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("of", "expected"), [("all", 2), ("customer", 1), (Role.ATTENDANT, 1), ("ana", 1), ("bot", 0)]
)
async def test_one_hears_whom_one_asked_for(of: Any, expected: int) -> None:
    """Subscriptions select by role and by participant, as in a real call."""
    tracks = set()
    async with FakeAttendance() as call:
        call.packets(lambda packet: tracks.add(packet.track), of=of)
        await call.speak(call.join("Ana", id="ana", role="customer"), silence(0.1))
        await call.speak(call.join("Rui", role="attendant"), silence(0.1))
    assert len(tracks) == expected


async def test_filters_shape_what_is_heard() -> None:
    """A chain of filters is made for each track, and what it holds back comes at the end."""

    class Last:
        held: AudioFrame | None = None

        def process(self, frame: AudioFrame) -> list[AudioFrame]:
            self.held = frame
            return []

        def flush(self) -> list[AudioFrame]:
            return [self.held] if self.held else []

    heard: list[AudioFrame] = []
    async with FakeAttendance() as call:
        call.listen(heard.append, filters=lambda: [Last()])
        await call.speak(call.join("Ana"), tone(440, 1.0))
    assert [round(frame.start, 1) for frame in heard] == [0.9]


async def test_sinks_run_in_a_thread_of_their_own() -> None:
    """A sink is not called from the event loop, so its author meets threads in tests, not in production."""
    threads = set()
    async with FakeAttendance() as call:
        call.packets(lambda _: threads.add(threading.current_thread()))
        await call.speak(call.join("Ana"), silence(0.1))
    assert threads.isdisjoint({threading.main_thread()})


async def test_a_failing_sink_fails_the_test() -> None:
    """What a sink raises comes out of the `async with`, and the sink gets no more."""
    calls = []

    def sink(packet: Packet) -> None:
        calls.append(packet)
        raise RuntimeError("full")

    with pytest.raises(RuntimeError, match="full"):
        async with FakeAttendance() as call:
            call.packets(sink)
            await call.speak(call.join("Ana"), silence(0.1))
    assert len(calls) == 1


async def test_a_failing_task_fails_the_test() -> None:
    """What a plugin's task raises comes out of the `async with` too."""

    async def work() -> None:
        raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        async with FakeAttendance() as call:
            call.start_soon(work())


async def test_events_are_heard_in_order_until_the_call_ends() -> None:
    """A plugin's task hears everything that was emitted, then its iteration ends."""
    heard: list[str] = []
    async with FakeAttendance() as call:
        events = call.events()

        async def follow() -> None:
            async for event in events:
                heard.append(type(event).__name__)
            heard.append("end")

        call.start_soon(follow())
        ana = call.join("Ana")
        call.leave(ana)
    assert heard == ["ParticipantJoined", "ParticipantLeft", "end"]


async def test_a_pause_closes_every_sink() -> None:
    """Between pause and resume nothing is delivered."""
    heard: list[Packet] = []
    async with FakeAttendance() as call:
        call.packets(heard.append)
        ana = call.join("Ana")
        call.pause(actor="test")
        await call.speak(ana, silence(0.5))
        call.resume(actor="test")
        await call.speak(ana, silence(0.1))
    assert [round(each.start, 2) for each in heard] == [0.5, 0.52, 0.54, 0.56, 0.58]


async def test_a_refusal_closes_every_sink() -> None:
    """As in a real call, until the same one agrees."""
    heard: list[Packet] = []
    async with FakeAttendance() as call:
        call.packets(heard.append)
        ana = call.join("Ana")
        call.consent(by=ana.id, how="said no", given=False)
        await call.speak(ana, silence(0.5))
        call.consent(by=ana.id, how="said yes")
        await call.speak(ana, silence(0.04))
    assert [round(each.start, 2) for each in heard] == [0.5, 0.52]


async def test_a_pause_ends_by_itself_when_its_time_is_over() -> None:
    """As in a real call, `timer` resumes."""
    async with FakeAttendance() as call:
        events = call.events()
        assert call.pause(reason="card", seconds=5.0) == 5.0
        call.advance(5.0)
        assert isinstance(await anext(events), RecordingPaused)
        assert await anext(events) == RecordingResumed("timer", 5.0, "plugin")


async def test_nobody_may_speak_by_default() -> None:
    """The gate is closed unless the test opens it."""
    async with FakeAttendance() as call:
        with pytest.raises(SupervisionError):
            await call.say("olá")
    async with FakeAttendance(may_speak=True) as call:
        await call.say("olá", to="all")
    assert call.said == [("olá", "all")]


async def test_what_a_plugin_does_is_kept() -> None:
    """Journal, hints, log and metrics can be looked at afterwards."""
    async with FakeAttendance() as call:
        call.journal("measured", level=-20)
        await call.hint("slower", to="attendant")
        call.log.warning("odd", why="x")
        call.metrics.count("frames", 2)
    assert call.journalled == [{"type": "measured", "level": -20}]
    assert [hint.text for hint in call.hints] == ["slower"]
    assert (call.log.lines, call.metrics.counts) == ([("warning", "odd", {"why": "x"})], {"frames": 2})


async def test_a_listener_can_wait_until_its_sink_is_done() -> None:
    """After `close`, the sink is flushed and closed, once."""
    done: list[str] = []

    class Sink:
        def write(self, item: Packet) -> None:
            done.append("write")

        def flush(self) -> None:
            done.append("flush")

        def close(self) -> None:
            done.append("close")

    async with FakeAttendance() as call:
        with call.packets(Sink()) as listening:
            await call.speak(call.join("Ana"), silence(0.02))
        await listening.drain()
    assert done == ["write", "flush", "flush", "close"]


async def test_waiting_for_something_that_never_comes_ends() -> None:
    """`until` gives up with a TimeoutError."""
    async with FakeAttendance() as call:
        with pytest.raises(TimeoutError):
            await call.until(lambda: False, timeout=0.02)


async def test_somebody_joins_as_in_a_real_call() -> None:
    """Joining is an event, and the participant is known from then on."""
    async with FakeAttendance() as call:
        events = call.events()
        ana = call.join("Ana", role="customer")
        assert (await anext(events), call.participants) == (ParticipantJoined(ana), [ana])


async def test_keys_are_pressed_and_not_in_a_pause() -> None:
    """Whoever hears events hears them, each at its own time."""
    async with FakeAttendance() as call:
        events, ana = call.events(), call.join("Ana")
        call.press(ana, "1")
        call.pause()
        call.press(ana, "2")
        call.resume()
        call.press(ana, "3")
        found = [await anext(events) for _ in range(7)]
    keys = [(e.digit, round(e.at, 1), e.by.participant) for e in found if isinstance(e, DigitPressed)]
    assert keys == [("1", 0.0, ana), ("3", 0.2, ana)]
