"""The program ``voki-bots``: its commands, found when they are asked for.

Nothing heavy is imported here or at the top of a command's module, so that help comes at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from voki_bots.cli.ending import EXPECTED, end
from voki_bots.errors import PluginLoadError


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command lives, and what help says of it without loading it.

    Attributes:
        where: ``module:name`` of a function or of a `typer.Typer`.
        summary: The first line of its own help.
        examples: Shown at the end of its help, one a line.
    """

    where: str
    summary: str
    examples: tuple[str, ...]


COMMANDS: Mapping[str, Entry] = {
    "demo": Entry(
        "voki_bots.cli.demo:demo",
        "Record and caption a call of two on the embedded sandbox, and prove the recording by its content.",
        ("voki-bots demo", "voki-bots demo my_bot.py", "voki-bots demo --language pt --model PATH"),
    ),
    "run": Entry(
        "voki_bots.cli.run:run",
        "Attend calls with the bots of a file until SIGTERM or Ctrl-C.",
        (
            "VOKI_PASSWORD=… voki-bots run bots.toml",
            "VOKI_PASSWORD=… voki-bots run bot.py --config voki.toml",
        ),
    ),
    "join": Entry(
        "voki_bots.cli.join:join",
        "Attend one call until it ends, Ctrl-C, or --seconds have passed.",
        (
            "VOKI_PASSWORD=… voki-bots join 5f3c --tenant acme --config voki.toml",
            "VOKI_PASSWORD=… voki-bots join 5f3c --config voki.toml --plugin recorder --seconds 60",
        ),
    ),
    "supervise": Entry(
        "voki_bots.cli.supervise:supervise",
        "Listen to a call, and say something to the attendant alone or to everybody.",
        (
            "VOKI_PASSWORD=… voki-bots supervise 5f3c --tenant acme --config supervisor.toml",
            "VOKI_PASSWORD=… voki-bots supervise 5f3c --config s.toml --say advice.opus --mode whisper",
        ),
    ),
    "probe": Entry(
        "voki_bots.cli.probe:probe",
        "Find out how this platform behaves, and who hears a supervisor on it, by a closed test call.",
        (
            "voki-bots probe --department d7 --config probe.toml --output profile.toml",
            "voki-bots probe --department d7 --config probe.toml --mode whisper --json",
        ),
    ),
    "profile": Entry(
        "voki_bots.cli.profile:app",
        "Sign a capability profile as an operator, check who signed it, and say what it proves.",
        (
            "voki-bots profile keygen operator.key",
            "voki-bots profile sign profile.toml --key operator.key --by 'Ana, operations'",
            "voki-bots profile verify profile.toml --operator ed25519:… --tenant acme --host voki.example",
            "voki-bots profile show profile.toml",
        ),
    ),
    "sandbox": Entry(
        "voki_bots.cli.sandbox:sandbox",
        "Run a whole Voki on this machine to develop against.",
        ("voki-bots sandbox --port 4000", "voki-bots sandbox --json"),
    ),
    "calls": Entry(
        "voki_bots.cli.calls:app",
        "List the calls that the platform shows to the account, or command those that a service attends.",
        (
            "VOKI_PASSWORD=… voki-bots calls --config voki.toml --status active",
            "voki-bots calls list --config bots.toml",
            "voki-bots calls pause 5f3c --config bots.toml --reason 'card number' --for 120",
            "voki-bots calls resume 5f3c --config bots.toml",
        ),
    ),
    "recordings": Entry(
        "voki_bots.cli.recordings:app",
        "Look at recorded calls, prove that nobody changed them, finish and erase them.",
        ("voki-bots recordings list recordings", "voki-bots recordings verify recordings && echo sound"),
    ),
    "audit": Entry(
        "voki_bots.cli.audit:audit",
        "Show who did what with a service, and prove that nobody changed what is written of it.",
        ("voki-bots audit recordings", "voki-bots audit recordings --by marina --json"),
    ),
    "models": Entry(
        "voki_bots.cli.models:app",
        "List, fetch and verify the speech models that captions need.",
        ("voki-bots models list", "voki-bots models fetch small-pt-0.3", "voki-bots models verify"),
    ),
    "plugins": Entry(
        "voki_bots.cli.plugins:plugins",
        "List the installed plugins and their settings.",
        ("voki-bots plugins", "voki-bots plugins recorder", "voki-bots plugins --json"),
    ),
    "explain": Entry(
        "voki_bots.cli.explain:app",
        "Explain what must not be misunderstood, from the code's own tables.",
        ("voki-bots explain supervision",),
    ),
    "doctor": Entry(
        "voki_bots.cli.doctor:doctor",
        "Check everything that a bot needs, and say what to do about what is missing.",
        ("VOKI_PASSWORD=… voki-bots doctor --config bots.toml",),
    ),
}
"""Every command, in the order in which help lists them."""


PLUGGED = "voki_bots.commands"
"""The entry-point group in which packages of plugins offer commands of their own."""


class Commands(TyperGroup):
    """The group of all commands. It imports a command's module when the command is asked for.

    A package of plugins joins in by the entry-point group ``voki_bots.commands``: the name of the command,
    and where its function or `typer.Typer` is. A name of `COMMANDS` stays what it is here.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """Name the commands, those of plugins last."""
        return [*COMMANDS, *_plugged()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Make the command of this name, or None.

        Raises:
            PluginLoadError: If a package offers it and cannot be imported.
        """
        if cmd_name not in self.commands:
            if entry := COMMANDS.get(cmd_name):
                self.commands[cmd_name] = _command(cmd_name, _found(entry), entry.examples)
            elif point := _plugged().get(cmd_name):
                self.commands[cmd_name] = _command(cmd_name, _loaded(point))
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])
        if plugged := _plugged():
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(name, f"({_package(point)})") for name, point in plugged.items()])

    def invoke(self, ctx: Any) -> Any:
        """Run the command; whatever it raises ends here, in one sentence."""
        try:
            return super().invoke(ctx)
        except EXPECTED as error:
            raise typer.Exit(end(error, debug=bool(ctx.params.get("debug")))) from None


def _plugged() -> dict[str, EntryPoint]:
    points = sorted(entry_points(group=PLUGGED), key=lambda point: point.name)
    return {point.name: point for point in points if point.name not in COMMANDS}


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def _found(entry: Entry) -> Any:
    module, _, attribute = entry.where.partition(":")
    return getattr(import_module(module), attribute)


def _loaded(point: EntryPoint) -> Any:
    try:
        found = point.load()
    except Exception as error:  # a plugin's import may raise anything
        raise PluginLoadError(point.name, f"{type(error).__name__}: {error}") from error
    if not callable(found):
        raise PluginLoadError(point.name, f"{point.value} is neither a function nor a typer.Typer")
    return found


def _command(name: str, found: Any, examples: tuple[str, ...] = ()) -> Any:
    if not isinstance(found, typer.Typer):
        made = _typer()
        made.command(name)(found)
        found = made
    command = typer.main.get_command(found)
    command.name = name
    if examples:
        command.epilog = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples)
    return command


def _typer(**options: Any) -> typer.Typer:
    # Plain help: it is there at once, and square brackets in it are no markup.
    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, **options)


app = _typer(cls=Commands, no_args_is_help=True)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"voki-bots {version('voki-bots')}")
        raise typer.Exit


@app.callback(
    epilog="\b\nTo begin with:\n"
    "  voki-bots demo           a call on this machine, recorded and proved\n"
    "  voki-bots doctor         what is missing before the first real call\n"
    "  voki-bots run --help     how bots are run, from TOML or Python"
)
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Print the traceback of an error too.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Bots that attend Voki calls: they record, meter and greet, as plugins.

    The platform and the account come from the [voki] table of a TOML file or from VOKI_URL, VOKI_TENANT and
    VOKI_EMAIL; the password comes from VOKI_PASSWORD or a file, never from the command line.

    Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 refused by the platform, 4 unreachable.
    """


def main() -> None:
    """Run the program; the console script ``voki-bots``."""
    app(prog_name="voki-bots")
