"""Nothing of a call is written before the customer was told and has agreed, and everything after."""

from __future__ import annotations

from pathlib import Path

from tests.journeys.conftest import environment, eventually, journal, program, sidecar
from tests.journeys.test_pause import said
from tests.journeys.test_speaking import heard
from tests.service.conftest import free_port
from voki_bots.archive.seal import verify
from voki_bots.media.containers import WavWriter
from voki_bots.testing.signals import assert_tone, decode, tone
from voki_bots.testing.sim import Sim

CONFIG = """
[service]
port = {port}
poll = 0.5
[[bots]]
name = "minutes"
speaks = true
plugins = ["recorder"]
join = {{ departments = ["{department}"] }}
[bots.recorder]
directory = "{calls}"
[bots.consent]
policy = "ask"
announcement = "{prompt}"
"""


async def test_recording_begins_with_consent(sim: Sim, tmp_path: Path) -> None:
    """The customer hears the announcement, agrees, and is recorded from then on; refusing ends it at once."""
    prompt = WavWriter(tmp_path / "recorded.wav", 48_000)
    prompt.write(tone(880, 1.0))
    prompt.close()
    call = await sim.call(
        {"role": "customer", "tone": 500, "listens": True},
        {"role": "attendant", "tone": 300},
        switches={"msid_user_ids": True},
    )
    calls, config = tmp_path / "calls", tmp_path / "bots.toml"
    folder = calls / sim.tenant / call.id
    facts = {"port": free_port(), "department": call.call.department_id, "calls": calls}
    config.write_text(CONFIG.format(prompt=tmp_path / "recorded.wav", **facts))
    env = environment(await sim.user(), VOKI_CONTROL_TOKEN="a-token-of-the-tests")
    answer = ("consent", call.id, "--config", str(config), "--as", "ana", "--of")

    async with program("run", str(config), env=env):
        await eventually(lambda: "consent_announced" in _types(folder), "the announcement", 40)
        (announcement,) = [line for line in journal(folder) if line["type"] == "consent_announced"]
        (line,) = await heard(sim, call, tmp_path)
        assert_tone(880, line, at=0.4)
        await call.heard_by_bots(100)
        assert not list(folder.glob("tracks/*"))
        code, (state,) = await said(*answer, *announcement["to"], "--how", "said yes", env=env)
        assert (code, state["consented"]) == (0, True)
        file = folder / "tracks/customer-1.0.opus"
        await eventually(lambda: file.exists() and file.stat().st_size > 5000, "the recording", 20)
        assert (await said(*answer, *announcement["to"], "--refused", env=env))[1][0]["consented"] is False
        await eventually(lambda: "consent_refused" in _types(folder), "the refusal")
        await call.heard_by_bots(400)
        await call.end()
        await eventually(lambda: sidecar(folder)["sealed"], "the folder being sealed", 30)

    given, refused = sidecar(folder)["consents"]
    assert announcement["to"] == [given["by"]] == [refused["by"]]
    assert given["how"] == "said yes (api:ana)" and len(announcement["sha256"]) == 64
    tracks = {track["role"]: track for track in sidecar(folder)["tracks"] if track["file"]}
    for role, hertz in (("customer", 500), ("attendant", 300)):
        track = tracks[role]
        assert_tone(hertz, folder / track["file"], at=0.5)
        assert abs(track["file_start"] - given["at"]) < 0.1
        lasted = len(decode(folder / track["file"])) / 48_000
        assert abs(lasted - (refused["at"] - given["at"])) < 0.15
    assert verify(folder) == []


def _types(folder: Path) -> list[str]:
    return [line["type"] for line in journal(folder)] if (folder / "events.jsonl").exists() else []
