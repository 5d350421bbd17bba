"""``voki-bots sandbox``: a Voki on loopback."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voki_bots.cli.text import shown
from voki_bots.errors import ConfigurationError

if TYPE_CHECKING:
    from voki_bots.sandbox.options import SandboxOptions

_LANGUAGES = ("pt", "en")


def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Its port; 0 takes a free one.")] = 0,
    host: Annotated[
        str,
        typer.Option(help="Its address. Beyond loopback it is open to everybody: there is no protection."),
    ] = "127.0.0.1",
    language: Annotated[str, typer.Option(metavar="pt|en", help="What the people of the call speak.")] = "pt",
    switch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=VALUE]",
            help="How kind or strange it is, for example server_offers or lose=0.02; may be repeated.",
        ),
    ] = None,
    phoenix: Annotated[
        str, typer.Option(metavar="1.7|1.8", help="Which release of Phoenix its sockets act like.")
    ] = "1.8",
    idle_timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds without a message after which it closes a socket.")
    ] = 60.0,
    conformance: Annotated[
        bool,
        typer.Option(
            "--conformance",
            help="Give sockets with a token like user:ana test channels, by which its Phoenix is judged.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object with all addresses and tokens when ready.")
    ] = False,
) -> None:
    """Run a whole Voki on this machine to develop against.

    One line with its addresses and tokens appears when it is ready: sign-in, call list, websocket, media, and
    a call in which an attendant and a customer speak. It is no production server. Ctrl-C or SIGTERM ends it.
    """
    if importlib.util.find_spec("aiohttp") is None:
        raise ConfigurationError(
            "the sandbox needs aiohttp, which is not installed; run: pip install 'voki-bots[sandbox]'"
        )
    from voki_bots.sandbox.options import RELEASES, SandboxOptions, Switches
    from voki_bots.service import telemetry

    if language not in _LANGUAGES:
        known = ", ".join(_LANGUAGES)
        raise ConfigurationError(f"--language: expected one of {known}, got {language!r}", path="language")
    if phoenix not in RELEASES:
        known = ", ".join(RELEASES)
        raise ConfigurationError(f"--phoenix: expected one of {known}, got {phoenix!r}", path="phoenix")
    try:
        switches = Switches().changed(dict(_switch(text) for text in switch or ()))
    except ConfigurationError as error:
        raise ConfigurationError(f"--switch: {error}", path="switch") from None
    telemetry.setup("console", level="warning")
    options = SandboxOptions(
        host=host,
        port=port,
        language=language,
        switches=switches,
        phoenix=phoenix,
        idle_timeout=idle_timeout,
        conformance=conformance,
    )
    asyncio.run(_serve(options, as_json=as_json))


def _switch(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value) if value else True
    except ValueError:
        raise ConfigurationError(f"{name} is a number, true or false, not {value!r}") from None


async def _serve(options: SandboxOptions, *, as_json: bool) -> None:
    from voki_bots.cli.stopping import stopping
    from voki_bots.sandbox.server import BANNER, Sandbox

    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        try:
            running = await stack.enter_async_context(Sandbox(options))
        except OSError as error:
            why = error.strerror or str(error)
            raise ConfigurationError(
                f"--host, --port: cannot listen on {options.host}:{options.port}: {why}", path="port"
            ) from error
        stack.enter_context(stopping(stop.set))
        ready = running.ready()
        typer.echo(BANNER, err=True)
        typer.echo(json.dumps(ready) if as_json else _line(ready))
        await stop.wait()


def _line(ready: dict[str, Any]) -> str:
    """Say everything in one line of name=value pairs."""
    tokens = [f"{role}_token={token}" for role, token in ready["tokens"].items()]
    pairs = [f"{name}={value}" for name, value in ready.items() if name not in ("url", "tokens")]
    return shown(f"sandbox ready at {ready['url']}: {' '.join([*pairs, *tokens])}")
