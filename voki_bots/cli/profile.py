"""``voki-bots profile``: who answers for what a probe found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from voki_bots.cli.text import shown

app = typer.Typer(
    help="Sign a capability profile as an operator, check who signed it, and say what it proves.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
)

ProfileFile = Annotated[Path, typer.Argument(metavar="PROFILE.toml", help="What voki-bots probe wrote.")]


@app.callback()
def profile() -> None:
    """Sign a capability profile as an operator, check who signed it, and say what it proves."""


@app.command(epilog="\b\nExample:\n  voki-bots profile keygen operator.key")
def keygen(
    key: Annotated[Path, typer.Argument(metavar="FILE", help="A new file for the private key (mode 0600).")],
) -> None:
    """Make an operator's key, and print its public half for [supervision] operator.

    The private half is in the file alone. Keep it where supervisors and bots cannot read it.
    """
    from voki_bots.bots.operator import keygen

    typer.echo(keygen(key))


@app.command(
    epilog="\b\nExample:\n  voki-bots profile sign profile.toml --key operator.key --by 'Ana, operations'"
)
def sign(
    file: ProfileFile,
    key: Annotated[Path, typer.Option(metavar="FILE", help="The operator's private key, a file.")],
    by: Annotated[str, typer.Option(metavar="NAME", help="Who answers for it, as people know them.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE.toml", help="Where the signed one goes; else in its place."
        ),
    ] = None,
) -> None:
    """Answer for a profile, in the operator's name.

    Read it before (voki-bots profile show): where it proves that a mode routes as documented, a supervisor
    will speak without waiting for the platform's word.
    """
    from voki_bots.bots.profile import read_profile
    from voki_bots.bots.profile import sign as signed

    made = signed(read_profile(file), key, by=by)
    to = output or file
    to.write_text(made.to_toml(), encoding="utf-8")
    assert made.signature is not None
    typer.echo(f"{shown(to)}: signed by {shown(made.signature.by)} with {made.signature.key}")


@app.command(
    epilog="\b\nExample:\n  voki-bots profile verify profile.toml --operator operator.pub --tenant acme"
)
def verify(
    file: ProfileFile,
    operator: Annotated[
        str, typer.Option(metavar="KEY", help="The operator's public key (ed25519:…), or a file with it.")
    ],
    tenant: Annotated[str | None, typer.Option(metavar="T", help="The tenant that it must be about.")] = None,
    host: Annotated[
        str | None, typer.Option(metavar="HOST", help="The host that it must be about, with its port.")
    ] = None,
    days: Annotated[
        float | None, typer.Option(min=0.0, metavar="N", help="How old it may be, in days.")
    ] = None,
) -> None:
    """Check who signed a profile and that nothing was changed since, and say what it proves.

    The exit code is 0 only if it is good.
    """
    from datetime import timedelta

    from voki_bots.bots.profile import load_profile, read_profile

    read = read_profile(file)
    found = load_profile(
        file,
        trusted=operator,
        tenant=read.tenant if tenant is None else tenant,
        host=read.host if host is None else host,
        max_age=None if days is None else timedelta(days=days),
    )
    assert found.signature is not None
    proven = ", ".join(sorted(map(str, found.proven))) or "nothing"
    typer.echo(
        f"{shown(file)}: signed by {shown(found.signature.by)}; of {shown(found.tenant)} at "
        f"{shown(found.host)} it proves: {proven}"
    )


@app.command(epilog="\b\nExample:\n  voki-bots profile show profile.toml")
def show(file: ProfileFile) -> None:
    """Show what was found, in words.

    Whether anybody answers for it is not checked: voki-bots profile verify.
    """
    from voki_bots.bots.profile import read_profile, routes
    from voki_bots.calls import Supervision

    found = read_profile(file)
    signed = f"signed by {found.signature.by}" if found.signature else "not signed"
    typer.echo(
        shown(f"{found.tenant} at {found.host}, {found.made:%Y-%m-%d %H:%M} UTC, {signed} (unchecked)")
    )
    for part in (found.signalling, found.media, found.rejoin):
        for name, field in type(part).model_fields.items():
            value = getattr(part, name)
            typer.echo(f"  {name:<16}{_said(value):<20} {field.description}")
    for mode in Supervision:
        routing = found.routing(mode)
        if routing is None:
            typer.echo(f"{mode}: not tried")
            continue
        verdict = "routes as documented" if routes(mode, routing) else "does not route as documented"
        typer.echo(shown(f"{mode}: {routing.action}, {verdict}; the start event named {routing.confirmed}"))
        for when in ("before", "during", "after"):
            levels = getattr(routing, when)
            if levels is not None:
                typer.echo(
                    f"  {when:<16}attendant {levels.attendant:>7.1f} dBFS, "
                    f"customer {levels.customer:>7.1f} dBFS"
                )
    for note in found.notes:
        typer.echo(shown(f"not found out: {note}"))


def _said(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case _:
            return shown(value)
