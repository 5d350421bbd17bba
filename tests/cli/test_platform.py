"""The program against a whole Voki: signing in, listing, looking, joining."""

import asyncio
import functools
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = pytest.mark.journey


@pytest.fixture
def asked(voki_bots: Any) -> Callable[..., Awaitable[Any]]:
    """Run ``voki-bots`` in this process, beside the loop."""
    return functools.partial(asyncio.to_thread, voki_bots)


async def ran(*arguments: object, stop_when: Any = None, **environment: Any) -> Any:
    """Run ``voki-bots`` as a process; with `stop_when`, press Ctrl-C as soon as that is true."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "voki_bots",
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**{k: v for k, v in os.environ.items() if not k.startswith("VOKI_")}, **environment},
    )
    ended = asyncio.create_task(process.communicate())
    try:
        async with asyncio.timeout(45):
            while stop_when is not None and not stop_when() and not ended.done():
                await asyncio.sleep(0.05)
            if stop_when is not None and process.returncode is None:
                process.send_signal(signal.SIGINT)
            stdout, stderr = await asyncio.shield(ended)
    finally:
        if process.returncode is None:
            process.kill()
        await ended
    return SimpleNamespace(code=process.returncode, stdout=stdout.decode(), stderr=stderr.decode())


def recording(directory: Path) -> Callable[[], object]:
    """True once two tracks have been written for about a second."""

    def both() -> bool:
        return len([path for path in directory.rglob("*.opus") if path.stat().st_size > 3_000]) == 2

    return both


@pytest.fixture
async def account(sim: Any) -> dict[str, str]:
    user = await sim.user()
    return {
        "VOKI_URL": user.url,
        "VOKI_TENANT": user.tenant,
        "VOKI_EMAIL": user.email,
        "VOKI_PASSWORD": user.password(),
    }


async def test_calls_lists_what_the_platform_shows(sim: Any, asked: Any, account: dict[str, str]) -> None:
    """The call that was made is in the list."""
    call = await sim.call()
    said = await asked("calls", "--json", **account)
    assert call.id in [each["call_id"] for each in json.loads(said.stdout)]


async def test_calls_is_a_table_for_people(sim: Any, asked: Any, account: dict[str, str]) -> None:
    """With the whole id, to be copied."""
    call = await sim.call()
    assert call.id in (await asked("calls", **account)).stdout


@pytest.mark.parametrize("command", [("calls",), ("join", "5f3c"), ("doctor",)])
async def test_a_refused_login_is_code_3(
    asked: Any, account: dict[str, str], command: tuple[str, ...], tmp_path: Path
) -> None:
    """A wrong password is one sentence, and is not repeated in it."""
    output = ("--output", tmp_path / "takes") if command[0] == "join" else ()
    said = await asked(*command, *output, **account | {"VOKI_PASSWORD": "wrong-password"})
    assert (said.exit_code, "wrong-password" in said.stdout + said.stderr, (tmp_path / "takes").exists()) == (
        3,
        False,
        False,
    )


@pytest.mark.parametrize("call_id", ["../../x", "no-such-call"])
async def test_a_call_that_is_not_there_is_refused(
    asked: Any, account: dict[str, str], call_id: str, tmp_path: Path
) -> None:
    """Code 3, one sentence, and nothing is written."""
    said = await asked("join", call_id, "--output", tmp_path / "takes", **account)
    assert (said.exit_code, said.stderr.count("\n"), (tmp_path / "takes").exists()) == (3, 1, False)


async def test_an_unreachable_host_is_code_4(asked: Any, account: dict[str, str], tmp_path: Path) -> None:
    """One sentence that names the host."""
    said = await asked("join", "5f3c", "--output", tmp_path, **account | {"VOKI_URL": "http://127.0.0.1:1"})
    assert (said.exit_code, "127.0.0.1" in said.stderr, said.stderr.count("\n")) == (4, True, 1)


async def test_doctor_is_content_with_a_sandbox(asked: Any, account: dict[str, str]) -> None:
    """Sign-in, list and websocket work; TURN is absent there, which is a warning."""
    said = await asked("doctor", "--json", **account)
    states = {each["check"]: each["state"] for each in json.loads(said.stdout)}
    assert (said.exit_code, {n for n, s in states.items() if s == "failed"}, states["websocket"]) == (
        0,
        set(),
        "ok",
    )


async def test_join_records_a_call_until_its_time(sim: Any, account: dict[str, str], tmp_path: Path) -> None:
    """Both people have a file of their own, and what was written adds up."""
    call = await sim.call()
    said = await ran("join", call.id, "--output", tmp_path, "--seconds", "4", "--json", **account)
    ended = json.loads(said.stdout)
    assert (said.code, ended["ok"], sorted(each["role"] for each in ended["files"])) == (
        0,
        True,
        ["attendant", "customer"],
    )


async def test_join_ends_cleanly_at_ctrl_c(sim: Any, account: dict[str, str], tmp_path: Path) -> None:
    """The recording is sealed, and verifies."""
    call = await sim.call()
    said = await ran("join", call.id, "--output", tmp_path, stop_when=recording(tmp_path), **account)
    proved = await ran("recordings", "verify", tmp_path)
    assert (said.code, proved.code) == (0, 0), said.stderr + proved.stdout


async def test_run_attends_calls_until_a_signal(sim: Any, account: dict[str, str], tmp_path: Path) -> None:
    """SIGINT ends the service with 0, and what it recorded verifies."""
    call = await sim.call()
    file = tmp_path / "bots.toml"
    file.write_text(
        f'[service]\nport = 0\npoll = 0.5\n[archive]\ndirectory = "{tmp_path / "takes"}"\n[[bots]]\n'
        f'name = "minutes"\nplugins = ["recorder"]\njoin.departments = ["{call.call.department_id}"]\n'
    )
    said = await ran("run", file, stop_when=recording(tmp_path), **account)
    proved = await ran("recordings", "verify", tmp_path / "takes")
    assert (said.code, proved.code) == (0, 0), said.stderr + proved.stdout


async def test_run_with_a_refused_account_is_code_3(account: dict[str, str], tmp_path: Path) -> None:
    """The last line is the sentence."""
    file = tmp_path / "bots.toml"
    file.write_text('[service]\nport = 0\n[[bots]]\nname = "minutes"\n')
    said = await ran("run", file, **account | {"VOKI_PASSWORD": "wrong-password"})
    assert (said.code, said.stderr.splitlines()[-1][:6]) == (3, "error:")


async def test_ctrl_c_while_signing_in_is_quiet(account: dict[str, str], tmp_path: Path) -> None:
    """A platform that never answers is given up at once: code 130, not a word, nothing written."""
    met: list[asyncio.StreamWriter] = []

    async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)  # the request is on its way, and not only the connection
        met.append(writer)

    async with await asyncio.start_server(asked, "127.0.0.1", 0) as server:
        silent = {"VOKI_URL": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}
        said = await ran("join", "5f3c", "--output", tmp_path, stop_when=lambda: met, **account | silent)
        for writer in met:
            writer.close()
            await writer.wait_closed()
    assert (said.code, said.stderr, list(tmp_path.iterdir())) == (130, "", [])
