"""``voki-bots explain``: what the code itself says of things that must not be misunderstood."""

from __future__ import annotations

import typer

app = typer.Typer(
    help="Explain what must not be misunderstood, from the code's own tables.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def explain() -> None:
    """Explain what must not be misunderstood, from the code's own tables."""


@app.command(epilog="\b\nExample:\n  voki-bots explain supervision")
def supervision() -> None:
    """Say who hears a supervisor in which mode, and what keeps a supervisor from being heard.

    The tests assert the same table as sound, with a tone for each party.
    """
    from voki_bots.bots.gate import SENTENCES
    from voki_bots.bots.supervision import HEARD_BY
    from voki_bots.calls import Role

    heard = (Role.ATTENDANT, Role.CUSTOMER)
    typer.echo(
        f"{'mode':<10}{'supervisor hears':<20}" + "".join(f"{f'{who} hears him':<24}" for who in heard)
    )
    for mode, listeners in HEARD_BY.items():
        said = "".join(f"{'yes' if who in listeners else 'no':<24}" for who in heard)
        typer.echo(f"{mode:<10}{'everybody':<20}{said}".rstrip())
    typer.echo(f"{'hint':<10}{'-':<20}{'on screen':<24}{'no':<24}".rstrip())
    typer.echo("")
    typer.echo("Nothing is sent, and everything is closed until it is armed anew, where:")
    for why, sentence in SENTENCES.items():
        typer.echo(f"  {why}: {sentence}")
