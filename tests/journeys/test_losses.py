"""A call on a bad network, by what is to be heard of it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pytest

from tests.journeys.conftest import RATE, sidecar
from voki_bots import Attendance, AudioFrame, Bot, Plugin, PluginSettings
from voki_bots.media.containers import read_opus
from voki_bots.testing.signals import decode
from voki_bots.testing.sim import Sim

Floats = npt.NDArray[np.float64]

STEP = RATE // 50
"""Samples of a packet."""


class Ear(Plugin[PluginSettings]):
    """Keeps everything that it hears."""

    async def __aenter__(self) -> Self:
        self.frames: list[AudioFrame] = []
        return self

    @asynccontextmanager
    async def attend(self, call: Attendance) -> AsyncIterator[None]:
        with call.listen(self.frames.append, rate=RATE):
            yield


def lag(heard: Floats, sent: Floats) -> int:
    """At which sample of what was sent the hearing begins."""
    size = len(heard) + len(sent)
    product = np.fft.rfft(sent, size) * np.conj(np.fft.rfft(heard, size))
    return int(np.argmax(np.fft.irfft(product, size)[: len(sent)]))


def errors(frames: list[AudioFrame], sent: Floats) -> list[float]:
    """How far each packet that was made up for is from what was said, where something was said."""
    heard = np.concatenate([frame.samples for frame in frames]).astype(np.float64)
    concealed = np.concatenate([np.full(len(frame.samples), frame.concealed) for frame in frames])
    said = sent[lag(heard, sent) :]
    found = []
    for at in range(0, min(len(said), len(heard)) - STEP + 1, STEP):
        part = slice(at, at + STEP)
        if concealed[part].all() and np.abs(said[part]).mean() > 300:
            found.append(float(np.linalg.norm(heard[part] - said[part]) / np.linalg.norm(said[part])))
    return found


async def test_losses_are_made_up_for_in_what_is_heard_and_kept_in_what_is_recorded(
    sim: Sim, tmp_path: Path
) -> None:
    """One packet in ten is lost: listeners hear the words all the same, the file has what came, no more."""
    ear = Ear(PluginSettings(), name="ear")
    ana = {"role": "customer", "name": "Ana", "speech": "pt", "redundant": True}
    call = await sim.call(ana, switches={"lose": 0.1})
    async with ear, sim.attend(call, Bot("minutes").record().use(ear)) as session:
        await call.heard_by_bots(220)
        await asyncio.sleep(0.3)
    path = await call.sent(call.people[0], tmp_path / "sent.opus")
    # Without redundancy guesses miss by 0.8 of what was said, with it by 0.2.
    assert np.median(errors(ear.frames, decode(path, RATE).astype(np.float64))) < 0.4
    assert max(abs(b.start - a.end) for a, b in itertools.pairwise(ear.frames)) < 0.001
    (track,) = sidecar(session.directory)["tracks"]
    lost = sum(gap["end"] - gap["start"] for gap in track["gaps"] if gap["cause"] == "lost")
    assert sum(f.seconds for f in ear.frames if f.concealed) == pytest.approx(lost, abs=0.001)
    kept = [payload for _, payload in read_opus(session.directory / track["file"])]
    sent = iter(payload for _, payload in read_opus(path))
    assert all(payload in sent for payload in kept)
    assert len(kept) * 0.02 == pytest.approx(track["audio"], abs=0.001)
