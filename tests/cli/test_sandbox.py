"""`voki-bots sandbox`."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_and_ends_cleanly(number: signal.Signals) -> None:
    """One JSON object when it is ready; SIGTERM and Ctrl-C are a clean end."""
    command = [sys.executable, "-m", "voki_bots", "sandbox", "--json", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert select.select([process.stdout], [], [], 30)[0], "it is not ready within 30 s"
            ready = json.loads(process.stdout.readline())
            process.send_signal(number)
            code = process.wait(20)
        finally:
            process.kill()
    assert (code, {"url", "socket_url", "tenant", "tokens", "call_id", "control"} - set(ready)) == (0, set())


def test_a_taken_port_is_one_sentence(voki_bots: Any) -> None:
    """Address and reason, no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = voki_bots("sandbox", "--port", port)
    assert (said.exit_code, f"127.0.0.1:{port}" in said.stderr, said.stderr.count("\n")) == (2, True, 1)


@pytest.mark.parametrize("switch", ["nonsense", "lose=much", "server_offers=3"])
def test_a_wrong_switch_is_one_sentence(voki_bots: Any, switch: str) -> None:
    """The option is named."""
    said = voki_bots("sandbox", "--switch", switch)
    assert (said.exit_code, said.stderr[:16], os.linesep in said.stderr[:-1]) == (
        2,
        "error: --switch:",
        False,
    )


def test_an_unknown_release_of_phoenix_is_one_sentence(voki_bots: Any) -> None:
    """The option and what it may be are named."""
    said = voki_bots("sandbox", "--phoenix", "2.0")
    expected = "error: --phoenix: expected one of 1.7, 1.8, got '2.0'\n"
    assert (said.exit_code, said.stderr) == (2, expected)
