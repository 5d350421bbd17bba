"""Where secrets are not: in no log line, no process list, no file but the one that is for them."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

from tests.journeys.conftest import environment, program
from voki_bots.testing.sim import Sim

JWT = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}")


def processes() -> str:
    """The command lines of all processes, as `ps` shows them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended meanwhile
            found.append(path.read_bytes().decode("latin-1"))
    return "\n".join(found)


async def test_tokens_and_passwords_are_nowhere_but_in_the_token_file(sim: Sim, tmp_path: Path) -> None:
    """A service signs in, records, loses its socket and its token, and ends; then everything is searched."""
    user, kept, files = await sim.user(), tmp_path / "token", tmp_path / "calls"
    department = str((await sim.control("POST", "/departments", {}))["department_id"])
    call = await sim.call(department_id=department)
    config = tmp_path / "bots.toml"
    config.write_text(
        f'[voki]\ntoken_file = "{kept}"\n[service]\nport = 0\npoll = 0.5\n[[bots]]\nname = "minutes"\n'
        f'join = {{ departments = ["{department}"] }}\nplugins = ["recorder"]\n'
        f'[bots.recorder]\ndirectory = "{files}"\n'
    )
    env = environment(user, VOKI_WEBHOOK_SECRET="w3bh00k-secret")
    async with program("--debug", "run", str(config), env=env) as running:
        await call.heard_by_bots(50)
        shown = processes()
        assert "voki_bots" in shown
        for fault in ("drop_socket", "expire_token"):
            lost = sum(line["event"] == "socket.opened" for line in running.lines)
            await call.fault(fault)
            await running.logged("socket.retrying")
            while sum(line["event"] == "socket.opened" for line in running.lines) == lost:
                await running.changed()
        running.process.terminate()
        await running.ended()
    refresh = json.loads(kept.read_text())["refresh_token"]
    written = "".join(
        path.read_bytes().decode("latin-1") for path in files.rglob("*") if path.is_file()
    ) + json.dumps(running.lines)
    found = [secret for secret in (user.password(), refresh, "w3bh00k-secret") if secret in written + shown]
    assert (found, JWT.findall(written + shown), kept.stat().st_mode & 0o777) == ([], [], 0o600)
