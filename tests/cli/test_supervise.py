"""`voki-bots supervise` and `explain supervision`, as far as they go without a platform."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from voki_bots.bots.gate import Closing
from voki_bots.bots.registry import Registry
from voki_bots.bots.supervision import HEARD_BY
from voki_bots.calls import Role, Supervision, UtteranceHeard
from voki_bots.cli.supervise import _captions
from voki_bots.testing import FakeAttendance

WAY = '[supervision]\nby = "rest"\npath = "/api/v1/calls/{call}/supervise"\n'


def test_without_a_way_that_is_configured_nobody_supervises(
    voki_bots: Any, account: Mapping[str, str]
) -> None:
    """It is never guessed; the sentence shows what to write."""
    said = voki_bots("supervise", "5f3c", **account)
    assert (said.exit_code, "never guessed" in said.stderr) == (2, True)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ('by = "magic"', "by"),
        ('by = "rest"\npath = "/supervise"', "{call}"),
        ('by = "push"', "event"),
        ('by = "join"\nbody = { kind = "x" }', "{mode}"),
        ('by = "join"\npth = "x"', "pth"),
    ],
)
def test_a_mistaken_way_is_told(voki_bots: Any, account: Mapping[str, str], table: str, why: str) -> None:
    """With the setting that is wrong."""
    Path("s.toml").write_text(f"[supervision]\n{table}\n")
    said = voki_bots("supervise", "5f3c", "--config", "s.toml", **account)
    assert (said.exit_code, why in said.stderr) == (2, True)


def test_who_monitors_says_nothing(voki_bots: Any, account: Mapping[str, str]) -> None:
    """There are two modes in which somebody is heard."""
    Path("s.toml").write_text(WAY)
    said = voki_bots("supervise", "5f3c", "--config", "s.toml", "--mode", "monitor", **account)
    assert (said.exit_code, "expected whisper or barge" in said.stderr) == (2, True)


def test_a_file_that_cannot_be_said_is_told_before_anything_connects(
    voki_bots: Any, account: Mapping[str, str]
) -> None:
    """Its path is named."""
    Path("s.toml").write_text(WAY)
    said = voki_bots("supervise", "5f3c", "--config", "s.toml", "--say", "none.opus", **account)
    assert said.exit_code != 0
    assert "none.opus" in said.stderr


def test_the_matrix_is_printed_from_the_codes_own_table(voki_bots: Any) -> None:
    """Every mode with who hears it, and every reason of a refusal."""
    said = voki_bots("explain", "supervision").stdout
    rows = {line.split()[0]: line.split()[2:] for line in said.splitlines() if line.split()[:1]}
    for mode in Supervision:
        heard = ["yes" if role in HEARD_BY[mode] else "no" for role in (Role.ATTENDANT, Role.CUSTOMER)]
        assert rows[str(mode)] == heard
    assert all(f"{why}:" in said for why in Closing)


async def test_what_is_said_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """With its time and who said it; a name from the network moves no cursor."""
    bot = _captions("ko")
    assert bot is not None
    plugins = [each for each in bot.plugins(Registry()) if each.name != "transcriber"]
    async with FakeAttendance() as call, AsyncExitStack() as stack:
        for plugin in plugins:
            await stack.enter_async_context(plugin.attend(call))
        await asyncio.sleep(0)  # the decorated function begins to listen
        said = UtteranceHeard("u1", 0, True, "안녕하세요", Role.CUSTOMER, "c", 65.0, 66.0, name="Ca\x1brlos")
        call.emit(said)
        await call.until(lambda: "안녕하세요" in capsys.readouterr().out)
    assert _captions(None) is None
