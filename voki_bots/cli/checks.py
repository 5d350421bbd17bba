"""What ``voki-bots doctor`` looks at; each check gives findings and raises nothing expected."""

from __future__ import annotations

import platform as machine
import random
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from voki_bots.cli.ending import ExitCode, code_of
from voki_bots.cli.text import size
from voki_bots.errors import AuthenticationError, ConfigurationError, MediaError, SignallingError

if TYPE_CHECKING:
    from voki_bots.bots.account import Credentials
    from voki_bots.settings import Settings
    from voki_bots.signalling.rest import Rest, TurnCredentials
    from voki_bots.signalling.tokens import TokenBroker

_PACKAGES = ("voki-bots", "aiortc", "av", "websockets", "httpx", "numpy", "cffi")
_LITTLE, _TOO_LITTLE = 5_000_000_000, 100_000_000
_TIMEOUT = 5.0
_SOCKET_TIMEOUT = 15.0
_MOST_SERVERS = 6


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's.

    Attributes:
        check: What was looked at.
        state: ``ok``, ``warning`` or ``failed``.
        said: What was found.
        advice: What to do, if anything.
        code: The exit code that a failure asks for; 0 otherwise.
    """

    check: str
    state: str
    said: str
    advice: str = ""
    code: int = 0

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def failed(check: str, error: Exception, advice: str) -> Finding:
    """Make the finding of a check that raised."""
    return Finding(check, "failed", str(error), advice, int(code_of(error) or ExitCode.FAILED))


def versions() -> Iterator[Finding]:
    """Name the versions of Python and of what matters most."""
    found, missing = [f"python {machine.python_version()}"], []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            missing.append(package)
    yield Finding("versions", "ok", ", ".join(found))
    if missing:
        said = f"not installed: {', '.join(missing)}"
        yield Finding("versions", "failed", said, "install voki-bots again with pip", ExitCode.FAILED)


def opus() -> Finding:
    """Look for libopus, which decodes what plugins listen to."""
    from voki_bots.media.opus import version as opus_version

    try:
        return Finding("libopus", "ok", opus_version())
    except MediaError as error:
        return failed("libopus", error, "install Debian's libopus0; recording alone works without it")


class Configured:
    """The configuration, as far as it can be read.

    Attributes:
        settings: All of it, or None if it is not valid.
        credentials: Platform and account, or None if they are not usable.
    """

    def __init__(self, config: Path | None) -> None:
        self._config = config
        self.settings: Settings | None = None
        self.credentials: Credentials | None = None

    def findings(self) -> Iterator[Finding]:
        """Validate the configuration as ``voki-bots run`` would."""
        from voki_bots import settings as reading
        from voki_bots.bots.bot import Bot
        from voki_bots.bots.crew import check

        where = str(self._config or "the environment")
        try:
            settings = reading.load(self._config, otherwise=Bot("doctor"))
            check(settings.bots)
            self.settings = settings
            bots = [
                f"{bot.name} ({', '.join(p.name for p in plugins) or 'no plugins'})"
                for bot, plugins in settings.bots
                if bot.name != "doctor"
            ]
            said = f"{where} is valid; bots: {', '.join(bots) or 'none'}"
            yield Finding("configuration", "ok", said)
        except ConfigurationError as error:
            yield from self._problems(error, "put this right; docs/guide names every setting")
        try:
            voki = reading.load_voki(self._config)
            self.credentials = reading.credentials_of(voki)
            said = f"{voki.email} at {voki.url}, tenant {voki.tenant}; the password is there"
            yield Finding("account", "ok", said)
        except ConfigurationError as error:
            if self.settings is not None:
                yield from self._problems(error, "set it in the environment of this process")

    def directories(self) -> Iterator[Finding]:
        """Look at every directory that calls would be kept in."""
        if self.settings is None:
            return
        from voki_bots.archive.layout import archive_of

        wanted = {
            archive_of(
                next((p.archive() for p in plugins if p.archive()), None), self.settings.archive.directory
            )
            for _, plugins in self.settings.bots
        }
        for directory in sorted(wanted):
            yield _directory(directory)

    def _problems(self, error: ConfigurationError, advice: str) -> Iterator[Finding]:
        for line in str(error).split("\n"):
            yield Finding("configuration", "failed", line, advice, ExitCode.USAGE)


def _directory(directory: Path) -> Finding:
    from voki_bots.archive.disk import problem_with_directory

    if problem := problem_with_directory(directory):
        advice = "give it to the user that runs the bots, or choose another in archive.directory"
        return Finding("disk", "failed", problem, advice, ExitCode.USAGE)
    there = next(path for path in (directory, *directory.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    said = f"{directory} can be written to, {size(free)} free"
    if free < _TOO_LITTLE:
        return Finding(
            "disk", "failed", said, "make room: an hour of a call takes about 30 MB", ExitCode.FAILED
        )
    if free < _LITTLE:
        return Finding("disk", "warning", said, "make room soon: an hour of a call takes about 30 MB")
    return Finding("disk", "ok", said)


async def platform(credentials: Credentials) -> AsyncIterator[Finding]:
    """Reach the platform, sign in, and use what a bot would use. It stops where nothing further can work."""
    from voki_bots.cli.platform import signed_in
    from voki_bots.cli.reach import connect

    parts = urlsplit(credentials.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        await connect(parts.hostname or "", port, timeout=_TIMEOUT)
    except SignallingError as error:
        yield failed("platform", error, "check voki.url, name resolution, proxies and firewalls")
        return
    yield Finding("platform", "ok", f"{parts.hostname} port {port} answers")
    try:
        async with signed_in(credentials) as (rest, broker):
            who = broker.identity
            said = f"as {who.name or credentials.email} ({who.role}), user {who.user_id}"
            yield Finding("sign-in", "ok", said)
            yield await _calls(rest, broker)
            yield await _socket(credentials, broker)
            async for finding in _turn(rest, broker):
                yield finding
    except AuthenticationError as error:
        yield failed(
            "sign-in", error, "check voki.tenant, voki.email, VOKI_PASSWORD and, with MFA, VOKI_TOTP_SECRET"
        )
    except (SignallingError, ConfigurationError) as error:
        yield failed("sign-in", error, "is voki.url really a Voki? it is the address without /api")


async def _calls(rest: Rest, broker: TokenBroker) -> Finding:
    try:
        found = await rest.calls(await broker.token())
    except SignallingError as error:
        return failed("calls", error, "give the bots' user a role that may list calls, such as supervisor")
    return Finding("calls", "ok", f"the list shows {len(found)}")


async def _socket(credentials: Credentials, broker: TokenBroker) -> Finding:
    import asyncio

    from voki_bots.signalling.socket import Socket

    url = credentials.websocket()
    jitter = random.Random()  # noqa: S311 - jitter, not a secret
    try:
        async with asyncio.timeout(_SOCKET_TIMEOUT), Socket(url, broker.token, random=jitter) as socket:
            await socket.connected()
    except TimeoutError:
        said = f"{url} does not open within {_SOCKET_TIMEOUT:g} s"
        return Finding("websocket", "failed", said, _SOCKET_ADVICE, ExitCode.UNREACHABLE)
    except (SignallingError, ConfigurationError) as error:
        return failed("websocket", error, _SOCKET_ADVICE)
    return Finding("websocket", "ok", f"{url} opens")


_SOCKET_ADVICE = "let websockets through the proxies between, or set voki.socket_url"


async def _turn(rest: Rest, broker: TokenBroker) -> AsyncIterator[Finding]:
    from voki_bots.cli.reach import Server, reach

    try:
        turn = await _turn_credentials(rest, broker)
    except SignallingError as error:
        said = f"no TURN credentials: {error}"
        yield Finding("turn", "warning", said, "media goes directly then; ask for TURN if calls stay silent")
        return
    if not turn.urls:
        said = "the platform names no TURN server"
        yield Finding("turn", "warning", said, "media goes directly then; ask for TURN if calls stay silent")
        return
    yield Finding("turn", "ok", f"credentials for {len(turn.urls)} addresses")
    for url in turn.urls[:_MOST_SERVERS]:
        if (server := Server.parse(url)) is None:
            yield Finding(
                "turn", "warning", f"{url[:200]!r} is no TURN address", "tell the platform's operator"
            )
            continue
        try:
            await reach(server, _TIMEOUT)
            yield Finding("turn", "ok", f"{url} answers")
        except SignallingError as error:
            advice = f"let this machine reach it by {server.transport.upper()}; another address may do"
            yield Finding("turn", "warning", str(error), advice)


async def _turn_credentials(rest: Rest, broker: TokenBroker) -> TurnCredentials:
    try:
        return await rest.turn_credentials(await broker.token())
    except SignallingError:
        return await rest.public_turn_credentials()
