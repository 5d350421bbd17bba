"""Phoenix Presence, against vectors made by the vendor's own JavaScript client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voki_bots.calls import PresenceChanged
from voki_bots.signalling.presence import AgentsOnline, Came, Events, Presence, Went

ORACLES = Path(__file__).parents[1] / "oracles" / "phoenix"
CASES = json.loads((ORACLES / "presence-vectors.json").read_text())["cases"]


def logged(events: Events) -> list[list[Any]]:
    """The same events as the vectors write them."""
    log: list[list[Any]] = []
    for event in events:
        match event:
            case Came(key, before, entry):
                log.append(["join", key, before, entry])
            case Went(key, remaining, left):
                log.append(["leave", key, remaining, left])
            case _:
                log.append(["sync"])
    return log


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_72_every_vector_reproduces(case: list[dict[str, Any]]) -> None:
    """Events, state and held diffs are those of phoenix.js after every step (rows 64 to 66, 69, 70 too)."""
    presence = Presence()
    for step in case:
        match step["op"]:
            case "state":
                events = presence.state(dict(step["payload"]))
            case "diff":
                events = presence.diff({"joins": dict(step["joins"]), "leaves": dict(step["leaves"])})
            case _:
                presence.rejoined()
                events = []
        assert logged(events) == step["log"]
        assert list(presence.list().items()) == [tuple(pair) for pair in step["after"]]
        assert presence.pending == step["pending"]


def entry(*refs: str, **meta: object) -> dict[str, Any]:
    return {"metas": [{"phx_ref": ref, "name": "Ana", "status": "online", **meta} for ref in refs]}


@pytest.mark.parametrize("key", ["__proto__", "constructor", "__class__", "hasOwnProperty", ""])
def test_64_any_key_comes_and_goes(key: str) -> None:
    """Also one that means something to a language."""
    presence = Presence()
    presence.state({})
    presence.diff({"joins": {key: entry("1")}, "leaves": {}})
    listed = presence.list()
    presence.diff({"joins": {}, "leaves": {key: entry("1")}})
    assert (listed, presence.list()) == ({key: entry("1")}, {})


@pytest.mark.parametrize(
    "leaves", [{"stranger": {"metas": [{"phx_ref": "1"}]}}, {"a": {"metas": [{"phx_ref": "9"}]}}]
)
def test_70_a_leave_of_what_is_unknown_changes_nothing(leaves: dict[str, Any]) -> None:
    """Neither an unknown key nor an unknown ref of a known one."""
    presence = Presence()
    presence.state({"a": entry("1")})
    presence.diff({"joins": {}, "leaves": leaves})
    assert presence.list() == {"a": entry("1")}


def test_65_a_diff_before_the_state_is_held_and_applied_after_it() -> None:
    """In order, and nobody is listed before."""
    presence = Presence()
    held = presence.diff({"joins": {"b": entry("2")}, "leaves": {}})
    presence.state({"a": entry("1")})
    assert (held, list(presence.list())) == ([], ["a", "b"])


def test_66_a_diff_after_a_rejoin_waits_for_the_new_state() -> None:
    """The old state is still listed meanwhile."""
    presence = Presence()
    presence.state({"a": entry("1")})
    presence.rejoined()
    presence.diff({"joins": {}, "leaves": {"a": entry("1")}})
    assert list(presence.list()) == ["a"]


def test_67_a_state_and_a_diff_that_tell_of_the_same_come_online_once() -> None:
    """One meta, one fact."""
    agents = AgentsOnline("d")
    first = agents.receive("presence_state", {"a": entry("1")})
    again = agents.receive("presence_diff", {"joins": {"a": entry("1")}, "leaves": {}})
    assert ([fact.change for fact in first], again) == (["online"], [])
    assert len(agents.presence.list()["a"]["metas"]) == 1


def test_68_an_update_is_a_change() -> None:
    """Not an offline and an online."""
    agents = AgentsOnline("d")
    agents.receive("presence_state", {"a": entry("1")})
    new = entry("2", phx_ref_prev="1", status="busy", current_call_id="c1")
    facts = agents.receive("presence_diff", {"joins": {"a": new}, "leaves": {"a": entry("1")}})
    assert facts == [PresenceChanged("d", "a", "changed", "Ana", "busy", "c1")]


def test_69_one_of_two_devices_leaving_is_not_offline() -> None:
    """Offline is when no meta remains."""
    agents = AgentsOnline("d")
    agents.receive("presence_state", {"a": entry("1", "2")})
    one = agents.receive("presence_diff", {"joins": {}, "leaves": {"a": entry("1")}})
    both = agents.receive("presence_diff", {"joins": {}, "leaves": {"a": entry("2")}})
    assert (one, [fact.change for fact in both]) == ([], ["offline"])


def test_a_state_after_a_rejoin_says_who_went_meanwhile() -> None:
    """And is silent about those who stayed."""
    agents = AgentsOnline("d")
    agents.receive("presence_state", {"a": entry("1"), "b": entry("2")})
    agents.rejoined()
    facts = agents.receive("presence_state", {"a": entry("9")})
    assert [(fact.user_id, fact.change) for fact in facts] == [("b", "offline")]


def test_71_what_is_returned_are_copies() -> None:
    """Changing them does not change the state."""
    presence = Presence()
    (came, _) = presence.state({"a": entry("1")})
    assert isinstance(came, Came)
    came.entry["metas"].clear()
    presence.list()["a"]["metas"].clear()
    assert presence.list() == {"a": entry("1")}


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["joins", "leaves", "metas", "phx_ref", "a"]), inner, max_size=3)
    ),
)


@given(st.lists(st.tuples(st.sampled_from(["presence_state", "presence_diff"]), JSON), max_size=4))
def test_any_payload_is_survived(steps: list[tuple[str, object]]) -> None:
    """Whatever the platform sends, nothing is raised."""
    agents = AgentsOnline("d")
    for event, payload in steps:
        agents.receive(event, payload)
