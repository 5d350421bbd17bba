"""The plugin in a call without a network: the test plays everybody else."""

from __future__ import annotations

from voki_bots_dead_air import DeadAir, DeadAirHeard, DeadAirSettings

from voki_bots.testing import FakeAttendance, silence, tone


async def test_the_attendant_is_told_when_nobody_speaks() -> None:
    """Silence that lasts long enough becomes a hint."""
    plugin = DeadAir(DeadAirSettings(seconds=1.0))
    async with FakeAttendance() as call, plugin.attend(call):
        ana = call.join("Ana", role="attendant")
        await call.speak(ana, tone(440, 0.5))
        await call.speak(ana, silence(1.5))
        await call.until(lambda: call.hints)
    assert call.hints[0].text == "Nobody has spoken for 1 s."


async def test_silence_is_told_once() -> None:
    """However long it lasts, one silence is one event."""
    plugin = DeadAir(DeadAirSettings(seconds=1.0))
    async with FakeAttendance() as call, plugin.attend(call):
        await call.speak(call.join("Ana", role="attendant"), silence(5.0))
        await call.until(lambda: call.published)
    assert [type(event) for event in call.published] == [DeadAirHeard]


async def test_people_who_speak_are_left_alone() -> None:
    """As long as somebody speaks, nothing is told."""
    plugin = DeadAir(DeadAirSettings(seconds=1.0))
    async with FakeAttendance() as call, plugin.attend(call):
        await call.speak(call.join("Ana", role="attendant"), tone(440, 3.0))
    assert call.published == []
