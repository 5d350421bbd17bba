"""The peers: where each runs, and what it needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LOOPBACK = "127.0.0.1"
BRIDGED = "127.0.1.1"
"""An address of 127/8 on a device that is no loopback: some gather no candidate on those that are."""

_ENVIRONMENTS = Path(sys.prefix)


@dataclass(frozen=True, slots=True)
class Peer:
    """One of those who do the same work.

    Attributes:
        python: The interpreter of its receiver.
        jobs: What it can do.
        needs: Programs and modules: (interpreter's) module, or ``/`` and a program's name.
        get: How it is installed.
        bridged: It gathers no loopback candidate, so it runs in a network namespace.
        several: Its receiver takes several lines of one connection.
        bends: It stretches speech to follow the network, so its samples are not those that were sent.
    """

    python: str
    jobs: tuple[str, ...]
    needs: tuple[str, ...]
    get: str
    bridged: bool = False
    several: bool = False
    bends: bool = False


def _own(name: str) -> str:
    return str(_ENVIRONMENTS / f"bench-{name}" / "bin" / "python")


def _pip(name: str, packages: str, python: str = "python3") -> str:
    return f"{python} -m venv .venv/bench-{name} && .venv/bench-{name}/bin/pip install {packages}"


PEERS = {
    "ours": Peer(sys.executable, ("record", "pcm", "play"), ("voki_bots",), "make bench", several=True),
    "aiortc": Peer(sys.executable, ("record", "pcm", "play"), ("aiortc",), "make bench", several=True),
    "pipecat": Peer(
        _own("pipecat"), ("record", "pcm"), ("pipecat",), _pip("pipecat", "'pipecat-ai[webrtc]'")
    ),
    "janus": Peer(
        sys.executable,
        ("record",),
        ("/janus",),
        "apt-get install --no-install-recommends janus",
        bridged=True,
    ),
    "gstreamer": Peer(
        "/usr/bin/python3",
        ("record", "pcm"),
        ("gi",),
        "apt-get install --no-install-recommends gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
        "gstreamer1.0-plugins-bad gstreamer1.0-nice python3-gst-1.0 gir1.2-gst-plugins-bad-1.0",
        bridged=True,
    ),
    "libdatachannel": Peer(
        _own("libdatachannel"),
        ("record", "pcm"),
        ("libdatachannel",),
        _pip("libdatachannel", "libdatachannel-py av numpy", "python3.13"),
    ),
    "fastrtc": Peer(_own("fastrtc"), ("pcm",), ("fastrtc",), _pip("fastrtc", "fastrtc")),
    "chromium": Peer(
        sys.executable,
        ("record", "pcm"),
        ("/chromium",),
        "apt-get install --no-install-recommends chromium",
        bridged=True,
        bends=True,
    ),
}


def unavailable(name: str, job: str, lines: int = 1) -> str | None:
    """Say why a peer cannot be run at a job here; None if it can."""
    peer = PEERS.get(name)
    if peer is None:
        return f"there is no peer of this name; known are {', '.join(PEERS)}"
    if lines > 1 and not peer.several:
        return "its receiver takes one line of each connection"
    if job not in peer.jobs:
        return f"it is not measured at this job, only at {', '.join(peer.jobs)}"
    if not Path(peer.python).exists():
        return f"it is not installed: {peer.get}"
    for need in peer.needs:
        if need.startswith("/"):
            there = shutil.which(need[1:]) is not None
        else:
            command = [
                peer.python,
                "-c",
                f"import importlib.util as u; raise SystemExit(u.find_spec({need!r}) is None)",
            ]
            there = subprocess.run(command, check=False, capture_output=True).returncode == 0
        if not there:
            return f"{need.lstrip('/')} is not installed: {peer.get}"
    if peer.bridged and os.geteuid() != 0:
        return "it gathers no loopback candidate, and only root may make a network namespace for it"
    return None


@contextmanager
def place(peer: Peer) -> Iterator[tuple[list[str], str]]:
    """Make the network that a peer needs; give what commands begin with there, and the address."""
    if not peer.bridged:
        yield [], LOOPBACK
        return
    name = f"voki-bench-{os.getpid()}"
    inside = ["ip", "-n", name]
    try:
        for command in (
            ["ip", "netns", "add", name],
            [*inside, "link", "set", "lo", "up"],
            [*inside, "link", "add", "bench0", "type", "bridge"],
            [*inside, "link", "set", "bench0", "up"],
            [*inside, "addr", "add", f"{BRIDGED}/24", "dev", "bench0"],
        ):
            subprocess.run(command, check=True, capture_output=True)
        yield ["ip", "netns", "exec", name], BRIDGED
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
