"""A real S3 server: moto's, in an environment of its own beside ours, on loopback."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "moto[server]>=5,<6"
START = 20.0
"""Seconds that it may take to answer."""


def installed() -> Path:
    """The server's program; it is installed at its first use, and skipped by name where it cannot be."""
    home = ROOT / ".venv" / "moto"
    program = home / "bin" / "moto_server"
    if program.exists():
        return program
    pip = [str(home / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    try:
        for command in ([sys.executable, "-m", "venv", str(home)], [*pip, PACKAGE]):
            subprocess.run(command, check=True, capture_output=True, timeout=110)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip(f"{PACKAGE} cannot be installed here")
    return program


class Store:
    """The server, with two buckets in it; it keeps everything in memory."""

    def __init__(self, program: Path) -> None:
        self._program = program
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and make the buckets ``calls`` and ``spare``."""
        command = [str(self._program), "-H", "127.0.0.1", "-p", str(self.port)]
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": ""},
        )
        deadline = time.monotonic() + START
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                break
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)
        for bucket in ("calls", "spare"):
            asked = urllib.request.Request(f"{self.url}/{bucket}", method="PUT")
            urllib.request.urlopen(asked).close()

    def stop(self) -> None:
        """Stop it; what it held is gone."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None
