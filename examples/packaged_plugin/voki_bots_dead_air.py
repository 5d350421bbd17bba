"""Tell when nobody speaks: a plugin in a package of one module.

It imports `voki_bots` and nothing deeper. Sinks run in the plugin's own thread, but `publish`, `hint` and the
rest of the `Attendance` belong to the event loop: `call_soon_threadsafe` leads from the one to the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from voki_bots import Attendance, AudioFrame, Plugin, PluginEvent, PluginSettings


@dataclass(frozen=True, slots=True)
class DeadAirHeard(PluginEvent):
    """Nobody has spoken for a while. Times are seconds of call time."""

    since: float
    at: float


class DeadAirSettings(PluginSettings):
    """Settings of the plugin: the table ``[bots.dead_air]``."""

    seconds: float = Field(default=15.0, gt=0.0, description="seconds of silence from everybody")
    threshold: float = Field(default=-50.0, le=0.0, description="dBFS below which nobody speaks")


class Silence:
    """Measures for how long nobody has spoken. Plain: frames in, an answer out; no loop, no clock."""

    def __init__(self, seconds: float, threshold: float) -> None:
        self._seconds = seconds
        self._threshold = threshold
        self._spoke = 0.0
        self._told = False

    def take(self, frame: AudioFrame) -> DeadAirHeard | None:
        """Take a frame of anybody; say once when the silence has lasted long enough."""
        signal = frame.samples.astype(np.float32) / 32_768
        power = float(np.mean(signal**2)) if len(signal) else 0.0
        if 10 * np.log10(power + 1e-13) > self._threshold:
            self._spoke, self._told = max(self._spoke, frame.end), False
        elif not self._told and frame.end - self._spoke >= self._seconds:
            self._told = True
            return DeadAirHeard(self._spoke, frame.end)
        return None


class DeadAir(Plugin[DeadAirSettings]):
    """Tell the attendant when nobody has spoken for a while."""

    @asynccontextmanager
    async def attend(self, call: Attendance) -> AsyncIterator[None]:
        """Listen to everybody while the call lasts."""
        loop = asyncio.get_running_loop()
        silence = Silence(self.settings.seconds, self.settings.threshold)

        def tell(heard: DeadAirHeard) -> None:
            call.publish(heard)
            call.metrics.count("dead_air")
            call.start_soon(call.hint(f"Nobody has spoken for {self.settings.seconds:g} s.", to="attendant"))

        def measure(frame: AudioFrame) -> None:
            if (heard := silence.take(frame)) is not None:
                loop.call_soon_threadsafe(tell, heard)

        with call.listen(measure, of="all", rate=8_000):
            yield
