"""What receiver reports say of one source: loss and jitter. Pure."""

from __future__ import annotations

from voki_bots.media.rtp import SEQUENCE_BITS, distance

MAX_DROPOUT = 3000
MAX_MISORDER = 100
"""Steps beyond these are a new numbering, if the next packet continues it (RFC 3550 appendix A.1)."""

MAX_LOST = (1 << 23) - 1
_JUMP_SECONDS = 10.0


class Reception:
    """Counts the packets of one synchronisation source (RFC 3550 section 6.4.1 and appendix A).

    aiortc makes its receiver reports from `fraction_lost`, `packets_lost`, `max_seq` and `jitter`, so these
    names are its own.

    Args:
        rate: RTP ticks per second.
    """

    __slots__ = (
        "_base",
        "_expected_before",
        "_highest",
        "_jitter",
        "_rate",
        "_received_before",
        "_stray",
        "_transit",
        "packets_received",
    )

    def __init__(self, rate: int) -> None:
        self.packets_received = 0
        self._rate = rate
        self._base: int | None = None
        self._highest = 0
        self._stray: int | None = None
        self._jitter = 0.0
        self._transit: float | None = None
        self._expected_before = 0
        self._received_before = 0

    def add(self, sequence: int, timestamp: int, arrival: float) -> None:
        """Count a packet.

        Args:
            sequence: As it came, 16 bits.
            timestamp: As it came, 32 bits.
            arrival: Seconds of any steady clock.
        """
        self.packets_received += 1
        if self._base is None:
            self._base = self._highest = sequence
        step = (sequence - self._highest) & 0xFFFF
        if step < MAX_DROPOUT:
            self._highest += step
        elif step < 0x10000 - MAX_MISORDER and not self._renumbered(sequence):
            return
        # Both counters wrap, so the transit time is only known modulo their circle.
        transit = arrival * self._rate - timestamp
        if self._transit is not None:
            changed = transit - self._transit
            if abs(changed) > 0x7FFFFFFF:
                changed = (changed + 0x80000000) % 0x100000000 - 0x80000000
            if abs(changed) < _JUMP_SECONDS * self._rate:
                self._jitter += (abs(changed) - self._jitter) / 16
        self._transit = transit

    @property
    def max_seq(self) -> int | None:
        """The highest sequence number, extended by its cycles to 32 bits; None before the first packet."""
        return None if self._base is None else self._highest & 0xFFFFFFFF

    @property
    def jitter(self) -> int:
        """Interarrival jitter in ticks (RFC 3550 section 6.4.1)."""
        return int(self._jitter)

    @property
    def packets_expected(self) -> int:
        """How many there should be by their numbers."""
        return 0 if self._base is None else self._highest - self._base + 1

    @property
    def packets_lost(self) -> int:
        """Expected but not received, in 24 bits; negative if there were duplicates."""
        return max(-MAX_LOST - 1, min(MAX_LOST, self.packets_expected - self.packets_received))

    @property
    def fraction_lost(self) -> int:
        """The share lost since this was last asked, in 1/256 (RFC 3550 appendix A.3)."""
        expected = self.packets_expected - self._expected_before
        received = self.packets_received - self._received_before
        self._expected_before, self._received_before = self.packets_expected, self.packets_received
        lost = expected - received
        return min(255, (lost << 8) // expected) if expected > 0 and lost > 0 else 0

    def _renumbered(self, sequence: int) -> bool:
        """Believe in a new numbering at its second packet; it is counted from there."""
        stray, self._stray = self._stray, sequence
        if stray is None or distance(sequence, stray, SEQUENCE_BITS) != 1:
            return False
        self._stray = self._transit = None
        self._base = self._highest = sequence
        self.packets_received = 1
        self._expected_before = self._received_before = 0
        return True
