"""Phoenix Presence as a server keeps it: metas by key, and the diffs that tell of changes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Meta = dict[str, Any]
Entries = dict[str, dict[str, list[Meta]]]


@dataclass(slots=True)
class _Tracked:
    owner: object
    key: str
    meta: Meta


class Presences:
    """Who is tracked under which key of which topic.

    A diff is told on the next turn of the loop, as real Phoenix tells it from a task of its own: a reply that
    is given in the same turn comes first.

    Args:
        say: Broadcasts a ``presence_diff``: (topic, payload).
    """

    def __init__(self, say: Callable[[str, dict[str, Entries]], None]) -> None:
        self._say = say
        self._topics: dict[str, list[_Tracked]] = {}
        self._refs = itertools.count(1)

    def track(self, owner: object, topic: str, key: str, meta: Mapping[str, Any]) -> None:
        """Add a meta; it stays until it is untracked, or its owner dropped."""
        tracked = _Tracked(owner, key, {**meta, "phx_ref": self._ref()})
        self._topics.setdefault(topic, []).append(tracked)
        self._tell(topic, [tracked], [])

    def update(self, owner: object, topic: str, key: str, values: Mapping[str, Any]) -> bool:
        """Change a meta: one diff, with the new one among the joins and the old among the leaves.

        Returns:
            Whether there was one.
        """
        mine = [t for t in self._topics.get(topic, ()) if t.owner is owner and t.key == key]
        for tracked in mine:
            self._change(topic, tracked, values)
        return bool(mine)

    def change(self, key: str, values: Mapping[str, Any]) -> None:
        """Change every meta under `key`, in all topics."""
        for topic, listed in self._topics.items():
            for tracked in listed:
                if tracked.key == key:
                    self._change(topic, tracked, values)

    def _change(self, topic: str, tracked: _Tracked, values: Mapping[str, Any]) -> None:
        old = _Tracked(tracked.owner, tracked.key, tracked.meta)
        # A second change has the ref of the first as its previous one, not both.
        kept = {name: value for name, value in old.meta.items() if name != "phx_ref_prev"}
        tracked.meta = {**kept, **values, "phx_ref": self._ref(), "phx_ref_prev": old.meta["phx_ref"]}
        self._tell(topic, [tracked], [old])

    def untrack(self, owner: object, topic: str, key: str | None = None) -> None:
        """Remove what `owner` tracks in a topic, under one key or all."""
        listed = self._topics.get(topic, [])
        gone = [t for t in listed if t.owner is owner and key in (None, t.key)]
        if not gone:
            return
        self._topics[topic] = [t for t in listed if t not in gone]
        self._tell(topic, [], gone)

    def state(self, topic: str) -> Entries:
        """Return everything tracked in a topic, as ``presence_state`` carries it."""
        return _entries(self._topics.get(topic, []))

    def _ref(self) -> str:
        return f"F{next(self._refs):015X}"

    def _tell(self, topic: str, joins: list[_Tracked], leaves: list[_Tracked]) -> None:
        diff = {"joins": _entries(joins), "leaves": _entries(leaves)}
        asyncio.get_running_loop().call_soon(self._say, topic, diff)


def _entries(tracked: list[_Tracked]) -> Entries:
    entries: Entries = {}
    for each in tracked:
        entries.setdefault(each.key, {"metas": []})["metas"].append(each.meta)
    return entries
