"""``python -m voki_bots.sandbox``: a sandbox as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence

import structlog

from ..errors import ConfigurationError
from .options import ADAPTERS, RELEASES, SandboxOptions, Switches
from .server import BANNER, Sandbox


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m voki_bots.sandbox", description=BANNER)
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to bind; 0 takes a free one")
    parser.add_argument("--tenant", default="sandbox")
    parser.add_argument("--access-life", type=float, default=900.0, help="seconds an access token lives")
    parser.add_argument("--auth-limit", type=int, default=None, help="sign-in requests a minute")
    parser.add_argument("--retry-after", action="store_true", help="a refused sign-in says how long to wait")
    parser.add_argument("--rotate-refresh", action="store_true", help="each refresh token is good once")
    parser.add_argument("--phoenix", default="1.8", choices=tuple(RELEASES), help="the release to act like")
    parser.add_argument(
        "--adapter", default="bandit", choices=tuple(ADAPTERS), help="the web server below it"
    )
    parser.add_argument("--expiry-code", type=int, default=None, help="close code at the end of a token")
    parser.add_argument("--idle-timeout", type=float, default=60.0, help="seconds a socket may be idle")
    parser.add_argument("--conformance", action="store_true", help="test channels for tokens like user:ana")
    parser.add_argument("--leg-grace", type=float, default=30.0, help="seconds media outlives its channel")
    parser.add_argument("--turn-url", action="append", default=[], help="a TURN server; may be repeated")
    parser.add_argument("--turn-secret", default=None, help="what that server shares with the platform")
    parser.add_argument("--turn-life", type=int, default=86_400, help="seconds TURN credentials live")
    parser.add_argument("--language", default="pt", choices=("pt", "en"))
    parser.add_argument("--no-call", action="store_true", help="start without the default call")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument(
        "--switch",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="a switch of every call, for example server_offers or lose=0.02; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON when ready")
    parser.add_argument("--stdin-guard", action="store_true", help="end when standard input closes")
    return parser


def _switches(given: Sequence[str]) -> Switches:
    values: dict[str, object] = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            values[name] = json.loads(value) if value else True
        except ValueError:
            raise ConfigurationError(
                f"the value of switch {name!r} is no number or boolean", path=name
            ) from None
    return Switches().changed(values)


async def _guard_stdin(end: asyncio.Event) -> None:
    """Set `end` once the process that started us is gone, however it went."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while await reader.read(1024):
        continue
    end.set()


async def _run(options: SandboxOptions, *, as_json: bool, stdin_guard: bool) -> None:
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    async with Sandbox(options) as sandbox:
        ready = sandbox.ready()
        if as_json:
            sys.stdout.write(json.dumps(ready) + "\n")
        else:
            lines = [f"  {key:14} {value}" for key, value in ready.items() if key != "tokens"]
            lines += [f"  token          {role}: {token}" for role, token in ready["tokens"].items()]
            sys.stdout.write("\n".join([BANNER, *lines]) + "\n")
        sys.stdout.flush()
        guard = asyncio.ensure_future(_guard_stdin(end)) if stdin_guard else None
        await end.wait()
        if guard is not None:
            guard.cancel()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sandbox until it is told to end."""
    given = _arguments().parse_args(arguments)
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger("warning"),
    )
    try:
        options = SandboxOptions(
            host=given.host,
            port=given.port,
            tenant=given.tenant,
            access_life=given.access_life,
            auth_limit=given.auth_limit,
            retry_after=given.retry_after,
            rotate_refresh=given.rotate_refresh,
            phoenix=given.phoenix,
            adapter=given.adapter,
            expiry_code=given.expiry_code,
            idle_timeout=given.idle_timeout,
            conformance=given.conformance,
            leg_grace=given.leg_grace,
            turn_urls=tuple(given.turn_url),
            turn_secret=given.turn_secret,
            turn_life=given.turn_life,
            language=given.language,
            default_call=not given.no_call,
            seed=given.seed,
            switches=_switches(given.switch),
        )
        asyncio.run(_run(options, as_json=given.json, stdin_guard=given.stdin_guard))
    except ConfigurationError as mistake:
        sys.stderr.write(f"{mistake}\n")
        return 2
    except OSError as failure:
        sys.stderr.write(f"the sandbox cannot listen on {given.host}:{given.port}: {failure.strerror}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
