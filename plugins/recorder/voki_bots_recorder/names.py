"""Which file a track is written to. Pure."""

from __future__ import annotations

from collections.abc import Callable

from voki_bots import Attribution, Track

FOLDER = "tracks"
"""Where in the call's folder the files are."""


class Names:
    """Gives each track of one call the name of its file: ``tracks/<role>-<n>.<segment>.opus`` (``.mkv``).

    `n` counts the participants of a role; the tracks of one participant share it. A track whose
    participant is unknown counts as somebody of its own.

    Args:
        ending: What every name ends in, beside the format.
    """

    def __init__(self, ending: str = "") -> None:
        self._ending = ending
        self._numbers: dict[Track, tuple[str, int]] = {}
        self._owners: dict[tuple[str, int], str] = {}

    def take(self, track: Track, attribution: Attribution) -> str:
        """Name the file of a track that has just begun."""
        self._number(track, attribution)
        return self._path(track)

    def settle(self, who: Callable[[Track], Attribution]) -> dict[Track, tuple[str, str]]:
        """Name the files anew by what is known at the end, changing no name without need.

        Args:
            who: Says who is on a track.

        Returns:
            The old and the new name of each track whose name changes.
        """
        held, before = dict(self._numbers), {track: self._path(track) for track in self._numbers}
        final = {track: who(track) for track in held}
        self._numbers.clear()
        self._owners.clear()
        settled: dict[tuple[str, str], int] = {}
        for track, attribution in final.items():
            (role, number), owner = held[track], _owner(track, attribution)
            free = self._owners.get((role, number), owner) == owner
            first = settled.get((role, owner), number) == number
            if role == str(attribution.role) and free and first:
                self._numbers[track] = role, number
                self._owners[role, number] = owner
                settled[role, owner] = number
        for track in [track for track in final if track not in self._numbers]:
            self._number(track, final[track])
        return {track: (old, new) for track, old in before.items() if old != (new := self._path(track))}

    def _number(self, track: Track, attribution: Attribution) -> None:
        role, owner = str(attribution.role), _owner(track, attribution)
        number = 1
        while self._owners.setdefault((role, number), owner) != owner:
            number += 1
        self._numbers[track] = (role, number)

    def _path(self, track: Track) -> str:
        role, number = self._numbers[track]
        place = (self._numbers[track], track.segment)
        before = 0
        for other, numbered in self._numbers.items():
            if other == track:
                break
            before += (numbered, other.segment) == place and other.kind == track.kind
        again = f".{before + 1}" if before else ""
        ending = "mkv" if track.kind == "video" else "opus"
        return f"{FOLDER}/{role}-{number}.{track.segment}{again}.{ending}{self._ending}"


def _owner(track: Track, attribution: Attribution) -> str:
    """Say whose track it is: a participant's, or nobody's but its own."""
    if attribution.participant is None:
        return f"track {track}"
    return f"participant {attribution.participant.id}"
