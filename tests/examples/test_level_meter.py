"""``examples/level_meter.py`` measures voices, not hum."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from voki_bots import AudioFrame, Track
from voki_bots.bots.registry import Registry
from voki_bots.testing import FakeAttendance, heard, tone
from voki_bots.testing.signals import Samples

if TYPE_CHECKING:
    from voki_bots.testing.sim import Sim

TRACK = Track(0, "0", 1)


@pytest.fixture
def meter(example: Any) -> Any:
    """The module, loaded as a file of bots is."""
    example.bot("level_meter.py")
    return sys.modules["voki_bots_file_level_meter"]


def filtered(meter: Any, samples: Samples) -> Samples:
    """Pass samples through a `VoiceBand` in frames of 100 ms."""
    band = meter.VoiceBand()
    frames = (
        AudioFrame(TRACK, samples[i : i + 1600], 16_000, i / 16_000) for i in range(0, len(samples), 1600)
    )
    return np.concatenate([out.samples for frame in frames for out in band.process(frame)])


def test_the_filter_takes_away_hum(meter: Any) -> None:
    """A mains hum of 50 Hz is 40 dB quieter behind the filter."""
    hum = tone(50, 1.0, 16_000)
    assert heard(filtered(meter, hum)[1600:], 16_000).level < heard(hum, 16_000).level - 40


def test_the_filter_has_no_seams(meter: Any) -> None:
    """A tone of the voice's band comes out of many frames as one tone."""
    assert heard(filtered(meter, tone(1000, 1.0, 16_000))[1600:-1600], 16_000).share > 0.999


async def test_it_tells_at_the_end_how_loud_somebody_spoke(example: Any) -> None:
    """A sine of half the amplitude is 9 dB below full scale."""
    (plugin,) = example.bot("level_meter.py").plugins(Registry())
    async with FakeAttendance() as call, plugin.attend(call):
        await call.speak(call.join("Ana", role="attendant"), tone(1000, 2.0))
    assert call.journalled[0]["dbfs"] == pytest.approx(-9.0, abs=0.5)


@pytest.mark.journey
async def test_it_measures_everybody_in_a_whole_call(sim: Sim, example: Any) -> None:
    """Both voices get a line in the journal, with their role."""
    call = await sim.call({"role": "attendant", "tone": 440}, {"role": "customer", "tone": 1000})
    async with sim.attend(call, example.bot("level_meter.py")) as session:
        await call.heard_by_bots(packets=100)
    roles = {line["role"] for line in example.journal(session.directory, "spoke")}
    assert roles == {"attendant", "customer"}
