"""Presence as a server keeps it."""

import pytest

from voki_bots.sandbox.presence import Presences


@pytest.fixture
def told():
    """Presences, and what was broadcast."""
    diffs = []
    presences = Presences(lambda topic, diff: diffs.append((topic, diff)))
    presences.diffs = diffs
    return presences


async def test_a_diff_comes_on_the_next_turn(world, told):
    """What is said in the same turn comes before it."""
    told.track(1, "presence:1", "ana", {"status": "online"})
    before = list(told.diffs)
    await world.until(lambda: told.diffs)
    meta = {"status": "online", "phx_ref": "F000000000000001"}
    expected = ("presence:1", {"joins": {"ana": {"metas": [meta]}}, "leaves": {}})
    assert (before, told.diffs) == ([], [expected])


async def test_a_change_is_one_diff_with_both_metas(world, told):
    """The new meta joins and names the old one, which leaves."""
    told.track(1, "presence:1", "ana", {"status": "online"})
    told.update(1, "presence:1", "ana", {"status": "busy"})
    told.update(1, "presence:1", "ana", {"status": "away"})
    await world.until(lambda: len(told.diffs) == 3)
    ((new,), (old,)) = (told.diffs[2][1][side]["ana"]["metas"] for side in ("joins", "leaves"))
    assert (new["status"], new["phx_ref_prev"], old["status"]) == ("away", old["phx_ref"], "busy")


async def test_one_of_two_metas_leaves_and_the_key_stays(told):
    """Two devices of one person are two metas."""
    told.track(1, "presence:1", "ana", {"device": 1})
    told.track(2, "presence:1", "ana", {"device": 2})
    told.untrack(1, "presence:1")
    assert [meta["device"] for meta in told.state("presence:1")["ana"]["metas"]] == [2]


async def test_nothing_untracked_says_nothing(world, told):
    """A leave of what is not there is no diff."""
    told.untrack(1, "presence:1", "ana")
    told.track(1, "presence:1", "bob", {})
    await world.until(lambda: told.diffs)
    assert len(told.diffs) == 1
