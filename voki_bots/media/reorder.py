"""The jitter buffer that puts packets in order and names what is missing. Pure.

It delays nothing that comes in order. Behind a hole it holds packets back until the missing one comes, or
until `patience` has passed since the first packet after the hole came; then the hole is declared lost.
"""

from __future__ import annotations

from dataclasses import dataclass

from voki_bots.media.rtp import SEQUENCE_BITS, Received, distance

MAX_DROPOUT = 3000
"""A jump forward by more than this is a new numbering, not a loss (RFC 3550 appendix A.1)."""

MAX_MISORDER = 100
"""A step back by more than this is a new numbering, not a late packet (RFC 3550 appendix A.1)."""

MAX_HELD = 512
"""Packets held behind a hole at most, whatever the time."""


@dataclass(slots=True, eq=False)
class Ordered:
    """A packet in its place.

    Attributes:
        packet: As it came.
        sequence: Unwrapped sequence number; it rises strictly.
        lost: How many packets just before this one never came.
        restarted: The sender began a new numbering here; what was lost before is unknown.
        timestamp: Unwrapped RTP timestamp; filled in by whoever unwraps it.
    """

    packet: Received
    sequence: int
    lost: int = 0
    restarted: bool = False
    timestamp: int = 0


class Reorder:
    """Orders the packets of one synchronisation source.

    Args:
        patience: Seconds to wait for a missing packet.
    """

    __slots__ = ("_held", "_next", "_stray", "duplicates", "late", "lost", "patience")

    def __init__(self, patience: float = 0.15) -> None:
        self.patience = patience
        self._next: int | None = None
        self._held: dict[int, Received] = {}
        self._stray: Received | None = None
        self.lost = 0
        self.late = 0
        self.duplicates = 0

    def push(self, packet: Received) -> list[Ordered]:
        """Take a packet; give those that are in order now, oldest first."""
        if self._next is None:
            self._next = packet.sequence + 1
            return [Ordered(packet, packet.sequence)]
        step = distance(packet.sequence, self._next & 0xFFFF, SEQUENCE_BITS)
        if step == 0 and not self._held:
            self._stray = None
            self._next += 1
            return [Ordered(packet, self._next - 1)]
        if step > MAX_DROPOUT or step < -MAX_MISORDER:
            return self._strayed(packet)
        self._stray = None
        if step < 0:
            self.late += 1
            return []
        sequence = self._next + step
        if sequence in self._held:
            self.duplicates += 1
            return []
        self._held[sequence] = packet
        if len(self._held) > MAX_HELD:
            return self._skip()
        return self._run()

    def ready(self, sequence: int) -> bool:
        """Say whether a number is the very next and nothing is held: the usual case."""
        return self._next is not None and not self._held and sequence == self._next & 0xFFFF

    def follow(self) -> int:
        """Count the packet for which it was `ready`; give its unwrapped number."""
        assert self._next is not None
        self._stray = None
        self._next += 1
        return self._next - 1

    def tick(self, now: float) -> list[Ordered]:
        """Give what has waited long enough; `now` is of the clock that stamps arrivals."""
        ready: list[Ordered] = []
        while self._held and now - min(p.arrival for p in self._held.values()) >= self.patience:
            ready += self._skip()
        return ready

    def flush(self) -> list[Ordered]:
        """Give everything that is still held; the track ends here."""
        ready: list[Ordered] = []
        while self._held:
            ready += self._skip()
        return ready

    @property
    def waiting(self) -> bool:
        """Whether packets are held behind a hole."""
        return bool(self._held)

    def _run(self, lost: int = 0) -> list[Ordered]:
        assert self._next is not None
        ready: list[Ordered] = []
        while (packet := self._held.pop(self._next, None)) is not None:
            ready.append(Ordered(packet, self._next, lost))
            lost = 0
            self._next += 1
        return ready

    def _skip(self) -> list[Ordered]:
        """Give up the hole in front of what is held."""
        assert self._next is not None
        first = min(self._held)
        lost, self._next = first - self._next, first
        self.lost += lost
        return self._run(lost)

    def _strayed(self, packet: Received) -> list[Ordered]:
        """Believe in a new numbering only when a second packet continues it (RFC 3550 appendix A.1)."""
        stray = self._stray
        if stray is None or distance(packet.sequence, stray.sequence, SEQUENCE_BITS) != 1:
            self._stray = packet
            return []
        ready = self.flush()
        self._stray = None
        assert self._next is not None
        # The unwrapped number must go on rising, and its low 16 bits must be those on the wire.
        base = self._next + ((stray.sequence - self._next) & 0xFFFF)
        self._next = base + 2
        return [*ready, Ordered(stray, base, restarted=True), Ordered(packet, base + 1)]
