"""`voki-bots demo`: the main job, on the embedded sandbox, proved by content."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

from voki_bots.bots.bot import Bot
from voki_bots.bots.plugin import Attendance, Plugin, PluginSettings
from voki_bots.cli.captioned import captioned, judge_captions, print_captions
from voki_bots.cli.progress import watching
from voki_bots.cli.proof import LIKE, UNLIKE, Report, prove
from voki_bots.errors import ConfigurationError

if TYPE_CHECKING:
    from voki_bots.bots.session import CallSession
    from voki_bots.testing.sim import Sim, SimCall

SHORTEST = 5.0
"""Seconds of a call below which nothing can be proved: two people must have spoken."""

_NAMES = {"ko": ("Minji", "Jun"), "pt": ("Ana", "Carlos"), "en": ("Ann", "Charles")}

_SAID = {"ko": (["ko06", "ko03", "ko04"], ["ko00", "ko01", "ko05", "ko02", "ko07"])}
"""What the two say, where it is not simply their language."""


class Meter(Plugin[PluginSettings]):
    """Measures how loud everybody is, for the demo's display."""

    def __init__(self) -> None:
        super().__init__(PluginSettings(), name="meter")
        self.levels: dict[str, float] = {}

    @asynccontextmanager
    async def attend(self, call: Attendance) -> AsyncIterator[None]:
        """Listen to everybody, at a rate that is enough for a meter."""
        from voki_bots.media.dsp import level

        def measure(frame: Any) -> None:
            self.levels[str(frame.track)] = level(frame.samples)

        with call.listen(measure, rate=8_000):
            yield


def demo(
    file: Path | None = typer.Argument(
        None, metavar="[FILE.py]", help="A bot of your own to try on the demo's call.", show_default=False
    ),
    output: Path = typer.Option(Path("demo-output"), "--output", "-o", help="Where the recording goes."),
    seconds: float = typer.Option(24.0, min=SHORTEST, max=600.0, help="How long the call lasts."),
    language: str = typer.Option(
        "ko", help="What is spoken: ko, pt or en. A model that installs by name is there for ko alone."
    ),
    model: str | None = typer.Option(
        None, help="The speech model for the captions: a name of `voki-bots models list`, or a folder."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object as the last line."),
) -> None:
    """Record and caption a call of two on the embedded sandbox, and prove the recording by its content.

    Everything happens on this machine, on loopback: a sandbox Voki is started, an attendant and a customer
    speak, a bot joins, records them, and captions them if a speech model of their language is installed. The
    exit status is 0 only if each voice is on its own track and the other one is absent, and if whoever is
    captioned was understood.

    With a model of your own: voki-bots demo --language pt --model PATH
    """
    if language not in _NAMES:
        known = ", ".join(_NAMES)
        raise ConfigurationError(f"--language must be one of {known}; got {language!r}", path="language")
    console = Console(stderr=as_json)
    report = asyncio.run(run(file, output, seconds, language, console, model=model))
    _print(report, console)
    if as_json:
        sys.stdout.write(report.as_json() + "\n")
    if not report.ok:
        raise typer.Exit(1)


async def run(
    file: Path | None,
    output: Path,
    seconds: float,
    language: str,
    console: Console,
    *,
    model: str | None = None,
) -> Report:
    """Play the demo's call and prove what was recorded."""
    from voki_bots.service.telemetry import setup
    from voki_bots.testing.sim import SandboxProcess, Sim

    setup("console", sys.stderr, level="error")
    bots = _bots(file, output, captioned(language, model, console))
    console.print("Starting the sandbox, a whole Voki on loopback …")
    sandbox = await asyncio.to_thread(SandboxProcess)
    report = Report()
    try:
        async with Sim(sandbox, output) as sim:
            call = await sim.call(*_people(language))
            directories = await _attend(sim, call, bots, seconds, console, report)
            console.print("Proving what was recorded …")
            for directory in directories:
                await _judge(call, directory, report)
                report.captions += judge_captions(directory, language, report.problems)
    finally:
        await asyncio.to_thread(sandbox.close)
    if file is None and len(report.recordings) < len(call.people):
        report.problems.append(f"{len(report.recordings)} of {len(call.people)} voices were recorded")
    report.ok = not report.problems and all(proof.ok for proof in report.recordings)
    return report


def _bots(file: Path | None, output: Path, captions: Mapping[str, Any] | None) -> list[Bot]:
    if file is None:
        bot = Bot("demo").record(directory=output)
        return [bot if captions is None else bot.transcribe(**captions)]
    from voki_bots.cli.running import load_bots

    return list(load_bots(file))


def _people(language: str) -> list[dict[str, Any]]:
    attendant, customer = _NAMES[language]
    said = _SAID.get(language, (language, language))
    return [
        {"role": "attendant", "name": attendant, "speech": said[0]},
        {"role": "customer", "name": customer, "speech": said[1]},
    ]


async def _attend(
    sim: Sim, call: SimCall, bots: Sequence[Bot], seconds: float, console: Console, report: Report
) -> list[Path]:
    """Let the bots attend for some seconds, showing what happens; returns the folders they wrote."""
    meter = Meter()
    async with AsyncExitStack() as stack:
        sessions: list[CallSession] = []
        for bot in bots:
            watched = bot if sessions else bot.use(meter)
            sessions.append(await stack.enter_async_context(sim.attend(call, watched)))
        console.print(f"In the call {call.call}; it lasts {seconds:g} s.")
        if why := await watching(sessions[0], seconds, console, levels=meter.levels):
            report.problems.append(f"the call ended early: {why}")
        console.print("Ending the call, sealing the recording …")
        await call.end()
        for session in sessions:
            async with asyncio.timeout(10.0):
                await session.ended()
            detached = session.snapshot().detached
            report.problems += [f"plugin {name} was detached: {why}" for name, why in detached.items()]
    return [session.directory for session in sessions]


async def _judge(call: SimCall, directory: Path, report: Report) -> None:
    sidecar = json.loads(await asyncio.to_thread((directory / "call.json").read_text, "utf-8"))
    report.directory = report.directory or str(directory)
    report.problems += sidecar["invariant"]["violations"]
    report.recordings += await prove(call, sidecar, directory)
    starts = [track["start"] for track in sidecar["tracks"] if track["start"] is not None]
    if starts:
        report.first_frame_seconds = min(starts)


def _print(report: Report, console: Console) -> None:
    table = Table(
        "participant", "role", "file", "duration", f"own voice (≥ {LIKE})", f"other voices (< {UNLIKE})", ""
    )
    for proof in report.recordings:
        table.add_row(
            proof.participant,
            proof.role,
            proof.path,
            f"{proof.seconds:.2f} s",
            f"{proof.correlation:.4f}",
            f"{proof.cross:.4f}",
            "[green]proved[/green]" if proof.ok else "[red]NOT proved[/red]",
        )
    console.print(table)
    print_captions(report.captions, console)
    if report.first_frame_seconds is not None:
        console.print(f"The first packet was recorded {report.first_frame_seconds:.2f} s after the join.")
    for problem in report.problems:
        console.print(f"[red]{problem}[/red]")
    if report.ok:
        console.print(f"Look at it: voki-bots recordings show {report.directory}")
