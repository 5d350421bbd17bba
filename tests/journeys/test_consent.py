"""What is on record of a call whose customers must be told, by content."""

from __future__ import annotations

from pathlib import Path

from tests.journeys.conftest import sidecar
from voki_bots import Bot, ConsentPolicy, GapCause
from voki_bots.archive.seal import verify
from voki_bots.media.containers import WavWriter
from voki_bots.testing import tone
from voki_bots.testing.sim import Sim

SAID = 1.0  # seconds that the announcement lasts


async def test_the_recording_begins_when_the_customer_was_told(sim: Sim, tmp_path: Path) -> None:
    """Before the end of the announcement no packet of anybody is on disk; after it everything is."""
    writer = WavWriter(tmp_path / "told.wav", 48_000)
    writer.write(tone(660, SAID))
    writer.close()
    policy = ConsentPolicy(policy="announce", announcement=tmp_path / "told.wav")
    call = await sim.call({"role": "attendant", "tone": 440}, {"role": "customer", "tone": 880})
    async with sim.attend(call, Bot("minutes", speaks=True, consent=policy).record()) as session:
        await call.heard_by_bots(50)
        await call.until(lambda _: session.privacy.consented, "the announcement")
        await call.heard_by_bots(250)
    found = sidecar(session.directory)
    (told,) = found["announcements"]
    customer = next(each for each in found["participants"] if each["role"] == "customer")
    assert told["prompt"] == "told.wav" and told["to"] == [customer["id"]]
    for track in found["tracks"]:
        if track["role"] in ("attendant", "customer"):
            assert track["file_start"] >= told["end"] - 0.05 and track["audio"] > 1.0
            causes = {gap["cause"] for gap in track["gaps"] if gap["end"] - gap["start"] > 0.5}
            assert GapCause.NO_CONSENT in causes
    assert verify(session.directory) == []
