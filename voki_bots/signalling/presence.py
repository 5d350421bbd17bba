"""Phoenix Presence: who is there, kept in step from ``presence_state`` and ``presence_diff``. Pure.

A key (Voki's: a user id) is present with one or more metas, one per device, each with a ``phx_ref``. Diffs
may come before the state, and do after a rejoin: they are held and applied after it, in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from voki_bots.calls import PresenceChanged
from voki_bots.signalling.payloads import clean_id, clean_text

MAX_PENDING = 1000
"""Diffs that may wait for the state; more means that it never comes, and the oldest are of no use."""

Entry: TypeAlias = dict[str, Any]
"""``{"metas": [{"phx_ref": …, …}, …]}``, and whatever else the platform puts beside the metas."""


@dataclass(frozen=True, slots=True)
class Came:
    """A key came, or has more metas. `before` is None if it was not there."""

    key: str
    before: Entry | None = field(repr=False)
    entry: Entry = field(repr=False)


@dataclass(frozen=True, slots=True)
class Went:
    """A key lost metas; `left` is what is gone, `remaining` what is there. It is away if no metas remain."""

    key: str
    remaining: Entry = field(repr=False)
    left: Entry = field(repr=False)


@dataclass(frozen=True, slots=True)
class Synced:
    """A state or a diff was applied completely."""


PresenceEvent: TypeAlias = Came | Went | Synced
Events: TypeAlias = list[PresenceEvent]  # `Presence.list` hides the built-in name in its class


class Presence:
    """The presences of one joined topic. What it returns are copies."""

    def __init__(self) -> None:
        self._state: dict[str, Entry] = {}
        self._pending: list[tuple[dict[str, Entry], dict[str, Entry]]] = []
        self._synced = False

    @property
    def synced(self) -> bool:
        """Whether the state has come since the last (re)join."""
        return self._synced

    @property
    def pending(self) -> int:
        """How many diffs wait for the state."""
        return len(self._pending)

    def rejoined(self) -> None:
        """The channel was joined again: diffs wait until its state comes; the old one is still listed."""
        self._synced = False

    def state(self, payload: object) -> Events:
        """Apply a ``presence_state``, then the diffs that waited for it."""
        new = _entries(payload)
        joins: dict[str, Entry] = {}
        leaves = {key: entry for key, entry in self._state.items() if key not in new}
        for key, entry in new.items():
            old = self._state.get(key)
            if old is None:
                joins[key] = entry
                continue
            refs, old_refs = _refs(entry), _refs(old)
            if came := [meta for meta in entry["metas"] if meta.get("phx_ref") not in old_refs]:
                joins[key] = {**entry, "metas": came}
            if went := [meta for meta in old["metas"] if meta.get("phx_ref") not in refs]:
                leaves[key] = {**old, "metas": went}
        self._synced = True
        events = self._apply(joins, leaves)
        waiting, self._pending = self._pending, []
        for diff in waiting:
            events += self._apply(*diff)
        return [*events, Synced()]

    def diff(self, payload: object) -> Events:
        """Apply a ``presence_diff``, or hold it while the state has not come."""
        body = payload if isinstance(payload, Mapping) else {}
        joins, leaves = _entries(body.get("joins")), _entries(body.get("leaves"))
        if not self._synced:
            self._pending = [*self._pending[-MAX_PENDING + 1 :], (joins, leaves)]
            return []
        return [*self._apply(joins, leaves), Synced()]

    def list(self) -> dict[str, Entry]:
        """Everybody who is there, in the order of their coming."""
        return deepcopy(self._state)

    def _apply(self, joins: Mapping[str, Entry], leaves: Mapping[str, Entry]) -> Events:
        events: Events = []
        for key, entry in joins.items():
            before, after = self._state.get(key), deepcopy(entry)
            if before is not None:
                refs = _refs(entry)
                kept = [meta for meta in before["metas"] if meta.get("phx_ref") not in refs]
                after["metas"] = [*deepcopy(kept), *after["metas"]]
            self._state[key] = after
            events.append(Came(key, deepcopy(before), deepcopy(entry)))
        for key, entry in leaves.items():
            current = self._state.get(key)
            if current is None:
                continue
            refs = _refs(entry)
            # replaced, not changed: `entry` may be the very entry of the state
            current = {**current, "metas": [m for m in current["metas"] if m.get("phx_ref") not in refs]}
            self._state[key] = current
            events.append(Went(key, deepcopy(current), deepcopy(entry)))
            if not current["metas"]:
                del self._state[key]
        return events


class AgentsOnline:
    """The agents of one department, as ``online``, ``changed`` and ``offline``.

    A change is said once, whatever Phoenix sends for it: nobody comes online twice because a state and a diff
    tell of the same, and nobody is offline while one device remains.
    """

    def __init__(self, department_id: str) -> None:
        self.department_id = department_id
        self.presence = Presence()
        self._said: dict[str, tuple[str, str, str | None]] = {}

    def rejoined(self) -> None:
        """The channel was joined again."""
        self.presence.rejoined()

    def receive(self, event: str, payload: object) -> list[PresenceChanged]:
        """Take an event of a ``presence:`` topic; say what changed."""
        match event:
            case "presence_state":
                events = self.presence.state(payload)
            case "presence_diff":
                events = self.presence.diff(payload)
            case _:
                return []
        touched = dict.fromkeys(e.key for e in events if isinstance(e, Came | Went))
        if not touched:
            return []
        now = self.presence.list()
        return [fact for key in touched if (fact := self._fact(key, now.get(key))) is not None]

    def _fact(self, key: str, entry: Entry | None) -> PresenceChanged | None:
        if clean_id(key) is None:
            return None
        was = self._said.pop(key, None)
        if entry is None:
            return None if was is None else PresenceChanged(self.department_id, key, "offline", *was)
        newest = entry["metas"][-1] if entry["metas"] else {}
        now = (
            clean_text(newest.get("name")),
            clean_text(newest.get("status")),
            clean_id(newest.get("current_call_id")),
        )
        self._said[key] = now
        if was == now:
            return None
        return PresenceChanged(self.department_id, key, "online" if was is None else "changed", *now)


def _entries(payload: object) -> dict[str, Entry]:
    """Copy what has the shape of presences; the rest is left out."""
    found: dict[str, Entry] = {}
    for key, entry in payload.items() if isinstance(payload, Mapping) else ():
        metas = entry.get("metas") if isinstance(entry, Mapping) else None
        if isinstance(key, str) and isinstance(metas, list):
            found[key] = {**entry, "metas": [dict(meta) for meta in metas if isinstance(meta, Mapping)]}
    return found


def _refs(entry: Entry) -> set[str]:
    return {str(meta.get("phx_ref")) for meta in entry["metas"]}
