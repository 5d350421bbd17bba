"""What a process and everything it starts costs: instructions, CPU seconds, memory, threads."""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass
from pathlib import Path

_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
_HARDWARE, _SOFTWARE = 0, 1
_INSTRUCTIONS, _TASK_CLOCK = 1, 1
_INHERIT = 1 << 1
_CLOEXEC = 8
_SIZE = 120


@dataclass(frozen=True, slots=True)
class Reading:
    """Counts since the beginning.

    Attributes:
        cpu: Seconds of CPU.
        instructions: Retired, by user and kernel; None where the machine or its permissions give none.
    """

    cpu: float
    instructions: int | None


class Counters:
    """Counts for one process; attach before it has threads or children, which then are counted too.

    Args:
        pid: The process.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._instructions = _open(_HARDWARE, _INSTRUCTIONS, pid)
        self._clock = _open(_SOFTWARE, _TASK_CLOCK, pid)

    def read(self) -> Reading:
        """Read both; CPU time from /proc where the kernel permits no counter."""
        count = None if self._instructions is None else _value(self._instructions)
        if self._clock is not None:
            return Reading(_value(self._clock) / 1e9, count)
        ticks = sum(_ticks(pid) for pid in family(self.pid))
        return Reading(ticks / os.sysconf("SC_CLK_TCK"), count)

    def close(self) -> None:
        """Give the counters back."""
        for fd in (self._instructions, self._clock):
            if fd is not None:
                os.close(fd)
        self._instructions = self._clock = None


def family(pid: int) -> list[int]:
    """Name a process and its descendants."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return found


def resident(pid: int) -> int:
    """Say how many kB of memory a process and its descendants hold."""
    return sum(_status(each, "VmRSS") for each in family(pid))


def threads(pid: int) -> int:
    """Count the threads of a process and its descendants."""
    return sum(_status(each, "Threads") for each in family(pid))


def _open(kind: int, event: int, pid: int) -> int | None:
    """Open a counter (perf_event_open(2)); None if the machine or its permissions do not have it."""
    number = _PERF_EVENT_OPEN.get(os.uname().machine)
    if number is None:
        return None
    attributes = struct.pack("<IIQQQQQ", kind, _SIZE, event, 0, 0, 0, _INHERIT).ljust(_SIZE, b"\0")
    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.syscall(number, ctypes.create_string_buffer(attributes, _SIZE), pid, -1, -1, _CLOEXEC))
    return fd if fd >= 0 else None


def _value(fd: int) -> int:
    return int(struct.unpack("<Q", os.read(fd, 8))[0])


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def _status(pid: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)
