"""``voki-bots recordings``: what is in an archive, and whether it is still what was sealed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from voki_bots.cli import keeping, withheld
from voki_bots.cli.text import clock, shown, size
from voki_bots.errors import ConfigurationError

if TYPE_CHECKING:
    from voki_bots.archive.seal import ListedCall

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Look at recorded calls, prove that nobody changed them, finish and erase them.\n\n"
    "DIR is an archive, the folder of a tenant in it, or the folder of one call.",
)

Directories: TypeAlias = Annotated[
    list[Path], typer.Argument(metavar="DIR", help="An archive, or folders in it.", show_default=False)
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


@app.command("list", epilog="\b\nExample:\n  voki-bots recordings list recordings")
def list_(directories: Directories, as_json: AsJson = False) -> None:
    """List recorded calls, oldest first.

    A call counts as sealed once its files were closed and hashed, and as sound if the audio and the gaps of
    every track make up its duration. For how long it was paused, or without consent, is told, too.
    """
    found = find(directories)
    if as_json:
        typer.echo(json.dumps([_listed(each) for each in found], ensure_ascii=False))
        return
    from rich.table import Table

    from voki_bots.cli.table import print_table

    table = Table("started", "tenant", "call", "bot", "duration", "tracks", "state", "folder")
    for each in found:
        finished = bool((each.sidecar.get("finish") or {}).get("at"))
        state = ("sealed, finished" if finished else "sealed") if each.sealed else "not sealed"
        unsound = ["does not add up"] if each.sealed and not each.sound else []
        table.add_row(
            shown(each.started[:19].replace("T", " ")),
            shown(each.tenant, 24),
            shown(each.call, 40),
            shown(each.bot, 24),
            clock(each.duration),
            str(len(each.tracks)),
            ", ".join([state, *unsound, *withheld.state(each.sidecar)]),
            shown(each.directory),
        )
    print_table(table)


@app.command(epilog="\b\nExample:\n  voki-bots recordings show recordings/acme/5f3c")
def show(
    directories: Directories,
    as_json: Annotated[bool, typer.Option("--json", help="Print the sidecars instead.")] = False,
    width: Annotated[int, typer.Option(min=10, max=500, help="Columns of the picture.")] = 60,
) -> None:
    """Show who took part in a call, its tracks, gaps and files, and what was withheld and why.

    A picture shows along call time when each track was loud, and where it has gaps and why.
    """
    found = find(directories)
    if as_json:
        typer.echo(json.dumps([each.sidecar for each in found], ensure_ascii=False))
        return
    for each in found:
        _show(each, width)


@app.command(epilog="\b\nExample:\n  voki-bots recordings verify recordings && echo sound")
def verify(directories: Directories, identity: keeping.Identity = None, as_json: AsJson = False) -> None:
    """Prove that recorded calls are as they were sealed.

    Every checksum, the chain of the journal, and that audio and gaps of every track make up its duration. The
    exit code is 0 only if all of it holds for every call; what does not is named. With --identity encrypted
    files are decrypted, too, to see that they can be.
    """
    from voki_bots.archive.retention import Archive
    from voki_bots.archive.seal import verify as problems_of
    from voki_bots.media.encrypted import Keys

    keys = Keys.from_file(identity) if identity is not None else None
    checked = [(each, problems_of(each.directory, keys)) for each in find(directories)]
    audits = {each: Archive(each).audit_problems() for each in directories}
    if not checked:
        raise ConfigurationError(f"DIR: there is no recorded call in {_names(directories)}", path="DIR")
    if as_json:
        said = [
            {"directory": str(each.directory), "call": each.call, "tenant": each.tenant, "problems": problems}
            for each, problems in checked
        ]
        typer.echo(json.dumps(said, ensure_ascii=False))
    else:
        for each, problems in checked:
            typer.echo(f"{'FAILED' if problems else 'ok'}  {shown(each.directory)}")
            for problem in problems:
                typer.echo(f"        {shown(problem)}")
        for directory, problems in audits.items():
            for problem in problems:
                typer.echo(f"FAILED  {shown(directory)}: {shown(problem)}")
    if any(problems for _, problems in checked) or any(audits.values()):
        raise typer.Exit(1)


app.command(epilog="\b\nExample:\n  voki-bots recordings repair /var/lib/voki-bots/calls")(keeping.repair)
app.command(epilog="\b\nExample:\n  voki-bots recordings finish recordings/acme/5f3c --format flac")(
    keeping.finish
)
app.command(
    epilog="\b\nExample:\n  voki-bots recordings export recordings/acme/5f3c --from 60 --to 75 --output a.wav"
)(keeping.export)
app.command(
    epilog="\b\nExample:\n  voki-bots recordings decrypt recordings/acme/5f3c --identity key --output plain"
)(keeping.decrypt)
app.command(epilog="\b\nExample:\n  voki-bots recordings purge /var/lib/voki-bots/calls --dry-run")(
    keeping.purge
)
app.command(epilog="\b\nExample:\n  voki-bots recordings erase --tenant acme 5f3c recordings")(keeping.erase)
app.command(epilog="\b\nExample:\n  voki-bots recordings hold recordings/acme/5f3c --reason 'case 7'")(
    keeping.hold
)


def find(directories: Sequence[Path]) -> list[ListedCall]:
    """Find the calls that a command's DIR arguments mean, each once.

    Raises:
        ConfigurationError: If a directory does not exist.
    """
    from voki_bots.archive.seal import list_calls

    found: dict[Path, ListedCall] = {}
    for directory in directories:
        if not directory.is_dir():
            raise ConfigurationError(f"DIR: there is no directory {str(directory)!r}", path="DIR")
        for call in list_calls(directory):
            found.setdefault(call.directory.resolve(), call)
    return list(found.values())


def _names(directories: Sequence[Path]) -> str:
    return ", ".join(str(each) for each in directories)


def _listed(call: ListedCall) -> dict[str, Any]:
    names = ("tenant", "call", "bot", "started", "duration", "sealed", "sound")
    said = {name: getattr(call, name) for name in names}
    kept = [
        {"start": each.start, "end": each.end, "why": each.why} for each in withheld.withheld(call.sidecar)
    ]
    more = {"tracks": len(call.tracks), "withheld": kept, "refused": withheld.refusing(call.sidecar)}
    return said | {"directory": str(call.directory)} | more


def _show(call: ListedCall, width: int) -> None:
    from rich.table import Table

    from voki_bots.cli.picture import LEGEND, row, ruler
    from voki_bots.cli.table import print_table

    sidecar = call.sidecar
    typer.echo(f"{shown(call.tenant)}/{shown(call.call)}  {shown(call.directory)}")
    ended = f", ended: {shown(sidecar.get('reason'))}" if sidecar.get("reason") else ""
    state = "sealed" if call.sealed else "not sealed"
    typer.echo(
        f"started {shown(call.started)}, {call.duration:.1f} s, bot {shown(call.bot)}, {state}{ended}\n"
    )
    people = {str(each.get("id")): each for each in sidecar.get("participants", [])}
    table = Table("participant", "role", "in the call")
    for each in people.values():
        spans = [f"{start:.1f}–{end if end is None else f'{end:.1f}'} s" for start, end in each["intervals"]]
        table.add_row(shown(each["name"] or each["id"], 40), shown(each["role"]), ", ".join(spans))
    print_table(table)
    table = Table("track", "who", "from", "to", "audio", "gaps", "file")
    pictures = []
    for track in call.tracks:
        who = people.get(str(track.get("participant")), {}).get("name") or track["role"]
        gaps = sum(gap["end"] - gap["start"] for gap in track["gaps"])
        cells = [_seconds(track[name]) for name in ("start", "end")]
        # Pictures have no duration, and so neither audio nor gaps.
        filmed = track.get("kind") == "video"
        cells += ["pictures", "–"] if filmed else [_seconds(track["audio"]), _seconds(gaps)]
        table.add_row(shown(track["id"]), shown(who, 30), *cells, shown(track["file"] or "–"))
        pictures.append((f"{shown(who, 18):<18}", row(call.directory, track, call.duration, width)))
    print_table(table)
    for name, drawn in pictures:
        typer.echo(f"{name} {drawn}")
    typer.echo(f"{'':<18} {ruler(call.duration, width)}\n{'':<18} {LEGEND}\n")
    _gaps_and_files(call)


def _gaps_and_files(call: ListedCall) -> None:
    for track in call.tracks:
        for gap in track["gaps"]:
            span = f"{gap['start']:8.2f} – {gap['end']:8.2f} s"
            typer.echo(f"gap   {span}  {shown(gap['cause']):<10} track {shown(track['id'])}")
    for line in withheld.words(call.sidecar):
        typer.echo(line)
    for file in call.sidecar.get("files", []):
        typer.echo(f"file  {size(file['bytes']):>9}  {file['sha256'][:12]}…  {shown(file['path'])}")
    for output in (call.sidecar.get("finish") or {}).get("outputs", []):
        sides = "  |  ".join(", ".join(map(shown, tracks)) or "nobody" for tracks in output["channels"])
        typer.echo(f"made  {shown(output['path'])}  {sides}".rstrip())
    if end := (call.sidecar.get("retention") or {}).get("until"):
        typer.echo(f"may be purged from {shown(end)} on")
    for hold in call.sidecar.get("holds", []):
        if hold["released"] is None:
            typer.echo(f"on hold by {shown(hold['by'])} since {shown(hold['at'])}: {shown(hold['reason'])}")
    for problem in call.sidecar.get("invariant", {}).get("violations", []):
        typer.echo(f"does not add up: {shown(problem)}")


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"
