"""Network namespaces that a test makes and that are gone with it, and programs that run in them."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_PATH = f"{os.defpath}:/usr/sbin:/sbin"
START = 15.0
"""Seconds that a program may take to answer."""

STOP = 5.0
"""Seconds that a program may take to end."""


def needs(*programs: str) -> None:
    """Skip, with the reason, where a program is not installed."""
    for name in programs:
        if shutil.which(name, path=_PATH) is None:
            pytest.skip(f"{name} is not installed (see the Makefile's list of Debian packages)")


def namespaces_missing() -> str | None:
    """Why no network namespace can be made here, or None if one can."""
    if shutil.which("ip", path=_PATH) is None or shutil.which("unshare") is None:
        return "ip or unshare is not installed (Debian: iproute2, util-linux)"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    return f"no network namespace can be made: {tried.stderr.strip()}" if tried.returncode else None


def needs_namespaces() -> None:
    """Skip, with the reason, where no network namespace can be made."""
    if (why := namespaces_missing()) is not None:
        pytest.skip(why)


class Namespace:
    """A network namespace; it lives as long as a process of ours that does nothing but hold it.

    That process ends when its standard input closes, so nothing is left even if we are killed.
    """

    def __init__(self) -> None:
        self._holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=-1, stdout=-1)
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.write(b"\n")
        self._holder.stdin.flush()
        self._holder.stdout.readline()  # cat runs, so the namespace is made
        self.ip("link", "set", "lo", "up")

    @property
    def pid(self) -> int:
        """Of the process that holds it; `ip` takes it for the namespace."""
        return self._holder.pid

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Let this thread, and what it starts, make its sockets here; those it has stay where they are."""
        threads, holders = Path("/proc/thread-self/ns/net"), Path(f"/proc/{self.pid}/ns/net")
        with threads.open() as home, holders.open() as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())

    def ip(self, *arguments: str) -> None:
        """Run `ip` here."""
        with self.inside():
            subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=10)

    def link(self, other: Namespace, name: str, ours: str, theirs: str) -> None:
        """Lay a cable to another namespace; each end has its own address and both are called `name`."""
        self.ip("link", "add", name, "type", "veth", "peer", "name", name, "netns", str(other.pid))
        for end, address in ((self, ours), (other, theirs)):
            # Without link-local addresses: what they would add to ICE is not what is tried here.
            end.ip("link", "set", name, "addrgenmode", "none")
            end.ip("addr", "add", address, "dev", name)
            end.ip("link", "set", name, "up")

    def close(self) -> None:
        """Let go of it; the kernel removes it, and its cables, with the last process in it."""
        self._holder.stdin.close()  # type: ignore[union-attr]
        self._holder.stdout.close()  # type: ignore[union-attr]
        self._holder.wait(STOP)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _enter(namespace: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, _NEW_NETWORK) != 0:
        raise OSError(ctypes.get_errno(), "a network namespace cannot be entered")


@contextmanager
def program(command: Sequence[str], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program without input or output; it is ended at the end, or when we are gone."""
    if shutil.which("setpriv"):
        command = ["setpriv", "--pdeathsig", "TERM", *command]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = subprocess.Popen(command, **{**quiet, **options})  # type: ignore[call-overload]
    try:
        yield running
    finally:
        end(running)


def end(running: subprocess.Popen[bytes]) -> None:
    """End a program that may have ended already."""
    if running.poll() is None:
        running.terminate()
        try:
            running.wait(STOP)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait(STOP)


def answers(host: str, port: int, running: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a program takes connections.

    Raises:
        AssertionError: If it has ended or does not; with the end of its log.
    """
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and running.poll() is None:
        try:
            socket.create_connection((host, port), 1.0).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"nobody answers: {log.read_text()[-2000:] if log.exists() else ''}")


@asynccontextmanager
async def wiretap(*, limit: int = 20_000) -> AsyncIterator[list[bytes]]:
    """Gather every IPv4 packet that this namespace sends or gets, loopback but left out."""
    everything = socket.htons(0x0003)  # ETH_P_ALL
    gathered: list[bytes] = []
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, everything) as tap:

        def take() -> None:
            packet, (device, protocol, *_) = tap.recvfrom(65_535)
            if protocol == 0x0800 and device != "lo" and len(gathered) < limit:
                gathered.append(packet)

        loop = asyncio.get_running_loop()
        loop.add_reader(tap.fileno(), take)
        try:
            yield gathered
        finally:
            loop.remove_reader(tap.fileno())


def ends(packet: bytes) -> tuple[str, str, str, int, int]:
    """Protocol, source, destination and ports of an IPv4 packet (RFC 791 section 3.1)."""
    at = (packet[0] & 0x0F) * 4
    kind = {6: "tcp", 17: "udp"}.get(packet[9], str(packet[9]))
    source, destination = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
    ports = [int.from_bytes(packet[at + n : at + n + 2], "big") for n in (0, 2)]
    return kind, source, destination, ports[0], ports[1]
