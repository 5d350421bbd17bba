"""What is spoken: prompts, and the mixer that a sender pulls from."""

from __future__ import annotations

import asyncio
import gc
import math
from pathlib import Path

import numpy as np
import pytest

from voki_bots.errors import MediaError, SupervisionError
from voki_bots.media.containers import WavWriter
from voki_bots.media.opus import SILENT_PACKET, Decoder
from voki_bots.media.prompts import LEAD_IN, Mixer, Prompt
from voki_bots.testing.signals import assert_tone, tone
from voki_bots.units import FRAME_SAMPLES, SAMPLE_RATE


class Sender:
    """A sender as aiortc's: it pulls the next packet as soon as it has sent the last."""

    def __init__(self, mixer: Mixer) -> None:
        self.mixer = mixer
        self.sent: list[tuple[float, int, bytes]] = []

    async def run(self) -> None:
        while True:
            timestamp, payload = await self.mixer.pull()
            self.sent.append((asyncio.get_running_loop().time(), timestamp, payload))

    @property
    def spoken(self) -> list[bytes]:
        return [payload for _, _, payload in self.sent[LEAD_IN:]]

    def heard(self, start: int = 0) -> np.ndarray:  # type: ignore[type-arg]
        decoder = Decoder()
        return np.concatenate([decoder.decode(payload) for payload in self.spoken[start:]])


async def sending(mixer: Mixer) -> tuple[Sender, asyncio.Task[None]]:
    sender = Sender(mixer)
    return sender, asyncio.create_task(sender.run())


def clock() -> float:
    return asyncio.get_running_loop().time()


def prompt(hz: float = 440, seconds: float = 0.5) -> Prompt:
    return Prompt.from_pcm(tone(hz, seconds))


@pytest.mark.looptime
async def test_a_prompt_is_sent_as_it_was_encoded_and_takes_its_time() -> None:
    """Its packets come out untouched, and `say` tells how long they last."""
    mixer, one = Mixer(clock), prompt()
    sender, task = await sending(mixer)
    assert await mixer.say(one) == 0.5
    task.cancel()
    assert sender.spoken == list(one.packets)


@pytest.mark.looptime
async def test_each_packet_is_due_at_its_own_time() -> None:
    """Packets go out on a grid of 20 ms, and timestamps tell the same time."""
    mixer = Mixer(clock)
    zero = clock()
    sender, task = await sending(mixer)
    await asyncio.sleep(0.333)
    await mixer.say(prompt())
    await asyncio.sleep(0.777)
    await mixer.say(prompt())
    task.cancel()
    late = [at - zero - timestamp / SAMPLE_RATE for at, timestamp, _ in sender.sent]
    assert max(map(abs, late)) < 1e-6


@pytest.mark.looptime
async def test_nothing_is_sent_between_prompts() -> None:
    """A silent bot sends nothing; a source that is new is introduced by silence once."""
    mixer, one = Mixer(clock), prompt()
    sender, task = await sending(mixer)
    await asyncio.sleep(1.0)
    assert sender.sent == []
    await mixer.say(one)
    await asyncio.sleep(1.0)
    await mixer.say(one)
    task.cancel()
    assert [payload for _, _, payload in sender.sent][:LEAD_IN] == [SILENT_PACKET] * LEAD_IN
    assert len(sender.sent) == LEAD_IN + 2 * len(one.packets)


@pytest.mark.looptime
async def test_prompts_that_overlap_are_heard_together_without_a_click() -> None:
    """The second one sets in while the first goes on; no step between samples is larger than the tones'."""
    mixer = Mixer(clock)
    sender, task = await sending(mixer)
    first = asyncio.create_task(mixer.say(prompt(440, 1.0)))
    await asyncio.sleep(0.5)
    await mixer.say(prompt(600, 0.3))
    await first
    task.cancel()
    heard = sender.heard().astype(int)
    assert_tone(440, heard[: SAMPLE_RATE // 3].astype(np.int16))
    steepest = 16_384 * 2 * math.pi * (440 + 600) / SAMPLE_RATE
    assert np.abs(np.diff(heard)).max() < 1.5 * steepest


async def test_what_is_cancelled_and_then_fails_is_told_to_nobody() -> None:
    """Whoever cancelled it does not wait for how it ends, and no error is left that nobody looked at."""
    mixer, left = Mixer(clock), list[dict[str, object]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, found: left.append(found))
    saying = asyncio.create_task(mixer.say(prompt()))
    await asyncio.sleep(0.05)
    saying.cancel()
    await asyncio.gather(saying, return_exceptions=True)
    assert mixer.playing == 1
    mixer.fail(RuntimeError("the call is over"))
    del saying
    await asyncio.sleep(0)
    gc.collect()
    assert left == []


@pytest.mark.looptime
async def test_what_is_cancelled_fades_out_within_a_frame() -> None:
    """Whoever cancels `say` leaves no half word, and no click."""
    mixer = Mixer(clock)
    sender, task = await sending(mixer)
    saying = asyncio.create_task(mixer.say(prompt(440, 2.0)))
    await asyncio.sleep(0.6)
    count = len(sender.sent)
    saying.cancel()
    await asyncio.sleep(0.5)
    task.cancel()
    heard = sender.heard().astype(int)
    assert len(sender.sent) - count <= 2
    assert np.abs(np.diff(heard)).max() < 1.5 * 16_384 * 2 * math.pi * 440 / SAMPLE_RATE


@pytest.mark.looptime
async def test_not_a_packet_without_permission() -> None:
    """The gate is asked before each packet; when it closes, whoever speaks is told why."""
    closed: list[SupervisionError] = []
    mixer = Mixer(clock, lambda: closed[0] if closed else None)
    sender, task = await sending(mixer)
    saying = asyncio.create_task(mixer.say(prompt(440, 2.0)))
    await asyncio.sleep(0.61)
    count = len(sender.sent)
    closed.append(SupervisionError("no", mode="say", why="paused"))
    with pytest.raises(SupervisionError):
        await saying
    task.cancel()
    assert len(sender.sent) == count


@pytest.mark.looptime
async def test_without_a_sender_saying_gives_up() -> None:
    """Where the far end takes no audio of ours, nobody waits for ever."""
    with pytest.raises(TimeoutError):
        await Mixer(clock).say(prompt(), begin_within=2.0)


def test_a_file_of_any_rate_becomes_a_prompt(tmp_path: Path) -> None:
    """A WAV of 16 kHz is as good as any; it is read once."""
    writer = WavWriter(tmp_path / "hello.wav", 16_000)
    writer.write(tone(440, 0.5, 16_000))
    writer.close()
    one = Prompt.from_file(tmp_path / "hello.wav")
    assert one is Prompt.from_file(tmp_path / "hello.wav")
    assert one.seconds == pytest.approx(0.5, abs=0.001)
    assert_tone(440, one.samples)


def test_a_prompt_is_immutable() -> None:
    """It is shared by all calls."""
    with pytest.raises(ValueError, match="read-only"):
        prompt().samples[0] = 1


@pytest.mark.parametrize("name", ["missing.wav", "text.wav"])
def test_what_is_no_audio_is_a_media_error(tmp_path: Path, name: str) -> None:
    """The sentence names the file."""
    (tmp_path / "text.wav").write_text("hello")
    with pytest.raises(MediaError, match=name):
        Prompt.from_file(tmp_path / name)


@pytest.mark.parametrize("samples", [np.zeros(0, np.int16), np.zeros((2, 9), np.int16), np.zeros(9)])
def test_what_is_no_signal_is_a_media_error(samples: np.ndarray) -> None:  # type: ignore[type-arg]
    """Mono int16, and something of it."""
    with pytest.raises(MediaError):
        Prompt.from_pcm(samples)


def test_the_last_sample_is_in_the_last_packet() -> None:
    """The encoder's delay does not cost the end of the word."""
    one = Prompt.from_pcm(np.full(FRAME_SAMPLES, 100, dtype=np.int16))
    assert len(one.packets) == 2
