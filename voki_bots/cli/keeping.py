"""``voki-bots recordings`` that change something: repair, finish, export, purge, erase, hold."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from voki_bots.cli.text import shown
from voki_bots.cli.withheld import withheld
from voki_bots.errors import ConfigurationError, VokiError

if TYPE_CHECKING:
    from voki_bots.archive.options import FinishOptions
    from voki_bots.archive.retention import Archive
    from voki_bots.archive.seal import ListedCall
    from voki_bots.media.encrypted import Keys

Directories: TypeAlias = Annotated[
    list[Path], typer.Argument(metavar="DIR", help="An archive, or folders in it.", show_default=False)
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
Jobs: TypeAlias = Annotated[
    int | None, typer.Option(min=1, max=64, help="Calls at once.", show_default="cores but one")
]
By: TypeAlias = Annotated[
    str | None, typer.Option(help="Who does it, for the audit.", show_default="your account's name")
]
DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="Only say what would be erased.")]
Identity: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Keys of age that can read encrypted calls.")
]
_ARCHIVE = Path("recordings")


def repair(directories: Directories, as_json: AsJson = False, jobs: Jobs = None) -> None:
    """Seal and finish what a crash left.

    Calls that are finished, and calls that are still running, are left alone. What does not add up is
    printed. The exit code is 1 if a call could not be repaired.
    """
    from voki_bots.archive.finish import unfinished
    from voki_bots.archive.retention import is_written
    from voki_bots.cli.recordings import find

    jobs_of: list[tuple[ListedCall, FinishOptions | None]] = []
    for call in find(directories):
        if is_written(call.directory):
            _line("running", call.directory, quiet=as_json)
        elif not unfinished(call.sidecar):
            _line("ok", call.directory, quiet=as_json)
        else:
            jobs_of.append((call, None))
    _finish(jobs_of, "repaired", as_json, jobs)


def finish(
    directories: Directories,
    format_: Annotated[
        str | None, typer.Option("--format", help="opus, flac or wav.", show_default="as planned")
    ] = None,
    rate: Annotated[
        int | None, typer.Option(help="Samples per second: 8000 … 48000.", show_default="as planned")
    ] = None,
    stereo: Annotated[
        str | None,
        typer.Option(
            metavar="LEFT,RIGHT",
            help="Roles on each side, such as attendant+supervisor,customer; or none.",
            show_default="as planned",
        ),
    ] = None,
    mix: Annotated[
        str | None, typer.Option(metavar="ROLES", help="Roles, with +; or none.", show_default="as planned")
    ] = None,
    participants: Annotated[
        bool | None, typer.Option(help="A file for each participant.", show_default="as planned")
    ] = None,
    picture: Annotated[bool | None, typer.Option(help="A picture.", show_default="as planned")] = None,
    composite: Annotated[
        bool | None, typer.Option(help="A film, where there are pictures.", show_default="as planned")
    ] = None,
    captions: Annotated[
        bool | None, typer.Option(help="Captions, where there is a transcript.", show_default="as planned")
    ] = None,
    identity: Identity = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Leave what is made of encrypted calls readable for everybody.")
    ] = False,
    as_json: AsJson = False,
    jobs: Jobs = None,
) -> None:
    """Make the finished files of calls: stereo, mix, participants.

    What an earlier finish made is replaced, and the folder is sealed again. Without options everything is
    made as was planned when the call was recorded. An encrypted call needs --identity, and what is made of it
    is encrypted for the same recipients.
    """
    from voki_bots.archive.options import FinishOptions, sides
    from voki_bots.cli.recordings import find

    changes: dict[str, Any] = {
        name: value
        for name, value in {"format": format_, "rate": rate, "participants": participants}.items()
        if value is not None
    }
    for name, said in (("picture", picture), ("composite", composite), ("captions", captions)):
        if said is not None:
            changes[name] = said
    if stereo is not None:
        roles = [tuple(filter(None, side.split("+"))) for side in stereo.split(",")]
        changes["stereo"] = None if stereo == "none" else sides(roles)
    if mix is not None:
        changes["mix"] = None if mix == "none" else tuple(mix.split("+"))
    jobs_of: list[tuple[ListedCall, FinishOptions | None]] = []
    for call in find(directories):
        planned = FinishOptions.of((call.sidecar.get("finish") or {}).get("planned"))
        jobs_of.append((call, replace(planned, **changes)))
    _keys(identity)
    _finish(jobs_of, "finished", as_json, jobs, identity=identity, plain=plain)


def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of one call.")],
    output: Annotated[Path, typer.Option("--output", help="A new file: .opus, .flac or .wav.")],
    start: Annotated[float, typer.Option("--from", min=0.0, help="Seconds of call time.")] = 0.0,
    end: Annotated[
        float | None, typer.Option("--to", min=0.0, help="Seconds.", show_default="the end of the call")
    ] = None,
    channel: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROLES",
            help="Who is on a channel, with +; give it twice for stereo.",
            show_default="attendant+customer+unknown",
        ),
    ] = None,
    rate: Annotated[int, typer.Option(help="Samples per second: 8000 … 48000.")] = 48_000,
    identity: Identity = None,
) -> None:
    """Write a stretch of a call into a file of its own.

    It is made from the tracks, which are not changed. Channels are roles, or the ids of participants. Where
    the call was paused or consent was missing there is silence; standard error says which spans these are.
    """
    from voki_bots.archive.export import export as write
    from voki_bots.archive.options import FORMATS, FinishOptions
    from voki_bots.cli.recordings import find

    FinishOptions(rate=rate)
    if output.suffix.removeprefix(".") not in FORMATS:
        raise ConfigurationError(f"--output: {output} must end in .{', .'.join(FORMATS)}", path="output")
    channels = [each.split("+") for each in channel or ["attendant+customer+unknown"]]
    if len(channels) > 2:
        raise ConfigurationError("--channel: there are one or two channels", path="channel")
    found = find([directory])
    if len(found) != 1:
        raise ConfigurationError(f"DIR: {directory} is not the folder of one call", path="DIR")
    keys = _keys(identity)
    written = write(found[0].directory, output, channels, start=start, end=end, rate=rate, keys=keys)
    typer.echo(f"{written:.1f} s  {shown(output)}")
    for each in withheld(found[0].sidecar):
        if (part := each.within(start, start + written)) is not None:
            typer.echo(f"silent  {part}", err=True)


def decrypt(
    directories: Directories,
    output: Annotated[Path, typer.Option("--output", help="A folder; nothing in it is written over.")],
    identity: Annotated[Path, typer.Option(metavar="FILE", help="Keys of age that can read the calls.")],
) -> None:
    """Write the files of encrypted calls where everybody who may read the folder can play them.

    They are copied to OUTPUT/<tenant>/<call>/ under their own names; the calls themselves stay encrypted.
    """
    from voki_bots.archive.layout import call_directory
    from voki_bots.cli.recordings import find
    from voki_bots.media.encrypted import ENDING, decrypt_file

    keys = _keys(identity)
    assert keys is not None
    failed = False
    for call in find(directories):
        there = call_directory(output, call.tenant, call.call)
        for path in sorted(call.directory.rglob(f"*{ENDING}")):
            target = there / path.relative_to(call.directory).with_suffix("")
            try:
                decrypt_file(path, target, keys)
            except (ValueError, VokiError) as error:
                failed = True
                _line("FAILED", path)
                typer.echo(f"          {shown(error)}")
            else:
                _line("decrypted", target)
    if failed:
        raise typer.Exit(1)


def purge(
    directories: Annotated[list[Path], typer.Argument(metavar="DIR", help="Archives.", show_default=False)],
    dry_run: DryRun = False,
    older_than: Annotated[
        str | None,
        typer.Option(help="Such as 90d; counts instead of what each call was recorded with."),
    ] = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Erase calls whose time is over, as they were recorded or by age.

    Calls on hold and running calls stay. Each erasure is a line in audit.jsonl of the archive.
    """
    from voki_bots.archive.retention import seconds_of

    try:
        age = None if older_than is None else seconds_of(older_than)
    except ValueError as error:
        raise ConfigurationError(f"--older-than: {error}", path="older_than") from None
    reason = "the time for which it was kept is over" if age is None else f"older than {older_than}"
    erased: list[ListedCall] = []
    for archive in map(_archive, directories):
        if not dry_run:
            archive.sweep()
        expired = archive.expired(age)
        _erase(archive, expired, by, reason, dry_run=dry_run)
        erased += expired
    _told(erased, dry_run=dry_run, as_json=as_json)


def erase(
    call: Annotated[str, typer.Argument(metavar="CALL", help="The id of the call.")],
    tenant: Annotated[str, typer.Option(help="Whose call it is.")],
    directories: Annotated[
        list[Path] | None, typer.Argument(metavar="DIR", help="Archives.", show_default="recordings")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, for the audit.")] = "asked for",
    by: By = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Erase everything of one call, for a customer who wants to be forgotten.

    Every bot that attended it has a folder; all of them go. A line in audit.jsonl of the archive says who
    erased it, when and why. A call on hold and a running call are refused.
    """
    erased: list[ListedCall] = []
    for archive in map(_archive, directories or [_ARCHIVE]):
        found = archive.of(tenant, call)
        _erase(archive, found, by, reason, dry_run=dry_run)
        erased += found
    if not erased:
        raise ConfigurationError(
            f"CALL: there is no recorded call {call!r} of tenant {tenant!r}", path="CALL"
        )
    _told(erased, dry_run=dry_run, as_json=as_json)


def hold(
    directories: Directories,
    reason: Annotated[str, typer.Option(help="Why, for the journal.")] = "",
    release: Annotated[bool, typer.Option("--release", help="End every hold instead.")] = False,
    by: By = None,
) -> None:
    """Keep calls from being purged or erased, whatever their age.

    A line in the sealed journal of each call says who holds it and why, until it is released.
    """
    from voki_bots.archive.retention import Archive
    from voki_bots.cli.recordings import find

    if not release and not reason:
        raise ConfigurationError("--reason: say why", path="reason")
    for call in find(directories):
        archive = Archive(call.directory.parent)
        if release:
            archive.release(call.directory, by=_who(by))
        else:
            archive.hold(call.directory, by=_who(by), reason=reason)
        _line("released" if release else "held", call.directory)


# ---------------------------------------------------------------- the rest


def _keys(identity: Path | None) -> Keys | None:
    from voki_bots.media.encrypted import Keys

    return None if identity is None else Keys.from_file(identity)


def _finish(
    jobs_of: Sequence[tuple[ListedCall, FinishOptions | None]],
    done: str,
    as_json: bool,
    jobs: int | None,
    **reading: Any,
) -> None:
    results = asyncio.run(_finish_all(jobs_of, jobs, reading))
    if as_json:
        typer.echo(json.dumps(results, ensure_ascii=False))
    for result in [] if as_json else results:
        _line("FAILED" if result["error"] else done, Path(result["directory"]))
        for each in [*result["violations"], *([result["error"]] if result["error"] else [])]:
            typer.echo(f"          {shown(each)}")
    if any(result["error"] for result in results):
        raise typer.Exit(1)


async def _finish_all(
    jobs_of: Sequence[tuple[ListedCall, FinishOptions | None]], jobs: int | None, reading: dict[str, Any]
) -> list[dict[str, Any]]:
    from rich.console import Console
    from rich.progress import Progress

    from voki_bots.archive.pool import FinishPool

    pool, console = FinishPool(jobs), Console(stderr=True)

    async def one(call: ListedCall, options: FinishOptions | None) -> dict[str, Any]:
        said: dict[str, Any] = {"directory": str(call.directory), "tenant": call.tenant, "call": call.call}
        bar = shows.add_task(shown(call.call, 40), total=1.0)
        try:
            made = await pool.finish(
                call.directory, options, progress=lambda share: shows.update(bar, completed=share), **reading
            )
        except VokiError as error:
            return said | {"error": str(error), "outputs": [], "violations": []}
        outputs = [output["path"] for output in made["finish"]["outputs"]]
        return said | {"error": None, "outputs": outputs, "violations": made["invariant"]["violations"]}

    with Progress(console=console, transient=True, disable=not console.is_terminal) as shows:
        return list(await asyncio.gather(*(one(call, options) for call, options in jobs_of)))


def _archive(directory: Path) -> Archive:
    from voki_bots.archive.layout import JOURNAL, SIDECAR
    from voki_bots.archive.retention import Archive

    if not directory.is_dir():
        raise ConfigurationError(f"DIR: there is no directory {str(directory)!r}", path="DIR")
    if any((directory / name).exists() for name in (JOURNAL, SIDECAR)):
        raise ConfigurationError(f"DIR: {directory} is one call; give the archive it is in", path="DIR")
    return Archive(directory)


def _erase(
    archive: Archive, calls: Sequence[ListedCall], by: str | None, reason: str, *, dry_run: bool
) -> None:
    for call in [] if dry_run else calls:
        archive.erase(call, by=_who(by), reason=reason)


def _told(erased: Sequence[ListedCall], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        said = [
            {"directory": str(each.directory), "tenant": each.tenant, "call": each.call} for each in erased
        ]
        typer.echo(json.dumps(said, ensure_ascii=False))
        return
    for each in erased:
        _line("would go" if dry_run else "erased", each.directory)


def _line(word: str, directory: Path, *, quiet: bool = False) -> None:
    if not quiet:
        typer.echo(f"{word:<8}  {shown(directory)}")


def _who(by: str | None) -> str:
    if by:
        return by
    import os
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
