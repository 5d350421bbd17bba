"""A level meter: what to do with decoded audio.

`Attendance.listen` gives decoded audio to a sink: mono int16 frames of about 100 ms, losses concealed, at the
rate asked for. Audio is decoded only because somebody listens, and everything here runs in the plugin's own
thread: it may take its time, and if it takes too much it is this plugin that is taken out of the call.

On the way to the sink a frame passes *filters*. A filter is a plain numpy object with a memory: `VoiceBand`
keeps the end of one frame to filter the beginning of the next. `listen` is given a function that makes the
filters, not the filters, because every track needs a chain, and a memory, of its own.

::

    voki-bots demo examples/level_meter.py
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import numpy as np
from pydantic import Field

from voki_bots import Attendance, AudioFrame, Bot, Plugin, PluginSettings, Track


class VoiceBand:
    """A filter that keeps 300 to 3400 Hz, where speech is, and takes away hum and hiss.

    It convolves with the difference of two windowed sinc functions. An output sample needs `TAPS` - 1 inputs
    before it, so as many are kept from frame to frame.
    """

    TAPS = 255

    def __init__(self, low: float = 300.0, high: float = 3_400.0) -> None:
        self._band = (low, high)
        self._kernel: np.ndarray | None = None
        self._before = np.zeros(self.TAPS - 1, dtype=np.float32)

    def process(self, frame: AudioFrame) -> Iterable[AudioFrame]:
        """Give one frame for each, earlier by half the kernel: that long ago the samples came in."""
        if self._kernel is None:
            self._kernel = self._made_for(frame.rate)
        signal = np.concatenate([self._before, frame.samples.astype(np.float32)])
        self._before = signal[-(self.TAPS - 1) :]
        filtered = np.convolve(signal, self._kernel, mode="valid").clip(-32_768, 32_767).astype(np.int16)
        late = (self.TAPS - 1) / 2 / frame.rate
        yield AudioFrame(frame.track, filtered, frame.rate, frame.start - late, frame.concealed)

    def flush(self) -> Iterable[AudioFrame]:
        """What is still inside is 8 ms of the track's end; a meter does not miss it."""
        return ()

    def _made_for(self, rate: int) -> np.ndarray:
        at = np.arange(self.TAPS) - (self.TAPS - 1) / 2
        low, high = (2 * hertz / rate for hertz in self._band)
        ideal = high * np.sinc(high * at) - low * np.sinc(low * at)
        return np.asarray(ideal * np.hamming(self.TAPS), dtype=np.float32)


class Meter:
    """A sink that adds up the energy of each track while somebody makes a sound on it."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._energy: dict[Track, float] = defaultdict(float)
        self._seconds: dict[Track, float] = defaultdict(float)

    def write(self, frame: AudioFrame) -> None:
        """Take a frame; runs in the plugin's thread."""
        signal = frame.samples.astype(np.float32) / 32_768
        power = float(np.mean(signal**2)) if len(signal) else 0.0
        if not frame.concealed and 10 * np.log10(power + 1e-13) > self._threshold:
            self._energy[frame.track] += power * frame.seconds
            self._seconds[frame.track] += frame.seconds

    def flush(self) -> None:
        """Nothing is kept back."""

    def close(self) -> None:
        """Nothing is held open."""

    def levels(self) -> dict[Track, tuple[float, float]]:
        """Of each track with sound: its level in dBFS while there was sound, and for how many seconds."""
        return {
            track: (float(10 * np.log10(self._energy[track] / seconds)), seconds)
            for track, seconds in self._seconds.items()
        }


class LevelMeterSettings(PluginSettings):
    """Settings of the meter; a mistyped name is an error, a wrong type too."""

    threshold: float = Field(default=-50.0, le=0.0, description="dBFS below which nobody speaks")


class LevelMeter(Plugin[LevelMeterSettings]):
    """Say at the end of a call how loud everybody spoke, and for how long."""

    @asynccontextmanager
    async def attend(self, call: Attendance) -> AsyncIterator[None]:
        """Listen while the call lasts; what follows ``yield`` happens when it is over."""
        meter = Meter(self.settings.threshold)
        with call.listen(meter, of="all", rate=16_000, filters=lambda: [VoiceBand()]) as listening:
            yield
            await listening.drain()
        for track, (level, seconds) in meter.levels().items():
            who = call.who(track)
            call.log.info("spoke", role=str(who.role), dbfs=round(level, 1), seconds=round(seconds, 1))
            call.journal("spoke", track=str(track), role=str(who.role), dbfs=level, seconds=seconds)


bot = Bot("meter").use(LevelMeter, threshold=-50.0)

if __name__ == "__main__":
    bot.run()
